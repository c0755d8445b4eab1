//! What a server says when it does not answer, and what follows from it. Pure.

use std::{sync::LazyLock, time::Duration};

use regex::Regex;
use serde_json::Value;

use super::LlmError;

/// A longer wait is treated as a spent quota: another provider should take over.
const LONGEST_RETRY: Duration = Duration::from_secs(300);
/// What is shown of a server's words.
const SHOWN: usize = 400;

/// Words that mean: the prompt is longer than the window.
const TOO_LONG: &[&str] = &[
    "exceed_context_size",
    "context_length_exceeded",
    "request_too_large",
    "context length",
    "context window",
    "context size",
    "maximum context",
    "prompt is too long",
    "prompt too long",
    "input is too long",
];
/// Words that mean: no money or no quota left.
const QUOTA: &[&str] = &[
    "insufficient_quota",
    "billing_",
    "credit balance",
    "insufficient balance",
    "insufficient credits",
];
/// Words that mean: the key does not open this door.
const AUTH: &[&str] = &["authentication_error", "permission_error", "invalid_api_key"];
/// Words that mean: this request will never work.
const BAD_REQUEST: &[&str] = &["invalid_request", "not_found", "invalid_argument"];

/// An error of a server: a status other than 2xx, or an error inside of an answer.
#[derive(Clone, Debug, Default)]
pub(super) struct Refusal {
    /// The HTTP status; `None` when the answer had begun well.
    pub(super) status: Option<u16>,
    /// The least wait that it asked for.
    pub(super) after: Option<Duration>,
    /// Its words, made readable.
    pub(super) message: String,
    /// Type, code and field names, in lower case, for look-ups.
    marks: String,
    prompt: Option<u64>,
    window: Option<u64>,
}

/// What follows from a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    TooLong,
    Quota,
    Auth,
    Retry { rate_limited: bool },
    BadRequest,
}

impl Refusal {
    /// Reads the body of an error answer.
    pub(super) fn of_body(status: u16, after: Option<Duration>, body: &str) -> Self {
        let read = match serde_json::from_str::<Value>(body) {
            Ok(value) => Self::of_json(&value),
            Err(_) => Self {
                message: readable(body),
                marks: body.to_lowercase(),
                ..Self::default()
            },
        };
        Self {
            status: Some(status),
            after,
            ..read
        }
    }

    /// Reads an error document of any dialect: `{"error": {…}}`, `{"error": "…"}`,
    /// `{"detail": …}`, `{"message": …}`, or a list around one of these.
    pub(super) fn of_json(value: &Value) -> Self {
        let document = value.get(0).unwrap_or(value);
        let error = ["error", "detail"]
            .iter()
            .find_map(|field| document.get(field).filter(|value| !value.is_null()))
            .unwrap_or(document);
        let message = match error {
            Value::String(text) => text.clone(),
            error => match error.get("message").or_else(|| error.get("msg")) {
                Some(Value::String(text)) => text.clone(),
                _ => error.to_string(),
            },
        };
        let number = |field: &str| error.get(field).and_then(Value::as_u64);
        let (prompt, window) = numbers(&message);
        let status = number("code").filter(|code| (400..600).contains(code));
        Self {
            status: status.map(|status| status as u16),
            after: None,
            message: readable(&message),
            marks: value.to_string().to_lowercase(),
            prompt: number("n_prompt_tokens").or(prompt),
            window: number("n_ctx").or(window),
        }
    }

    /// Whether type, code, field names or words contain this lower-case text.
    pub(super) fn mentions(&self, word: &str) -> bool {
        self.marks.contains(word)
    }

    /// Whether it may be about a field of the request that this server does not know.
    pub(super) fn may_concern_a_field(&self) -> bool {
        matches!(self.status, Some(400 | 422)) && self.meaning() == Meaning::BadRequest
    }

    /// The error for whoever called `who`; `prompt` and `window` are what we know ourselves.
    pub(super) fn into_error(self, who: &str, prompt: u64, window: u64) -> LlmError {
        let words = match self.message.as_str() {
            "" => String::new(),
            message => format!(": {message}"),
        };
        let message = match self.status {
            Some(status) => format!("{who} answered {}{words}", status_name(status)),
            None => format!("{who} broke off with an error{words}"),
        };
        let after = self.after;
        match self.meaning() {
            Meaning::TooLong => LlmError::TooLong {
                prompt: self.prompt.unwrap_or(prompt),
                window: self.window.unwrap_or(window),
                detail: Some(message),
            },
            Meaning::Quota => LlmError::Quota { message, after },
            Meaning::Auth => LlmError::Auth(message),
            Meaning::Retry { rate_limited } => LlmError::Retry {
                message,
                after,
                rate_limited,
            },
            Meaning::BadRequest => LlmError::BadRequest(message),
        }
    }

    fn meaning(&self) -> Meaning {
        let says = |words: &[&str]| words.iter().any(|word| self.mentions(word));
        let rate_limited = self.status == Some(429) || says(&["rate_limit"]);
        let retry = if self.after.is_some_and(|after| after > LONGEST_RETRY) {
            Meaning::Quota
        } else {
            Meaning::Retry { rate_limited }
        };
        match self.status {
            Some(413) => Meaning::TooLong,
            status if status != Some(429) && says(TOO_LONG) => Meaning::TooLong,
            Some(402) => Meaning::Quota,
            _ if says(QUOTA) => Meaning::Quota,
            Some(401 | 403) => Meaning::Auth,
            Some(408 | 409 | 425 | 429 | 500..=599) => retry,
            _ if says(AUTH) => Meaning::Auth,
            Some(_) => Meaning::BadRequest,
            None if says(BAD_REQUEST) => Meaning::BadRequest,
            None => retry,
        }
    }
}

fn status_name(status: u16) -> String {
    let reason = reqwest::StatusCode::from_u16(status)
        .ok()
        .and_then(|status| status.canonical_reason());
    match (status, reason) {
        (_, Some(reason)) => format!("{status} {reason}"),
        (529, None) => "529 Overloaded".into(),
        (_, None) => status.to_string(),
    }
}

/// Tokens of the prompt and of the window, where the words name them.
fn numbers(message: &str) -> (Option<u64>, Option<u64>) {
    static BOTH: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"(\d+) tokens? ?> ?(\d+)").expect("a valid pattern"));
    static WINDOW: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"(?:context (?:length|window|size)|maximum)[a-z ]{0,20}\(?(\d+)")
            .expect("a valid pattern")
    });
    static PROMPT: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"(?:resulted in|requested|request has|request) \(?(\d+)(?: input)? tokens")
            .expect("a valid pattern")
    });
    let number = |pattern: &Regex, group: usize| pattern.captures(message)?.get(group)?.as_str().parse().ok();
    (
        number(&BOTH, 1).or_else(|| number(&PROMPT, 1)),
        number(&BOTH, 2).or_else(|| number(&WINDOW, 1)),
    )
}

/// One short line without control characters and markup.
pub(super) fn readable(text: &str) -> String {
    let mut shown = String::new();
    let mut in_tag = false;
    let markup = text.trim_start().starts_with('<');
    for character in text.chars() {
        match character {
            '<' if markup => in_tag = true,
            '>' if in_tag => {
                in_tag = false;
                shown.push(' ');
            }
            _ if in_tag => {}
            character if character.is_whitespace() => shown.push(' '),
            character if character.is_control() => {}
            character => shown.push(character),
        }
        if shown.len() > 16 * SHOWN {
            break;
        }
    }
    let shown = shown.split_whitespace().collect::<Vec<_>>().join(" ");
    match shown.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &shown[..end]),
        None => shown,
    }
}

#[cfg(test)]
mod tests;
