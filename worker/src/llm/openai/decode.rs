//! Chunks of a chat completion, in every variation that servers send. Pure.

use serde_json::Value;

use crate::llm::{
    Finish,
    answer::{Broken, Decoder, Draft, parse},
    refusal::Refusal,
    sse::EventStream,
};

/// Decodes a stream of chunks, or one whole completion.
#[derive(Default)]
pub(in crate::llm) struct Chunks {
    events: EventStream,
}

impl Decoder for Chunks {
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
    let data = data.trim();
    if data == "[DONE]" {
        draft.complete = true;
        return Ok(());
    }
    if !data.starts_with(['{', '[']) {
        return Ok(());
    }
    let chunk = parse(data)?;
    let choices = chunk.get("choices");
    if chunk.get("error").is_some_and(|error| !error.is_null())
        || choices.is_none() && (chunk.get("message").is_some() || chunk.is_array())
    {
        return Err(Broken::Refused(Refusal::of_json(&chunk)));
    }
    let choice = choices
        .and_then(Value::as_array)
        .and_then(|choices| choices.iter().find(|choice| index(choice) == 0));
    if let Some(choice) = choice {
        read_choice(choice, draft);
    }
    if let Some(usage) = chunk.get("usage").filter(|usage| usage.is_object()) {
        read_usage(usage, draft);
        draft.closing |= choice.is_none() && (draft.finish.is_some() || !draft.text.is_empty());
    }
    Ok(())
}

fn index(choice: &Value) -> u64 {
    choice.get("index").and_then(Value::as_u64).unwrap_or(0)
}

fn read_choice(choice: &Value, draft: &mut Draft) {
    let before = draft.text.len() + draft.reasoning.len();
    let whole = choice.get("message").filter(|message| message.is_object());
    if let Some(delta) = whole.or_else(|| choice.get("delta")) {
        for field in ["reasoning_content", "reasoning"] {
            if let Some(Value::String(text)) = delta.get(field)
                && !text.is_empty()
            {
                draft.think(text);
                break;
            }
        }
        match delta.get("content") {
            Some(Value::String(text)) => draft.say(text),
            Some(Value::Array(parts)) => parts.iter().for_each(|part| read_part(part, draft)),
            _ => {}
        }
        if let Some(Value::String(text)) = delta.get("refusal") {
            draft.say(text);
            if !text.is_empty() {
                draft.finish = Some(Finish::Refusal);
            }
        }
    }
    let reason = choice.get("finish_reason").and_then(Value::as_str).unwrap_or("");
    if !reason.is_empty() && draft.finish != Some(Finish::Refusal) {
        draft.finish = Some(finish(reason));
        // Where every chunk carries a reason, one with text is not the last.
        draft.closing |= before == draft.text.len() + draft.reasoning.len();
    }
    draft.complete |= whole.is_some();
}

/// One part of a content that is a list.
fn read_part(part: &Value, draft: &mut Draft) {
    match part.get("type").and_then(Value::as_str) {
        Some("thinking" | "reasoning") => {
            let inner = part.get("thinking").or_else(|| part.get("text"));
            let inner = inner.map(texts).unwrap_or_default();
            draft.think(&inner);
        }
        _ => draft.say(part.get("text").and_then(Value::as_str).unwrap_or("")),
    }
}

/// A text, or the texts of a list of parts.
fn texts(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts
            .iter()
            .filter_map(|part| part.get("text")?.as_str())
            .collect(),
        _ => String::new(),
    }
}

fn finish(reason: &str) -> Finish {
    match reason {
        "length" | "max_tokens" | "max_output_tokens" => Finish::Length,
        "content_filter" | "refusal" | "safety" => Finish::Refusal,
        _ => Finish::Stop,
    }
}

fn read_usage(usage: &Value, draft: &mut Draft) {
    let number = |field: &str| usage.get(field).and_then(Value::as_u64);
    let cached = usage
        .get("prompt_tokens_details")
        .and_then(|details| details.get("cached_tokens"))
        .and_then(Value::as_u64)
        .or_else(|| number("prompt_cache_hit_tokens"))
        .unwrap_or(0);
    if let Some(prompt) = number("prompt_tokens") {
        draft.cached = cached.min(prompt);
        draft.input = Some(prompt - draft.cached);
    }
    draft.output = number("completion_tokens").or(draft.output);
}
