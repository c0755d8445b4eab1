//! Anthropic messages, as Anthropic and llama.cpp's server speak them.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use futures::future::BoxFuture;
use protocol::model::{ProviderKind, ReachableModel};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{
    ChatReply, ChatRequest, Delta, Finish, LlmError, Provider, ProviderSpec,
    answer::{Broken, Decoder, Draft, parse, read_answer},
    refusal::Refusal,
    server::{KeyHeader, Opened, Server},
    sse::EventStream,
};

/// The version of the API that this code speaks.
const VERSION: &str = "2023-06-01";

/// This dialect's line in the registry.
pub(super) const SPEC: ProviderSpec = ProviderSpec {
    kind: ProviderKind::Anthropic,
    connect: |definition, http, _recording| {
        let server = Server::new(definition, http, KeyHeader::ApiKey)?
            .header("anthropic-version", VERSION)
            .without_suffix("/v1");
        let takes_schema = AtomicBool::new(true);
        Ok(Arc::new(Anthropic { server, takes_schema }))
    },
};

struct Anthropic {
    server: Server,
    /// Whether it takes an output format, as far as we know.
    takes_schema: AtomicBool,
}

impl Provider for Anthropic {
    fn chat<'a>(
        &'a self,
        request: &'a ChatRequest,
        on_delta: &'a (dyn Fn(&Delta) + Send + Sync),
        stop: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<ChatReply, LlmError>> {
        Box::pin(async move {
            loop {
                let with_schema = request.schema.is_some() && self.takes_schema.load(Ordering::Relaxed);
                let body = body(request, with_schema);
                match self
                    .server
                    .post("/v1/messages", &body, request.limits, stop)
                    .await?
                {
                    Opened::Answer(exchange) => {
                        return read_answer(exchange, Events::default(), request, on_delta).await;
                    }
                    Opened::Refused(refusal) if with_schema && is_about_the_schema(&refusal) => {
                        self.takes_schema.store(false, Ordering::Relaxed);
                    }
                    Opened::Refused(refusal) => return Err(self.server.refused(refusal, request)),
                }
            }
        })
    }

    fn models(&self) -> BoxFuture<'_, Result<Vec<ReachableModel>, LlmError>> {
        Box::pin(async move {
            let list = self.server.get("/v1/models?limit=1000").await?;
            let list = list.get("data").and_then(Value::as_array);
            Ok(list
                .into_iter()
                .flatten()
                .filter_map(|model| {
                    let window = model.get("max_input_tokens").and_then(Value::as_u64);
                    Some(ReachableModel {
                        provider: self.server.name().to_owned(),
                        model: model.get("id")?.as_str()?.to_owned(),
                        loaded: false,
                        window: window.and_then(|window| u32::try_from(window).ok()),
                    })
                })
                .collect())
        })
    }
}

fn is_about_the_schema(refusal: &Refusal) -> bool {
    let words = [
        "output_config",
        "output format",
        "json_schema",
        "structured output",
    ];
    refusal.may_concern_a_field() && words.iter().any(|word| refusal.mentions(word))
}

fn body(request: &ChatRequest, with_schema: bool) -> Value {
    // The API refuses empty texts.
    let messages: Vec<Value> = request
        .messages
        .iter()
        .filter(|message| !message.text.trim().is_empty())
        .map(|message| json!({"role": message.speaker.name(), "content": message.text}))
        .collect();
    let mut body = json!({
        "model": request.model,
        "max_tokens": request.max_tokens,
        "stream": true,
        "messages": messages,
    });
    if !request.system.trim().is_empty() {
        body["system"] = json!([{
            "type": "text",
            "text": request.system,
            "cache_control": {"type": "ephemeral"},
        }]);
    }
    if let Some((_, schema)) = request.schema.as_ref().filter(|_| with_schema) {
        body["output_config"] = json!({"format": {"type": "json_schema", "schema": schema}});
    }
    body
}

/// Decodes the events of a message, or a whole message.
#[derive(Default)]
pub(super) struct Events {
    events: EventStream,
}

impl Decoder for Events {
    fn read(&mut self, bytes: &[u8], draft: &mut Draft) -> Result<(), Broken> {
        self.events
            .push(bytes)
            .iter()
            .try_for_each(|data| event(data, draft))
    }

    fn end(&mut self, draft: &mut Draft) -> Result<(), Broken> {
        self.events.end().iter().try_for_each(|data| event(data, draft))
    }
}

fn event(data: &str, draft: &mut Draft) -> Result<(), Broken> {
    if !data.trim_start().starts_with(['{', '[']) {
        return Ok(());
    }
    let event = parse(data)?;
    if event.get("error").is_some_and(|error| !error.is_null()) {
        return Err(Broken::Refused(Refusal::of_json(&event)));
    }
    match event.get("type").and_then(Value::as_str) {
        Some("message_start") => {
            read_usage(
                event.get("message").and_then(|message| message.get("usage")),
                draft,
            );
        }
        Some("content_block_start") => read_block(event.get("content_block"), draft),
        Some("content_block_delta") => read_block(event.get("delta"), draft),
        Some("message_delta") => {
            read_usage(event.get("usage"), draft);
            read_stop(event.get("delta"), draft);
            draft.closing |= draft.finish.is_some();
        }
        Some("message_stop") => draft.complete = true,
        Some("message") => {
            read_usage(event.get("usage"), draft);
            read_stop(Some(&event), draft);
            let blocks = event.get("content").and_then(Value::as_array);
            blocks
                .into_iter()
                .flatten()
                .for_each(|block| read_block(Some(block), draft));
            draft.complete = true;
        }
        // ping, content_block_stop, and what is not invented yet
        _ => {}
    }
    Ok(())
}

/// A block of the content, or a piece of one.
fn read_block(block: Option<&Value>, draft: &mut Draft) {
    let text = |field: &str| block?.get(field)?.as_str();
    draft.think(text("thinking").unwrap_or(""));
    draft.say(text("text").unwrap_or(""));
}

fn read_stop(holder: Option<&Value>, draft: &mut Draft) {
    let reason = holder.and_then(|holder| holder.get("stop_reason")?.as_str());
    draft.finish = match reason {
        None | Some("") => draft.finish,
        Some("max_tokens" | "model_context_window_exceeded") => Some(Finish::Length),
        Some("refusal") => Some(Finish::Refusal),
        Some(_) => Some(Finish::Stop),
    };
}

/// Usage comes twice, and the second time not all of it.
fn read_usage(usage: Option<&Value>, draft: &mut Draft) {
    let number = |field: &str| usage?.get(field)?.as_u64();
    if let Some(input) = number("input_tokens") {
        let written = number("cache_creation_input_tokens").unwrap_or(0);
        draft.input = Some((input + written).max(draft.input.unwrap_or(0)));
    }
    if let Some(cached) = number("cache_read_input_tokens") {
        draft.cached = draft.cached.max(cached);
    }
    draft.output = number("output_tokens").or(draft.output);
}

#[cfg(test)]
mod tests;
