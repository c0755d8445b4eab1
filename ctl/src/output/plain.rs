//! Progress for pipes and files: one line per change of state.

use std::io::{self, Write};

use protocol::{
    event::{Event, EventKind},
    http::jobs::JobView,
};
use serde_json::Value;

use super::{progress::Progress, text::one_line};

/// Lines on one stream.
pub(super) struct Plain<W: Write> {
    out: W,
    noticed: Option<String>,
}

impl<W: Write> Plain<W> {
    pub(super) fn new(out: W) -> Self {
        Self { out, noticed: None }
    }
}

impl<W: Write + Send> Progress for Plain<W> {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        match line(event) {
            Some(line) => writeln!(self.out, "{line}"),
            None => Ok(()),
        }
    }

    fn notice(&mut self, text: Option<&str>) -> io::Result<()> {
        if let Some(text) = text
            && self.noticed.as_deref() != Some(text)
        {
            // talk, and no change of the job's state
            writeln!(io::stderr(), "{text}")?;
        }
        self.noticed = text.map(str::to_owned);
        Ok(())
    }

    fn show(&mut self, _job: &JobView) -> io::Result<()> {
        Ok(())
    }

    fn end(&mut self, _job: &JobView, closing: &[String]) -> io::Result<()> {
        closing.iter().try_for_each(|line| writeln!(self.out, "{line}"))
    }
}

/// The line of an event; `None` for what is no change of state.
pub(super) fn line(event: &Event) -> Option<String> {
    let what = match (event.kind, &event.step) {
        (EventKind::JobCreated | EventKind::JobState, _) => {
            let number = event.job?.number;
            format!("job {number} {}{}", word(event, "state")?, tail(event))
        }
        (EventKind::StepState, Some(step)) => format!("{step} {}{}", word(event, "state")?, tail(event)),
        (EventKind::Note, Some(step)) => format!("{step} note: {}", word(event, "text")?),
        (EventKind::Note, None) => format!("note: {}", word(event, "text")?),
        _ => return None,
    };
    // whole seconds: the order says the rest
    let second = event.at.as_second();
    let at = jiff::Timestamp::from_second(second).unwrap_or(event.at);
    Some(format!("{at} {what}"))
}

/// Where, with what, and why.
fn tail(event: &Event) -> String {
    let mut text = String::new();
    if let Some(worker) = word(event, "worker") {
        text.push_str(&format!(" on {worker}"));
    }
    if let Some(model) = word(event, "model") {
        text.push_str(&format!(" with {model}"));
    }
    if let Some(number) = event.data.get("number").and_then(Value::as_u64)
        && number > 1
    {
        text.push_str(&format!(" (attempt {number})"));
    }
    for key in ["error", "reason"] {
        if let Some(reason) = word(event, key) {
            text.push_str(&format!(": {reason}"));
        }
    }
    text
}

/// A field of the event as one line: text, a model's name, or an error's message.
fn word(event: &Event, key: &str) -> Option<String> {
    let value = event.data.get(key)?;
    let inner = ["message", "model"].iter().find_map(|name| value.get(name));
    match inner.unwrap_or(value) {
        Value::String(text) => Some(one_line(text)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::job::samples;

    fn event(kind: EventKind, step: Option<&str>, data: Value) -> Event {
        Event {
            seq: 1,
            at: samples::now(),
            kind,
            job: Some(samples::link()),
            step: step.map(protocol::job::StepKey::top),
            attempt: None,
            data: serde_json::from_value(data).expect("an object"),
        }
    }

    #[test]
    fn one_change_is_one_line() {
        use EventKind::*;
        let model = json!({"provider": "lan", "model": "qwen2.5-coder:7b"});
        let error = json!({"class": "exit", "message": "exit\ncode 101"});
        let events = [
            event(JobCreated, None, json!({"state": "queued", "title": "t"})),
            event(
                StepState,
                Some("plan"),
                json!({"from": "offered", "state": "running", "worker": "pi-1", "model": model, "number": 1}),
            ),
            event(
                StepState,
                Some("plan"),
                json!({"state": "failed", "worker": "pi-1", "number": 2, "error": error}),
            ),
            event(Progress, Some("plan"), json!({"note": "asking"})),
            event(Note, Some("plan"), json!({"text": "fell back\u{1b}[2J"})),
            event(
                JobState,
                None,
                json!({"state": "failed", "reason": "step plan failed"}),
            ),
        ];
        let lines: Vec<String> = events.iter().filter_map(line).collect();
        insta::assert_snapshot!(lines.join("\n"), @r"
        2026-11-18T11:09:45Z job 42 queued
        2026-11-18T11:09:45Z plan running on pi-1 with qwen2.5-coder:7b
        2026-11-18T11:09:45Z plan failed on pi-1 (attempt 2): exit code 101
        2026-11-18T11:09:45Z plan note: fell back
        2026-11-18T11:09:45Z job 42 failed: step plan failed
        ");
    }
}
