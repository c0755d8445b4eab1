//! Model providers behind one trait: thin adapters over HTTP that survive what
//! servers really send.
//!
//! Owned by the agents of an attempt through [`Models`]. An adapter knows its
//! dialect and nothing else: retries, fallback, budgets and records live in
//! [`Models`]; time limits and cancellation live in the exchange that all
//! adapters share. Keys stay in this process's memory and out of every error,
//! log and record.

mod budget;
mod call;
mod chat;
mod error;
mod record;
mod retry;

use std::sync::Arc;

use futures::future::BoxFuture;
use protocol::model::ReachableModel;
use tokio_util::sync::CancellationToken;

pub use self::{
    call::Models,
    chat::{
        Answer, CallLimits, ChatMessage, ChatReply, ChatRequest, Delta, Finish, Prompt, Speaker, TokenCount,
    },
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
