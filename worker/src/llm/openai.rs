//! OpenAI-compatible chat completions: llama.cpp, vLLM, LM Studio, gateways and
//! the original. What a server refuses of the optional fields is dropped and
//! remembered for as long as the provider lives.

pub(super) mod decode;

use std::sync::{Arc, Mutex, PoisonError};

use futures::future::BoxFuture;
use protocol::model::{ProviderKind, ReachableModel};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use self::decode::Chunks;
use super::{
    ChatReply, ChatRequest, Delta, LlmError, Provider, ProviderSpec,
    answer::read_answer,
    refusal::Refusal,
    server::{KeyHeader, Opened, Server},
};

/// This dialect's line in the registry.
pub(super) const SPEC: ProviderSpec = ProviderSpec {
    kind: ProviderKind::Openai,
    connect: |definition, http, _recording| {
        let server = Server::new(definition, http, KeyHeader::Bearer)?;
        let accepted = Mutex::new(Accepted::everything());
        Ok(Arc::new(Openai { server, accepted }))
    },
};

struct Openai {
    server: Server,
    accepted: Mutex<Accepted>,
}

/// The optional fields that this server takes, as far as we know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Accepted {
    format: Format,
    usage: bool,
    limit: LimitField,
}

/// How the shape of the answer is asked for, strongest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    StrictSchema,
    Schema,
    AnyJson,
    Nothing,
}

/// The field that limits output tokens. `max_tokens` comes first: many servers
/// ignore the newer name in silence, while those that want it say so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LimitField {
    MaxTokens,
    MaxCompletionTokens,
    Nothing,
}

impl Accepted {
    const fn everything() -> Self {
        Self {
            format: Format::StrictSchema,
            usage: true,
            limit: LimitField::MaxTokens,
        }
    }

    /// Less than this, if the refusal is about a field that was sent.
    fn without_refused(self, refusal: &Refusal, with_schema: bool) -> Option<Self> {
        let mentions = |words: &[&str]| words.iter().any(|word| refusal.mentions(word));
        let format = match self.format {
            Format::StrictSchema => Some(Format::Schema),
            Format::Schema => Some(Format::AnyJson),
            Format::AnyJson => Some(Format::Nothing),
            Format::Nothing => None,
        };
        if let Some(format) = format
            && with_schema
            && mentions(&[
                "response_format",
                "json_schema",
                "json_object",
                "structured output",
            ])
        {
            return Some(Self { format, ..self });
        }
        if self.usage && mentions(&["stream_options", "include_usage"]) {
            return Some(Self { usage: false, ..self });
        }
        // A value that is out of bounds is no unknown field.
        if mentions(&["too large", "at most", "less than", "greater than"]) {
            return None;
        }
        let limit = match self.limit {
            LimitField::MaxTokens if mentions(&["max_tokens"]) => LimitField::MaxCompletionTokens,
            LimitField::MaxCompletionTokens if mentions(&["max_completion_tokens"]) => LimitField::Nothing,
            _ => return None,
        };
        Some(Self { limit, ..self })
    }
}

impl Openai {
    fn accepted(&self) -> Accepted {
        *self.accepted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets the field that the refusal is about; `false` if there is none.
    fn drop_refused(&self, sent: Accepted, refusal: &Refusal, request: &ChatRequest) -> bool {
        if !refusal.may_concern_a_field() {
            return false;
        }
        let less = sent.without_refused(refusal, request.schema.is_some());
        if let Some(less) = less {
            *self.accepted.lock().unwrap_or_else(PoisonError::into_inner) = less;
        }
        less.is_some()
    }
}

impl Provider for Openai {
    fn chat<'a>(
        &'a self,
        request: &'a ChatRequest,
        on_delta: &'a (dyn Fn(&Delta) + Send + Sync),
        stop: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<ChatReply, LlmError>> {
        Box::pin(async move {
            // Ends: each round sends less than the one before, or returns.
            loop {
                let accepted = self.accepted();
                let body = body(request, accepted);
                let opened = self.server.post("/chat/completions", &body, request.limits, stop);
                match opened.await? {
                    Opened::Answer(exchange) => {
                        return read_answer(exchange, Chunks::default(), request, on_delta).await;
                    }
                    Opened::Refused(refusal) if self.drop_refused(accepted, &refusal, request) => {}
                    Opened::Refused(refusal) => return Err(self.server.refused(refusal, request)),
                }
            }
        })
    }

    fn models(&self) -> BoxFuture<'_, Result<Vec<ReachableModel>, LlmError>> {
        Box::pin(async move {
            let list = self.server.get("/models").await?;
            let list = list.get("data").and_then(Value::as_array);
            Ok(list
                .into_iter()
                .flatten()
                .filter_map(|model| self.model(model))
                .collect())
        })
    }
}

impl Openai {
    /// One entry of the list; the fields beyond `id` differ from server to server.
    fn model(&self, model: &Value) -> Option<ReachableModel> {
        let window = ["max_model_len", "context_length", "context_window"]
            .iter()
            .find_map(|field| model.get(field))
            .or_else(|| model.get("meta")?.get("n_ctx"))
            .and_then(Value::as_u64);
        let owner = model.get("owned_by").and_then(Value::as_str);
        let status = model.get("status").and_then(|status| status.get("value"));
        let loaded = match status.and_then(Value::as_str) {
            Some(status) => status == "loaded",
            None => matches!(owner, Some("llamacpp" | "vllm")),
        };
        Some(ReachableModel {
            provider: self.server.name().to_owned(),
            model: model.get("id")?.as_str()?.to_owned(),
            loaded,
            window: window.and_then(|window| u32::try_from(window).ok()),
        })
    }
}

fn body(request: &ChatRequest, accepted: Accepted) -> Value {
    let mut messages = Vec::new();
    if !request.system.is_empty() {
        messages.push(json!({"role": "system", "content": request.system}));
    }
    for message in &request.messages {
        messages.push(json!({"role": message.speaker.name(), "content": message.text}));
    }
    let mut body = json!({"model": request.model, "stream": true, "messages": messages});
    if accepted.usage {
        body["stream_options"] = json!({"include_usage": true});
    }
    match accepted.limit {
        LimitField::MaxTokens => body["max_tokens"] = request.max_tokens.into(),
        LimitField::MaxCompletionTokens => body["max_completion_tokens"] = request.max_tokens.into(),
        LimitField::Nothing => {}
    }
    if let Some((name, schema)) = &request.schema {
        let format = match accepted.format {
            Format::StrictSchema => Some(json!({
                "type": "json_schema",
                "json_schema": {"name": name, "strict": true, "schema": schema},
            })),
            Format::Schema => Some(json!({
                "type": "json_schema",
                "json_schema": {"name": name, "schema": schema},
            })),
            Format::AnyJson => Some(json!({"type": "json_object"})),
            Format::Nothing => None,
        };
        if let Some(format) = format {
            body["response_format"] = format;
        }
    }
    body
}

#[cfg(test)]
mod tests;
