//! `agentctl report`: a job's report, as it was delivered or as one page of HTML.

use std::collections::VecDeque;

use clap::Args;
use jiff::Timestamp;
use protocol::{
    http::jobs::{GetJob, JobView},
    id::JobRef,
    job::StepKey,
};
use reqwest::header::HeaderMap;
use tokio::sync::mpsc;

use super::{
    artifacts::{fetch, no_result, print},
    diff::patch,
    logs::source::{Line, Source},
};
use crate::{
    client::Client,
    codes::Code,
    error::{CliError, Origin},
    exit::Exit,
    job::JobName,
    session::Session,
};

mod html;

/// The name of deliver's report.
const REPORT: &str = "report";
/// Lines of each log that the page shows.
const TAIL: usize = 200;
/// Bytes of a patch that the page shows.
const LARGEST_PATCH: usize = 2 << 20;

/// Print a job's report
#[derive(Debug, Args)]
pub(crate) struct Report {
    /// Number, UUID, @last or @failed
    #[arg(add = crate::live::jobs())]
    job: JobName,
    /// One page of HTML with everything, to keep or to pass on: `--html > job.html`
    #[arg(long)]
    html: bool,
}

impl Report {
    /// Does it.
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, CliError> {
        let client = session.client()?;
        let job = self.job.resolve(&client).await?;
        if self.html {
            let page = page(&client, job).await?;
            session.out.bytes(page.as_bytes())?;
            return Ok(Exit::Done);
        }
        let response = fetch(&client, job, REPORT, HeaderMap::new()).await;
        let response = response.map_err(|error| no_result(error, job, "a report"))?;
        print(session, &client, response).await
    }
}

async fn page(client: &Client, job: JobRef) -> Result<String, CliError> {
    let view = client.call(&GetJob { job }).await?;
    let delivered = match patch(client, job).await {
        Ok(bytes) => Some(beginning(&bytes)),
        Err(error) if error.origin() == Origin::Own(Code::NoResult) => None,
        Err(error) => return Err(error),
    };
    let logs = tails(client, &view).await?;
    Ok(html::page(&html::Content {
        job: &view,
        patch: delivered,
        logs,
        now: Timestamp::now(),
    }))
}

fn beginning(bytes: &[u8]) -> html::Patch {
    let cut = bytes.len() > LARGEST_PATCH;
    html::Patch {
        text: String::from_utf8_lossy(&bytes[..bytes.len().min(LARGEST_PATCH)]).into_owned(),
        cut,
    }
}

async fn tails(client: &Client, job: &JobView) -> Result<Vec<html::Tail>, CliError> {
    let mut tails = vec![];
    for step in job.steps.iter().filter(|step| step.attempt > 0) {
        let tail = tail(client, job, &step.key, step.attempt).await?;
        if !tail.lines.is_empty() {
            tails.push(tail);
        }
    }
    Ok(tails)
}

/// The end of a log, of which no more is held at a time.
async fn tail(client: &Client, job: &JobView, step: &StepKey, attempt: u32) -> Result<html::Tail, CliError> {
    let (sender, mut lines) = mpsc::channel::<Line>(64);
    let reads = Source::new(client, job, step, attempt, false).read(sender);
    let keeps = async {
        let mut kept = VecDeque::with_capacity(TAIL);
        let mut left_out = 0;
        while let Some(line) = lines.recv().await {
            if kept.len() == TAIL {
                kept.pop_front();
                left_out += 1;
            }
            let (head, text) = line.parts();
            kept.push_back(format!("{head} {text}").trim_start().to_owned());
        }
        (kept, left_out)
    };
    let (read, (kept, left_out)) = tokio::join!(reads, keeps);
    read?;
    Ok(html::Tail {
        step: step.clone(),
        left_out,
        lines: kept.into(),
    })
}
