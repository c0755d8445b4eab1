//! What the worker that holds an attempt may fetch for it.

use axum::{Extension, Json, extract::State};
use protocol::{
    http::problem::{Code, Problem},
    id::{AttemptId, WorkerId},
    model::ProviderDefinition,
    spec::{StepSpec, Work},
};

use crate::{
    orchestrator::spec,
    state::attempts::{self, AttemptOwner},
};

use super::{
    Api,
    auth::Caller,
    extract::OfAttempt,
    problem::{ApiResult, not_found},
};

/// The attempt's owner, if it is the worker that asks; for anybody else the attempt does not exist.
pub(super) async fn owned(api: &Api, caller: &Caller, attempt: &str) -> ApiResult<(AttemptId, AttemptOwner)> {
    let unknown = || {
        not_found(
            "attempt",
            attempt,
            "only the worker that holds an attempt may ask for it",
        )
    };
    let id: AttemptId = attempt.parse().map_err(|_| unknown())?;
    let owner = api
        .readers
        .query(move |connection| attempts::owner(connection, id))
        .await?;
    let Some(owner) = owner else {
        return Err(unknown());
    };
    if caller.worker() != Some(owner.worker) {
        let why = "another worker holds it";
        api.denials.note(
            &caller.who(),
            caller.origin(),
            "attempt.http",
            &id.to_string(),
            why,
        );
        return Err(unknown());
    }
    Ok((id, owner))
}

/// The spec of an open attempt, from the world.
pub(super) async fn open_spec(api: &Api, attempt: AttemptId, worker: WorkerId) -> ApiResult<StepSpec> {
    let found = api.engine.inspect(move |world, _| {
        let (job, key) = world.place_of(attempt)?;
        let current = world.step(job, &key)?.current()?;
        if current.id != attempt || current.worker != worker || !current.state.is_open() {
            return None;
        }
        spec::assignment(world, job, &key).and_then(|(_, assign)| assign.spec)
    });
    found.await?.ok_or_else(|| {
        Problem::new(Code::Conflict, "the attempt is not open any more")
            .hint("stop working on it")
            .into()
    })
}

pub(super) async fn spec(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    OfAttempt(attempt): OfAttempt,
) -> ApiResult<Json<StepSpec>> {
    let (id, owner) = owned(&api, &caller, &attempt).await?;
    Ok(Json(open_spec(&api, id, owner.worker).await?))
}

/// The providers of the attempt's candidates, with their keys.
pub(super) async fn providers(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    OfAttempt(attempt): OfAttempt,
) -> ApiResult<Json<Vec<ProviderDefinition>>> {
    let (id, owner) = owned(&api, &caller, &attempt).await?;
    caller.confidential()?;
    let spec = open_spec(&api, id, owner.worker).await?;
    let Work::Agent(agent) = &spec.work else {
        return Ok(Json(vec![]));
    };
    let wanted = |provider: &&ProviderDefinition| {
        agent
            .candidates
            .iter()
            .any(|candidate| candidate.provider == provider.name)
    };
    Ok(Json(api.providers.iter().filter(wanted).cloned().collect()))
}
