//! `agentctl run`: hands a job in and looks on until it ends.

use clap::Args;
use protocol::duration::Millis;

use super::submit::JobArgs;
use crate::{error::CliError, exit::Exit, follow::follow, session::Session};

/// Submit a job and look on until it ends
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// What makes the job.
    #[command(flatten)]
    pub(crate) job: JobArgs,
    /// Stop looking on after this time, such as 10m; the job goes on
    #[arg(long, value_name = "TIME")]
    timeout: Option<Millis>,
}

impl Run {
    /// Does it.
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, CliError> {
        let client = session.client()?;
        let job = self.job.submit(session, &client).await?;
        follow(session, &client, job, self.timeout).await
    }
}
