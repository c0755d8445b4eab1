//! The retained summaries, built from the world when somebody wants them.

use std::collections::BTreeMap;

use protocol::{
    http::workers::WorkerView,
    id::JobId,
    job::JobLink,
    public::{AwaitingStep, JobSummary, OpenJobs, Presence, Roster, WorkerSummary},
    step::StepState,
    topic::Topic,
    worker::WorkerState,
};
use serde_json::{Value, json};

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
            found.push((topic, json!(of_worker(worker))));
        }
    }
    if wanted(&Topic::Workers) {
        let truncated = roster.len() > ROSTER;
        let workers = roster.into_iter().take(ROSTER).collect();
        found.push((Topic::Workers, json!(Roster { workers, truncated })));
    }
    if wanted(&Topic::JobsOpen) {
        found.push((Topic::JobsOpen, json!(open)));
    }
    found
}

fn of_worker(worker: &WorkerView) -> WorkerSummary {
    let is_online = worker.state == WorkerState::Online;
    WorkerSummary {
        name: worker.name.clone(),
        id: worker.id,
        state: if is_online {
            Presence::Online
        } else {
            Presence::Offline
        },
        wanted: worker.wanted,
        load: worker.load,
        slots: worker.slots,
        slots_used: worker.slots_used,
        current: worker.current.clone(),
    }
}

fn open_jobs(world: &World) -> OpenJobs {
    let mut counts = BTreeMap::new();
    for job in world.jobs.values() {
        *counts.entry(job.state).or_default() += 1;
    }
    OpenJobs {
        counts,
        jobs: world.jobs.values().take(OPEN_JOBS).map(of_job).collect(),
        truncated: world.jobs.len() > OPEN_JOBS,
    }
}

fn of_job(job: &Job) -> JobSummary {
    let steps = job.steps.iter();
    let awaiting = steps.clone().filter(|step| step.state == StepState::Awaiting);
    JobSummary {
        job: job.link(),
        title: job.title.clone(),
        workflow: job.workflow.name.clone(),
        state: job.state,
        reason: None,
        steps: steps
            .clone()
            .map(|step| (step.key.to_string(), json!(step.state)))
            .collect(),
        awaiting: awaiting
            .map(|step| AwaitingStep {
                step: step.key.clone(),
                until: step.approval.as_ref().map(|wait| wait.until),
            })
            .collect(),
        steps_done: steps.filter(|step| step.state.is_terminal()).count() as u64,
        steps_total: job.steps.len() as u64,
        usage: job.usage,
    }
}

/// A job's whole summary; an ended one comes from the tables.
pub(super) async fn job(api: &Api, id: JobId) -> Option<JobSummary> {
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
    let steps = view
        .steps
        .iter()
        .map(|step| (step.key.to_string(), json!(step.state)));
    Some(JobSummary {
        job: JobLink {
            number: view.number,
            id: view.id,
        },
        steps: steps.collect(),
        title: view.title,
        workflow: view.workflow,
        state: view.state,
        reason: view.reason,
        awaiting: vec![],
        steps_done: u64::from(view.steps_done),
        steps_total: u64::from(view.steps_total),
        usage: view.usage,
    })
}
