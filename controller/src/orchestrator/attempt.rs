//! Rules 3 to 8: offers, acceptance, leases and losses of the current attempt.

use protocol::{
    event::EventKind,
    id::{AttemptId, JobId, WorkerId},
    job::{JobState, StepKey},
    message::{Cancel, CancelReason, Lease, Probe, Progress, Reject, Renew, Session, ToWorker},
    step::{AttemptState, ErrorClass, StepError, StepState},
    usage::Usage,
    worker::WorkerState,
};
use serde_json::json;

use crate::workflow::model::OnLost;

use super::{draft::Draft, event::Refusal, timers::Timer, world::Step};

/// How often an offer is said before it counts as lost (rule 3: twice again).
pub(super) const OFFERS: u8 = 3;
/// How long a worker is not offered a step that it refused or failed by its own fault (rules 5, 9).
const EXCLUDED_MS: u64 = 60_000;

/// What a sign of life of an attempt led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Touch {
    /// Its lease was renewed.
    Renewed,
    /// It must stop, for this reason.
    Stop(CancelReason),
}

impl Draft<'_> {
    /// Rules 4, 4a, 6, 6a, 6b: an Accept, or another sign of life that names one attempt.
    pub(super) fn alive(
        &mut self,
        worker: WorkerId,
        session: Session,
        attempt: AttemptId,
        accept: bool,
    ) -> Result<(), Refusal> {
        self.heard(worker, session)?;
        match self.touch(worker, attempt) {
            Touch::Renewed if accept => {}
            Touch::Renewed => self.say(
                worker,
                ToWorker::Lease(Lease {
                    attempts: vec![attempt],
                }),
            ),
            Touch::Stop(why) => self.say_cancel(worker, attempt, why),
        }
        Ok(())
    }

    /// Rule 6 for all attempts of a worker in one message.
    pub(super) fn renewed(
        &mut self,
        worker: WorkerId,
        session: Session,
        renew: &Renew,
    ) -> Result<(), Refusal> {
        self.heard(worker, session)?;
        if let Some(known) = self.world.workers.get_mut(&worker) {
            known.load = renew.load;
        }
        let mut attempts = vec![];
        for &attempt in &renew.attempts {
            match self.touch(worker, attempt) {
                Touch::Renewed => attempts.push(attempt),
                Touch::Stop(why) => self.say_cancel(worker, attempt, why),
            }
        }
        if !attempts.is_empty() {
            self.say(worker, ToWorker::Lease(Lease { attempts }));
        }
        Ok(())
    }

    /// Rule 6 with what the attempt says about itself.
    pub(super) fn progressed(
        &mut self,
        worker: WorkerId,
        session: Session,
        progress: Progress,
    ) -> Result<(), Refusal> {
        self.heard(worker, session)?;
        match self.touch(worker, progress.attempt) {
            Touch::Stop(why) => self.say_cancel(worker, progress.attempt, why),
            Touch::Renewed => self.note_progress(worker, progress),
        }
        Ok(())
    }

    fn note_progress(&mut self, worker: WorkerId, progress: Progress) {
        let Some((job, key)) = self.world.place_of(progress.attempt) else {
            return;
        };
        self.charge(job, &key, progress.attempt, progress.usage);
        let attempt = self.current_mut(job, &key);
        if progress.model.is_some() {
            attempt.model.clone_from(&progress.model);
        }
        let step = self.step_mut(job, &key);
        step.note = Some(progress.note.chars().take(200).collect()).filter(|note: &String| !note.is_empty());
        let usage = step.usage;
        let name = self.world.workers.get(&worker).map(|worker| worker.name.clone());
        let data = json!({
            "note": progress.note, "fraction": progress.fraction, "usage": usage,
            "worker": name, "model": progress.model,
        });
        self.event(
            EventKind::Progress,
            Some(job),
            Some(&key),
            Some(progress.attempt),
            data,
        );
        self.is_within_budget(job);
    }

    /// A sign of life of one attempt, from the worker that the transport names.
    pub(super) fn touch(&mut self, worker: WorkerId, attempt: AttemptId) -> Touch {
        let superseded = Touch::Stop(CancelReason::Superseded);
        let Some((job, key)) = self.world.place_of(attempt) else {
            return superseded;
        };
        let step = self
            .world
            .step(job, &key)
            .expect("attempts of the world have a step");
        let Some(current) = step
            .current()
            .filter(|current| current.id == attempt && current.worker == worker)
        else {
            return superseded;
        };
        if step.state.is_terminal() {
            return superseded;
        }
        match current.state {
            AttemptState::Offered => self.accepted(job, &key),
            AttemptState::Running => self.renew_lease(job, &key),
            AttemptState::Suspect => {
                self.set_attempt_state(job, &key, AttemptState::Running);
                self.renew_lease(job, &key);
            }
            AttemptState::Lost if may_reopen(step) => self.reopen(job, &key),
            AttemptState::Cancelling => {
                return Touch::Stop(current.cancel.unwrap_or(CancelReason::User));
            }
            AttemptState::Succeeded
            | AttemptState::Failed
            | AttemptState::TimedOut
            | AttemptState::Cancelled
            | AttemptState::Rejected
            | AttemptState::Lost => return superseded,
        }
        Touch::Renewed
    }

    /// Rule 4.
    pub(super) fn accepted(&mut self, job: JobId, key: &StepKey) {
        let timeout = self.timeout_ms(job, key);
        let now = self.now;
        self.set_attempt_state(job, key, AttemptState::Running);
        let attempt = self.current_mut(job, key);
        attempt.started_at.get_or_insert(now.wall);
        if attempt.hard_due == u64::MAX {
            attempt.hard_due = now.mono.saturating_add(timeout);
        }
        let hard = (attempt.hard_due, Timer::Hard(attempt.id));
        self.world.timers.insert(hard);
        self.renew_lease(job, key);
        self.set_step_state(job, key, StepState::Running);
    }

    /// The lease begins anew; the timer of the old due finds that out by itself.
    fn renew_lease(&mut self, job: JobId, key: &StepKey) {
        let due = self.now.mono + self.world.limits.lease_ms;
        let half_lease = self.world.limits.lease_ms / 2;
        let job = self.world.jobs.get_mut(&job);
        let attempt = job
            .and_then(|job| job.step_mut(key))
            .and_then(|step| step.attempts.last_mut());
        let attempt = attempt.expect("only a step with an attempt has a lease");
        let first_in_this_state = attempt.due < self.now.mono || attempt.due > due;
        attempt.due = due;
        if first_in_this_state || due > attempt.due_on_disk + half_lease {
            attempt.due_on_disk = due;
            self.changes.attempts.insert(attempt.id);
        }
        self.world.timers.insert((due, Timer::Attempt(attempt.id)));
    }

    /// Rule 6a: the attempt was thought lost and nothing newer exists.
    pub(super) fn reopen(&mut self, job: JobId, key: &StepKey) {
        let retries = self.world.limits.infra_retries;
        let step = self.step_mut(job, key);
        step.infra_left = (step.infra_left + 1).min(retries);
        step.error = None;
        self.current_mut(job, key).error = None;
        self.accepted(job, key);
        self.settle(job);
    }

    /// Rule 5.
    pub(super) fn rejected(
        &mut self,
        worker: WorkerId,
        session: Session,
        reject: &Reject,
    ) -> Result<(), Refusal> {
        self.heard(worker, session)?;
        let (job, key) = self.world.place_of(reject.attempt).ok_or(Refusal::StaleAttempt)?;
        let step = self.world.step(job, &key).ok_or(Refusal::StaleAttempt)?;
        let current = step
            .current()
            .filter(|current| current.id == reject.attempt && current.worker == worker)
            .ok_or(Refusal::StaleAttempt)?;
        match current.state {
            AttemptState::Offered => {}
            AttemptState::Cancelling => {
                // it never began, so that there is nothing to wait for
                let why = current.cancel.unwrap_or(CancelReason::User);
                self.end_stopped(job, &key, why);
                self.settle(job);
                return Ok(());
            }
            _ => return Err(Refusal::StaleAttempt),
        }
        self.set_attempt_state(job, &key, AttemptState::Rejected);
        let message = format!("the worker refused it ({}): {}", reject.why, reject.detail);
        self.current_mut(job, &key).error = Some(StepError::new(ErrorClass::Infra, message));
        self.exclude(job, &key, worker, reject.retry_after_ms.max(EXCLUDED_MS));
        self.release(job, &key);
        Ok(())
    }

    /// Rules 3, 7, 8, 12: the deadline of an attempt has come.
    pub(super) fn attempt_due(&mut self, id: AttemptId) {
        let Some((job, key)) = self.world.place_of(id) else {
            return;
        };
        let step = self
            .world
            .step(job, &key)
            .expect("attempts of the world have a step");
        let Some(current) = step
            .current()
            .filter(|current| current.id == id && current.state.is_open())
        else {
            return;
        };
        if current.due > self.now.mono {
            self.world.timers.insert((current.due, Timer::Attempt(id)));
            return;
        }
        match current.state {
            AttemptState::Offered => self.offer_due(job, &key),
            AttemptState::Running => self.lease_due(job, &key),
            AttemptState::Suspect => self.lose(job, &key, "its worker was silent for too long"),
            AttemptState::Cancelling => self.cancelling_due(job, &key),
            _ => {}
        }
    }

    /// Rule 3.
    fn offer_due(&mut self, job: JobId, key: &StepKey) {
        let offer_ms = self.world.limits.offer_ms;
        let attempt = self.current_mut(job, key);
        let worker = attempt.worker;
        if attempt.said < OFFERS {
            attempt.said += 1;
            self.set_due(job, key, self.now.mono + offer_ms);
            self.say_assign(job, key);
        } else {
            self.lose(job, key, "the worker did not take the offer");
            self.set_worker_state(worker, WorkerState::Suspect);
        }
    }

    /// Rule 7. The worker is as suspect as the attempt until it says anything, though its connection may
    /// look alive: an offer that it cannot hear would supersede what is still to come from it.
    fn lease_due(&mut self, job: JobId, key: &StepKey) {
        let grace = self.grace_ms(job, key);
        self.suspect(job, key, grace);
        let id = self.current_mut(job, key).worker;
        let worker = self.world.workers.get(&id);
        if worker.is_some_and(|worker| worker.state == WorkerState::Online) {
            self.set_worker_state(id, WorkerState::Suspect);
        }
    }

    /// The attempt becomes suspect and may come back within the grace.
    pub(super) fn suspect(&mut self, job: JobId, key: &StepKey, grace_ms: u64) {
        self.set_attempt_state(job, key, AttemptState::Suspect);
        self.set_due(job, key, self.now.mono + grace_ms);
        let attempt = self.current_mut(job, key);
        let (worker, attempt) = (attempt.worker, attempt.id);
        self.say(worker, ToWorker::Probe(Probe { attempt }));
    }

    /// Rule 8: nobody knows about the attempt any more; it stays current.
    pub(super) fn lose(&mut self, job: JobId, key: &StepKey, why: &str) {
        self.set_attempt_state(job, key, AttemptState::Lost);
        let error = StepError::new(ErrorClass::Infra, why);
        self.current_mut(job, key).error = Some(error.clone());
        self.spend_infra(job, key, error);
    }

    /// One loss less is left; the step waits for another worker, or for a person.
    pub(super) fn spend_infra(&mut self, job: JobId, key: &StepKey, error: StepError) {
        let def = self.world.jobs[&job]
            .step(key)
            .map(|step| self.world.jobs[&job].def(step));
        let parks = def.and_then(|def| match def.on_lost {
            _ if def.external => Some("it acts on the outside world and was lost"),
            OnLost::Park => Some("it was lost, and `on_lost: park` leaves it to a person"),
            OnLost::Resume | OnLost::Retry => None,
        });
        let retries = self.world.limits.infra_retries;
        let step = self.step_mut(job, key);
        step.error = Some(error);
        if let Some(why) = parks {
            self.park_step(job, key, why);
        } else if step.infra_left == 0 {
            self.park_step(job, key, &format!("it lost its worker {} times", retries + 1));
        } else {
            step.infra_left -= 1;
            self.release(job, key);
        }
    }

    /// The step may be tried again at once; or, in a job that is being cancelled, never.
    pub(super) fn release(&mut self, job: JobId, key: &StepKey) {
        let cancelled = self.is_cancelled(job, key);
        let state = if cancelled {
            StepState::Cancelled
        } else {
            StepState::Ready
        };
        self.set_step_state(job, key, state);
    }

    /// Whether a person's cancel covers the step: closing steps run all the same.
    pub(super) fn is_cancelled(&self, job: JobId, key: &StepKey) -> bool {
        let job = &self.world.jobs[&job];
        job.cancel_requested && job.step(key).is_some_and(|step| !step.is_closing())
    }

    /// The step and its job wait for a person.
    pub(super) fn park_step(&mut self, job: JobId, key: &StepKey, why: &str) {
        if self.is_cancelled(job, key) {
            self.set_step_state(job, key, StepState::Cancelled);
            return;
        }
        self.set_step_state(job, key, StepState::Parked);
        self.set_job_state(
            job,
            JobState::Parked,
            Some(format!("step {key} is parked: {why}")),
        );
    }

    /// The worker is not offered this step for a while.
    pub(super) fn exclude(&mut self, job: JobId, key: &StepKey, worker: WorkerId, for_ms: u64) {
        let now = self.now.mono;
        let step = self.step_mut(job, key);
        step.excluded
            .retain(|(other, until)| *other != worker && *until > now);
        step.excluded.push((worker, now + for_ms));
        self.world.timers.insert((now + for_ms, Timer::Dispatch));
    }

    /// Says that an attempt must stop.
    pub(super) fn say_cancel(&mut self, worker: WorkerId, attempt: AttemptId, why: CancelReason) {
        let kill_after_ms = self.world.limits.cancel_grace_ms;
        let cancel = Cancel {
            attempt,
            why,
            kill_after_ms,
        };
        self.say(worker, ToWorker::Cancel(cancel));
    }

    /// Brings the usage of an attempt to a new total, and the sums with it: superseded work is paid for
    /// as well.
    pub(super) fn charge(&mut self, job: JobId, key: &StepKey, attempt: AttemptId, total: Usage) {
        self.changes.attempts.insert(attempt);
        let step = self.step_mut(job, key);
        let Some(attempt) = step.attempts.iter_mut().find(|known| known.id == attempt) else {
            return;
        };
        let added = Usage {
            input_tokens: total.input_tokens.saturating_sub(attempt.usage.input_tokens),
            cached_tokens: total.cached_tokens.saturating_sub(attempt.usage.cached_tokens),
            output_tokens: total.output_tokens.saturating_sub(attempt.usage.output_tokens),
            calls: total.calls.saturating_sub(attempt.usage.calls),
            cost_microusd: total.cost_microusd.saturating_sub(attempt.usage.cost_microusd),
        };
        if added.is_zero() {
            return;
        }
        attempt.usage += added;
        self.changes.used += added;
        self.step_mut(job, key).usage += added;
        self.job_mut(job).usage += added;
    }
}

/// Rule 6a's guard: the step still waits, so that nothing newer was started.
pub(super) const fn may_reopen(step: &Step) -> bool {
    matches!(step.state, StepState::Ready | StepState::RetryWait)
}
