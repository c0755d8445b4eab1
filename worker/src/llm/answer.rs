//! An answer while it comes in: what every dialect decodes into, and the loop
//! that reads it.

use super::{
    ChatReply, ChatRequest, Delta, Finish, LlmError, TokenCount,
    budget::{first_guess, prompt_bytes},
    exchange::Exchange,
    refusal::{Refusal, readable},
};

/// The most that a model may write, thinking included.
const LONGEST: usize = 4 * 1024 * 1024;

/// What has come so far.
#[derive(Debug, Default)]
pub(super) struct Draft {
    /// The answer.
    pub(super) text: String,
    /// The thinking.
    pub(super) reasoning: String,
    /// Why it stopped, once it said so.
    pub(super) finish: Option<Finish>,
    /// Fresh input tokens, where they were counted.
    pub(super) input: Option<u64>,
    /// Cached input tokens.
    pub(super) cached: u64,
    /// Output tokens, where they were counted.
    pub(super) output: Option<u64>,
    /// Nothing that matters comes any more, even if the connection now breaks.
    pub(super) closing: bool,
    /// The dialect's own end mark came.
    pub(super) complete: bool,
    fresh: Vec<Delta>,
}

impl Draft {
    /// Adds to the answer.
    pub(super) fn say(&mut self, text: &str) {
        if !text.is_empty() {
            self.text.push_str(text);
            self.fresh.push(Delta::Text(text.to_owned()));
        }
    }

    /// Adds to the thinking.
    pub(super) fn think(&mut self, text: &str) {
        if !text.is_empty() {
            self.reasoning.push_str(text);
            self.fresh.push(Delta::Reasoning(text.to_owned()));
        }
    }

    fn tokens(&self, request: &ChatRequest) -> TokenCount {
        let input = self.input.filter(|input| input + self.cached > 0);
        let guess = || first_guess(prompt_bytes(&request.system, &request.messages));
        TokenCount {
            input: input.unwrap_or_else(guess),
            cached: self.cached,
            output: self
                .output
                .unwrap_or_else(|| first_guess(self.text.len() + self.reasoning.len())),
            estimated: input.is_none() || self.output.is_none(),
        }
    }
}

/// Why decoding ended early.
#[derive(Debug)]
pub(super) enum Broken {
    /// The server reports an error.
    Refused(Refusal),
    /// This is not the dialect.
    Garbled(String),
}

/// Reads one event or line as JSON.
pub(super) fn parse(text: &str) -> Result<serde_json::Value, Broken> {
    serde_json::from_str(text).map_err(|error| Broken::Garbled(format!("{error} in {:?}", readable(text))))
}

/// Turns the bytes of a body into a draft. Pure.
pub(super) trait Decoder: Send {
    /// Takes bytes as they came.
    fn read(&mut self, bytes: &[u8], draft: &mut Draft) -> Result<(), Broken>;
    /// The body has ended.
    fn end(&mut self, draft: &mut Draft) -> Result<(), Broken>;
}

/// Reads an answer to its end.
pub(super) async fn read_answer(
    mut exchange: Exchange<'_>,
    mut decoder: impl Decoder,
    request: &ChatRequest,
    on_delta: &(dyn Fn(&Delta) + Send + Sync),
) -> Result<ChatReply, LlmError> {
    let server = exchange.server();
    let mut draft = Draft::default();
    while !draft.complete {
        let (decoded, ended) = match exchange.next().await {
            Ok(Some(bytes)) => (decoder.read(&bytes, &mut draft), false),
            Ok(None) => (decoder.end(&mut draft), true),
            Err(LlmError::Stopped) => return Err(LlmError::Stopped),
            Err(_) if draft.closing => (Ok(()), true),
            Err(error) => return Err(error),
        };
        for delta in draft.fresh.drain(..) {
            exchange.answering();
            on_delta(&delta);
        }
        match decoded {
            Ok(()) => {}
            Err(Broken::Refused(refusal)) => return Err(server.refused(refusal, request)),
            Err(Broken::Garbled(what)) => {
                return Err(server.try_again(&format!("sent something unreadable: {what}")));
            }
        }
        if draft.text.len() + draft.reasoning.len() > LONGEST {
            return Err(exchange.endless(&format!("wrote more than {} MiB", LONGEST / 1024 / 1024)));
        }
        if ended {
            break;
        }
    }
    if !draft.complete && !draft.closing && draft.finish.is_none() {
        return Err(server.try_again("ended its answer without saying that it was done"));
    }
    let tokens = draft.tokens(request);
    let (raw, took) = exchange.finish();
    Ok(ChatReply {
        text: draft.text,
        reasoning: draft.reasoning,
        finish: draft.finish.unwrap_or_default(),
        tokens,
        raw,
        took,
    })
}
