//! What `top` reads of the controller, all of it bounded.

use protocol::{
    http::{
        jobs::{GetJob, JobView, ListJobs, StepView, log_path},
        problem,
        status::{GetStatus, Status},
        workers::{ListWorkers, WorkerView},
    },
    id::JobRef,
    job::StepKey,
    step::StepState,
};
use reqwest::header::HeaderMap;

use crate::{
    client::Client,
    error::{CliError, Origin},
};

/// Jobs that are listed.
const JOBS: u32 = 50;
/// Lines of a log that are kept.
pub(super) const LINES: usize = 500;
/// A longer line is cut, in bytes.
const LONGEST_LINE: usize = 4096;

/// What a picture needs beside the lists.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted {
    /// Whose log.
    pub(super) job: Option<JobRef>,
    /// What is there of it.
    pub(super) place: Option<Place>,
}

/// A place in a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The job.
    pub(super) job: JobRef,
    /// The step.
    pub(super) step: StepKey,
    /// The attempt's number.
    pub(super) attempt: u32,
    /// The next byte.
    pub(super) offset: u64,
}

impl Place {
    /// Whether it is the same log.
    pub(super) fn goes_on_from(&self, other: &Self) -> bool {
        (self.job, &self.step, self.attempt) == (other.job, &other.step, other.attempt)
    }
}

/// What was read.
#[derive(Debug)]
pub(super) struct News {
    pub(super) status: Status,
    pub(super) jobs: Vec<JobView>,
    pub(super) workers: Vec<WorkerView>,
    /// The log that was wanted, and its further lines.
    pub(super) log: Option<(Place, Vec<String>)>,
}

/// Reads all of it.
pub(super) async fn news(client: Client, wanted: Wanted) -> Result<News, CliError> {
    let list = ListJobs {
        limit: Some(JOBS),
        ..ListJobs::default()
    };
    let status = client.call(&GetStatus {}).await?;
    let jobs = client.call(&list).await?.items;
    let workers = client.call(&ListWorkers {}).await?.items;
    let log = match wanted.job {
        Some(job) => match log(&client, job, wanted.place).await {
            // the job was removed a moment ago, or the step has said nothing yet
            Err(error) if error.origin() == Origin::Api(problem::Code::NotFound) => None,
            read => read?,
        },
        None => None,
    };
    Ok(News {
        status,
        jobs,
        workers,
        log,
    })
}

async fn log(
    client: &Client,
    job: JobRef,
    place: Option<Place>,
) -> Result<Option<(Place, Vec<String>)>, CliError> {
    let view = client.call(&GetJob { job }).await?;
    let Some(step) = speaks(&view) else {
        return Ok(None);
    };
    let mut now = Place {
        job,
        step: step.key.clone(),
        attempt: step.attempt,
        offset: 0,
    };
    if let Some(place) = place.filter(|place| place.goes_on_from(&now)) {
        now = place;
    }
    let lines = more(client, &mut now).await?;
    Ok(Some((now, lines)))
}

/// The step whose log tells most: one that runs, else the last that failed, else the last that ran.
pub(super) fn speaks(job: &JobView) -> Option<&StepView> {
    let spoke = || job.steps.iter().filter(|step| step.attempt > 0);
    let open = spoke().find(|step| step.state.is_open());
    let failed = || spoke().rfind(|step| step.state == StepState::Failed);
    let last = || spoke().max_by_key(|step| step.started_at);
    open.or_else(failed).or_else(last)
}

/// Whole lines from the place on; the place moves behind them.
async fn more(client: &Client, place: &mut Place) -> Result<Vec<String>, CliError> {
    let path = log_path(place.job, &place.step, Some(place.attempt), place.offset, false);
    let mut response = client.get(&path, HeaderMap::new()).await?;
    let mut lines = std::collections::VecDeque::new();
    let mut rest: Vec<u8> = Vec::new();
    while let Some(chunk) = response
        .chunk()
        .await
        .map_err(|error| client.unreachable(&error))?
    {
        for piece in chunk.split_inclusive(|byte| *byte == b'\n') {
            rest.extend_from_slice(piece);
            if !piece.ends_with(b"\n") {
                continue;
            }
            place.offset += rest.len() as u64;
            let shown = &rest[..rest.len().min(LONGEST_LINE)];
            lines.push_back(String::from_utf8_lossy(shown).trim_end().to_owned());
            rest.clear();
            if lines.len() > LINES {
                lines.pop_front();
            }
        }
    }
    Ok(lines.into())
}
