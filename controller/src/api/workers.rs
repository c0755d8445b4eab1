//! `/v1/workers`: the roster, and what is wanted of each.

use axum::{
    Extension, Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use protocol::{
    http::{
        Page,
        workers::{CurrentStep, WorkerView},
    },
    worker::Wanted,
};

use crate::orchestrator::{Event, World, world::Worker};

use super::{
    Api,
    auth::Caller,
    extract::OfName,
    jobs::note,
    problem::{ApiResult, not_found},
};

/// A worker as the API and the public topics show it.
pub fn view(world: &World, worker: &Worker) -> WorkerView {
    let current = world.jobs.values().flat_map(|job| {
        let mine = job.steps.iter().filter(|step| {
            step.current()
                .is_some_and(|attempt| attempt.worker == worker.id && attempt.state.is_open())
        });
        mine.map(|step| CurrentStep {
            job: job.link(),
            step: step.key.clone(),
        })
    });
    WorkerView {
        name: worker.name.clone(),
        id: worker.id,
        state: worker.state,
        wanted: worker.wanted,
        labels: worker.labels.clone(),
        slots: worker.slots,
        slots_used: worker.used,
        models: worker.models.clone(),
        version: worker.version.clone(),
        load: worker.load,
        joined_at: worker.joined_at,
        last_seen_at: worker.last_seen_at,
        current: current.collect(),
    }
}

/// All workers by name.
pub fn roster(world: &World) -> Vec<WorkerView> {
    let present = world
        .workers
        .values()
        .filter(|worker| worker.wanted != Wanted::Removed);
    let mut views: Vec<WorkerView> = present.map(|worker| view(world, worker)).collect();
    views.sort_by(|a, b| a.name.cmp(&b.name));
    views
}

pub(super) async fn list(State(api): State<Api>) -> ApiResult<Json<Page<WorkerView>>> {
    let items = api.engine.inspect(|world, _| roster(world)).await?;
    Ok(Json(Page {
        items,
        next_cursor: None,
    }))
}

async fn find(api: &Api, name: &str) -> ApiResult<WorkerView> {
    let wanted = name.to_owned();
    let found = api.engine.inspect(move |world, _| {
        let mut present = world
            .workers
            .values()
            .filter(|worker| worker.wanted != Wanted::Removed);
        let worker = present.find(|worker| worker.name == wanted || worker.id.to_string() == wanted)?;
        Some(view(world, worker))
    });
    found
        .await?
        .ok_or_else(|| not_found("worker", name, "agentctl workers lists them"))
}

pub(super) async fn show(State(api): State<Api>, OfName(name): OfName) -> ApiResult<Json<WorkerView>> {
    Ok(Json(find(&api, &name).await?))
}

/// Changes what is wanted of a worker: decided, audited.
pub(crate) async fn want(api: &Api, caller: &Caller, name: &str, wanted: Wanted) -> ApiResult<WorkerView> {
    let worker = find(api, name).await?;
    let event = Event::WorkerWanted {
        worker: worker.id,
        wanted,
    };
    api.engine.decide(event).await?;
    note(
        api,
        caller,
        &format!("worker.{wanted}"),
        &worker.name,
        "ok".to_owned(),
    )
    .await?;
    Ok(worker)
}

pub(super) async fn pause(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    OfName(name): OfName,
) -> ApiResult<Json<WorkerView>> {
    want(&api, &caller, &name, Wanted::Paused).await?;
    show(State(api), OfName(name)).await
}

pub(super) async fn drain(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    OfName(name): OfName,
) -> ApiResult<Json<WorkerView>> {
    want(&api, &caller, &name, Wanted::Draining).await?;
    show(State(api), OfName(name)).await
}

pub(super) async fn resume(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    OfName(name): OfName,
) -> ApiResult<Json<WorkerView>> {
    want(&api, &caller, &name, Wanted::Active).await?;
    show(State(api), OfName(name)).await
}

/// Its credential opens nothing from now on, and its connections are closed.
pub(super) async fn remove(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    OfName(name): OfName,
) -> ApiResult<Response> {
    want(&api, &caller, &name, Wanted::Removed).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
