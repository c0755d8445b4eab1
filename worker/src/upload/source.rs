//! What an attempt asks of the controller about itself: its spec, if that was
//! too large for a message, its providers, and its secrets. Keys go into the attempt's mask
//! before anybody can print them.

use std::collections::BTreeMap;

use futures::future::BoxFuture;
use protocol::{
    http::{
        artifacts::{providers_path, spec_path},
        secrets::secrets_path,
    },
    id::AttemptId,
    model::ProviderDefinition,
    spec::StepSpec,
    step::StepError,
};
use service::secret::Secret;
use tokio_util::sync::CancellationToken;

use super::{Controller, persistently};
use crate::{
    log::Mask,
    steps::{ProviderSource, SecretSource},
};

/// The source of one attempt.
pub struct AttemptSource {
    /// The API.
    pub controller: Controller,
    /// Which attempt.
    pub attempt: AttemptId,
    /// This machine's own providers, which win by name.
    pub own: Vec<ProviderDefinition>,
    /// A provider that was found on this machine; anything configured wins over it.
    pub found: ProviderDefinition,
    /// Where keys are hidden.
    pub mask: Mask,
    /// The end of the attempt.
    pub stop: CancellationToken,
}

impl AttemptSource {
    /// Fetches the spec of the attempt.
    pub async fn spec(&self) -> Result<StepSpec, StepError> {
        let path = spec_path(self.attempt);
        persistently(&self.stop, || self.controller.get_json(&path))
            .await
            .map_err(|error| {
                let message = format!("the step's definition could not be fetched: {error}");
                StepError::new(StepError::from(error).class, message)
            })
    }
}

impl SecretSource for AttemptSource {
    fn secrets(&self) -> BoxFuture<'_, Result<BTreeMap<String, Secret>, StepError>> {
        Box::pin(async {
            let path = secrets_path(self.attempt);
            let fetched: Result<BTreeMap<String, String>, _> =
                persistently(&self.stop, || self.controller.get_json(&path)).await;
            let values = fetched.map_err(|error| {
                let message = format!("the secrets of the step were not handed out: {error}");
                StepError::new(StepError::from(error).class, message)
            })?;
            self.mask.add_all(values.values().map(String::as_str));
            let secrets = values.into_iter().map(|(name, value)| (name, Secret::new(value)));
            Ok(secrets.collect())
        })
    }
}

impl ProviderSource for AttemptSource {
    fn providers(&self) -> BoxFuture<'_, Result<Vec<ProviderDefinition>, StepError>> {
        Box::pin(async {
            let path = providers_path(self.attempt);
            let fetched: Result<Vec<ProviderDefinition>, _> =
                persistently(&self.stop, || self.controller.get_json(&path)).await;
            let theirs = fetched.map_err(|error| {
                let message = format!("the providers could not be fetched: {error}");
                StepError::new(StepError::from(error).class, message)
            })?;
            let mut all = self.own.clone();
            let named = |name: &str| self.own.iter().any(|own| own.name == name);
            all.extend(theirs.into_iter().filter(|provider| !named(&provider.name)));
            if !all.iter().any(|provider| provider.name == self.found.name) {
                all.push(self.found.clone());
            }
            for key in all.iter().filter_map(|provider| provider.api_key.as_deref()) {
                self.mask.add(key);
            }
            Ok(all)
        })
    }
}
