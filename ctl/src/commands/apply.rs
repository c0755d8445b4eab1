//! `agentctl apply`: makes a job's branch in the local repository.

use std::path::PathBuf;

use clap::Args;
use protocol::id::JobRef;
use reqwest::header::HeaderMap;

use super::artifacts::{fetch, no_result, save};
use crate::{
    error::CliError,
    exit::Exit,
    job::JobName,
    repo::{Applied, Repository},
    session::Session,
};

/// The name of deliver's bundle.
pub(super) const BUNDLE: &str = "bundle";

/// Make a job's branch in the local repository
#[derive(Debug, Args)]
pub(crate) struct Apply {
    /// Number, UUID, @last or @failed
    #[arg(add = crate::live::jobs())]
    job: JobName,
    /// The repository; by default the one around the current folder
    #[arg(long, value_name = "PATH", default_value = ".")]
    repo: PathBuf,
    /// Replace a branch of that name that has other commits
    #[arg(long)]
    force: bool,
}

impl Apply {
    /// Does it.
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, CliError> {
        let repository = Repository::open(&self.repo).await?;
        let client = session.client()?;
        let job = self.job.get(&client).await?;
        let reference = JobRef::Number(job.number);
        let response = fetch(&client, reference, BUNDLE, HeaderMap::new()).await;
        let response = response.map_err(|error| no_result(error, reference, "a bundle"))?;
        let folder = tempfile::Builder::new().prefix("agentctl-").tempdir()?;
        let bundle = folder.path().join("job.bundle");
        save(&client, response, &bundle).await?;
        let branch = format!("agentd/{}", job.number);
        let base = job.repo.as_ref().and_then(|repo| repo.base.as_deref());
        let applied = repository.apply(&bundle, base, &branch, self.force).await?;
        let line = match applied {
            Applied::Made => format!("branch {branch} is made"),
            Applied::Same => format!("branch {branch} is as it was"),
        };
        session.out.one(&job, &branch, |_| vec![line])?;
        session.out.say(&format!(
            "next: git diff HEAD...{branch}, then git merge {branch}"
        ));
        Ok(Exit::Done)
    }
}
