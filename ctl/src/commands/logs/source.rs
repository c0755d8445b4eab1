//! The log of one attempt, read over HTTP line by line; a lost connection is
//! made again where it broke.

use std::time::Duration;

use protocol::{
    http::{
        jobs::{JobView, log_path},
        problem,
    },
    id::JobRef,
    job::StepKey,
};
use reqwest::{Response, header::HeaderMap};
use tokio::sync::mpsc;

use crate::{
    client::Client,
    error::{CliError, Origin},
    exit::Exit,
};

/// Reconnects in a row before the controller counts as gone: about five minutes.
const MOST_FAILURES: u32 = 35;
/// A line longer than this is printed in pieces, in bytes.
const LONGEST_LINE: usize = 256 << 10;

/// One line of a log.
#[derive(Debug)]
pub(in crate::commands) struct Line {
    /// The step that said it.
    pub(in crate::commands) step: StepKey,
    text: String,
}

impl Line {
    /// Time and stream, and what was said.
    pub(in crate::commands) fn parts(&self) -> (&str, &str) {
        let mut words = self.text.splitn(3, ' ');
        match (words.next(), words.next()) {
            (Some(time), Some(stream)) if time.parse::<jiff::Timestamp>().is_ok() => {
                let head = time.len() + 1 + stream.len();
                (&self.text[..head], words.next().unwrap_or_default())
            }
            _ => ("", &self.text),
        }
    }
}

/// One attempt's log.
pub(in crate::commands) struct Source {
    client: Client,
    job: JobRef,
    step: StepKey,
    attempt: u32,
    follow: bool,
    offset: u64,
}

/// How a connection ended.
enum End {
    /// There is no more.
    Log,
    /// Nobody prints any more.
    Printer,
}

impl Source {
    pub(in crate::commands) fn new(
        client: &Client,
        job: &JobView,
        step: &StepKey,
        attempt: u32,
        follow: bool,
    ) -> Self {
        Self::of(client, JobRef::Number(job.number), step, attempt, follow)
    }

    pub(in crate::commands) fn of(
        client: &Client,
        job: JobRef,
        step: &StepKey,
        attempt: u32,
        follow: bool,
    ) -> Self {
        Self {
            client: client.clone(),
            job,
            step: step.clone(),
            attempt,
            follow,
            offset: 0,
        }
    }

    /// Reads to the end; an attempt that said nothing has an empty log.
    pub(in crate::commands) async fn read(mut self, lines: mpsc::Sender<Line>) -> Result<(), CliError> {
        let mut failures = 0;
        loop {
            let before = self.offset;
            match self.connection(&lines).await {
                Ok(End::Log | End::Printer) => return Ok(()),
                Err(error) if error.origin() == Origin::Api(problem::Code::NotFound) => return Ok(()),
                Err(error) if error.exit() == Exit::Unreachable && failures < MOST_FAILURES => {
                    failures = if self.offset > before { 0 } else { failures + 1 };
                    let wait = Duration::from_millis(250 << failures.min(5));
                    tokio::time::sleep(wait).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn connection(&mut self, lines: &mpsc::Sender<Line>) -> Result<End, CliError> {
        let path = log_path(self.job, &self.step, Some(self.attempt), self.offset, self.follow);
        let mut response: Response = self.client.get(&path, HeaderMap::new()).await?;
        let mut rest = Vec::new();
        loop {
            let chunk = response.chunk().await;
            let Some(chunk) = chunk.map_err(|error| self.client.unreachable(&error))? else {
                let last = std::mem::take(&mut rest);
                if !last.is_empty() && !self.send(lines, &last).await {
                    return Ok(End::Printer);
                }
                return Ok(End::Log);
            };
            rest.extend_from_slice(&chunk);
            while let Some(length) = line_length(&rest) {
                let line: Vec<u8> = rest.drain(..length).collect();
                // only whole lines count, so that a resumed log repeats and loses none
                self.offset += line.len() as u64;
                if !self.send(lines, &line).await {
                    return Ok(End::Printer);
                }
            }
        }
    }

    async fn send(&self, lines: &mpsc::Sender<Line>, bytes: &[u8]) -> bool {
        let text = String::from_utf8_lossy(bytes);
        let line = Line {
            step: self.step.clone(),
            text: text.trim_end_matches(['\n', '\r']).to_owned(),
        };
        lines.send(line).await.is_ok()
    }
}

fn line_length(bytes: &[u8]) -> Option<usize> {
    let end = bytes.iter().position(|byte| *byte == b'\n').map(|at| at + 1);
    end.or_else(|| (bytes.len() >= LONGEST_LINE).then_some(bytes.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_falls_into_head_and_text() {
        let line = |text: &str| Line {
            step: StepKey::top("plan"),
            text: text.into(),
        };
        let table = [
            (
                "2026-11-24T04:12:05.123Z out hello  you",
                ("2026-11-24T04:12:05.123Z out", "hello  you"),
            ),
            ("2026-11-24T04:12:05Z info", ("2026-11-24T04:12:05Z info", "")),
            ("no time here", ("", "no time here")),
            ("", ("", "")),
        ];
        for (text, expected) in table {
            assert_eq!(line(text).parts(), expected, "{text:?}");
        }
    }
}
