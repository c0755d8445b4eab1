//! `agentctl show`: a job with its steps and attempts.

use clap::Args;
use jiff::Timestamp;
use protocol::{
    approval::Decided,
    http::jobs::{AttemptView, JobView, StepView},
    job::StepKey,
};

use crate::{
    error::CliError,
    exit::Exit,
    job::{JobName, closing},
    output::{
        Stream, documents,
        relative::{ago, elapsed},
        style::Tone,
        text::one_line,
        tree::{self, Room},
    },
    session::Session,
};

/// Show a job with its steps and attempts
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// Number, UUID, @last or @failed
    #[arg(add = crate::live::jobs())]
    job: JobName,
}

impl Show {
    /// Does it.
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, CliError> {
        let job = self.job.get(&session.client()?).await?;
        let now = Timestamp::now();
        session.out.record(&job, |stream| human(&job, now, stream))?;
        Ok(Exit::Done)
    }
}

fn human(job: &JobView, now: Timestamp, stream: Stream) -> Vec<String> {
    let room = Room {
        columns: stream.columns(),
        lines: None,
    };
    let mut lines = tree::render(job, now, room, stream.style);
    lines.push(String::new());
    let mut fact = |name: &str, value: String| {
        let name = stream.style.paint(&format!("{name:<9}"), Tone::Dim);
        lines.push(format!("{name} {}", one_line(&value)));
    };
    fact("id", job.id.to_string());
    fact("created", ago(job.created_at, now));
    if let Some(repo) = &job.repo {
        let url = repo
            .url
            .as_deref()
            .map(|url| format!(" from {url}"))
            .unwrap_or_default();
        let base = repo
            .base
            .as_deref()
            .map(|base| format!(" at {base}"))
            .unwrap_or_default();
        fact("repo", format!("{}{url}{base}", repo.name));
    }
    for (name, value) in &job.inputs {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        fact("input", format!("{name}: {text}"));
    }
    for (name, value) in &job.labels {
        fact("label", format!("{name}={value}"));
    }
    for (key, decided) in decisions(job) {
        fact("decision", format!("{key}: {decided}, {}", ago(decided.at, now)));
    }
    for step in job.steps.iter().filter(|step| step.attempts.len() > 1) {
        lines.push(String::new());
        lines.extend(attempts(step, now));
    }
    for step in &job.steps {
        let documents = documents::of_step(step, stream.style);
        if !documents.is_empty() {
            lines.push(String::new());
            lines.extend(documents);
        }
    }
    lines.push(String::new());
    lines.extend(closing(job, now));
    lines
}

/// What people have decided, or silence has.
fn decisions(job: &JobView) -> impl Iterator<Item = (&StepKey, &Decided)> {
    job.steps.iter().filter_map(|step| {
        let approval = step.approval.as_ref()?;
        Some((&step.key, approval.wait.decided.as_ref()?))
    })
}

fn attempts(step: &StepView, now: Timestamp) -> impl Iterator<Item = String> {
    let head = std::iter::once(format!("attempts of {}", step.key));
    head.chain(
        step.attempts
            .iter()
            .map(move |attempt| attempt_line(attempt, now)),
    )
}

fn attempt_line(attempt: &AttemptView, now: Timestamp) -> String {
    let start = attempt.started_at.unwrap_or(attempt.offered_at);
    let time = elapsed(start, attempt.ended_at.unwrap_or(now));
    let mut line = format!(
        "  {} {} on {} for {time}",
        attempt.number, attempt.state, attempt.worker
    );
    if let Some(error) = &attempt.error {
        line.push_str(&format!(": {error}"));
    }
    if let Some(late) = attempt.late_outcome {
        line.push_str(&format!("; a result came late: {late}"));
    }
    for note in &attempt.notes {
        line.push_str(&format!("; {note}"));
    }
    format!("  {}", one_line(&line))
}
