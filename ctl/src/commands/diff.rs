//! `agentctl diff`: a job's patch, and nothing else.

use clap::Args;
use protocol::id::JobRef;
use reqwest::header::HeaderMap;

use super::artifacts::{fetch, no_result};
use crate::{
    client::Client,
    error::CliError,
    exit::Exit,
    job::JobName,
    output::{
        style::{Style, Tone},
        text::clean,
    },
    session::Session,
};

/// The name of deliver's patch.
pub(crate) const PATCH: &str = "patch";

/// Print a job's patch, and nothing else
#[derive(Debug, Args)]
pub(crate) struct Diff {
    /// Number, UUID, @last or @failed
    #[arg(add = crate::live::jobs())]
    job: JobName,
}

impl Diff {
    /// Does it.
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, CliError> {
        let client = session.client()?;
        let job = self.job.resolve(&client).await?;
        let patch = patch(&client, job).await?;
        let stdout = session.out.stdout();
        if stdout.terminal {
            for line in String::from_utf8_lossy(&patch).lines() {
                session.out.line(&paint(line, stdout.style))?;
            }
        } else {
            // byte for byte: `git apply` reads it
            session.out.bytes(&patch)?;
        }
        Ok(Exit::Done)
    }
}

/// The bytes of the patch.
pub(crate) async fn patch(client: &Client, job: JobRef) -> Result<Vec<u8>, CliError> {
    let response = fetch(client, job, PATCH, HeaderMap::new()).await;
    let response = response.map_err(|error| no_result(error, job, "a patch"))?;
    client.read(response, usize::MAX).await
}

/// A line of a patch for a terminal.
pub(crate) fn paint(line: &str, style: Style) -> String {
    let tone = match line.as_bytes() {
        [b'd', b'i', b'f', b'f', ..] | [b'-', b'-', b'-', ..] | [b'+', b'+', b'+', ..] => Tone::Strong,
        [b'@', b'@', ..] => Tone::Busy,
        [b'+', ..] => Tone::Good,
        [b'-', ..] => Tone::Bad,
        _ => Tone::Plain,
    };
    style.paint(&clean(line), tone)
}
