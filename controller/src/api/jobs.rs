//! `/v1/jobs`: look at jobs and act on them.

use axum::{Extension, Json, extract::State};
use protocol::{
    http::{
        Page,
        jobs::{JobView, ListJobs, SalvageAttempt, Why},
        problem::{Code, Problem},
    },
    job::JobState,
};
use serde::Deserialize;

use crate::{
    orchestrator::{Event, Facts, why as explain},
    state::{Connection, StateError, audit, load, views},
};

use super::{
    Api,
    auth::Caller,
    extract::{Body, OfJob, Params},
    problem::{ApiError, ApiResult, not_found},
};

/// The query of a list.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    state: Option<String>,
    workflow: Option<String>,
    search: Option<String>,
    cursor: Option<String>,
    limit: Option<u32>,
}

pub(super) async fn list(
    State(api): State<Api>,
    Params(query): Params<ListQuery>,
) -> ApiResult<Json<Page<JobView>>> {
    let split = |text: &Option<String>| -> Vec<String> {
        text.iter()
            .flat_map(|text| text.split(','))
            .filter(|part| !part.is_empty())
            .map(str::to_owned)
            .collect()
    };
    let mut state = vec![];
    for name in split(&query.state) {
        let parsed: JobState = name.parse().map_err(|error: protocol::job::UnknownName| {
            Problem::new(Code::InvalidQuery, error.to_string()).field("state", name.as_str())
        })?;
        state.push(parsed);
    }
    if let Some(cursor) = query
        .cursor
        .as_ref()
        .filter(|cursor| cursor.parse::<u64>().is_err())
    {
        let problem = Problem::new(
            Code::InvalidQuery,
            "the cursor is not one that a list has answered",
        );
        return Err(problem.field("cursor", cursor.as_str()).into());
    }
    let list = ListJobs {
        state,
        workflow: split(&query.workflow),
        search: query.search,
        cursor: query.cursor,
        limit: query.limit,
    };
    let (items, next) = api
        .readers
        .query(move |connection| views::jobs(connection, &list))
        .await?;
    Ok(Json(Page {
        items,
        next_cursor: next.map(|number| number.to_string()),
    }))
}

pub(super) async fn show(State(api): State<Api>, job: OfJob) -> ApiResult<Json<JobView>> {
    view(&api, &job).await
}

/// The job as it is on disk.
pub(crate) async fn view(api: &Api, job: &OfJob) -> ApiResult<Json<JobView>> {
    let (id, number) = (job.id, job.number);
    let view = api
        .readers
        .query(move |connection| views::job(connection, id))
        .await?;
    view.map(Json)
        .ok_or_else(|| not_found("job", number, "it was removed a moment ago"))
}

/// One change of a job by a person: decided, audited, shown.
pub(crate) async fn act(
    api: &Api,
    caller: &Caller,
    job: &OfJob,
    action: &str,
    event: Event,
) -> ApiResult<Json<JobView>> {
    let decided = api.engine.decide(event).await;
    let result = match &decided {
        Ok(()) => "ok".to_owned(),
        Err(error) => error.to_string(),
    };
    note(api, caller, action, &job.number.to_string(), result).await?;
    decided?;
    view(api, job).await
}

/// Writes down who did what.
pub(crate) async fn note(
    api: &Api,
    caller: &Caller,
    action: &str,
    object: &str,
    result: String,
) -> Result<(), ApiError> {
    let entry = audit::AuditEntry {
        who: caller.who(),
        origin: caller.peer.ip.to_string(),
        action: action.to_owned(),
        object: object.to_owned(),
        result,
    };
    let at = api.clock.wall();
    let append =
        move |connection: &Connection| -> Result<(), StateError> { audit::append(connection, &entry, at) };
    Ok(api.engine.write(append).await?)
}

pub(super) async fn cancel(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    job: OfJob,
) -> ApiResult<Json<JobView>> {
    act(&api, &caller, &job, "job.cancel", Event::CancelJob(job.id)).await
}

pub(super) async fn retry(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    job: OfJob,
) -> ApiResult<Json<JobView>> {
    act(&api, &caller, &job, "job.retry", Event::RetryJob(job.id)).await
}

pub(super) async fn resume(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    job: OfJob,
) -> ApiResult<Json<JobView>> {
    act(&api, &caller, &job, "job.resume", Event::ResumeJob(job.id)).await
}

pub(super) async fn salvage(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    job: OfJob,
    Body(SalvageAttempt { step, attempt }): Body<SalvageAttempt>,
) -> ApiResult<Json<JobView>> {
    let event = Event::Salvage {
        job: job.id,
        step,
        attempt,
        facts: Facts::default(),
    };
    act(&api, &caller, &job, "job.salvage", event).await
}

pub(super) async fn why(State(api): State<Api>, job: OfJob) -> ApiResult<Json<Why>> {
    explained(&api, &job).await.map(Json)
}

/// What a job waits for.
pub(crate) async fn explained(api: &Api, job: &OfJob) -> ApiResult<Why> {
    let id = job.id;
    let open = api
        .engine
        .inspect(move |world, now| {
            world
                .jobs
                .get(&id)
                .map(|job| explain::explain(world, job, now.mono))
        })
        .await?;
    if let Some(why) = open {
        return Ok(why);
    }
    let now = api.engine.inspect(|world, now| (world.limits, now)).await?;
    let ended = api
        .readers
        .query(move |connection| load::job(connection, id, &now.0, now.1))
        .await?;
    let job = ended.ok_or_else(|| not_found("job", job.number, "it was removed a moment ago"))?;
    let reason = job
        .reason
        .map_or_else(String::new, |reason| format!(": {reason}"));
    Ok(Why {
        state: job.state,
        summary: format!("job {} has ended: it {}{reason}", job.number, ended_as(job.state)),
        guard: None,
        hint: None,
        steps: vec![],
    })
}

const fn ended_as(state: JobState) -> &'static str {
    match state {
        JobState::Succeeded => "succeeded",
        JobState::Failed => "failed",
        JobState::Cancelled => "was cancelled",
        _ => "goes on",
    }
}
