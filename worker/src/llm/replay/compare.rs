//! Whether a request is the one that was recorded. White space does not matter.

use similar::TextDiff;

use super::recording::Record;
use crate::llm::ChatRequest;

/// The most characters of a difference that are shown.
const SHOWN: usize = 4000;

/// Compares a request with its record; the error shows the first difference.
pub(super) fn same(record: &Record, request: &ChatRequest) -> Result<(), String> {
    let all = all_text(request);
    if let Some(missing) = record.expect.iter().find(|text| !all.contains(&normal(text))) {
        return Err(format!("the request does not contain {missing:?}"));
    }
    let Some(recorded) = &record.request else {
        return Ok(());
    };
    let with_system = recorded.system.as_deref();
    let then = conversation(
        with_system,
        recorded
            .messages
            .iter()
            .map(|message| (message.role.as_str(), message.content.as_str())),
    );
    let now = conversation(
        with_system.map(|_| request.system.as_str()),
        request
            .messages
            .iter()
            .map(|message| (message.speaker.name(), message.text.as_str())),
    );
    if then == now {
        return Ok(());
    }
    let diff = TextDiff::from_lines(&then, &now);
    let diff = diff
        .unified_diff()
        .context_radius(2)
        .header("recorded", "asked now")
        .to_string();
    let shown = match diff.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &diff[..end]),
        None => diff,
    };
    Err(format!("\n{shown}"))
}

/// Everything that the model would read, on one normalised line.
fn all_text(request: &ChatRequest) -> String {
    let texts = request.messages.iter().map(|message| message.text.as_str());
    let texts: Vec<&str> = std::iter::once(request.system.as_str()).chain(texts).collect();
    normal(&texts.join("\n"))
}

/// Every run of white space as one space.
fn normal(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A conversation as lines: one headline per message, then its lines, normalised, without empty ones.
fn conversation<'a>(system: Option<&'a str>, messages: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut lines = String::new();
    for (role, text) in system.map(|text| ("system", text)).into_iter().chain(messages) {
        lines.push_str(&format!("[{role}]\n"));
        for line in text.lines().map(normal).filter(|line| !line.is_empty()) {
            lines.push_str(&line);
            lines.push('\n');
        }
    }
    lines
}
