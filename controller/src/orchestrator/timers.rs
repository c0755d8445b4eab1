//! What happens when a deadline passes. Entries may be stale: what they name
//! knows its own deadline and is asked again.

use protocol::{
    id::{AttemptId, JobId, WorkerId},
    job::StepKey,
    step::StepState,
};

use super::draft::Draft;

/// What a deadline belongs to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// Offer, lease, grace or cancel of an attempt.
    Attempt(AttemptId),
    /// Hard limit of an attempt.
    Hard(AttemptId),
    /// A step's wait before its next attempt, or for a person.
    Step(JobId, StepKey),
    /// A job's whole time limit.
    Job(JobId),
    /// A closed connection of a worker.
    Worker(WorkerId),
    /// Something that kept a step from a worker has passed.
    Dispatch,
}

/// Deadlines handled in one decision, so that a burst does not hold the writer for long.
const BATCH: usize = 1000;

/// A wait by the wall clock is looked at again after at most 10 minutes: somebody may set the clock,
/// as every machine does that boots in 1970.
const LOOK_AGAIN_MS: u64 = 600_000;

impl Draft<'_> {
    /// Handles what is due now.
    pub(super) fn fire_timers(&mut self) {
        for _ in 0..BATCH {
            let Some((due, _)) = self.world.timers.first() else {
                break;
            };
            if *due > self.now.mono {
                break;
            }
            let Some((_, timer)) = self.world.timers.pop_first() else {
                break;
            };
            self.fire(timer);
        }
    }

    fn fire(&mut self, timer: Timer) {
        match timer {
            Timer::Attempt(attempt) => {
                self.attempt_due(attempt);
                if let Some((job, _)) = self.world.place_of(attempt) {
                    self.settle(job);
                }
            }
            Timer::Hard(attempt) => self.hard_due(attempt),
            Timer::Step(job, key) => self.step_due(job, &key),
            Timer::Job(job) => self.job_due(job),
            Timer::Worker(worker) => self.worker_due(worker),
            Timer::Dispatch => {}
        }
    }

    /// Rule 15: the wait before the next attempt, or for a person, is over by the wall clock.
    fn step_due(&mut self, job: JobId, key: &StepKey) {
        let Some(step) = self.world.step(job, key) else {
            return;
        };
        let (state, until) = match step.state {
            StepState::RetryWait => (step.state, step.not_before),
            StepState::Awaiting => (step.state, step.approval.as_ref().map(|wait| wait.until)),
            _ => return,
        };
        let wait = until.map_or(0, |until| until.duration_since(self.now.wall).as_millis());
        if wait > 0 {
            let due = self.now.mono + LOOK_AGAIN_MS.min(wait as u64);
            self.world.timers.insert((due, Timer::Step(job, key.clone())));
        } else if state == StepState::Awaiting {
            self.wait_is_over(job, key);
        } else {
            self.set_step_state(job, key, StepState::Ready);
            self.settle(job);
        }
    }
}
