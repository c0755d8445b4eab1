//! Which models may play a role on which worker: step > role > the only
//! configured alias > what the worker reaches by itself.

use protocol::{
    documents::EditProtocol,
    model::{Candidate, Price},
};

use crate::workflow::model::{StepDef, StepKind};

use super::world::{Models, Worker};

/// Window of a model about which nobody said anything.
const ASSUMED_WINDOW: u32 = 8192;
/// Larger windows cost more memory on the worker than they bring.
const LARGEST_ASSUMED_WINDOW: u32 = 32_768;

/// Why a step has no model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoModel {
    /// The alias is not configured.
    #[error("no model alias is named {0:?}")]
    UnknownAlias(String),
    /// Nothing is configured and the worker reaches none by itself.
    #[error("no model is configured and the worker reaches none by itself")]
    None,
    /// The alias's providers are not within the worker's reach.
    #[error("it reaches none of the providers of model alias {0:?}")]
    OutOfReach(String),
}

/// The alias that a step uses; `None` leaves it to what a worker reaches.
pub fn alias_of<'a>(models: &'a Models, def: &'a StepDef) -> Option<&'a str> {
    let StepKind::Agent { role, model } = &def.kind else {
        return None;
    };
    let by_role = || models.roles.get(role).map(String::as_str);
    let only = || match models.aliases.keys().collect::<Vec<_>>().as_slice() {
        [alias] => Some(alias.as_str()),
        _ => None,
    };
    model.as_deref().or_else(by_role).or_else(only)
}

/// The candidates for an agent step on one worker, best first.
pub fn candidates(models: &Models, def: &StepDef, worker: &Worker) -> Result<Vec<Candidate>, NoModel> {
    let Some(alias) = alias_of(models, def) else {
        let found = found_on(worker);
        return if found.is_empty() {
            Err(NoModel::None)
        } else {
            Ok(found)
        };
    };
    let configured = models
        .aliases
        .get(alias)
        .ok_or_else(|| NoModel::UnknownAlias(alias.to_owned()))?;
    let within_reach: Vec<Candidate> = configured
        .iter()
        .filter(|candidate| {
            models.providers.contains(&candidate.provider) || worker.labels.has("llm", &candidate.provider)
        })
        .cloned()
        .collect();
    if within_reach.is_empty() {
        return Err(NoModel::OutOfReach(alias.to_owned()));
    }
    Ok(within_reach)
}

/// Models that the worker reaches by itself: loaded ones first, none that only embeds.
fn found_on(worker: &Worker) -> Vec<Candidate> {
    let mut found: Vec<_> = worker
        .models
        .iter()
        .filter(|model| !model.model.contains("embed"))
        .collect();
    found.sort_by_key(|model| !model.loaded);
    found
        .into_iter()
        .map(|model| Candidate {
            provider: model.provider.clone(),
            model: model.model.clone(),
            window: model.window.unwrap_or(ASSUMED_WINDOW).min(LARGEST_ASSUMED_WINDOW),
            answer_tokens: None,
            protocol: EditProtocol::WholeFile,
            price: Price::default(),
        })
        .collect()
}
