//! `agentctl salvage`: makes a late outcome the result of its step.

use clap::Args;
use protocol::{
    http::jobs::{SalvageAttempt, SalvageJob},
    id::AttemptId,
    job::StepKey,
};

use crate::{error::CliError, exit::Exit, job::JobName, session::Session};

/// Apply the late outcome of an attempt as its step's result
///
/// A result that came after another attempt had begun, or of which a restored controller knows nothing,
/// is kept: `agentctl show JOB` and `agentctl logs JOB` name such attempts.
#[derive(Debug, Args)]
pub(crate) struct Salvage {
    /// Number, UUID, @last or @failed
    #[arg(add = crate::live::jobs())]
    job: JobName,
    /// The step's key
    step: StepKey,
    /// The attempt's id
    attempt: AttemptId,
}

impl Salvage {
    /// Does it.
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, CliError> {
        let client = session.client()?;
        let job = self.job.resolve(&client).await?;
        let wanted = SalvageAttempt {
            step: self.step,
            attempt: self.attempt,
        };
        let job = client.call(&SalvageJob { job, wanted }).await?;
        let line = format!("job {} is {}", job.number, job.state);
        session.out.one(&job, &job.id.to_string(), |_| vec![line])?;
        Ok(Exit::Done)
    }
}
