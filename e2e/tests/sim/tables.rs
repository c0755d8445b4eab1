//! What a controller has on disk: the rows that its decisions named, and nothing
//! else. A start reads the world back from here, by the rules of `state::load`.

use std::collections::{BTreeMap, BTreeSet};

use controller::orchestrator::{
    Changes, Now, World,
    timers::Timer,
    world::{Attempt, Job, Limits, Step, Worker},
};
use protocol::{
    id::{AttemptId, JobId, WorkerId},
    job::StepKey,
    step::{AttemptState, StepState},
    worker::{Wanted, WorkerState},
};

/// An attempt with how long its hard limit is after its next deadline.
struct AttemptRow {
    job: JobId,
    step: StepKey,
    attempt: Attempt,
    hard_after: Option<u64>,
}

/// The tables.
#[derive(Default)]
pub(crate) struct Tables {
    jobs: BTreeMap<JobId, Job>,
    steps: BTreeMap<(JobId, StepKey), Step>,
    attempts: BTreeMap<AttemptId, AttemptRow>,
    by_job: BTreeMap<JobId, Vec<AttemptId>>,
    workers: BTreeMap<WorkerId, Worker>,
    late: BTreeSet<AttemptId>,
    paused: bool,
}

impl Tables {
    /// A transaction, as `Store::save` writes it.
    pub(crate) fn commit(&mut self, world: &World, changes: &Changes) {
        for id in &changes.workers {
            if let Some(worker) = world.workers.get(id) {
                self.workers.insert(*id, worker.clone());
            }
        }
        for id in &changes.jobs {
            if let Some(job) = world.jobs.get(id) {
                self.jobs.insert(*id, head(job));
            }
        }
        for (id, key) in &changes.steps {
            if let Some(step) = world.step(*id, key) {
                self.steps.insert((*id, key.clone()), row_of(step));
            }
        }
        for id in &changes.attempts {
            self.save_attempt(world, *id);
        }
        for result in &changes.late {
            self.late.insert(result.attempt);
        }
        if let Some(paused) = changes.paused {
            self.paused = paused;
        }
    }

    fn save_attempt(&mut self, world: &World, id: AttemptId) {
        let Some((job, key)) = world.attempts.get(&id) else {
            return;
        };
        let step = world.step(*job, key);
        let attempt = step.and_then(|step| step.attempts.iter().find(|attempt| attempt.id == id));
        let Some(attempt) = attempt else {
            return;
        };
        let limited = attempt.state.is_open() && attempt.hard_due != u64::MAX;
        let row = AttemptRow {
            job: *job,
            step: key.clone(),
            attempt: attempt.clone(),
            hard_after: limited.then(|| attempt.hard_due.saturating_sub(attempt.due)),
        };
        if self.attempts.insert(id, row).is_none() {
            self.by_job.entry(*job).or_default().push(id);
        }
    }

    /// The world of a controller that starts now.
    pub(crate) fn load(&self, mut world: World, now: Now) -> World {
        world.paused = self.paused;
        for worker in self.workers.values().filter(|w| w.wanted != Wanted::Removed) {
            let mut worker = worker.clone();
            worker.state = WorkerState::Offline;
            (worker.used, worker.live, worker.closed) = (0, false, None);
            worker.warm.clear();
            world.workers.insert(worker.id, worker);
        }
        for head in self.jobs.values().filter(|job| !job.state.is_terminal()) {
            let job = self.job(head.id, &world.limits, now).expect("it is a row");
            if job.workflow.timeout.is_some() {
                world.timers.insert((now.mono, Timer::Job(job.id)));
            }
            let waits = |step: &&Step| matches!(step.state, StepState::RetryWait | StepState::Awaiting);
            for step in job.steps.iter().filter(waits) {
                let timer = Timer::Step(job.id, step.key.clone());
                world.timers.insert((now.mono, timer));
            }
            world.adopt_job(job);
        }
        world
    }

    /// One job with its steps and attempts, ended or not.
    pub(crate) fn job(&self, id: JobId, limits: &Limits, now: Now) -> Option<Job> {
        let mut job = head(self.jobs.get(&id)?);
        let from = (id, StepKey::top(""));
        let steps = self.steps.range(from..).take_while(|((job, _), _)| *job == id);
        job.steps = steps.map(|(_, step)| step.clone()).collect();
        job.steps.sort_by(|a, b| a.position.cmp(&b.position));
        let rows = self.by_job.get(&id).into_iter().flatten();
        let mut rows: Vec<&AttemptRow> = rows.map(|attempt| &self.attempts[attempt]).collect();
        rows.sort_by_key(|row| row.attempt.number);
        for row in rows {
            let mut attempt = row.attempt.clone();
            let lease = now.mono + limits.lease_ms;
            attempt.due_on_disk = 0;
            attempt.due = match attempt.state {
                AttemptState::Offered | AttemptState::Running => lease,
                AttemptState::Suspect => lease + limits.grace_agent_ms,
                AttemptState::Cancelling => lease + limits.cancel_grace_ms,
                _ => 0,
            };
            attempt.hard_due = row.hard_after.map_or(u64::MAX, |after| attempt.due + after);
            if let Some(step) = job.step_mut(&row.step) {
                step.attempts.push(attempt);
            }
        }
        Some(job)
    }

    /// Whether the outcome of an attempt is on disk.
    pub(crate) fn is_recorded(&self, attempt: AttemptId) -> bool {
        self.late.contains(&attempt)
            || self
                .attempts
                .get(&attempt)
                .is_some_and(|row| row.attempt.recorded)
    }

    /// The job that an attempt belongs to.
    pub(crate) fn owner(&self, attempt: AttemptId) -> Option<JobId> {
        self.attempts.get(&attempt).map(|row| row.job)
    }

    /// How a job stands, ended or not.
    pub(crate) fn head_of(&self, job: JobId) -> Option<&Job> {
        self.jobs.get(&job)
    }
}

fn head(job: &Job) -> Job {
    Job {
        id: job.id,
        number: job.number,
        state: job.state,
        workflow: job.workflow.clone(),
        inputs: job.inputs.clone(),
        title: job.title.clone(),
        priority: job.priority,
        labels: job.labels.clone(),
        repo: job.repo.clone(),
        base: job.base.clone(),
        budget: job.budget,
        group: job.group.clone(),
        created_at: job.created_at,
        started_at: job.started_at,
        revived_at: job.revived_at,
        ended_at: job.ended_at,
        reason: job.reason.clone(),
        cancel_requested: job.cancel_requested,
        overdue: job.overdue,
        usage: job.usage,
        steps: vec![],
    }
}

/// A step without what only memory holds.
fn row_of(step: &Step) -> Step {
    Step {
        key: step.key.clone(),
        path: step.path.clone(),
        position: step.position.clone(),
        state: step.state,
        needs: step.needs.clone(),
        skipped_by_need: step.skipped_by_need,
        attempts: vec![],
        work_left: step.work_left,
        infra_left: step.infra_left,
        ready_since: None,
        not_before: step.not_before,
        excluded: vec![],
        outputs: step.outputs.clone(),
        workspace: step.workspace.clone(),
        error: step.error.clone(),
        note: step.note.clone(),
        usage: step.usage,
        started_at: step.started_at,
        ended_at: step.ended_at,
        round: step.round,
        last_round: step.last_round,
        checkpoint: step.checkpoint.clone(),
        approval: step.approval.clone(),
    }
}
