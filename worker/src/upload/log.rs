//! Sends the bytes of a log spool to the controller, from where it is on.

use std::io;

use protocol::{
    http::{
        artifacts::{UPLOAD_OFFSET, attempt_log_path},
        problem::Code,
    },
    id::AttemptId,
};
use reqwest::Method;

use super::{Controller, HttpError, refusal};

/// Bytes of one request: few requests, and a follower sees lines early. 64 KiB.
const CHUNK: usize = 64 << 10;

/// How far the controller has the log of one attempt.
pub struct LogUpload {
    controller: Controller,
    path: String,
    offset: u64,
}

impl LogUpload {
    /// A log of which `offset` bytes are there already.
    pub fn new(controller: Controller, attempt: AttemptId, offset: u64) -> Self {
        Self {
            controller,
            path: attempt_log_path(attempt),
            offset,
        }
    }

    /// How many bytes are there.
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// Sends everything that `read(offset, max)` has; empty bytes mean that there is no more now.
    pub async fn catch_up(
        &mut self,
        read: impl Fn(u64, usize) -> io::Result<Vec<u8>>,
    ) -> Result<(), HttpError> {
        let mut corrections = 0;
        loop {
            let bytes = read(self.offset, CHUNK)
                .map_err(|e| HttpError::Local(format!("the log cannot be read: {e}")))?;
            if bytes.is_empty() {
                return Ok(());
            }
            let end = self.offset + bytes.len() as u64;
            match self.send(bytes).await? {
                Some(offset) if offset != end => {
                    // what the controller has is the truth; it must not go round in circles
                    corrections += 1;
                    if corrections > 3 {
                        let text = format!("the controller wants the log from {offset}, again and again");
                        return Err(HttpError::Unexpected(text));
                    }
                    self.offset = offset;
                }
                Some(_) | None => self.offset = end,
            }
        }
    }

    async fn send(&self, bytes: Vec<u8>) -> Result<Option<u64>, HttpError> {
        let request = self
            .controller
            .request(Method::PATCH, &self.path)
            .header(UPLOAD_OFFSET, self.offset)
            .header(reqwest::header::CONTENT_TYPE, "application/octet-stream")
            .body(bytes);
        let response = request.send().await?;
        let offset = response
            .headers()
            .get(UPLOAD_OFFSET)
            .and_then(|value| value.to_str().ok()?.parse().ok());
        if response.status().is_success() {
            return Ok(offset);
        }
        let (error, problem) = refusal(response).await;
        let expected = problem
            .filter(|problem| problem.code == Code::WrongOffset)
            .and_then(|problem| problem.value?.as_u64());
        expected.map(Some).ok_or(error)
    }
}
