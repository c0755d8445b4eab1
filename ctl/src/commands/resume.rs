//! `agentctl resume`: lets a parked job go on.

use clap::Args;
use protocol::http::jobs::ResumeJob;

use crate::{error::CliError, exit::Exit, job::JobName, session::Session};

/// Let a parked job go on
#[derive(Debug, Args)]
pub(crate) struct Resume {
    /// Number, UUID, @last or @failed
    #[arg(add = crate::live::jobs())]
    job: JobName,
}

impl Resume {
    /// Does it.
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, CliError> {
        let client = session.client()?;
        let job = self.job.resolve(&client).await?;
        let job = client.call(&ResumeJob { job }).await?;
        let line = format!("job {} is {}", job.number, job.state);
        session.out.one(&job, &job.id.to_string(), |_| vec![line])?;
        Ok(Exit::Done)
    }
}
