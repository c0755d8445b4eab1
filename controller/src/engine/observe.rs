//! What a committed group means for metrics and the log.

use std::time::Duration;

use jiff::Timestamp;
use protocol::{
    event::{Event, EventKind},
    job::JobState,
    step::{AttemptState, StepState},
    worker::WorkerState,
};

use crate::{
    orchestrator::{Changes, Now, World},
    telemetry::{LostBecause, OnWorker, Telemetry},
};

/// Counts and logs a group, while the world still holds what it names.
pub(super) fn observe(telemetry: &Telemetry, world: &World, changes: &Changes, events: &[Event], now: Now) {
    for event in events {
        observe_event(telemetry, world, event, now);
    }
    for id in &changes.attempts {
        let Some((job, key)) = world.place_of(*id) else {
            continue;
        };
        let attempts = world.step(job, &key).map(|step| &step.attempts);
        let attempt = attempts.and_then(|attempts| attempts.iter().find(|attempt| attempt.id == *id));
        let Some(attempt) = attempt.filter(|attempt| attempt.ended_at == Some(now.wall)) else {
            continue;
        };
        let what = OnWorker {
            job: world.jobs[&job].number,
            step: &key,
            attempt: *id,
            worker: &attempt.worker_name,
        };
        if attempt.state == AttemptState::Lost {
            telemetry.attempt_lost(what, LostBecause::Silence);
        } else {
            let took = between(attempt.started_at.unwrap_or(attempt.offered_at), now.wall);
            telemetry.attempt_ended(what, attempt.state, took);
        }
        if let Some(model) = attempt.model.as_ref().filter(|_| !attempt.usage.is_zero()) {
            telemetry.llm_used(&model.provider, &model.model, &attempt.usage);
        }
    }
}

fn observe_event(telemetry: &Telemetry, world: &World, event: &Event, now: Now) {
    let text = |name: &str| {
        event
            .data
            .get(name)
            .and_then(|value| value.as_str())
            .unwrap_or_default()
    };
    let job = event.job.and_then(|link| world.jobs.get(&link.id));
    match (event.kind, job) {
        (EventKind::JobCreated, Some(job)) => telemetry.job_submitted(job.number, &job.workflow.name),
        (EventKind::JobState, Some(job)) => match text("state").parse() {
            Ok(JobState::Parked) => telemetry.job_parked(job.number, text("reason")),
            Ok(state) if JobState::is_terminal(state) => {
                telemetry.job_ended(job.number, state, between(job.created_at, now.wall));
            }
            _ => {}
        },
        (EventKind::StepState, Some(job)) => {
            let step = event.step.as_ref().and_then(|key| job.step(key));
            let current = step.and_then(|step| step.current());
            if let (Some(step), Some(attempt), Ok(StepState::Offered)) =
                (step, current, text("state").parse())
            {
                let what = OnWorker {
                    job: job.number,
                    step: &step.key,
                    attempt: attempt.id,
                    worker: &attempt.worker_name,
                };
                let waited = step.ready_since.map_or(0, |since| now.mono.saturating_sub(since));
                telemetry.step_offered(what, Duration::from_millis(waited));
            }
        }
        (EventKind::WorkerJoined, _) => telemetry.worker_joined(text("worker")),
        (EventKind::WorkerRemoved, _) => telemetry.worker_removed(text("worker")),
        (EventKind::WorkerState, _) => match text("state").parse() {
            Ok(WorkerState::Online) => {
                let worker = world
                    .workers
                    .values()
                    .find(|worker| worker.name == text("worker"));
                if let Some(worker) = worker {
                    telemetry.worker_online(&worker.name, &worker.version, worker.slots);
                }
            }
            Ok(WorkerState::Offline) => telemetry.worker_offline(text("worker")),
            _ => {}
        },
        _ => {}
    }
}

fn between(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}
