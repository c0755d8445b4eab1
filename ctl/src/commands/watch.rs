//! `agentctl watch`: looks on until a job ends.

use clap::Args;
use protocol::duration::Millis;

use crate::{error::CliError, exit::Exit, follow::follow, job::JobName, session::Session};

/// Look on until a job ends
#[derive(Debug, Args)]
pub(crate) struct Watch {
    /// Number, UUID, @last or @failed
    #[arg(add = crate::live::jobs())]
    job: JobName,
    /// Stop looking on after this time, such as 10m; the job goes on
    #[arg(long, value_name = "TIME")]
    timeout: Option<Millis>,
}

impl Watch {
    /// Does it.
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, CliError> {
        let client = session.client()?;
        let job = self.job.get(&client).await?;
        follow(session, &client, job, self.timeout).await
    }
}
