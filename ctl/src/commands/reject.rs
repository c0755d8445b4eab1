//! `agentctl reject`: refuses a step that waits for a person.

use clap::Args;
use protocol::approval::Answer;

use super::approve::DecisionArgs;
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
        self.decision.decide(session, Answer::Reject).await
    }
}
