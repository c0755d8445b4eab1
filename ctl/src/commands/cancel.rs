//! `agentctl cancel`: stops a job.

use clap::Args;
use protocol::http::jobs::CancelJob;

use crate::{error::CliError, exit::Exit, job::JobName, session::Session};

/// Stop a job
#[derive(Debug, Args)]
pub(crate) struct Cancel {
    /// Number, UUID, @last or @failed
    #[arg(add = crate::live::jobs())]
    job: JobName,
}

impl Cancel {
    /// Does it.
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, CliError> {
        let client = session.client()?;
        let job = self.job.resolve(&client).await?;
        let job = client.call(&CancelJob { job }).await?;
        let line = format!("job {} is {}", job.number, job.state);
        session.out.one(&job, &job.id.to_string(), |_| vec![line])?;
        Ok(Exit::Done)
    }
}
