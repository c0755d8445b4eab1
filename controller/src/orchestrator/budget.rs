//! Rule 16: what a spent money or token budget does to a job.

use protocol::{
    id::JobId,
    job::{JobState, StepKey},
    message::CancelReason,
    step::StepState,
};

use crate::workflow::model::StepKind;

use super::{draft::Draft, world::Job};

/// Which budget of a job is spent, if any.
fn spent(job: &Job) -> Option<&'static str> {
    job.budget?.spent(&job.usage)
}

impl Draft<'_> {
    /// Whether the job may go on. If its budget is spent it is parked, or fails if its workflow says
    /// so, and its agents are told to stop. A job that is being stopped still runs its closing steps.
    pub(crate) fn is_within_budget(&mut self, id: JobId) -> bool {
        let job = &self.world.jobs[&id];
        if job.cancel_requested || job.state.is_terminal() {
            return true;
        }
        let Some(what) = spent(job) else {
            return true;
        };
        let reason = format!("its {what} budget is spent");
        if job.workflow.budget.is_some_and(|rule| rule.fail) {
            self.fail_job(id, reason, CancelReason::Budget);
        } else {
            self.set_job_state(id, JobState::Parked, Some(reason));
            self.stop_agents(id);
        }
        false
    }

    fn stop_agents(&mut self, id: JobId) {
        let job = &self.world.jobs[&id];
        let agents: Vec<StepKey> = job
            .steps
            .iter()
            .filter(|step| matches!(step.state, StepState::Offered | StepState::Running))
            .filter(|step| matches!(job.def(step).kind, StepKind::Agent { .. }))
            .map(|step| step.key.clone())
            .collect();
        for key in agents {
            self.stop_attempt(id, &key, CancelReason::Budget);
        }
    }

    /// An attempt has ended because of the budget: its step waits for a person, or goes on if one has
    /// resumed the job meanwhile.
    pub(super) fn stopped_by_budget(&mut self, id: JobId, key: &StepKey) {
        if spent(&self.world.jobs[&id]).is_some() {
            self.park_step(id, key, "its budget is spent");
        } else {
            self.release(id, key);
        }
    }

    /// A budget that is spent gets as much again as it had.
    pub(super) fn renew_budget(&mut self, id: JobId) {
        let job = self.job_mut(id);
        let (tokens, microusd) = (job.usage.tokens(), job.usage.cost_microusd as f64);
        let Some(budget) = &mut job.budget else {
            return;
        };
        budget.tokens = budget
            .tokens
            .map(|cap| if tokens >= cap { tokens + cap } else { cap });
        budget.usd = budget.usd.map(|cap| {
            if microusd >= cap * 1e6 {
                microusd / 1e6 + cap
            } else {
                cap
            }
        });
    }
}
