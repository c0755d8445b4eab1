//! Rule 6c: the finished turns of an agent, which the next attempt of its step goes on from.

use protocol::{
    id::{JobId, WorkerId},
    job::StepKey,
    message::Checkpoint,
    step::ErrorClass,
};

use crate::workflow::model::OnLost;

use super::{draft::Draft, event::Refusal, world::Step};

impl Draft<'_> {
    /// Rule 6c. What the turns cost is known with them: it is charged even if nothing more is heard.
    pub(super) fn checkpoint(&mut self, worker: WorkerId, checkpoint: Checkpoint) -> Result<(), Refusal> {
        self.known(worker)?;
        let (job, key) = self
            .world
            .place_of(checkpoint.attempt)
            .ok_or(Refusal::StaleAttempt)?;
        let step = self.world.step(job, &key).ok_or(Refusal::StaleAttempt)?;
        let current = step
            .current()
            .filter(|current| current.id == checkpoint.attempt && current.worker == worker);
        if current.is_none() || step.state.is_terminal() {
            return Err(Refusal::StaleAttempt);
        }
        if seq(step) >= checkpoint.seq {
            return Err(Refusal::NotApplicable);
        }
        self.charge(job, &key, checkpoint.attempt, checkpoint.usage);
        self.step_mut(job, &key).checkpoint = Some(checkpoint);
        self.is_within_budget(job);
        Ok(())
    }

    /// A new attempt is about to begin: where that is wanted, from the beginning.
    pub(super) fn choose_beginning(&mut self, job: JobId, key: &StepKey) {
        let owner = &self.world.jobs[&job];
        let anew = owner
            .step(key)
            .is_some_and(|step| step.checkpoint.is_some() && owner.def(step).on_lost == OnLost::Retry);
        if anew {
            self.step_mut(job, key).checkpoint = None;
        }
    }

    /// Work failed: a conversation that came to a bad end by itself would come to the same end again.
    pub(super) fn judge_checkpoint(&mut self, job: JobId, key: &StepKey, class: ErrorClass) {
        if is_its_own_fault(class) {
            self.step_mut(job, key).checkpoint = None;
        }
    }
}

fn seq(step: &Step) -> u64 {
    step.checkpoint.as_ref().map_or(0, |stored| stored.seq)
}

/// Whether an error comes from what was said, and not from who was asked, when or where.
const fn is_its_own_fault(class: ErrorClass) -> bool {
    match class {
        ErrorClass::ModelOutput
        | ErrorClass::BadRequest
        | ErrorClass::TooLong
        | ErrorClass::Replay
        | ErrorClass::Budget
        | ErrorClass::Spec
        | ErrorClass::Exit
        | ErrorClass::Check
        | ErrorClass::Rejected => true,
        ErrorClass::RateLimited
        | ErrorClass::Quota
        | ErrorClass::Provider
        | ErrorClass::Auth
        | ErrorClass::Timeout
        | ErrorClass::Workspace
        | ErrorClass::Infra
        | ErrorClass::Killed
        | ErrorClass::Missing => false,
    }
}
