//! How people name a job, and what is said about one in a few words.

use std::str::FromStr;

use jiff::Timestamp;
use protocol::{
    http::jobs::{GetJob, JobView, ListJobs, StepView},
    id::JobRef,
    job::JobState,
    step::StepState,
    usage::Usage,
};

use crate::{
    client::Client,
    codes::Code,
    error::CliError,
    output::{
        relative::{dollars, elapsed, tokens},
        text::one_line,
    },
};

/// A job as a person names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JobName {
    /// By number or UUID.
    Ref(JobRef),
    /// The newest one.
    Last,
    /// The newest one that failed.
    Failed,
}

impl FromStr for JobName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "@last" => Ok(Self::Last),
            "@failed" => Ok(Self::Failed),
            _ => text
                .parse()
                .map(Self::Ref)
                .map_err(|_| "expected a number, a UUID, @last or @failed".to_owned()),
        }
    }
}

impl JobName {
    /// Asks the controller which job is meant.
    pub(crate) async fn resolve(self, client: &Client) -> Result<JobRef, CliError> {
        let (state, none) = match self {
            Self::Ref(job) => return Ok(job),
            Self::Last => (vec![], "there is no job yet"),
            Self::Failed => (vec![JobState::Failed], "no job has failed"),
        };
        let newest = ListJobs {
            state,
            limit: Some(1),
            ..ListJobs::default()
        };
        let page = client.call(&newest).await?;
        let job = page
            .items
            .first()
            .ok_or_else(|| CliError::new(Code::NoSuchJob, none).hint("`agentctl ps` lists the jobs"))?;
        Ok(JobRef::Number(job.number))
    }

    /// The whole job.
    pub(crate) async fn get(self, client: &Client) -> Result<JobView, CliError> {
        let job = self.resolve(client).await?;
        client.call(&GetJob { job }).await
    }
}

/// `job 42 · implement · Make the failing test pass`.
pub(crate) fn heading(job: &JobView) -> String {
    let title = one_line(&job.title);
    let workflow = one_line(&job.workflow);
    if title.is_empty() {
        format!("job {} · {workflow}", job.number)
    } else {
        format!("job {} · {workflow} · {title}", job.number)
    }
}

/// `12.4k tokens in 5 calls · $0.03`; empty when no model was asked.
pub(crate) fn usage_text(usage: &Usage) -> String {
    if usage.is_zero() {
        return String::new();
    }
    let calls = if usage.calls == 1 { "call" } else { "calls" };
    format!(
        "{} tokens in {} {calls} · {}",
        tokens(usage.tokens()),
        usage.calls,
        dollars(usage.cost_microusd)
    )
}

/// Since its start until its end or now; empty before its start.
pub(crate) fn job_elapsed(job: &JobView, now: Timestamp) -> String {
    let start = job.started_at.unwrap_or(job.created_at);
    elapsed(start, job.ended_at.unwrap_or(now))
}

/// The step whose error came first, among those that decide the job's state.
pub(crate) fn first_failure(job: &JobView) -> Option<&StepView> {
    job.steps
        .iter()
        .filter(|step| step.error.is_some() && decides(job, step))
        // a block fails because of a step in it: the inner one tells more
        .min_by_key(|step| (step.ended_at.unwrap_or(Timestamp::MAX), step.kind == "steps"))
}

/// Whether a step's failure is the job's: not one that a later round of a loop made good.
fn decides(job: &JobView, step: &StepView) -> bool {
    let stopped = matches!(step.state, StepState::Failed | StepState::Parked);
    let Some(parent) = step.key.parent() else {
        return stopped;
    };
    let block = job.steps.iter().find(|block| block.key.as_str() == parent);
    let siblings = job
        .steps
        .iter()
        .filter(|other| other.key.parent() == Some(parent));
    let last_round = siblings.filter_map(|other| other.key.round()).max();
    stopped && step.key.round() == last_round && block.is_none_or(|block| decides(job, block))
}

/// The last three lines: the result, the first error, the next command.
pub(crate) fn closing(job: &JobView, now: Timestamp) -> [String; 3] {
    let is = if job.state.is_terminal() { "" } else { "is " };
    let time = job_elapsed(job, now);
    let mut result = format!("job {} {is}{} after {time}", job.number, job.state);
    let usage = usage_text(&job.usage);
    if !usage.is_empty() {
        result.push_str(&format!(" · {usage}"));
    }
    [result, first_error(job), format!("next: {}", next_command(job))]
}

fn first_error(job: &JobView) -> String {
    if job.state == JobState::Succeeded {
        return "no error".to_owned();
    }
    match (first_failure(job), &job.reason) {
        (Some(step), _) => {
            let error = step.error.as_ref().map(ToString::to_string).unwrap_or_default();
            format!("first error: {}: {}", step.key, one_line(&error))
        }
        (None, Some(reason)) => format!("reason: {}", one_line(reason)),
        (None, None) => "no error".to_owned(),
    }
}

/// The command that most likely comes next.
pub(crate) fn next_command(job: &JobView) -> String {
    let number = job.number;
    let awaiting = job.steps.iter().find(|step| step.state == StepState::Awaiting);
    match (job.state, awaiting) {
        (JobState::Succeeded, _) if has_step(job, |step| step.key.name() == "deliver") => {
            format!("agentctl diff {number}")
        }
        (JobState::Succeeded, _) if has_step(job, |step| step.kind == "agent") => {
            format!("agentctl show {number}")
        }
        (JobState::Succeeded, _) => format!("agentctl logs {number}"),
        (JobState::Failed, _) => match first_failure(job) {
            Some(step) => format!("agentctl logs {number} {}", quoted(step)),
            None => format!("agentctl show {number}"),
        },
        (JobState::Cancelled, _) => format!("agentctl retry {number}"),
        (JobState::Parked, _) => format!("agentctl resume {number}"),
        (_, Some(step)) => format!("agentctl approve {number} {}", quoted(step)),
        (JobState::Queued | JobState::Waiting, None) => format!("agentctl why {number}"),
        (JobState::Running | JobState::Cancelling, None) => format!("agentctl watch {number}"),
    }
}

fn has_step(job: &JobView, wanted: impl Fn(&StepView) -> bool) -> bool {
    job.steps.iter().any(wanted)
}

/// A step's key as a shell takes it.
fn quoted(step: &StepView) -> String {
    let key = step.key.as_str();
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./".contains(c);
    if key.chars().all(plain) {
        key.to_owned()
    } else {
        format!("'{key}'")
    }
}

#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod tests;
