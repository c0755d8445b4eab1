//! What is kept of every call: one line of the attempt's transcript. The
//! fields of a call that was answered are those that a replay recording needs,
//! so a transcript can be played again as it is.

use std::sync::Arc;

use protocol::{documents::EditProtocol, model::Candidate, step::StepError};
use serde::Serialize;

use super::{ChatReply, ChatRequest, Delta, LlmError, Speaker};

/// Who wants to know what happens during calls. They are called in line, so they must not block.
#[derive(Clone)]
pub struct Listeners {
    /// Pieces of the answer as they come. After a broken try the next one starts from the beginning.
    pub on_delta: Arc<dyn Fn(&Delta) + Send + Sync>,
    /// Sentences for the attempt's log: waits, fallbacks.
    pub on_note: Arc<dyn Fn(&str) + Send + Sync>,
    /// One record per try, for the transcript.
    pub on_record: Arc<dyn Fn(&CallRecord) + Send + Sync>,
}

impl Default for Listeners {
    /// Nobody listens.
    fn default() -> Self {
        Self {
            on_delta: Arc::new(|_| {}),
            on_note: Arc::new(|_| {}),
            on_record: Arc::new(|_| {}),
        }
    }
}

/// One try of one call.
#[derive(Clone, Debug, Serialize)]
pub struct CallRecord {
    /// Key of the step.
    pub step: String,
    /// Number of the call within the step, from 1.
    pub call: u32,
    /// Number of the try within the call, from 1.
    pub r#try: u32,
    /// Name of the provider.
    pub provider: String,
    /// The provider's own name of the model.
    pub model: String,
    /// How this model writes edits.
    pub protocol: EditProtocol,
    /// Its context window in tokens.
    pub window: u32,
    /// Most output tokens that were allowed.
    pub max_tokens: u32,
    /// Name of the schema that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// What was sent.
    pub request: RecordedRequest,
    /// When it was sent, in milliseconds after the agent's start.
    pub at_ms: u64,
    /// From sending to the end, in milliseconds.
    pub took_ms: u64,
    /// What came back.
    #[serde(flatten)]
    pub result: RecordedResult,
}

/// The words of a request.
#[derive(Clone, Debug, Serialize)]
pub struct RecordedRequest {
    /// The system text.
    pub system: String,
    /// The conversation.
    pub messages: Vec<RecordedMessage>,
}

/// One message of a [`RecordedRequest`].
#[derive(Clone, Debug, Serialize)]
pub struct RecordedMessage {
    /// `user` or `assistant`.
    pub role: &'static str,
    /// The text.
    pub content: String,
}

/// The end of a try.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum RecordedResult {
    /// The model answered.
    Answered {
        /// The answer.
        reply: String,
        /// The thinking.
        reasoning: String,
        /// `stop`, `length` or `refusal`.
        finish: &'static str,
        /// Tokens and money.
        usage: RecordedUsage,
        /// The body as it came, lossy where it is no UTF-8.
        raw: String,
    },
    /// It did not.
    Failed {
        /// Class and words.
        error: StepError,
    },
}

/// Tokens and money of a call.
#[derive(Clone, Debug, Serialize)]
pub struct RecordedUsage {
    /// Fresh input tokens.
    pub input: u64,
    /// Cached input tokens.
    pub cached: u64,
    /// Output tokens.
    pub output: u64,
    /// Whether these are estimates.
    pub estimated: bool,
    /// Millionths of a US dollar.
    pub cost_microusd: u64,
}

impl RecordedResult {
    /// The end of a try by a model with this price.
    pub(super) fn of(result: &Result<ChatReply, LlmError>, candidate: &Candidate) -> Self {
        match result {
            Ok(reply) => Self::Answered {
                reply: reply.text.clone(),
                reasoning: reply.reasoning.clone(),
                finish: reply.finish.name(),
                usage: RecordedUsage {
                    input: reply.tokens.input,
                    cached: reply.tokens.cached,
                    output: reply.tokens.output,
                    estimated: reply.tokens.estimated,
                    cost_microusd: reply.tokens.cost_microusd(&candidate.price),
                },
                raw: String::from_utf8_lossy(&reply.raw).into_owned(),
            },
            Err(error) => Self::Failed {
                error: error.clone().into(),
            },
        }
    }
}

impl RecordedRequest {
    /// The words of a request.
    pub(super) fn of(request: &ChatRequest) -> Self {
        Self {
            system: request.system.clone(),
            messages: request
                .messages
                .iter()
                .map(|message| RecordedMessage {
                    role: message.speaker.name(),
                    content: message.text.clone(),
                })
                .collect(),
        }
    }
}

impl Speaker {
    /// The name that every dialect uses.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }
}
