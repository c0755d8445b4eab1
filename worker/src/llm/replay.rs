//! Plays a recorded conversation again: for demos, tests, and to look into a
//! job of the past. A request that differs from the recorded one in what
//! matters is an error that shows the difference.

mod compare;
mod recording;

use std::sync::Arc;

use futures::future::BoxFuture;
use protocol::model::{ProviderKind, ReachableModel};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::recording::{Record, Recording};
use super::{
    ChatReply, ChatRequest, Delta, LlmError, Provider, ProviderSpec, TokenCount,
    budget::{first_guess, prompt_bytes},
};

/// In how many pieces an answer is streamed.
const PIECES: usize = 4;

/// This dialect's line in the registry.
pub(super) const SPEC: ProviderSpec = ProviderSpec {
    kind: ProviderKind::Replay,
    connect: |definition, _http, recording| {
        let name = definition.name.clone();
        let Some(bytes) = recording else {
            return Err(LlmError::BadRequest(format!(
                "provider {name:?} has no recording to replay"
            )));
        };
        let recording = Recording::read(&bytes)
            .map_err(|error| LlmError::Replay(format!("the recording of provider {name:?}: {error}")))?;
        Ok(Arc::new(Replay { name, recording }))
    },
};

struct Replay {
    name: String,
    recording: Recording,
}

impl Provider for Replay {
    fn chat<'a>(
        &'a self,
        request: &'a ChatRequest,
        on_delta: &'a (dyn Fn(&Delta) + Send + Sync),
        stop: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<ChatReply, LlmError>> {
        Box::pin(async move {
            let started = Instant::now();
            let (step, call) = &request.call;
            let record = self.recording.get(step, *call).map_err(LlmError::Replay)?;
            compare::same(record, request).map_err(|difference| {
                LlmError::Replay(format!(
                    "step {step}, call {call} differs from its recording: {difference}"
                ))
            })?;
            on_delta_unless_empty(on_delta, Delta::Reasoning(record.reasoning.clone()));
            for piece in pieces(record.answer()) {
                // Like a real answer, this one can be stopped between its pieces.
                tokio::task::yield_now().await;
                if stop.is_cancelled() {
                    return Err(LlmError::Stopped);
                }
                on_delta(&Delta::Text(piece.to_owned()));
            }
            Ok(ChatReply {
                text: record.answer().to_owned(),
                reasoning: record.reasoning.clone(),
                finish: record.finish,
                tokens: tokens(record, request),
                raw: record.answer().into(),
                took: started.elapsed(),
            })
        })
    }

    fn models(&self) -> BoxFuture<'_, Result<Vec<ReachableModel>, LlmError>> {
        let model = ReachableModel {
            provider: self.name.clone(),
            model: "replay".into(),
            loaded: true,
            window: None,
        };
        Box::pin(async move { Ok(vec![model]) })
    }
}

fn on_delta_unless_empty(on_delta: &(dyn Fn(&Delta) + Send + Sync), delta: Delta) {
    if !matches!(&delta, Delta::Text(text) | Delta::Reasoning(text) if text.is_empty()) {
        on_delta(&delta);
    }
}

fn tokens(record: &Record, request: &ChatRequest) -> TokenCount {
    match record.usage {
        Some(usage) => TokenCount {
            input: usage.input,
            cached: usage.cached,
            output: usage.output,
            estimated: usage.estimated,
        },
        None => TokenCount {
            input: first_guess(prompt_bytes(&request.system, &request.messages)),
            cached: 0,
            output: first_guess(record.answer().len()),
            estimated: true,
        },
    }
}

/// The text in a few pieces of about the same size.
fn pieces(text: &str) -> Vec<&str> {
    let size = text.len().div_ceil(PIECES).max(1);
    let mut pieces = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = (size.min(rest.len())..=rest.len())
            .find(|&end| rest.is_char_boundary(end))
            .unwrap_or(rest.len());
        let (piece, after) = rest.split_at(end);
        pieces.push(piece);
        rest = after;
    }
    pieces
}

#[cfg(test)]
mod tests;
