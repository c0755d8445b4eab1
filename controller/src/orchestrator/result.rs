//! Rules 9 to 13: what a result does, and what becomes of work that failed or
//! was stopped.

use jiff::SignedDuration;
use protocol::{
    event::EventKind,
    id::{AttemptId, JobId, WorkerId},
    job::{JobState, StepKey},
    message::{Ack, AckVerdict, CancelReason, StepResult, ToWorker},
    step::{AttemptState, ErrorClass, Outcome, StepError, StepState},
};
use serde_json::json;

use super::{
    draft::Draft,
    event::{Facts, Refusal},
    timers::Timer,
};

/// How much longer than the worker's own kill the controller waits (rules 10, 13).
const CANCEL_SLACK_MS: u64 = 15_000;
/// See rule 9: a worker whose machine was at fault does not get the step again at once.
const INFRA_EXCLUDED_MS: u64 = 60_000;

impl Draft<'_> {
    /// Rules 9, 9a, 9b, 9c, 11, 13: judged by the attempt alone, whatever the session.
    pub(super) fn result(
        &mut self,
        worker: WorkerId,
        result: StepResult,
        facts: &Facts,
    ) -> Result<(), Refusal> {
        self.known(worker)?;
        let attempt = result.attempt;
        let Some((job, key)) = self.world.place_of(attempt) else {
            let verdict = if facts.recorded.contains(&attempt) {
                AckVerdict::Applied
            } else if !facts.missing.is_empty() {
                // without its files nobody could salvage it
                AckVerdict::Missing(facts.missing.clone())
            } else {
                self.keep_unknown(result);
                AckVerdict::Superseded
            };
            self.ack(worker, attempt, verdict);
            return Ok(());
        };
        let step = self
            .world
            .step(job, &key)
            .expect("attempts of the world have a step");
        let known = step
            .attempts
            .iter()
            .find(|known| known.id == attempt)
            .expect("indexed attempts exist");
        if known.worker != worker {
            return Err(Refusal::StaleAttempt);
        }
        if known.recorded {
            let applied = step.is_current(attempt) && known.late.is_none();
            let verdict = if applied {
                AckVerdict::Applied
            } else {
                AckVerdict::Superseded
            };
            self.ack(worker, attempt, verdict);
            return Ok(());
        }
        let takes_results = known.state.is_open() || known.state == AttemptState::Lost;
        if !step.is_current(attempt) || step.state.is_terminal() || !takes_results {
            self.keep_late(job, &key, result);
            self.ack(worker, attempt, AckVerdict::Superseded);
            return Ok(());
        }
        if !facts.missing.is_empty() {
            self.touch(worker, attempt);
            self.ack(worker, attempt, AckVerdict::Missing(facts.missing.clone()));
            return Ok(());
        }
        let was_parked = step.state == StepState::Parked;
        let result = self.within_quota(result, facts.artifact_bytes);
        self.apply(job, &key, result);
        if was_parked {
            self.unpark_job(job);
        }
        self.ack(worker, attempt, AckVerdict::Applied);
        self.settle(job);
        Ok(())
    }

    /// A step whose artifacts are more than its job may keep has failed, and none of them is kept.
    fn within_quota(&self, mut result: StepResult, bytes: u64) -> StepResult {
        let most = self.world.limits.job_bytes;
        if bytes <= most {
            return result;
        }
        result.artifacts.clear();
        let text = format!("its artifacts would make {bytes} bytes of the job, which may keep {most}");
        if result.outcome == Outcome::Ok {
            result.outcome = Outcome::Failed;
            let error = StepError::new(ErrorClass::Workspace, text);
            let hint =
                "make fewer or smaller files, or raise limits.job_bytes in the configuration of agentd";
            result.error = Some(error.hint(hint));
        } else {
            result.notes.push(format!("none of them is kept: {text}"));
        }
        result
    }

    /// The step for which the job was parked has its result: nobody has to resume it.
    pub(super) fn unpark_job(&mut self, id: JobId) {
        let job = &self.world.jobs[&id];
        let waits = job.steps.iter().any(|step| step.state == StepState::Parked);
        if job.state == JobState::Parked && !waits {
            self.set_job_state(id, JobState::Running, None);
        }
    }

    fn ack(&mut self, worker: WorkerId, attempt: AttemptId, verdict: AckVerdict) {
        self.say(worker, ToWorker::Ack(Ack { attempt, verdict }));
    }

    /// Rule 9c: a result of which a restored controller knows nothing is kept for salvage.
    fn keep_unknown(&mut self, result: StepResult) {
        if let Some(step) = self
            .world
            .step(result.job, &result.step)
            .map(|step| step.key.clone())
        {
            let (job, id) = (result.job, result.attempt);
            let number = self.world.jobs[&job].number;
            let text = format!(
                "a result ({}) of an attempt that is unknown here is kept: agentctl salvage {number} {step} {id}",
                result.outcome
            );
            self.event(
                EventKind::Note,
                Some(job),
                Some(&step),
                Some(id),
                json!({"text": text}),
            );
        }
        self.changes.late.push(result);
    }

    /// Rule 9a: the result came too late and is kept for salvage.
    fn keep_late(&mut self, job: JobId, key: &StepKey, result: StepResult) {
        let id = result.attempt;
        self.charge(job, key, id, result.usage);
        let outcome = result.outcome;
        self.changes.attempts.insert(id);
        let step = self.step_mut(job, key);
        if let Some(attempt) = step.attempts.iter_mut().find(|attempt| attempt.id == id) {
            attempt.recorded = true;
            attempt.late = Some(Box::new(result));
        }
        let text = format!("a late result ({outcome}) of a superseded attempt is kept for salvage");
        self.event(
            EventKind::Note,
            Some(job),
            Some(key),
            Some(id),
            json!({"text": text}),
        );
        self.is_within_budget(job);
    }

    /// The result becomes the attempt's, and the step's if it decides it.
    pub(super) fn apply(&mut self, job: JobId, key: &StepKey, result: StepResult) {
        self.charge(job, key, result.attempt, result.usage);
        for artifact in &result.artifacts {
            let row = (job, key.clone(), result.attempt, artifact.clone());
            self.changes.artifacts.push(row);
        }
        let attempt = self.current_mut(job, key);
        let (state, cancel, worker) = (attempt.state, attempt.cancel, attempt.worker);
        attempt.recorded = true;
        attempt.exit = result.exit;
        attempt.error.clone_from(&result.error);
        attempt.notes.clone_from(&result.notes);
        attempt.started_at.get_or_insert(attempt.offered_at);
        if result.model.is_some() {
            attempt.model = result.model;
        }
        let step = self.step_mut(job, key);
        step.error.clone_from(&result.error);
        step.outputs = result.outputs;
        step.note = None;
        if result.workspace.is_some() {
            step.workspace = result.workspace;
        }
        self.learn_base(job, key);
        let error = result.error.unwrap_or_else(|| unexplained(result.outcome));
        let stopped = (state == AttemptState::Cancelling).then_some(cancel).flatten();
        match (stopped, result.outcome) {
            (_, Outcome::Ok) => self.succeed(job, key, stopped),
            (Some(why), _) => self.end_stopped(job, key, why),
            (None, Outcome::TimedOut) => self.timed_out(job, key),
            (None, Outcome::Killed) => {
                self.set_attempt_state(job, key, AttemptState::Failed);
                self.spend_infra(job, key, error);
            }
            (None, Outcome::Failed) if error.class == ErrorClass::Infra => {
                self.set_attempt_state(job, key, AttemptState::Failed);
                self.exclude(job, key, worker, INFRA_EXCLUDED_MS);
                self.spend_infra(job, key, error);
            }
            (None, Outcome::Failed) => {
                self.set_attempt_state(job, key, AttemptState::Failed);
                self.spend_work(job, key, error);
            }
        }
    }

    /// An attempt that was told to stop has ended without success.
    pub(super) fn end_stopped(&mut self, job: JobId, key: &StepKey, why: CancelReason) {
        match why {
            CancelReason::User | CancelReason::Superseded => {
                self.set_attempt_state(job, key, AttemptState::Cancelled);
                self.set_step_state(job, key, StepState::Cancelled);
            }
            CancelReason::Budget => {
                self.set_attempt_state(job, key, AttemptState::Cancelled);
                self.stopped_by_budget(job, key);
            }
            CancelReason::Timeout => self.timed_out(job, key),
        }
    }

    fn succeed(&mut self, job: JobId, key: &StepKey, stopped: Option<CancelReason>) {
        self.set_attempt_state(job, key, AttemptState::Succeeded);
        if let Some(why) = stopped {
            let note = format!("it had succeeded before the cancel ({why}) reached it");
            self.current_mut(job, key).notes.push(note);
        }
        self.step_mut(job, key).checkpoint = None;
        self.set_step_state(job, key, StepState::Succeeded);
    }

    /// The step that names the base commit tells it to the job.
    pub(super) fn learn_base(&mut self, job: JobId, key: &StepKey) {
        let base = self
            .world
            .step(job, key)
            .and_then(|step| step.workspace.as_ref())
            .map(|w| w.base.clone());
        if let Some(base) = base
            && self.world.jobs[&job].base.is_none()
        {
            self.job_mut(job).base = Some(base);
        }
    }

    fn timed_out(&mut self, job: JobId, key: &StepKey) {
        let limit = protocol::duration::Millis(self.timeout_ms(job, key));
        let error = StepError::new(
            ErrorClass::Timeout,
            format!("it ran longer than its limit of {limit}"),
        )
        .hint("raise `timeout` of the step in the workflow");
        self.set_attempt_state(job, key, AttemptState::TimedOut);
        self.current_mut(job, key).error = Some(error.clone());
        self.spend_work(job, key, error);
    }

    /// Work failed: the step waits for its next attempt, or has failed.
    pub(super) fn spend_work(&mut self, job: JobId, key: &StepKey, error: StepError) {
        self.judge_checkpoint(job, key, error.class);
        let owner = &self.world.jobs[&job];
        let step = owner.step(key).expect("the step was found before");
        let policy = owner.def(step).retry.clone();
        let again = step.work_left > 0 && policy.on.contains(&error.class);
        if !again || self.is_cancelled(job, key) {
            self.step_mut(job, key).error = Some(error);
            self.set_step_state(job, key, StepState::Failed);
            return;
        }
        let used = policy.max.saturating_sub(step.work_left).min(20);
        let cap = policy
            .backoff_min
            .0
            .saturating_mul(1 << used)
            .min(policy.backoff_max.0);
        let jittered = (self.entropy.unit() * cap as f64) as u64;
        let wait = jittered.max(error.retry_after_ms.unwrap_or(0));
        let now = self.now;
        let step = self.step_mut(job, key);
        step.work_left -= 1;
        step.error = Some(error);
        self.set_step_state(job, key, StepState::RetryWait);
        let until = now.wall + SignedDuration::from_millis(wait as i64);
        self.step_mut(job, key).not_before = Some(until);
        self.world
            .timers
            .insert((now.mono + wait, Timer::Step(job, key.clone())));
    }

    /// Rules 10 and 13: the current attempt is told to stop.
    pub(super) fn stop_attempt(&mut self, job: JobId, key: &StepKey, why: CancelReason) {
        let due = self.now.mono + self.world.limits.cancel_grace_ms + CANCEL_SLACK_MS;
        self.set_attempt_state(job, key, AttemptState::Cancelling);
        self.set_due(job, key, due);
        let attempt = self.current_mut(job, key);
        attempt.cancel = Some(why);
        let (worker, id) = (attempt.worker, attempt.id);
        self.set_step_state(job, key, StepState::Cancelling);
        self.say_cancel(worker, id, why);
    }

    /// Rule 13: the hard limit of an attempt has passed.
    pub(super) fn hard_due(&mut self, id: AttemptId) {
        let Some((job, key)) = self.world.place_of(id) else {
            return;
        };
        let step = self
            .world
            .step(job, &key)
            .expect("attempts of the world have a step");
        let Some(current) = step.current().filter(|current| current.id == id) else {
            return;
        };
        if !matches!(current.state, AttemptState::Running | AttemptState::Suspect) {
            return;
        }
        if current.hard_due > self.now.mono {
            self.world.timers.insert((current.hard_due, Timer::Hard(id)));
        } else {
            self.stop_attempt(job, &key, CancelReason::Timeout);
        }
    }

    /// Rule 12: the worker did not confirm the cancel in time.
    pub(super) fn cancelling_due(&mut self, job: JobId, key: &StepKey) {
        let attempt = self.current_mut(job, key);
        let (worker, id, why) = (attempt.worker, attempt.id, attempt.cancel);
        if why == Some(CancelReason::Timeout) {
            self.timed_out(job, key);
        } else {
            self.set_attempt_state(job, key, AttemptState::Lost);
            if why == Some(CancelReason::Budget) {
                self.stopped_by_budget(job, key);
            } else {
                self.set_step_state(job, key, StepState::Cancelled);
            }
        }
        self.say_cancel(worker, id, why.unwrap_or(CancelReason::User));
        self.settle(job);
    }
}

fn unexplained(outcome: Outcome) -> StepError {
    let class = match outcome {
        Outcome::TimedOut => ErrorClass::Timeout,
        Outcome::Killed => ErrorClass::Killed,
        Outcome::Ok | Outcome::Failed => ErrorClass::Exit,
    };
    StepError::new(class, format!("the worker reported {outcome} without a reason"))
}
