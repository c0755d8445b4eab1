//! Ollama's native API. `/api/chat` with an explicit window and without
//! truncation, because Ollama cuts long prompts in silence; its count of the
//! prompt is compared with ours all the same, as older servers ignore that wish.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use futures::future::BoxFuture;
use protocol::model::{ProviderKind, ReachableModel};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{
    ChatReply, ChatRequest, Delta, Finish, LlmError, Provider, ProviderSpec, TokenCount,
    answer::{Broken, Decoder, Draft, parse, read_answer},
    budget::{first_guess, prompt_bytes},
    ndjson::Lines,
    refusal::Refusal,
    server::{KeyHeader, Opened, Server},
};

/// How long the model stays in memory between two calls: checks run in between.
const KEEP_ALIVE: &str = "15m";
/// Below so many tokens the estimate is too coarse to accuse anybody.
const LEAST_TO_COMPARE: u64 = 1000;

/// This dialect's line in the registry.
pub(super) const SPEC: ProviderSpec = ProviderSpec {
    kind: ProviderKind::Ollama,
    connect: |definition, http, _recording| {
        let server = Server::new(definition, http, KeyHeader::Bearer)?.without_suffix("/api");
        let plain = Mutex::default();
        Ok(Arc::new(Ollama { server, plain }))
    },
};

struct Ollama {
    server: Server,
    /// Models that cannot think.
    plain: Mutex<HashSet<String>>,
}

impl Provider for Ollama {
    fn chat<'a>(
        &'a self,
        request: &'a ChatRequest,
        on_delta: &'a (dyn Fn(&Delta) + Send + Sync),
        stop: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<ChatReply, LlmError>> {
        Box::pin(async move {
            loop {
                let think = self.thinks(request);
                let body = body(request, think);
                match self.server.post("/api/chat", &body, request.limits, stop).await? {
                    Opened::Answer(exchange) => {
                        let reply = read_answer(exchange, Replies::default(), request, on_delta).await?;
                        not_cut(&reply.tokens, request)?;
                        return Ok(reply);
                    }
                    Opened::Refused(refusal)
                        if think && refusal.may_concern_a_field() && refusal.mentions("thinking") =>
                    {
                        self.plain().insert(request.model.clone());
                    }
                    Opened::Refused(refusal) => return Err(self.server.refused(refusal, request)),
                }
            }
        })
    }

    fn models(&self) -> BoxFuture<'_, Result<Vec<ReachableModel>, LlmError>> {
        Box::pin(async move {
            let present = self.server.get("/api/tags").await?;
            // A server that cannot say what is loaded still has its models.
            let loaded = self.server.get("/api/ps").await.unwrap_or_default();
            let windows: HashMap<&str, Option<u64>> = entries(&loaded)
                .map(|(name, model)| (name, model.get("context_length").and_then(Value::as_u64)))
                .collect();
            Ok(entries(&present)
                .map(|(name, _)| ReachableModel {
                    provider: self.server.name().to_owned(),
                    model: name.to_owned(),
                    loaded: windows.contains_key(name),
                    window: windows
                        .get(name)
                        .copied()
                        .flatten()
                        .and_then(|window| u32::try_from(window).ok()),
                })
                .collect())
        })
    }
}

impl Ollama {
    /// Thinking helps with code; constrained decoding and thinking get in each other's way.
    fn thinks(&self, request: &ChatRequest) -> bool {
        request.schema.is_none() && !self.plain().contains(&request.model)
    }

    fn plain(&self) -> std::sync::MutexGuard<'_, HashSet<String>> {
        self.plain.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The entries of `/api/tags` and `/api/ps` by name.
fn entries(list: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let models = list.get("models").and_then(Value::as_array);
    models.into_iter().flatten().filter_map(|model| {
        let name = model.get("name").or_else(|| model.get("model"))?;
        Some((name.as_str()?, model))
    })
}

fn body(request: &ChatRequest, think: bool) -> Value {
    let mut messages = Vec::new();
    if !request.system.is_empty() {
        messages.push(json!({"role": "system", "content": request.system}));
    }
    for message in &request.messages {
        messages.push(json!({"role": message.speaker.name(), "content": message.text}));
    }
    let mut body = json!({
        "model": request.model,
        "messages": messages,
        "stream": true,
        "think": think,
        "truncate": false,
        "shift": false,
        "keep_alive": KEEP_ALIVE,
        "options": {"num_ctx": request.window, "num_predict": request.max_tokens},
    });
    if let Some((_, schema)) = &request.schema {
        body["format"] = schema.clone();
    }
    body
}

/// Fails when the server read less of the prompt than we sent.
fn not_cut(tokens: &TokenCount, request: &ChatRequest) -> Result<(), LlmError> {
    let counted = tokens.input + tokens.cached;
    let sent = first_guess(prompt_bytes(&request.system, &request.messages));
    let window = u64::from(request.window);
    let cut = counted >= window || sent >= LEAST_TO_COMPARE && counted * 2 < sent;
    if tokens.estimated || !cut {
        return Ok(());
    }
    Err(LlmError::TooLong {
        prompt: sent.max(counted),
        window,
        detail: Some(format!("Ollama read {counted} tokens of it and cut the rest")),
    })
}

/// Decodes the lines of `/api/chat`.
#[derive(Default)]
pub(super) struct Replies {
    lines: Lines,
}

impl Decoder for Replies {
    fn read(&mut self, bytes: &[u8], draft: &mut Draft) -> Result<(), Broken> {
        self.lines
            .push(bytes)
            .iter()
            .try_for_each(|text| line(text, draft))
    }

    fn end(&mut self, draft: &mut Draft) -> Result<(), Broken> {
        self.lines.end().iter().try_for_each(|text| line(text, draft))
    }
}

fn line(text: &str, draft: &mut Draft) -> Result<(), Broken> {
    let reply = parse(text)?;
    if reply.get("error").is_some_and(|error| !error.is_null()) {
        return Err(Broken::Refused(Refusal::of_json(&reply)));
    }
    if let Some(message) = reply.get("message") {
        let text = |field: &str| message.get(field).and_then(Value::as_str).unwrap_or("");
        draft.think(text("thinking"));
        draft.say(text("content"));
    }
    if reply.get("done").and_then(Value::as_bool) == Some(true) {
        let number = |field: &str| reply.get(field).and_then(Value::as_u64);
        let reason = reply.get("done_reason").and_then(Value::as_str);
        draft.input = number("prompt_eval_count");
        draft.output = number("eval_count");
        draft.finish = Some(match reason {
            Some("length") => Finish::Length,
            _ => Finish::Stop,
        });
        draft.complete = true;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
