//! What can go wrong with a call, in the classes that decide what happens next.

use std::time::Duration;

use protocol::step::{ErrorClass, StepError};

/// What went wrong with a call.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LlmError {
    /// Come back later: 408, 409, 429, 5xx, 529, resets. Retry-After is a minimum.
    #[error("{message}")]
    Retry {
        /// One sentence with status and the server's words.
        message: String,
        /// The least wait that the server asked for.
        after: Option<Duration>,
        /// Whether the server said that there were too many requests.
        rate_limited: bool,
    },
    /// The quota is spent, or the wait is over 5 minutes.
    #[error("{message}")]
    Quota {
        /// One sentence.
        message: String,
        /// Until when, if known.
        after: Option<Duration>,
    },
    /// The prompt does not fit: never retry as it is.
    #[error(
        "the prompt of about {prompt} tokens does not fit the window of {window}{}",
        detail.as_ref().map(|detail| format!(": {detail}")).unwrap_or_default()
    )]
    TooLong {
        /// Tokens of the prompt, measured or estimated.
        prompt: u64,
        /// The window.
        window: u64,
        /// The server's words.
        detail: Option<String>,
    },
    /// The key is missing or wrong.
    #[error("{0}")]
    Auth(String),
    /// The request cannot be served.
    #[error("{0}")]
    BadRequest(String),
    /// The answer came but passed the limit of time or size: another try would cost as much again.
    #[error("{0}")]
    Endless(String),
    /// A replay recording differs from the request.
    #[error("{0}")]
    Replay(String),
    /// The attempt was stopped.
    #[error("the call was stopped")]
    Stopped,
}

impl LlmError {
    /// Whether another provider may do better with the same task.
    pub const fn another_may_help(&self) -> bool {
        matches!(self, Self::Retry { .. } | Self::Quota { .. } | Self::Endless(_))
    }
}

impl From<LlmError> for StepError {
    fn from(error: LlmError) -> Self {
        let message = error.to_string();
        let (class, after) = match error {
            LlmError::Retry {
                after,
                rate_limited: true,
                ..
            } => (ErrorClass::RateLimited, after),
            LlmError::Retry { after, .. } => (ErrorClass::Provider, after),
            LlmError::Quota { after, .. } => (ErrorClass::Quota, after),
            LlmError::TooLong { .. } => (ErrorClass::TooLong, None),
            LlmError::Auth(_) => (ErrorClass::Auth, None),
            LlmError::BadRequest(_) => (ErrorClass::BadRequest, None),
            LlmError::Endless(_) => (ErrorClass::Provider, None),
            LlmError::Replay(_) => (ErrorClass::Replay, None),
            LlmError::Stopped => (ErrorClass::Killed, None),
        };
        let mut step_error = Self::new(class, message);
        step_error.retry_after_ms = after.map(|after| after.as_millis() as u64);
        step_error
    }
}
