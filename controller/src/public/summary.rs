//! The retained summaries, built from the world when somebody wants them.

use protocol::{id::JobId, step::StepState, topic::Topic, worker::WorkerState};
use serde_json::{Map, Value, json};

use crate::{
    api::{Api, status, workers},
    orchestrator::{World, world::Job},
};

/// Workers in the roster.
const ROSTER: usize = 200;
/// Workers with a topic of their own.
const OWN_TOPICS: usize = 50;
/// Open jobs in the list.
const OPEN_JOBS: usize = 100;

/// All summaries whose topic is wanted.
pub(super) async fn all(api: &Api, wanted: impl Fn(&Topic) -> bool) -> Vec<(Topic, Value)> {
    let mut found = vec![];
    if wanted(&Topic::Status)
        && let Ok(status) = status::glance(api).await
    {
        found.push((Topic::Status, json!(status)));
    }
    let Ok((roster, open)) = api
        .engine
        .inspect(|world, _| (workers::roster(world), open_jobs(world)))
        .await
    else {
        return found;
    };
    for worker in roster.iter().take(OWN_TOPICS) {
        let topic = Topic::Worker(worker.name.clone());
        if wanted(&topic) {
            let state = if worker.state == WorkerState::Online {
                "online"
            } else {
                "offline"
            };
            let payload = json!({
                "name": worker.name, "id": worker.id, "state": state, "wanted": worker.wanted,
                "load": worker.load, "slots": worker.slots, "slots_used": worker.slots_used,
                "current": worker.current,
            });
            found.push((topic, payload));
        }
    }
    if wanted(&Topic::Workers) {
        let truncated = roster.len() > ROSTER;
        let items: Vec<_> = roster.into_iter().take(ROSTER).collect();
        found.push((Topic::Workers, json!({"workers": items, "truncated": truncated})));
    }
    if wanted(&Topic::JobsOpen) {
        found.push((Topic::JobsOpen, open));
    }
    found
}

fn open_jobs(world: &World) -> Value {
    let mut counts: Map<String, Value> = Map::new();
    for job in world.jobs.values() {
        let count = counts.entry(job.state.as_str()).or_insert(json!(0));
        *count = json!(count.as_u64().unwrap_or(0) + 1);
    }
    let jobs: Vec<Value> = world.jobs.values().take(OPEN_JOBS).map(of_job).collect();
    json!({"counts": counts, "jobs": jobs, "truncated": world.jobs.len() > OPEN_JOBS})
}

fn of_job(job: &Job) -> Value {
    let steps: Map<String, Value> = job
        .steps
        .iter()
        .map(|step| (step.key.to_string(), json!(step.state)))
        .collect();
    let awaiting: Vec<Value> = job
        .steps
        .iter()
        .filter(|step| step.state == StepState::Awaiting)
        .map(|step| json!({"step": step.key, "until": step.approval.as_ref().map(|wait| wait.until)}))
        .collect();
    let done = job.steps.iter().filter(|step| step.state.is_terminal()).count();
    json!({
        "job": job.link(), "title": job.title, "workflow": job.workflow.name, "state": job.state,
        "steps": steps, "awaiting": awaiting, "steps_done": done, "steps_total": job.steps.len(), "usage": job.usage,
    })
}

/// A job's whole summary; an ended one comes from the tables.
pub(super) async fn job(api: &Api, id: JobId) -> Option<Value> {
    let open = api
        .engine
        .inspect(move |world, _| world.jobs.get(&id).map(of_job))
        .await
        .ok()?;
    if open.is_some() {
        return open;
    }
    let view = api
        .readers
        .query(move |connection| crate::state::views::job(connection, id))
        .await
        .ok()??;
    let steps: Map<String, Value> = view
        .steps
        .iter()
        .map(|step| (step.key.to_string(), json!(step.state)))
        .collect();
    Some(json!({
        "job": {"number": view.number, "id": view.id}, "title": view.title, "workflow": view.workflow,
        "state": view.state, "reason": view.reason, "steps": steps, "steps_done": view.steps_done,
        "steps_total": view.steps_total, "usage": view.usage,
    }))
}
