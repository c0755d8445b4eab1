//! Rebuilds the world from the tables.

use std::{collections::HashMap, sync::Arc};

use protocol::{
    id::JobId,
    job::JobState,
    step::{AttemptState, StepState},
};
use rusqlite::Connection;

use crate::{
    orchestrator::{
        Now, World,
        timers::Timer,
        world::{Job, Limits, Step},
    },
    workflow::model::Workflow,
};

use super::{
    StateError, attempts,
    jobs::{self, COLUMNS, JobRow},
    meta, steps, workers,
};

/// Fills a world with all workers and all open jobs. No lease dies before now + lease + grace, so that
/// workers can come back.
pub fn world(connection: &Connection, world: &mut World, now: Now) -> Result<(), StateError> {
    world.paused = meta::get(connection, meta::PAUSED)?.as_deref() == Some("1");
    for worker in workers::all(connection)? {
        world.workers.insert(worker.id, worker);
    }
    let rows: Vec<JobRow> = connection
        .prepare(&open_jobs())?
        .query_map([], JobRow::read)?
        .collect::<Result<_, _>>()?;
    let mut workflows: HashMap<String, Arc<Workflow>> = HashMap::new();
    for row in rows {
        let workflow = match workflows.get(&row.workflow_sha256) {
            Some(workflow) => workflow.clone(),
            None => {
                let workflow = Arc::new(jobs::pinned(connection, &row.workflow_sha256)?);
                workflows.insert(row.workflow_sha256.clone(), workflow.clone());
                workflow
            }
        };
        let job = with_steps(connection, row.into_job(workflow), &world.limits, now)?;
        set_timers(world, &job, now);
        world.adopt_job(job);
    }
    Ok(())
}

/// The states are named one by one: only then the index leads past a long history.
fn open_jobs() -> String {
    let open = JobState::ALL.iter().filter(|state| !state.is_terminal());
    let open: Vec<String> = open.map(|state| format!("'{state}'")).collect();
    format!("SELECT {COLUMNS} FROM jobs WHERE state IN ({})", open.join(", "))
}

/// One job with its steps and attempts, ended or not.
pub fn job(connection: &Connection, id: JobId, limits: &Limits, now: Now) -> Result<Option<Job>, StateError> {
    use rusqlite::OptionalExtension;
    let sql = format!("SELECT {COLUMNS} FROM jobs WHERE id = ?1");
    let row = connection
        .prepare_cached(&sql)?
        .query_row([id.uuid().as_bytes()], JobRow::read)
        .optional()?;
    let Some(row) = row else {
        return Ok(None);
    };
    let workflow = Arc::new(jobs::pinned(connection, &row.workflow_sha256)?);
    with_steps(connection, row.into_job(workflow), limits, now).map(Some)
}

fn with_steps(connection: &Connection, mut job: Job, limits: &Limits, now: Now) -> Result<Job, StateError> {
    job.steps = steps::of_job(connection, job.id)?;
    for mut row in attempts::of_job(connection, job.id)? {
        let attempt = &mut row.attempt;
        let lease = now.mono + limits.lease_ms;
        attempt.due = match attempt.state {
            AttemptState::Offered | AttemptState::Running => lease,
            AttemptState::Suspect => lease + limits.grace_agent_ms,
            AttemptState::Cancelling => lease + limits.cancel_grace_ms,
            _ => 0,
        };
        if let Some(after) = row.hard_after_ms {
            attempt.hard_due = attempt.due + after.max(0) as u64;
        }
        if let Some(step) = job.step_mut(&row.step) {
            step.attempts.push(row.attempt);
        }
    }
    Ok(job)
}

fn set_timers(world: &mut World, job: &Job, now: Now) {
    if job.workflow.timeout.is_some() {
        world.timers.insert((now.mono, Timer::Job(job.id)));
    }
    let waits = |step: &&Step| matches!(step.state, StepState::RetryWait | StepState::Awaiting);
    for step in job.steps.iter().filter(waits) {
        world
            .timers
            .insert((now.mono, Timer::Step(job.id, step.key.clone())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::migrate;

    #[test]
    fn a_start_reads_open_jobs_by_an_index() {
        let mut connection = Connection::open_in_memory().expect("opens");
        migrate::migrate(&mut connection, std::path::Path::new("agentd.db")).expect("migrates");
        let plan: String = connection
            .query_row(&format!("EXPLAIN QUERY PLAN {}", open_jobs()), [], |row| {
                row.get(3)
            })
            .expect("a plan");
        assert!(plan.contains("USING INDEX jobs_by_state"), "{plan}");
    }
}
