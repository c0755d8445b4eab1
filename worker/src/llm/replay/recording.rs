//! A recording: newline-delimited JSON, one call a line, found by step key and
//! call number. A transcript is a recording, too: its failed tries are passed over.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::llm::Finish;

/// One line of a recording.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Record {
    /// Key of the step, such as `cycle#1/edit`.
    pub(super) step: String,
    /// Number of the call within the step, from 1.
    pub(super) call: u32,
    /// Texts that the request must contain.
    #[serde(default)]
    pub(super) expect: Vec<String>,
    /// The request that was recorded.
    #[serde(default)]
    pub(super) request: Option<Request>,
    /// The answer; a failed try of a transcript has none.
    #[serde(default)]
    reply: Option<String>,
    /// What makes a line without an answer valid.
    #[serde(default)]
    error: Option<serde_json::Value>,
    /// The thinking before the answer.
    #[serde(default)]
    pub(super) reasoning: String,
    /// Why the model stopped.
    #[serde(default)]
    pub(super) finish: Finish,
    /// What was counted.
    #[serde(default)]
    pub(super) usage: Option<Usage>,
}

impl Record {
    /// The answer.
    pub(super) fn answer(&self) -> &str {
        self.reply.as_deref().unwrap_or("")
    }
}

/// A recorded request.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Request {
    /// The system text; not compared when it was not recorded.
    #[serde(default)]
    pub(super) system: Option<String>,
    /// The conversation.
    #[serde(default)]
    pub(super) messages: Vec<Message>,
}

/// One message of a recorded request.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Message {
    /// `user` or `assistant`.
    pub(super) role: String,
    /// The text.
    pub(super) content: String,
}

/// Recorded tokens.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct Usage {
    /// Fresh input.
    #[serde(default)]
    pub(super) input: u64,
    /// Cached input.
    #[serde(default)]
    pub(super) cached: u64,
    /// Output.
    #[serde(default)]
    pub(super) output: u64,
    /// Whether these were estimates.
    #[serde(default)]
    pub(super) estimated: bool,
}

/// The calls of a recording.
#[derive(Debug, Default)]
pub(super) struct Recording {
    records: BTreeMap<(String, u32), Record>,
}

impl Recording {
    /// Reads a file; errors name the line.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, String> {
        let mut records = BTreeMap::new();
        for (index, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
            let number = index + 1;
            if line.trim_ascii().is_empty() {
                continue;
            }
            let record: Record = serde_json::from_slice(line)
                .map_err(|error| format!("line {number} is no record: {error}"))?;
            match (&record.reply, &record.error) {
                (None, None) => return Err(format!("line {number} has no \"reply\"")),
                (None, Some(_)) => continue,
                (Some(_), _) => {}
            }
            let key = (record.step.clone(), record.call);
            if let Some(Record { step, call, .. }) = records.insert(key, record) {
                return Err(format!(
                    "line {number} answers step {step}, call {call} a second time"
                ));
            }
        }
        Ok(Self { records })
    }

    /// The record of a call, or a sentence that says what there is instead.
    pub(super) fn get(&self, step: &str, call: u32) -> Result<&Record, String> {
        self.records.get(&(step.to_owned(), call)).ok_or_else(|| {
            format!(
                "the recording has no answer for step {step}, call {call}; it holds {}",
                self.contents()
            )
        })
    }

    /// Such as `plan (1 call), cycle#1/edit (2 calls)`.
    fn contents(&self) -> String {
        let mut steps: BTreeMap<&str, usize> = BTreeMap::new();
        for (step, _) in self.records.keys() {
            *steps.entry(step).or_default() += 1;
        }
        if steps.is_empty() {
            return "nothing".into();
        }
        let steps = steps.into_iter().map(|(step, calls)| {
            let word = if calls == 1 { "call" } else { "calls" };
            format!("{step} ({calls} {word})")
        });
        steps.collect::<Vec<_>>().join(", ")
    }
}
