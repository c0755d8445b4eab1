//! What people do to whole jobs: submit, cancel, retry, resume; and a job's own time limit.

use jiff::SignedDuration;
use protocol::{
    event::EventKind,
    id::JobId,
    job::{JobState, StepKey},
    message::CancelReason,
    step::StepState,
};
use serde_json::json;

use crate::workflow::model::StepKind;

use super::{
    approval::waited,
    draft::Draft,
    event::Refusal,
    settle::{ended, top_steps},
    timers::Timer,
    world::{Job, Step},
};
use crate::workflow::model::OnConflict;

impl Draft<'_> {
    /// Rule 1: the job is queued, its first steps are ready.
    pub(super) fn submit(&mut self, mut job: Job) -> Result<(), Refusal> {
        self.meet_group(&job)?;
        let id = job.id;
        job.steps = top_steps(&job.workflow);
        let data = json!({"title": job.title, "workflow": job.workflow.name, "state": job.state});
        for step in &job.steps {
            self.changes.steps.insert((id, step.key.clone()));
        }
        self.world.jobs.insert(id, job);
        self.changes.jobs.insert(id);
        self.limit_job(id);
        self.event(EventKind::JobCreated, Some(id), None, None, data);
        self.settle(id);
        Ok(())
    }

    /// The job's own time limit begins now.
    fn limit_job(&mut self, id: JobId) {
        if let Some(timeout) = self.world.jobs[&id].workflow.timeout {
            let due = self.now.mono.saturating_add(timeout.0);
            self.world.timers.insert((due, Timer::Job(id)));
        }
    }

    /// What the workflow says about a full concurrency group.
    fn meet_group(&mut self, job: &Job) -> Result<(), Refusal> {
        let (Some(group), Some(rule)) = (&job.group, &job.workflow.concurrency) else {
            return Ok(());
        };
        let same_group = |other: &&Job| other.group.as_ref() == Some(group) && !other.state.is_terminal();
        let mut open: Vec<(u64, JobId, bool)> = self
            .world
            .jobs
            .values()
            .filter(same_group)
            .map(|other| (other.number, other.id, other.cancel_requested))
            .collect();
        open.sort_unstable();
        let excess = (open.len() + 1).saturating_sub(rule.max as usize);
        match rule.on_conflict {
            OnConflict::Queue => {}
            OnConflict::Reject if excess > 0 => {
                return Err(Refusal::GroupFull {
                    group: group.clone(),
                    max: rule.max,
                });
            }
            OnConflict::Reject => {}
            OnConflict::CancelOld => {
                // a second cancel would also stop the closing steps
                let old = open.into_iter().take(excess).filter(|(.., stops)| !stops);
                for (_, old, _) in old {
                    self.cancel_job(old)?;
                }
            }
        }
        Ok(())
    }

    /// Rule 10. A second cancel also stops the closing steps.
    pub(super) fn cancel_job(&mut self, id: JobId) -> Result<(), Refusal> {
        let job = self.world.jobs.get(&id).ok_or(Refusal::Unknown("job"))?;
        if job.state.is_terminal() {
            return Err(Refusal::JobState {
                number: job.number,
                state: job.state,
                why: "it has already ended",
            });
        }
        let again = job.cancel_requested;
        self.job_mut(id).cancel_requested = true;
        self.set_job_state(id, JobState::Cancelling, Some("cancelled by a person".to_owned()));
        self.stop_steps(id, again, CancelReason::User);
        self.settle(id);
        Ok(())
    }

    /// The job's own time limit has passed: it is stopped, and fails.
    pub(super) fn job_due(&mut self, id: JobId) {
        let Some(job) = self
            .world
            .jobs
            .get(&id)
            .filter(|job| !job.state.is_terminal() && !job.cancel_requested)
        else {
            return;
        };
        let Some(timeout) = job.workflow.timeout else {
            return;
        };
        if job.steps.iter().any(|step| step.state == StepState::Awaiting) {
            // the time that a person takes does not count; the decision looks again
            return;
        }
        let since = job.revived_at.unwrap_or(job.created_at);
        let limit = SignedDuration::from_millis(timeout.0 as i64) + waited(job, since, self.now.wall);
        let left = (since + limit).duration_since(self.now.wall);
        if left.is_positive() {
            let due = self.now.mono + left.as_millis() as u64;
            self.world.timers.insert((due, Timer::Job(id)));
            return;
        }
        let reason = format!("the job ran longer than its limit of {timeout}");
        self.fail_job(id, reason, CancelReason::Timeout);
    }

    /// The job is stopped because a limit was reached; it fails when its closing steps have ended.
    pub(super) fn fail_job(&mut self, id: JobId, reason: String, why: CancelReason) {
        let job = self.job_mut(id);
        job.cancel_requested = true;
        job.overdue = true;
        self.set_job_state(id, JobState::Cancelling, Some(reason));
        self.stop_steps(id, false, why);
        self.settle(id);
    }

    fn stop_steps(&mut self, id: JobId, closing_too: bool, why: CancelReason) {
        let steps: Vec<(StepKey, StepState, bool)> = self.world.jobs[&id]
            .steps
            .iter()
            .filter(|step| !step.state.is_terminal())
            // nobody can resume a parked step of a job that is being stopped
            .filter(|step| closing_too || !step.is_closing() || step.state == StepState::Parked)
            .map(|step| (step.key.clone(), step.state, step.attempts.is_empty()))
            .collect();
        for (key, state, no_attempt) in steps {
            match state {
                // a block ends when the steps inside it have ended
                StepState::Running if no_attempt => {}
                StepState::Offered | StepState::Running => self.stop_attempt(id, &key, why),
                StepState::Cancelling => {
                    let attempt = self.current_mut(id, &key);
                    attempt.cancel = Some(why);
                }
                _ => self.set_step_state(id, &key, StepState::Cancelled),
            }
        }
    }

    /// Failed, cancelled and later steps wait to be run again; what succeeded is kept.
    pub(super) fn retry_job(&mut self, id: JobId) -> Result<(), Refusal> {
        let job = self.world.jobs.get(&id).ok_or(Refusal::Unknown("job"))?;
        if !matches!(job.state, JobState::Failed | JobState::Cancelled) {
            return Err(Refusal::JobState {
                number: job.number,
                state: job.state,
                why: "only a failed or cancelled job can be retried",
            });
        }
        self.revive_job(id);
        self.renew_budget(id);
        self.revive_steps(id);
        self.settle(id);
        Ok(())
    }

    /// A job that had ended waits to be dispatched again, as a new one does.
    pub(super) fn revive_job(&mut self, id: JobId) {
        let wall = self.now.wall;
        let job = self.job_mut(id);
        job.cancel_requested = false;
        job.overdue = false;
        job.started_at = None;
        job.revived_at = Some(wall);
        self.set_job_state(id, JobState::Queued, None);
        self.limit_job(id);
    }

    fn revive_steps(&mut self, id: JobId) {
        let job = &self.world.jobs[&id];
        let again: Vec<StepKey> = job
            .steps
            .iter()
            .filter(|step| runs_again(job, step))
            .map(|step| step.key.clone())
            .collect();
        for key in &again {
            self.reset_step(id, key);
        }
    }

    /// A step gets its budgets back and waits for its needs; a block goes on where it ended.
    pub(super) fn reset_step(&mut self, id: JobId, key: &StepKey) {
        let retries = self.world.limits.infra_retries;
        let job = &self.world.jobs[&id];
        let step = job.step(key).expect("listed by the caller");
        let work = job.def(step).retry.max;
        let is_started_block = matches!(job.def(step).kind, StepKind::Block { .. }) && step.round > 0;
        let exhausted = is_started_block && job.children(step, step.round).all(|child| ended(job, child));
        let step = self.step_mut(id, key);
        step.work_left = work;
        step.infra_left = retries;
        step.excluded.clear();
        step.skipped_by_need = false;
        step.error = None;
        step.approval = None;
        if exhausted {
            self.grant_rounds(id, key);
        }
        let state = if is_started_block {
            StepState::Running
        } else {
            StepState::Blocked
        };
        self.set_step_state(id, key, state);
    }

    /// A loop that has used up its rounds may start as many again.
    fn grant_rounds(&mut self, id: JobId, key: &StepKey) {
        let max = self.max_rounds(id, key).unwrap_or(1);
        let step = self.step_mut(id, key);
        step.last_round = step.round + max;
    }

    /// A parked job goes on with new budgets.
    pub(super) fn resume_job(&mut self, id: JobId) -> Result<(), Refusal> {
        let job = self.world.jobs.get(&id).ok_or(Refusal::Unknown("job"))?;
        if job.state != JobState::Parked {
            return Err(Refusal::JobState {
                number: job.number,
                state: job.state,
                why: "only a parked job can be resumed",
            });
        }
        let retries = self.world.limits.infra_retries;
        let parked: Vec<StepKey> = job
            .steps
            .iter()
            .filter(|step| step.state == StepState::Parked)
            .map(|step| step.key.clone())
            .collect();
        self.renew_budget(id);
        self.set_job_state(id, JobState::Running, None);
        for key in parked {
            let step = self.step_mut(id, &key);
            step.infra_left = retries;
            step.error = None;
            if step.round > 0 {
                self.grant_rounds(id, &key);
                self.set_step_state(id, &key, StepState::Running);
            } else {
                self.set_step_state(id, &key, StepState::Ready);
            }
        }
        self.settle(id);
        Ok(())
    }

    /// A person stops or resumes dispatch as a whole.
    pub(super) fn pause_dispatch(&mut self, paused: bool) {
        self.world.paused = paused;
        self.changes.paused = Some(paused);
    }

    /// The hard limit of one attempt of a step.
    pub(super) fn timeout_ms(&self, job: JobId, key: &StepKey) -> u64 {
        let job = &self.world.jobs[&job];
        job.step(key).map_or(0, |step| job.def(step).timeout.0)
    }

    /// How long a suspect attempt may come back: agents' work is paid for.
    pub(super) fn grace_ms(&self, job: JobId, key: &StepKey) -> u64 {
        let job = &self.world.jobs[&job];
        let agent = job
            .step(key)
            .is_some_and(|step| matches!(job.def(step).kind, StepKind::Agent { .. }));
        if agent {
            self.world.limits.grace_agent_ms
        } else {
            self.world.limits.grace_command_ms
        }
    }
}

/// Whether a step that has ended runs again when its job is brought back.
pub(super) fn runs_again(job: &Job, step: &Step) -> bool {
    let again = match step.state {
        StepState::Failed => !job.def(step).allow_failure,
        StepState::Cancelled => true,
        StepState::Skipped => step.skipped_by_need || step.is_closing(),
        StepState::Succeeded => step.is_closing(),
        _ => false,
    };
    again && !in_allowed_failure(job, step)
}

/// Whether a block around the step failed and may: then nothing inside it runs again.
fn in_allowed_failure(job: &Job, step: &Step) -> bool {
    let block = job.parent(step);
    block.is_some_and(|block| {
        block.state == StepState::Failed && job.def(block).allow_failure || in_allowed_failure(job, block)
    })
}
