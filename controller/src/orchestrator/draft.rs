//! A decision in the making: the world that it moves, what it changed, and
//! what must be said once that is on disk.

use std::collections::BTreeSet;

use jiff::Timestamp;
use protocol::{
    event::EventKind,
    id::{AttemptId, JobId, WorkerId},
    job::{JobLink, JobState, StepKey},
    message::{Refused, Session, StepResult, ToWorker},
    step::{AttemptState, StepState},
    usage::Usage,
    worker::WorkerState,
};
use serde_json::{Map, Value, json};

use super::{
    timers::Timer,
    world::{Attempt, Job, Step, World},
};

/// The time of a decision on both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Wall time: for rows, retries and people.
    pub wall: Timestamp,
    /// Monotonic milliseconds: for leases and deadlines.
    pub mono: u64,
}

/// Where new ids and jitter come from; seeded under a simulator.
pub trait Entropy {
    /// A new attempt id.
    fn attempt_id(&mut self) -> AttemptId;
    /// Uniform in `[0, 1)`.
    fn unit(&mut self) -> f64;
}

/// The rows that a decision touched; their new content is in the world.
#[derive(Debug, Default)]
pub struct Changes {
    /// Jobs.
    pub jobs: BTreeSet<JobId>,
    /// Steps.
    pub steps: BTreeSet<(JobId, StepKey)>,
    /// Attempts.
    pub attempts: BTreeSet<AttemptId>,
    /// Workers.
    pub workers: BTreeSet<WorkerId>,
    /// Late results of attempts that the world does not hold (rules 9a and 9c).
    pub late: Vec<StepResult>,
    /// Artifacts that came with an applied result.
    pub artifacts: Vec<(JobId, StepKey, AttemptId, protocol::artifact::ArtifactRef)>,
    /// What model calls cost in this group of decisions.
    pub used: Usage,
    /// Jobs that ended in this decision.
    pub ended: Vec<JobId>,
    /// What happened, in order.
    pub events: Vec<NewEvent>,
    /// Whether dispatch as a whole was stopped or resumed.
    pub paused: Option<bool>,
}

/// An event that gets its sequence number at the commit.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// What happened.
    pub kind: EventKind,
    /// To which job.
    pub job: Option<JobLink>,
    /// To which step.
    pub step: Option<StepKey>,
    /// To which attempt.
    pub attempt: Option<AttemptId>,
    /// The rest.
    pub data: Map<String, Value>,
}

impl Changes {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.jobs.is_empty()
            && self.steps.is_empty()
            && self.attempts.is_empty()
            && self.workers.is_empty()
            && self.late.is_empty()
            && self.artifacts.is_empty()
            && self.events.is_empty()
            && self.paused.is_none()
    }
}

/// What is to be done once the changes are on disk.
#[derive(Clone, Debug)]
pub enum Effect {
    /// A message for a worker, in its current session.
    Say {
        /// To whom.
        worker: WorkerId,
        /// In which session.
        session: Session,
        /// What.
        message: ToWorker,
    },
    /// The worker's connection must be closed.
    Kick(WorkerId),
}

/// A decision in the making.
pub struct Draft<'w> {
    /// What it moves.
    pub world: &'w mut World,
    /// When it happens.
    pub now: Now,
    /// Where ids and jitter come from.
    pub entropy: &'w mut dyn Entropy,
    /// What it changed so far.
    pub changes: &'w mut Changes,
    /// What must be said.
    pub effects: &'w mut Vec<Effect>,
}

/// Longest text in an event, in bytes: thousands of events wait in memory for their readers.
const EVENT_TEXT: usize = 2000;

/// Cuts every text in an event's data to [`EVENT_TEXT`].
fn shorten(value: &mut Value) {
    match value {
        Value::String(text) if text.len() > EVENT_TEXT => {
            let end = (0..=EVENT_TEXT).rev().find(|at| text.is_char_boundary(*at));
            text.truncate(end.unwrap_or(0));
            text.push('…');
        }
        Value::Array(items) => items.iter_mut().for_each(shorten),
        Value::Object(fields) => fields.values_mut().for_each(shorten),
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

impl Draft<'_> {
    /// Says something to a worker, if it has a live session; else its next Hello will bring it up.
    pub(super) fn say(&mut self, worker: WorkerId, message: ToWorker) {
        let Some(known) = self.world.workers.get(&worker) else {
            return;
        };
        if let (true, Some(session)) = (known.live, known.session) {
            self.effects.push(Effect::Say {
                worker,
                session,
                message,
            });
        }
    }

    /// Says why a worker gets nothing to do, in a session that is not adopted.
    pub(super) fn refuse(&mut self, worker: WorkerId, session: Session, why: String) {
        self.effects.push(Effect::Say {
            worker,
            session,
            message: ToWorker::Refused(Refused { why }),
        });
    }

    /// A job that is known to be in the world.
    pub(super) fn job_mut(&mut self, job: JobId) -> &mut Job {
        self.changes.jobs.insert(job);
        self.world
            .jobs
            .get_mut(&job)
            .expect("a decision only names jobs of the world")
    }

    /// A step that is known to be in the world.
    pub(super) fn step_mut(&mut self, job: JobId, key: &StepKey) -> &mut Step {
        self.changes.steps.insert((job, key.clone()));
        let job = self
            .world
            .jobs
            .get_mut(&job)
            .expect("a decision only names jobs of the world");
        job.step_mut(key)
            .expect("a decision only names steps of their job")
    }

    /// The current attempt of a step that has one.
    pub(super) fn current_mut(&mut self, job: JobId, key: &StepKey) -> &mut Attempt {
        let step = self.world.jobs.get_mut(&job).and_then(|job| job.step_mut(key));
        let attempt = step.and_then(|step| step.attempts.last_mut());
        let attempt = attempt.expect("only a step with an attempt is asked for it");
        self.changes.attempts.insert(attempt.id);
        attempt
    }

    /// Records that something happened.
    pub(super) fn event(
        &mut self,
        kind: EventKind,
        job: Option<JobId>,
        step: Option<&StepKey>,
        attempt: Option<AttemptId>,
        data: Value,
    ) {
        let link = job.and_then(|id| self.world.jobs.get(&id)).map(Job::link);
        let mut data = match data {
            Value::Object(data) => data,
            _ => Map::new(),
        };
        data.values_mut().for_each(shorten);
        self.changes.events.push(NewEvent {
            kind,
            job: link,
            step: step.cloned(),
            attempt,
            data,
        });
    }

    /// Moves a job to another state.
    pub(crate) fn set_job_state(&mut self, id: JobId, state: JobState, reason: Option<String>) {
        let wall = self.now.wall;
        let job = self.job_mut(id);
        let from = job.state;
        if from == state {
            return;
        }
        job.state = state;
        if reason.is_some() || !state.is_terminal() {
            job.reason.clone_from(&reason);
        }
        let reason = job.reason.clone();
        job.ended_at = state.is_terminal().then_some(wall);
        if state.is_terminal() {
            self.changes.ended.push(id);
        }
        let data = json!({"from": from, "state": state, "reason": reason});
        self.event(EventKind::JobState, Some(id), None, None, data);
    }

    /// Moves a step to another state and keeps the index of ready steps.
    pub(super) fn set_step_state(&mut self, id: JobId, key: &StepKey, state: StepState) {
        let now = self.now;
        let step = self.step_mut(id, key);
        let from = step.state;
        if from == state {
            return;
        }
        step.state = state;
        step.ended_at = state.is_terminal().then_some(now.wall);
        if state == StepState::Ready {
            step.ready_since = Some(now.mono);
        }
        if state != StepState::RetryWait {
            step.not_before = None;
        }
        let mut data = json!({"from": from, "state": state});
        if let Some(current) = step.current() {
            data["worker"] = json!(current.worker_name);
            data["number"] = json!(current.number);
            if let Some(model) = &current.model {
                data["model"] = json!(model);
            }
        }
        match &step.approval {
            Some(wait) if state == StepState::Awaiting => data["until"] = json!(wait.until),
            Some(wait) if wait.decided.is_some() && state.is_terminal() => {
                data["decided"] = json!(wait.decided);
            }
            _ => {}
        }
        if let (true, Some(error)) = (state != StepState::Running, &step.error) {
            data["error"] = json!(error);
        }
        let attempt = step.current().map(|attempt| attempt.id);
        let job = &self.world.jobs[&id];
        let step = job.step(key).expect("found above");
        let ready_key = job.ready_key(step);
        if state == StepState::Ready {
            self.world.ready.insert(ready_key);
        } else if from == StepState::Ready {
            self.world.ready.remove(&ready_key);
        }
        self.event(EventKind::StepState, Some(id), Some(key), attempt, data);
    }

    /// Moves the current attempt of a step to another state and keeps the worker's used slots.
    pub(super) fn set_attempt_state(&mut self, id: JobId, key: &StepKey, state: AttemptState) {
        let wall = self.now.wall;
        let attempt = self.current_mut(id, key);
        let (was_open, worker) = (attempt.state.is_open(), attempt.worker);
        attempt.state = state;
        attempt.ended_at = (!state.is_open()).then_some(wall);
        let (due, hard_due, attempt) = (attempt.due, attempt.hard_due, attempt.id);
        if !state.is_open() {
            self.world.timers.remove(&(due, Timer::Attempt(attempt)));
            self.world.timers.remove(&(hard_due, Timer::Hard(attempt)));
        }
        if let Some(worker) = self.world.workers.get_mut(&worker) {
            match (was_open, state.is_open()) {
                (true, false) => worker.used = worker.used.saturating_sub(1),
                (false, true) => worker.used += 1,
                _ => {}
            }
        }
    }

    /// Sets the next deadline of a step's current attempt.
    pub(super) fn set_due(&mut self, id: JobId, key: &StepKey, due: u64) {
        let attempt = self.current_mut(id, key);
        attempt.due = due;
        let timer = Timer::Attempt(attempt.id);
        self.world.timers.insert((due, timer));
    }

    /// Moves a worker to another observed state.
    pub(super) fn set_worker_state(&mut self, id: WorkerId, state: WorkerState) {
        let Some(worker) = self.world.workers.get_mut(&id) else {
            return;
        };
        if worker.state == state {
            return;
        }
        worker.state = state;
        let data = json!({"worker": worker.name, "state": state, "wanted": worker.wanted});
        self.changes.workers.insert(id);
        self.event(EventKind::WorkerState, None, None, None, data);
    }
}
