//! `agentctl retry`: runs what failed again, in the same job or as a copy.

use std::path::Path;

use clap::Args;
use protocol::{
    http::jobs::{JobView, RetryJob, SubmitJob},
    spec::RepoSource,
};

use super::submit::{send, send_repository};
use crate::{client::Client, error::CliError, exit::Exit, job::JobName, repo::Wanted, session::Session};

/// Run what failed again
#[derive(Debug, Args)]
pub(crate) struct Retry {
    /// Number, UUID, @last or @failed
    #[arg(add = crate::live::jobs())]
    job: JobName,
    /// Submit a copy instead, which starts from the beginning
    #[arg(long)]
    new: bool,
    /// Where the copy takes the repository from, if the job's was sent from a folder
    #[arg(long, value_name = "PATH", default_value = ".", requires = "new")]
    repo: String,
}

impl Retry {
    /// Does it.
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, CliError> {
        let client = session.client()?;
        let job = if self.new {
            let old = self.job.get(&client).await?;
            copy(session, &client, &old, Path::new(&self.repo)).await?
        } else {
            let job = self.job.resolve(&client).await?;
            client.call(&RetryJob { job }).await?
        };
        let line = format!("job {} is {}", job.number, job.state);
        session.out.one(&job, &job.id.to_string(), |_| vec![line])?;
        session.out.say(&format!("next: agentctl watch {}", job.number));
        Ok(Exit::Done)
    }
}

/// The same workflow with the same inputs on the same base.
async fn copy(session: &Session, client: &Client, old: &JobView, path: &Path) -> Result<JobView, CliError> {
    let repo = match &old.repo {
        None => None,
        Some(view) => match &view.url {
            Some(url) => Some(RepoSource::Url {
                url: url.clone(),
                reference: view.base.clone(),
            }),
            None => {
                let wanted = Wanted {
                    reference: view.base.clone(),
                    dirty: false,
                };
                Some(send_repository(session, client, path, &wanted).await?)
            }
        },
    };
    let request = SubmitJob {
        workflow: old.workflow.clone(),
        inputs: old.inputs.clone(),
        repo,
        title: Some(old.title.clone()),
        priority: Some(old.priority),
        labels: old.labels.clone(),
        ..SubmitJob::default()
    };
    send(client, &request).await
}
