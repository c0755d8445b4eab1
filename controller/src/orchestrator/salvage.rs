//! Salvage: a person makes the late outcome of a superseded attempt the step's
//! result, and what had ended for want of it goes on.

use std::collections::BTreeSet;

use protocol::{
    id::{AttemptId, JobId},
    job::{JobState, StepKey},
    message::StepResult,
    step::{Outcome, StepState},
};

use super::{
    draft::Draft,
    event::{Facts, Refusal},
    job::runs_again,
    world::{Job, Step},
};

impl Draft<'_> {
    /// The late outcome becomes the step's result, if nothing downstream ran.
    pub(super) fn salvage(
        &mut self,
        id: JobId,
        key: &StepKey,
        attempt: AttemptId,
        facts: &Facts,
    ) -> Result<(), Refusal> {
        let job = self.world.jobs.get(&id).ok_or(Refusal::Unknown("job"))?;
        let late = salvageable(job, key, attempt, facts)?;
        let (had_ended, started_at) = (job.state.is_terminal(), job.started_at);
        for artifact in &late.artifacts {
            self.changes
                .artifacts
                .push((id, key.clone(), attempt, artifact.clone()));
        }
        let step = self.step_mut(id, key);
        let closing = step.is_closing();
        step.outputs = late.outputs;
        step.error = None;
        step.workspace = late.workspace.or(step.workspace.take());
        self.learn_base(id, key);
        self.set_step_state(id, key, StepState::Succeeded);
        if had_ended {
            self.revive_job(id);
            if !closing {
                self.reset_closing_steps(id);
            }
        }
        let mut done = self.reopen_blocks(id, key);
        done.push(key.clone());
        self.unblock_later(id, done);
        self.unpark_job(id);
        self.settle(id);
        if self.world.jobs[&id].state.is_terminal() {
            // nothing was left to run: it is the same run that has another end
            self.job_mut(id).started_at = started_at;
        }
        Ok(())
    }

    /// Blocks around the step that had ended, or wait for a person, judge their round again.
    fn reopen_blocks(&mut self, id: JobId, key: &StepKey) -> Vec<StepKey> {
        let job = &self.world.jobs[&id];
        let around: Vec<StepKey> = around(job, key).map(|block| block.key.clone()).collect();
        for block in &around {
            let step = self.step_mut(id, block);
            step.error = None;
            if step.state != StepState::Running {
                self.set_step_state(id, block, StepState::Running);
            }
        }
        around
    }

    /// Closing steps saw another end of the job: they run again, as after a retry.
    fn reset_closing_steps(&mut self, id: JobId) {
        let job = &self.world.jobs[&id];
        let closing: Vec<StepKey> = job
            .steps
            .iter()
            .filter(|step| step.is_closing() && runs_again(job, step))
            .map(|step| step.key.clone())
            .collect();
        for key in closing {
            self.reset_step(id, &key);
        }
    }

    /// Steps that were skipped or cancelled for want of what is done now look again.
    fn unblock_later(&mut self, id: JobId, mut done: Vec<StepKey>) {
        let mut index = 0;
        while let Some(need) = done.get(index).cloned() {
            index += 1;
            let later: Vec<StepKey> = self.world.jobs[&id]
                .steps
                .iter()
                .filter(|step| step.needs.contains(&need) && step.attempts.is_empty())
                .filter(|step| matches!(step.state, StepState::Skipped | StepState::Cancelled))
                .map(|step| step.key.clone())
                .collect();
            for key in later {
                self.reset_step(id, &key);
                done.push(key);
            }
        }
    }
}

/// The blocks around a step, innermost first.
fn around<'a>(job: &'a Job, key: &StepKey) -> impl Iterator<Item = &'a Step> {
    let parent = job.step(key).and_then(|step| job.parent(step));
    std::iter::successors(parent, |block| job.parent(block))
}

/// The late result of an attempt, if it may become its step's.
fn salvageable(job: &Job, key: &StepKey, attempt: AttemptId, facts: &Facts) -> Result<StepResult, Refusal> {
    let refused = |why| Err(Refusal::Salvage(why));
    let step = job.step(key).ok_or(Refusal::Unknown("step"))?;
    let known = step.attempts.iter().find(|known| known.id == attempt);
    let late = match (known, &facts.kept) {
        (Some(known), _) => known.late.as_deref(),
        (None, Some(kept)) if kept.job == job.id && kept.step == *key => Some(&**kept),
        (None, Some(_)) => return refused("the late outcome of that attempt belongs to another step"),
        (None, None) => return Err(Refusal::Unknown("attempt")),
    };
    if job.state == JobState::Cancelling {
        return refused("the job is being stopped: wait until it has ended");
    }
    let Some(late) = late else {
        return refused("the attempt has no late outcome");
    };
    if late.outcome != Outcome::Ok {
        return refused("only a late outcome that is ok can be salvaged");
    }
    if step.state.is_open() || step.state == StepState::Succeeded {
        return refused("the step runs or has succeeded: there is nothing to salvage");
    }
    let closes = |other: &Step| other.is_closing() && !other.state.is_terminal();
    if !step.is_closing() && job.steps.iter().any(closes) {
        return refused("the job's closing steps run: wait until it has ended");
    }
    if has_gone_on(job, step) {
        return refused("a later step has already run on another result");
    }
    if !facts.missing.is_empty() {
        return refused("files that the late outcome names are not here any more");
    }
    Ok(late.clone())
}

/// Whether a later round began, or a step ran or was decided that comes after this one or after a block
/// around it.
fn has_gone_on(job: &Job, step: &Step) -> bool {
    let mut inner = step;
    let mut before = BTreeSet::from([&step.key]);
    for block in around(job, &step.key) {
        if inner.key.round().is_some_and(|round| round < block.round) {
            return true;
        }
        before.insert(&block.key);
        inner = block;
    }
    // steps after it, and what is inside of them, until nothing new is found
    let mut later: BTreeSet<&StepKey> = BTreeSet::new();
    loop {
        let found: Vec<&StepKey> = job
            .steps
            .iter()
            .filter(|other| !later.contains(&other.key) && !before.contains(&other.key))
            .filter(|other| {
                let follows = |need: &StepKey| before.contains(need) || later.contains(need);
                other.needs.iter().any(follows)
                    || job.parent(other).is_some_and(|block| later.contains(&block.key))
            })
            .map(|other| &other.key)
            .collect();
        if found.is_empty() {
            break;
        }
        later.extend(found);
    }
    let decided = |step: &Step| step.approval.as_ref().is_some_and(|wait| wait.decided.is_some());
    job.steps
        .iter()
        .any(|other| later.contains(&other.key) && (!other.attempts.is_empty() || decided(other)))
}
