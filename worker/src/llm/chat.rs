//! What goes to a model and what comes back, whatever the dialect.

use std::time::Duration;

use protocol::{
    model::{Candidate, Price, Timeouts},
    spec::ModelUsed,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

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

impl From<Timeouts> for CallLimits {
    fn from(timeouts: Timeouts) -> Self {
        Self {
            first_byte: Duration::from_secs(timeouts.first_byte_s),
            between: Duration::from_secs(timeouts.silence_s),
            total: Duration::from_secs(timeouts.answer_s),
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finish {
    /// It was done.
    #[default]
    Stop,
    /// It hit the limit of tokens: the answer is cut.
    Length,
    /// It refused.
    Refusal,
}

impl Finish {
    /// The name in transcripts and recordings.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::Refusal => "refusal",
        }
    }
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

impl TokenCount {
    /// What these tokens cost, in millionths of a US dollar.
    pub fn cost_microusd(&self, price: &Price) -> u64 {
        price.cost_microusd(self.input, self.cached, self.output)
    }
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

/// What an agent asks, written for one candidate.
#[derive(Clone, Debug, Default)]
pub struct Prompt {
    /// The system text: stable, so that it can be cached.
    pub system: String,
    /// The conversation, oldest first.
    pub messages: Vec<ChatMessage>,
    /// Most output tokens; cut to what the window leaves.
    pub max_tokens: u32,
    /// JSON Schema that the answer should follow, with its name.
    pub schema: Option<(String, Value)>,
}

/// What a model said, and which one it was.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The answer.
    pub reply: ChatReply,
    /// The candidate that gave it; its edit protocol is the one to read it with.
    pub candidate: Candidate,
}

impl Answer {
    /// The model, as it is shown with the attempt.
    pub fn model_used(&self) -> ModelUsed {
        ModelUsed {
            provider: self.candidate.provider.clone(),
            model: self.candidate.model.clone(),
            protocol: Some(self.candidate.protocol),
        }
    }
}
