//! Health, figures, and the controller at a glance.

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
};
use protocol::{
    http::status::{DiskUsed, Status},
    step::StepState,
    worker::{Wanted, WorkerState},
};
use schemars::JsonSchema;
use serde::Serialize;
use service::obs::metrics;

use crate::{orchestrator::World, state::usage};

use super::{Api, problem::ApiResult};

/// Says that the process lives.
#[derive(Serialize, JsonSchema)]
pub(super) struct Alive {
    /// `ok`.
    status: &'static str,
}

/// Says that it can take work.
#[derive(Serialize, JsonSchema)]
pub(super) struct Ready {
    /// `ready`.
    status: &'static str,
    /// This start of the controller.
    epoch: u64,
}

/// The process lives.
pub(super) async fn healthz() -> Json<Alive> {
    Json(Alive { status: "ok" })
}

/// The engine answers and the tables can be read.
pub(super) async fn readyz(State(api): State<Api>) -> ApiResult<Json<Ready>> {
    api.engine.inspect(|_, _| ()).await?;
    api.readers.query(crate::state::events::first_seq).await?;
    Ok(Json(Ready {
        status: "ready",
        epoch: api.about.epoch,
    }))
}

/// `OpenMetrics` for who asks for it, as Prometheus does; else its older text.
pub(super) async fn metrics(State(api): State<Api>, headers: HeaderMap) -> Response {
    let counted = api.engine.inspect(|world, _| {
        let mut jobs: std::collections::BTreeMap<_, u64> = std::collections::BTreeMap::new();
        for job in world.jobs.values() {
            *jobs.entry(job.state).or_default() += 1;
        }
        (jobs.into_iter().collect::<Vec<_>>(), world.ready.len() as u64)
    });
    if let Ok((jobs, depth)) = counted.await {
        api.telemetry.jobs(&jobs);
        api.telemetry.queue_depth(depth);
    }
    api.telemetry.disk_used(&disk_used(&api));
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    let (kind, text) = if accept.is_some_and(|accept| accept.contains("application/openmetrics-text")) {
        (metrics::CONTENT_TYPE, api.telemetry.metrics_text())
    } else {
        (metrics::PLAIN_CONTENT_TYPE, api.telemetry.plain_metrics_text())
    };
    ([(header::CONTENT_TYPE, HeaderValue::from_static(kind))], text).into_response()
}

pub(super) async fn status(State(api): State<Api>) -> ApiResult<Json<Status>> {
    Ok(Json(glance(&api).await?))
}

/// The controller at a glance: also what `agentd/status` says.
pub async fn glance(api: &Api) -> ApiResult<Status> {
    let counts = api.engine.inspect(|world, _| counts(world)).await?;
    let wall = api.clock.wall();
    let today = api
        .readers
        .query(move |connection| usage::of_day(connection, wall))
        .await?;
    let about = &api.about;
    Ok(Status {
        state: "online".to_owned(),
        version: about.version.to_owned(),
        epoch: about.epoch,
        uptime_s: api.clock.mono_ms().saturating_sub(about.started_ms) / 1000,
        today,
        disk_free: free_bytes(&about.state_dir),
        disk_used: disk_used(api),
        ..counts
    })
}

fn counts(world: &World) -> Status {
    let workers = || {
        world
            .workers
            .values()
            .filter(|worker| worker.wanted != Wanted::Removed)
    };
    Status {
        state: String::new(),
        version: String::new(),
        epoch: 0,
        uptime_s: 0,
        queue_depth: world.ready.len() as u64,
        running: workers().map(|worker| u64::from(worker.used)).sum(),
        awaiting: awaiting(world),
        jobs_open: world.jobs.len() as u64,
        workers_online: workers()
            .filter(|worker| worker.state == WorkerState::Online)
            .count() as u64,
        workers: workers().count() as u64,
        paused: world.paused,
        today: protocol::usage::Usage::default(),
        disk_free: 0,
        disk_used: DiskUsed::default(),
        models: world.models.aliases.keys().cloned().collect(),
    }
}

/// Steps that wait for a person.
fn awaiting(world: &World) -> u64 {
    let steps = world.jobs.values().flat_map(|job| &job.steps);
    steps.filter(|step| step.state == StepState::Awaiting).count() as u64
}

fn disk_used(api: &Api) -> DiskUsed {
    let size = |name: &str| std::fs::metadata(api.about.state_dir.join(name)).map_or(0, |file| file.len());
    DiskUsed {
        database: size("agentd.db") + size("agentd.db-wal"),
        blobs: api.blobs.bytes(),
        logs: api.logs.bytes(),
    }
}

fn free_bytes(folder: &std::path::Path) -> u64 {
    rustix::fs::statvfs(folder).map_or(0, |stat| stat.f_bavail.saturating_mul(stat.f_frsize))
}
