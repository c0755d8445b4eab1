//! `agentctl reject`: refuses a step that waits for a person.

use clap::Args;
use protocol::{
    http::jobs::{DecideStep, RejectStep},
    id::JobRef,
};

use super::approve::{DecisionArgs, decided, waiting_step};
use crate::{error::CliError, exit::Exit, session::Session};

/// Refuse a step that waits for a person
#[derive(Debug, Args)]
pub(crate) struct Reject {
    #[command(flatten)]
    decision: DecisionArgs,
}

impl Reject {
    /// Does it.
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, CliError> {
        let client = session.client()?;
        let job = self.decision.job.get(&client).await?;
        let step = waiting_step(&job, self.decision.step)?;
        let call = RejectStep {
            job: JobRef::Number(job.number),
            step: step.clone(),
            decision: DecideStep {
                reason: self.decision.reason,
            },
        };
        let job = client.call(&call).await?;
        decided(session, &job, &step, "rejected")
    }
}
