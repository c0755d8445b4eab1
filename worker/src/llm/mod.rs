//! Model providers behind one trait: thin adapters over HTTP that survive what
//! servers really send.
//!
//! Owned by the agents of an attempt through [`Models`]. An adapter knows its
//! dialect and nothing else: retries, fallback, budgets and records live in
//! [`Models`]; time limits and cancellation live in the exchange that all
//! adapters share. Keys stay in this process's memory and out of every error,
//! log and record.

mod answer;
mod anthropic;
mod budget;
mod call;
mod chat;
mod client;
mod error;
mod exchange;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod ndjson;
mod ollama;
mod openai;
mod record;
mod refusal;
mod replay;
mod retry;
mod retry_after;
mod server;
mod sse;

use std::sync::Arc;

use futures::future::BoxFuture;
use protocol::model::{ProviderDefinition, ProviderKind, ReachableModel};
use tokio_util::sync::CancellationToken;

pub use self::{
    call::Models,
    chat::{
        Answer, CallLimits, ChatMessage, ChatReply, ChatRequest, Delta, Finish, Prompt, Speaker, TokenCount,
    },
    client::http_client,
    error::LlmError,
    record::{CallRecord, Listeners, RecordedMessage, RecordedRequest, RecordedResult, RecordedUsage},
};

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

/// A dialect: one line of [`PROVIDERS`].
pub struct ProviderSpec {
    /// The kind that definitions name.
    pub kind: ProviderKind,
    connect: Connect,
}

type Connect = fn(&ProviderDefinition, &reqwest::Client, Option<Vec<u8>>) -> Result<SharedProvider, LlmError>;

/// Every dialect.
pub const PROVIDERS: &[ProviderSpec] = &[openai::SPEC, ollama::SPEC, anthropic::SPEC, replay::SPEC];

/// The provider of a definition; no connection is made before the first call.
///
/// `recording` holds the bytes that `definition.recording` names, for the kind `replay`.
pub fn connect(
    definition: &ProviderDefinition,
    http: &reqwest::Client,
    recording: Option<Vec<u8>>,
) -> Result<SharedProvider, LlmError> {
    let spec = PROVIDERS.iter().find(|spec| spec.kind == definition.kind);
    let Some(spec) = spec else {
        return Err(LlmError::BadRequest(format!(
            "provider {:?} is of a kind that this worker does not know",
            definition.name
        )));
    };
    (spec.connect)(definition, http, recording)
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
