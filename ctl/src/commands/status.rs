//! `agentctl status`: the controller at a glance.

use clap::Args;
use protocol::http::status::{GetStatus, Status as Answer};

use crate::{
    error::CliError,
    exit::Exit,
    job::usage_text,
    output::{
        Stream,
        relative::{bytes, duration_ms},
        style::Tone,
        text::one_line,
    },
    session::Session,
};

/// Show the controller at a glance
#[derive(Debug, Args)]
pub(crate) struct Status {}

impl Status {
    /// Does it.
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, CliError> {
        let client = session.client()?;
        let status = client.call(&GetStatus {}).await?;
        let url = client.target().url.clone();
        session
            .out
            .one(&status, &url, |stream| human(&status, &url, stream))?;
        Ok(Exit::Done)
    }
}

fn human(status: &Answer, url: &str, stream: Stream) -> Vec<String> {
    let tone = if status.paused { Tone::Alert } else { Tone::Good };
    let state = if status.paused { "paused" } else { &status.state };
    let mut lines = vec![format!(
        "agentd {} at {url} is {} for {}",
        one_line(&status.version),
        stream.style.paint(&one_line(state), tone),
        duration_ms(status.uptime_s * 1000)
    )];
    let mut fact = |name: &str, value: String| {
        let name = stream.style.paint(&format!("{name:<9}"), Tone::Dim);
        lines.push(format!("{name} {}", one_line(&value)));
    };
    fact("jobs", format!("{} open", status.jobs_open));
    let mut steps = format!(
        "{} running, {} waiting for a worker",
        status.running, status.queue_depth
    );
    if status.awaiting > 0 {
        steps.push_str(&format!(", {} waiting for a person", status.awaiting));
    }
    fact("steps", steps);
    fact(
        "workers",
        format!("{} of {} online", status.workers_online, status.workers),
    );
    let models = if status.models.is_empty() {
        "none configured".to_owned()
    } else {
        status.models.join(", ")
    };
    fact("models", models);
    let today = usage_text(&status.today);
    fact(
        "today",
        if today.is_empty() {
            "no model was asked".to_owned()
        } else {
            today
        },
    );
    let used = &status.disk_used;
    fact(
        "disk",
        format!(
            "{} free; database {}, artifacts {}, logs {}",
            bytes(status.disk_free),
            bytes(used.database),
            bytes(used.blobs),
            bytes(used.logs)
        ),
    );
    lines
}
