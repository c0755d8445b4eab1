//! What workers say, within what can be true: one of them may be in strange hands, and its
//! numbers and names go into clocks, sums, tables and terminals.
//!
//! It changes the message and refuses none: a result with a strange number is still a result.

use protocol::{
    artifact::{ArtifactRef, check_name},
    message::{FromWorker, StepResult},
    step::StepError,
    usage::Usage,
    worker::Load,
};

/// The highest epoch that a worker is believed: it raises ours for good, and each start needs a higher one.
const EPOCH: u64 = 1 << 53;
/// The longest wait that a worker may ask for, in milliseconds: a day.
const WAIT_MS: u64 = 86_400_000;
/// The longest time that anything took, in milliseconds: a year.
const TOOK_MS: u64 = 365 * WAIT_MS;
/// The most tokens, calls or millionths of a dollar of one attempt: a million million, so that
/// millions of attempts still add up.
const USED: u64 = 1_000_000_000_000;
/// The most bytes of anything: 2^60.
const BYTES: u64 = 1 << 60;
/// The most artifacts of one attempt.
const ARTIFACTS: usize = 1000;
/// The most notes of one attempt, and the longest text of a note, an error or a hint, in characters.
const NOTES: usize = 100;
const CHARS: usize = 4000;

/// Brings a message within bounds.
pub fn bound(message: &mut FromWorker) {
    match message {
        FromWorker::Hello(hello) => {
            if hello.highest_epoch > EPOCH {
                hello.highest_epoch = 0;
            }
            bound_load(&mut hello.load);
        }
        FromWorker::Reject(reject) => {
            reject.retry_after_ms = reject.retry_after_ms.min(WAIT_MS);
            cut(&mut reject.detail);
        }
        FromWorker::Renew(renew) => bound_load(&mut renew.load),
        FromWorker::Progress(progress) => {
            progress.fraction = progress.fraction.filter(|part| (0.0..=1.0).contains(part));
            bound_usage(&mut progress.usage);
            cut(&mut progress.note);
        }
        FromWorker::Checkpoint(checkpoint) => bound_usage(&mut checkpoint.usage),
        FromWorker::Result(result) => bound_result(result),
        FromWorker::Accept(_) | FromWorker::Bye(_) => {}
    }
}

fn bound_result(result: &mut StepResult) {
    bound_usage(&mut result.usage);
    result.duration_ms = result.duration_ms.min(TOOK_MS);
    result.model_ms = result.model_ms.min(TOOK_MS);
    result.log_bytes = result.log_bytes.min(BYTES);
    result.error.iter_mut().for_each(bound_error);
    result.notes.truncate(NOTES);
    let notes = refuse_artifacts(&mut result.artifacts);
    result.notes.extend(notes);
    result.notes.iter_mut().for_each(cut);
}

/// Leaves those out whose names would leave their folder or their line; a note on each.
fn refuse_artifacts(artifacts: &mut Vec<ArtifactRef>) -> Vec<String> {
    let mut notes = vec![];
    if artifacts.len() > ARTIFACTS {
        notes.push(format!(
            "only {ARTIFACTS} of {} artifacts are kept",
            artifacts.len()
        ));
        artifacts.truncate(ARTIFACTS);
    }
    artifacts.retain(|artifact| match check_name(&artifact.name) {
        Ok(()) => true,
        Err(invalid) => {
            if notes.len() < NOTES {
                notes.push(format!("an artifact is left out: {invalid}"));
            }
            false
        }
    });
    for artifact in artifacts.iter_mut() {
        artifact.size = artifact.size.min(BYTES);
    }
    notes
}

fn bound_error(error: &mut StepError) {
    error.retry_after_ms = error.retry_after_ms.map(|wait| wait.min(WAIT_MS));
    cut(&mut error.message);
    error.hint.iter_mut().for_each(cut);
}

fn bound_usage(usage: &mut Usage) {
    for number in [
        &mut usage.input_tokens,
        &mut usage.cached_tokens,
        &mut usage.output_tokens,
        &mut usage.calls,
        &mut usage.cost_microusd,
    ] {
        *number = (*number).min(USED);
    }
}

/// What is no number cannot be written as JSON, nor read again.
fn bound_load(load: &mut Load) {
    load.load1 = if load.load1.is_finite() {
        load.load1.clamp(0.0, 1e6)
    } else {
        0.0
    };
    load.memory_available = load.memory_available.min(BYTES);
    load.disk_free = load.disk_free.min(BYTES);
}

fn cut(text: &mut String) {
    if let Some((end, _)) = text.char_indices().nth(CHARS) {
        text.truncate(end);
    }
}

#[cfg(test)]
mod tests {
    use protocol::message::Renew;
    use serde_json::json;

    use super::*;

    fn result(more: serde_json::Value) -> StepResult {
        let mut result = json!({
            "job": protocol::id::JobId::new(), "step": "run", "attempt": protocol::id::AttemptId::new(),
            "outcome": "ok",
        });
        let fields = more.as_object().expect("fields").clone();
        result.as_object_mut().expect("a map").extend(fields);
        serde_json::from_value(result).expect("a result")
    }

    #[test]
    fn absurd_numbers_become_large_ones() {
        let most = u64::MAX;
        let usage =
            json!({"input_tokens": most, "cached_tokens": most, "output_tokens": most, "calls": most});
        let mut said = FromWorker::Result(Box::new(result(json!({
            "usage": usage, "duration_ms": most, "model_ms": most, "log_bytes": most,
            "error": {"class": "provider", "message": "x".repeat(9000), "retry_after_ms": most},
        }))));
        bound(&mut said);
        let FromWorker::Result(result) = said else {
            panic!("another message")
        };
        assert_eq!(result.usage.tokens(), 3 * USED);
        assert_eq!((result.duration_ms, result.log_bytes), (TOOK_MS, BYTES));
        let error = result.error.expect("kept");
        assert_eq!(
            (error.retry_after_ms, error.message.len()),
            (Some(WAIT_MS), CHARS)
        );
    }

    #[test]
    fn what_is_no_number_is_none() {
        for load1 in [f32::NAN, f32::INFINITY, -1.0] {
            let load = Load {
                load1,
                ..Load::default()
            };
            let mut said = FromWorker::Renew(Renew {
                attempts: vec![],
                load,
            });
            bound(&mut said);
            let FromWorker::Renew(renew) = said else {
                panic!("another message")
            };
            assert!(renew.load.load1.abs() < f32::EPSILON, "{load1}");
        }
    }

    #[test]
    fn artifacts_whose_names_lead_elsewhere_are_left_out_with_a_note() {
        let names = [
            "../x",
            "/etc/passwd",
            "a\u{1b}[2J",
            "good/report.json",
            "a\nb",
            "\u{202e}gpj",
        ];
        let files: Vec<_> = names
            .iter()
            .map(|name| json!({"name": name, "sha256": "a".repeat(64), "size": u64::MAX}))
            .collect();
        let mut said = result(json!({"artifacts": files}));
        bound_result(&mut said);
        let kept: Vec<&str> = said
            .artifacts
            .iter()
            .map(|artifact| artifact.name.as_str())
            .collect();
        assert_eq!(kept, ["good/report.json"]);
        assert_eq!(said.notes.len(), names.len() - 1);
        // quoted, so that the note is harmless itself
        assert!(
            !said.notes.concat().contains(char::is_control),
            "{:?}",
            said.notes
        );
    }
}
