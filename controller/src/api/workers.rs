//! `/v1/workers`, and how a worker joins.

use axum::{
    Extension, Json,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use jiff::SignedDuration;
use protocol::{
    http::{
        Page,
        problem::{Code, Problem},
        workers::{
            CreateJoinToken, CurrentStep, JoinToken, JoinTokenCreated, JoinWorker, WorkerCredential,
            WorkerView,
        },
    },
    id::WorkerId,
    worker::{Load, Wanted, WorkerState, check_worker_name},
};

use crate::{
    engine::NewWorker,
    orchestrator::{Event, World, world::Worker},
    state::workers,
};

use super::{
    Api,
    auth::{Caller, WORKER_PREFIX, hash, new_secret},
    extract::Body,
    jobs::note,
    problem::{ApiError, ApiResult, not_found},
};

/// Life of a join token, in seconds.
const JOIN_LIFE_S: i64 = 15 * 60;

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

pub(super) async fn show(State(api): State<Api>, Path(name): Path<String>) -> ApiResult<Json<WorkerView>> {
    Ok(Json(find(&api, &name).await?))
}

async fn want(api: &Api, caller: &Caller, name: &str, wanted: Wanted) -> ApiResult<WorkerView> {
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
    Path(name): Path<String>,
) -> ApiResult<Json<WorkerView>> {
    want(&api, &caller, &name, Wanted::Paused).await?;
    show(State(api), Path(name)).await
}

pub(super) async fn drain(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
) -> ApiResult<Json<WorkerView>> {
    want(&api, &caller, &name, Wanted::Draining).await?;
    show(State(api), Path(name)).await
}

pub(super) async fn resume(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
) -> ApiResult<Json<WorkerView>> {
    want(&api, &caller, &name, Wanted::Active).await?;
    show(State(api), Path(name)).await
}

/// Its credential opens nothing from now on, and its connection is closed.
pub(super) async fn remove(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
) -> ApiResult<Response> {
    want(&api, &caller, &name, Wanted::Removed).await?;
    api.credentials.forget();
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(super) async fn create_join_token(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Body(_): Body<CreateJoinToken>,
) -> ApiResult<Response> {
    let created = make_join_token(&api).await?;
    note(&api, &caller, "worker.join_token", "", "ok".to_owned()).await?;
    Ok((StatusCode::CREATED, Json(created)).into_response())
}

/// A token that lets one worker join; only its hash is kept.
pub async fn make_join_token(api: &Api) -> ApiResult<JoinTokenCreated> {
    let secret = new_secret("");
    let now = api.clock.wall();
    let expires_at = now + SignedDuration::from_secs(JOIN_LIFE_S);
    let secret_hash = hash(&secret);
    api.engine
        .write(move |connection| workers::insert_join_token(connection, &secret_hash, now, expires_at))
        .await?;
    let token = JoinToken {
        url: api.about.http_url.clone(),
        ca_fingerprint: None,
        secret,
    };
    Ok(JoinTokenCreated {
        token: token.encode(),
        expires_at,
    })
}

/// A join token in, a credential out: using the one and making the other is one transaction.
pub(super) async fn join(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Body(wish): Body<JoinWorker>,
) -> ApiResult<Response> {
    check_worker_name(&wish.name).map_err(|error| {
        ApiError::from(Problem::new(Code::InvalidField, error.to_string()).field("name", wish.name.as_str()))
    })?;
    let secret = new_secret(WORKER_PREFIX);
    let worker = Worker {
        id: WorkerId::new(),
        name: wish.name,
        state: WorkerState::Offline,
        wanted: Wanted::Active,
        labels: wish.labels,
        slots: wish.slots.clamp(1, 1024),
        used: 0,
        models: vec![],
        version: String::new(),
        load: Load::default(),
        joined_at: api.clock.wall(),
        last_seen_at: None,
        session: None,
        live: false,
        boot: None,
        closed: None,
        warm: std::collections::VecDeque::new(),
    };
    let id = worker.id;
    let new = NewWorker {
        join_sha256: hash(&wish.token),
        secret_sha256: hash(&secret),
        worker,
    };
    let name = match api.engine.join(new).await {
        Ok(name) => name,
        Err(error) => {
            note(&api, &caller, "worker.join", "", error.to_string()).await?;
            return Err(error.into());
        }
    };
    note(&api, &caller, "worker.join", &name, "ok".to_owned()).await?;
    let credential = WorkerCredential {
        id,
        name,
        secret,
        http_url: api.about.http_url.clone(),
        mqtt_address: api.about.mqtt_address.clone(),
        ca: None,
    };
    Ok((StatusCode::CREATED, Json(credential)).into_response())
}
