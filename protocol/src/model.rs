//! Models, providers and prices as configurations and assignments carry them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{artifact::BlobRef, documents::EditProtocol};

/// The dialect that a provider speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProviderKind {
    /// An OpenAI-compatible chat completions server.
    Openai,
    /// Ollama's native API.
    Ollama,
    /// Anthropic messages.
    Anthropic,
    /// A recording that is played again.
    Replay,
}

/// A provider as the worker gets it for its own open attempt; the key never leaves the worker's memory.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
pub struct ProviderDefinition {
    /// The name that candidates use.
    pub name: String,
    /// Its dialect.
    pub kind: ProviderKind,
    /// Base URL; for OpenAI-compatible servers it ends in `/v1`. Empty for `replay`.
    #[serde(default)]
    pub base_url: String,
    /// The key, if the server wants one.
    #[serde(default)]
    pub api_key: Option<String>,
    /// The recording in the blob store, for `replay`.
    #[serde(default)]
    pub recording: Option<BlobRef>,
    /// How long it may take.
    #[serde(default)]
    pub timeouts: Timeouts,
}

/// How long a provider may take with one answer, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Timeouts {
    /// From the request to the first piece of the answer: loading a model can take minutes.
    pub first_byte_s: u64,
    /// Between two pieces of the answer.
    pub silence_s: u64,
    /// The whole answer.
    pub answer_s: u64,
}

impl Default for Timeouts {
    /// 5 min to load, 60 s between pieces, 20 min in all.
    fn default() -> Self {
        Self {
            first_byte_s: 300,
            silence_s: 60,
            answer_s: 1200,
        }
    }
}

impl std::fmt::Debug for ProviderDefinition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProviderDefinition")
            .field("name", &self.name)
            .field("kind", &self.kind)
            .field("base_url", &self.base_url)
            .field("api_key", &self.api_key.as_ref().map(|_| "•••"))
            .field("recording", &self.recording)
            .field("timeouts", &self.timeouts)
            .finish()
    }
}

/// One model that may answer, in order of preference.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Candidate {
    /// Name of the provider.
    pub provider: String,
    /// The provider's own name of the model.
    pub model: String,
    /// Context window in tokens.
    #[serde(default = "default_window")]
    pub window: u32,
    /// Most tokens of one answer, where less than what a role would ask for; a small model that does
    /// not find an end is stopped by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer_tokens: Option<u32>,
    /// How it writes edits.
    #[serde(default)]
    pub protocol: EditProtocol,
    /// What it costs; free if unknown.
    #[serde(default)]
    pub price: Price,
}

/// 8,192 tokens: what the smallest of today's coding models handle.
const fn default_window() -> u32 {
    8192
}

/// US dollars per million tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Price {
    /// Fresh input.
    #[serde(default)]
    pub input: f64,
    /// Cached input.
    #[serde(default)]
    pub cached: f64,
    /// Output.
    #[serde(default)]
    pub output: f64,
}

impl Price {
    /// The price of so many tokens, in millionths of a dollar.
    pub fn cost_microusd(&self, input: u64, cached: u64, output: u64) -> u64 {
        // tokens × USD per million tokens = millionths of a dollar
        let cost = input as f64 * self.input + cached as f64 * self.cached + output as f64 * self.output;
        cost.max(0.0).round() as u64
    }
}

/// A model that a worker can reach by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReachableModel {
    /// Provider name on that worker.
    pub provider: String,
    /// The provider's own name of the model.
    pub model: String,
    /// Whether it is in memory now.
    #[serde(default)]
    pub loaded: bool,
    /// Its context window, if the provider says.
    #[serde(default)]
    pub window: Option<u32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_counts_each_kind_of_token() {
        let price = Price {
            input: 1.25,
            cached: 0.12,
            output: 10.0,
        };
        assert_eq!(price.cost_microusd(1000, 100, 10), 1250 + 12 + 100);
    }

    #[test]
    fn a_key_cannot_be_printed() {
        let provider = ProviderDefinition {
            name: "cloud".into(),
            kind: ProviderKind::Openai,
            base_url: "http://127.0.0.1/v1".into(),
            api_key: Some("sk-secret".into()),
            recording: None,
            timeouts: Timeouts::default(),
        };
        assert!(!format!("{provider:?}").contains("sk-secret"));
    }
}
