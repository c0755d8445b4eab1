//! `/v1/workflows`.

use std::sync::PoisonError;

use axum::{Extension, Json, extract::State};
use protocol::{
    http::{
        Page,
        problem::{Code, Problem},
        workflows::{ValidateWorkflow, WorkflowReport, WorkflowView},
    },
    worker::Wanted,
};
use serde_json::Value;

use crate::{state::workflows, workflow::load};

use super::{
    Api,
    auth::Caller,
    extract::{Body, OfName},
    jobs::note,
    problem::ApiResult,
};

pub(super) async fn list(State(api): State<Api>) -> Json<Page<WorkflowView>> {
    let items = api.catalog.read().unwrap_or_else(PoisonError::into_inner).list();
    Json(Page {
        items,
        next_cursor: None,
    })
}

pub(super) async fn show(State(api): State<Api>, OfName(name): OfName) -> ApiResult<Json<WorkflowView>> {
    let view = api
        .catalog
        .read()
        .unwrap_or_else(PoisonError::into_inner)
        .view(&name)
        // a name in the path that nothing has is not found; only a submitted one is a mistake
        .map_err(|problem| Problem {
            hint: problem.hint,
            ..Problem::new(Code::NotFound, problem.detail)
        })?;
    Ok(Json(view))
}

pub(super) async fn validate(
    State(api): State<Api>,
    Body(ValidateWorkflow { text }): Body<ValidateWorkflow>,
) -> ApiResult<Json<WorkflowReport>> {
    let labels = api.engine.inspect(|world, _| {
        let present = world.workers.values();
        let present = present.filter(|worker| worker.wanted != Wanted::Removed);
        present.map(|worker| worker.labels.clone()).collect::<Vec<_>>()
    });
    let labels = labels.await?;
    let catalog = api.catalog.read().unwrap_or_else(PoisonError::into_inner);
    Ok(Json(catalog.validate(&text, &labels)))
}

/// The schema of the format: no secret, so that an editor may fetch it.
pub(super) async fn schema() -> Json<Value> {
    Json(load::schema())
}

/// Checked, written down, and only then in force. The body is the same as for a check.
pub(super) async fn store(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    OfName(name): OfName,
    Body(ValidateWorkflow { text }): Body<ValidateWorkflow>,
) -> ApiResult<Json<WorkflowView>> {
    // a copy takes it first, so that nothing is in force that is not on disk
    let checked = {
        let mut copy = api.catalog.read().unwrap_or_else(PoisonError::into_inner).clone();
        copy.put(&name, &text)
    };
    if let Err(problem) = checked {
        note(&api, &caller, "workflow.put", &name, problem.detail.clone()).await?;
        return Err(problem.into());
    }
    let (row_name, row_text, at) = (name.clone(), text.clone(), api.clock.wall());
    api.engine
        .write(move |connection| workflows::put(connection, &row_name, &row_text, at))
        .await?;
    note(&api, &caller, "workflow.put", &name, "ok".to_owned()).await?;
    let view = api
        .catalog
        .write()
        .unwrap_or_else(PoisonError::into_inner)
        .put(&name, &text)?;
    Ok(Json(view))
}
