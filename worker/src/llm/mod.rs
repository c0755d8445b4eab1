//! Model providers behind one trait: thin adapters over HTTP that survive what
//! servers really send.

use std::{sync::Arc, time::Duration};

use futures::future::BoxFuture;
use protocol::{
    model::ReachableModel,
    step::{ErrorClass, StepError},
};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

/// Who speaks in a chat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaker {
    /// The task and what we tell the model.
    User,
    /// The model.
    Assistant,
}

/// One message of a chat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChatMessage {
    /// Who.
    pub speaker: Speaker,
    /// What.
    pub text: String,
}

/// One call of a model.
#[derive(Clone, Debug)]
pub struct ChatRequest {
    /// Step key and call number (from 1) within the step: what a replay looks up.
    pub call: (String, u32),
    /// The provider's own name of the model.
    pub model: String,
    /// Context window in tokens; sent as `num_ctx` to Ollama.
    pub window: u32,
    /// The system text: stable, so that it can be cached.
    pub system: String,
    /// The conversation, oldest first.
    pub messages: Vec<ChatMessage>,
    /// Most output tokens.
    pub max_tokens: u32,
    /// JSON Schema that the answer must follow, with its name, where a provider can enforce it.
    pub schema: Option<(String, Value)>,
    /// Time limits.
    pub limits: CallLimits,
}

/// Time limits of a call.
#[derive(Clone, Copy, Debug)]
pub struct CallLimits {
    /// From sending to the first byte: loading a model can take minutes.
    pub first_byte: Duration,
    /// Between two pieces of the answer.
    pub between: Duration,
    /// The whole call.
    pub total: Duration,
}

impl Default for CallLimits {
    /// 5 min to load, 60 s between pieces, 20 min in all.
    fn default() -> Self {
        Self {
            first_byte: Duration::from_secs(300),
            between: Duration::from_secs(60),
            total: Duration::from_secs(1200),
        }
    }
}

/// A piece of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delta {
    /// Of the answer itself.
    Text(String),
    /// Of the model's thinking; never part of the answer.
    Reasoning(String),
}

/// Why a model stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// It was done.
    Stop,
    /// It hit the limit of tokens: the answer is cut.
    Length,
    /// It refused.
    Refusal,
}

/// Tokens of one call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TokenCount {
    /// Fresh input.
    pub input: u64,
    /// Cached input.
    pub cached: u64,
    /// Output.
    pub output: u64,
    /// Whether the provider said nothing and these are estimates (bytes / 3).
    pub estimated: bool,
}

/// A whole answer.
#[derive(Clone, Debug)]
pub struct ChatReply {
    /// The answer, without thinking.
    pub text: String,
    /// The thinking, for the transcript.
    pub reasoning: String,
    /// Why it stopped.
    pub finish: Finish,
    /// What it cost.
    pub tokens: TokenCount,
    /// Raw bytes of the body, for the transcript (capped at 1 MiB).
    pub raw: Vec<u8>,
    /// From sending to the end.
    pub took: Duration,
}

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
    #[error("the prompt of about {prompt} tokens does not fit the window of {window}{}", detail.as_ref().map(|d| format!(": {d}")).unwrap_or_default())]
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
    /// A replay recording differs from the request.
    #[error("{0}")]
    Replay(String),
    /// The attempt was stopped.
    #[error("the call was stopped")]
    Stopped,
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
            LlmError::Replay(_) => (ErrorClass::Replay, None),
            LlmError::Stopped => (ErrorClass::Killed, None),
        };
        let mut step_error = Self::new(class, message);
        step_error.retry_after_ms = after.map(|after| after.as_millis() as u64);
        step_error
    }
}

/// A server of models.
pub trait Provider: Send + Sync {
    /// Asks a model; pieces go to `on_delta` as they come.
    fn chat<'a>(
        &'a self,
        request: &'a ChatRequest,
        on_delta: &'a (dyn Fn(&Delta) + Send + Sync),
        stop: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<ChatReply, LlmError>>;

    /// The models that it offers.
    fn models(&self) -> BoxFuture<'_, Result<Vec<ReachableModel>, LlmError>>;
}

/// A provider that can be shared.
pub type SharedProvider = Arc<dyn Provider>;
