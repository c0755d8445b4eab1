//! One request and its body: three time limits, a limit of size, and an end at
//! once when the attempt is stopped (dropping an exchange closes its connection,
//! which frees the server's slot).

use std::{future::Future, time::Duration};

use bytes::Bytes;
use reqwest::Response;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{CallLimits, LlmError, server::Server};

/// The most that is read of one answer, framing included.
const BODY: usize = 64 * 1024 * 1024;
/// The most that is kept of a body for the transcript.
const RAW: usize = 1024 * 1024;

/// A request on its way, and later its body.
pub(super) struct Exchange<'a> {
    server: &'a Server,
    limits: CallLimits,
    stop: &'a CancellationToken,
    sent: Instant,
    last_byte: Instant,
    answering: bool,
    response: Option<Response>,
    read: usize,
    raw: Vec<u8>,
}

/// The limit that comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Limit {
    FirstByte,
    Between,
    Total,
}

impl<'a> Exchange<'a> {
    /// Starts the clocks.
    pub(super) fn begin(server: &'a Server, limits: CallLimits, stop: &'a CancellationToken) -> Self {
        let now = Instant::now();
        Self {
            server,
            limits,
            stop,
            sent: now,
            last_byte: now,
            answering: false,
            response: None,
            read: 0,
            raw: Vec::new(),
        }
    }

    /// Waits for the status line and the headers.
    pub(super) async fn status(
        &mut self,
        response: impl Future<Output = reqwest::Result<Response>>,
    ) -> Result<Response, LlmError> {
        let response = self.within_limits(response).await?;
        response.map_err(|error| self.server.broken(error))
    }

    /// Goes on with the body of this response.
    pub(super) fn body(&mut self, response: Response) {
        self.response = Some(response);
    }

    /// The next bytes of the body; `None` at its end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, LlmError> {
        let Some(mut response) = self.response.take() else {
            return Ok(None);
        };
        let chunk = self.within_limits(response.chunk()).await?;
        let chunk = chunk.map_err(|error| self.server.broken(error))?;
        if let Some(bytes) = &chunk {
            self.response = Some(response);
            self.last_byte = Instant::now();
            self.read += bytes.len();
            self.raw
                .extend(bytes.iter().take(RAW.saturating_sub(self.raw.len())));
            if self.read > BODY {
                return Err(self.endless(&format!("sent more than {} MiB", BODY / 1024 / 1024)));
            }
        }
        Ok(chunk)
    }

    /// The body up to so many bytes.
    pub(super) async fn read_all(&mut self, most: usize) -> Result<Vec<u8>, LlmError> {
        let mut body = Vec::new();
        while body.len() < most {
            let Some(bytes) = self.next().await? else {
                break;
            };
            body.extend(bytes.iter().take(most - body.len()));
        }
        Ok(body)
    }

    /// The model has said something: from now on only the time between pieces counts.
    pub(super) fn answering(&mut self) {
        self.answering = true;
    }

    /// The server that answers.
    pub(super) fn server(&self) -> &'a Server {
        self.server
    }

    /// Raw bytes for the transcript, and the time from sending until now.
    pub(super) fn finish(self) -> (Vec<u8>, Duration) {
        (self.raw, self.sent.elapsed())
    }

    /// The error for an answer that passed a limit for good.
    pub(super) fn endless(&self, what: &str) -> LlmError {
        LlmError::Endless(format!("{} {what}", self.server.who()))
    }

    async fn within_limits<T>(&self, work: impl Future<Output = T>) -> Result<T, LlmError> {
        let last_byte = (self.read > 0).then_some(self.last_byte);
        let (deadline, limit) = deadline(self.limits, self.sent, last_byte, self.answering);
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Err(LlmError::Stopped),
            done = work => Ok(done),
            () = sleep_until(deadline) => Err(self.passed(limit)),
        }
    }

    fn passed(&self, limit: Limit) -> LlmError {
        let CallLimits {
            first_byte,
            between,
            total,
        } = self.limits;
        match limit {
            Limit::FirstByte => self
                .server
                .try_again(&format!("did not begin to answer within {first_byte:?}")),
            Limit::Between => self
                .server
                .try_again(&format!("was silent for {between:?} in the middle of its answer")),
            Limit::Total => self.endless(&format!("was not done with its answer after {total:?}")),
        }
    }
}

/// The limit that comes first and when that is.
///
/// Until the first piece of the answer a sign of life (a ping, a comment) only
/// extends the time for loading, it does not end it.
fn deadline(
    limits: CallLimits,
    sent: Instant,
    last_byte: Option<Instant>,
    answering: bool,
) -> (Instant, Limit) {
    let first = (sent + limits.first_byte, Limit::FirstByte);
    let between = last_byte.map(|last| (last + limits.between, Limit::Between));
    let quiet = between.filter(|between| answering || between.0 > first.0);
    let quiet = quiet.unwrap_or(first);
    let total = (sent + limits.total, Limit::Total);
    if total.0 <= quiet.0 { total } else { quiet }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_rules_its_own_part_of_a_call() {
        let seconds = Duration::from_secs;
        let limits = CallLimits {
            first_byte: seconds(300),
            between: seconds(60),
            total: seconds(1200),
        };
        let sent = Instant::now();
        for (last_byte, answering, until, limit) in [
            (None, false, 300, Limit::FirstByte),
            // A ping while the model loads neither ends the first wait nor cuts it short.
            (Some(10), false, 300, Limit::FirstByte),
            (Some(290), false, 350, Limit::Between),
            (Some(10), true, 70, Limit::Between),
            (Some(290), true, 350, Limit::Between),
            (Some(1190), true, 1200, Limit::Total),
        ] {
            let last_byte = last_byte.map(|after| sent + seconds(after));
            let expected = (sent + seconds(until), limit);
            assert_eq!(
                deadline(limits, sent, last_byte, answering),
                expected,
                "{until} s"
            );
        }
    }
}
