//! `agentctl report`: a job's report.

use clap::Args;
use reqwest::header::HeaderMap;

use super::artifacts::{fetch, no_result, print};
use crate::{error::CliError, exit::Exit, job::JobName, session::Session};

/// The name of deliver's report.
const REPORT: &str = "report";

/// Print a job's report
#[derive(Debug, Args)]
pub(crate) struct Report {
    /// Number, UUID, @last or @failed
    job: JobName,
}

impl Report {
    /// Does it.
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, CliError> {
        let client = session.client()?;
        let job = self.job.resolve(&client).await?;
        let response = fetch(&client, job, REPORT, HeaderMap::new()).await;
        let response = response.map_err(|error| no_result(error, job, "a report"))?;
        print(session, &client, response).await
    }
}
