//! `agentctl wait`: says nothing until a job ends.

use clap::Args;
use protocol::duration::Millis;

use crate::{
    error::CliError, exit::Exit, follow::follow_with, job::JobName, output::progress::silent_until_end,
    session::Session,
};

/// Wait silently until a job ends
#[derive(Debug, Args)]
pub(crate) struct Wait {
    /// Number, UUID, @last or @failed
    #[arg(add = crate::live::jobs())]
    job: JobName,
    /// Give up after this time, such as 10m
    #[arg(long, value_name = "TIME")]
    timeout: Option<Millis>,
}

impl Wait {
    /// Does it.
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, CliError> {
        let client = session.client()?;
        let job = self.job.get(&client).await?;
        let progress = silent_until_end(session.progress);
        follow_with(session, progress, &client, job, self.timeout).await
    }
}
