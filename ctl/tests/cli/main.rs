//! The real binary against a controller that a test scripts.

mod approve;
mod errors;
mod fake;
mod follow;
mod output;
mod submit;

use std::process::{Command, Output};

use serde_json::{Value, json};

use self::fake::Fake;

/// `agentctl` with nothing of this machine's own settings.
pub(crate) fn agentctl(fake: &Fake, args: &[&str]) -> Command {
    let mut command = bare(args);
    command
        .env("AGENTCTL_URL", format!("http://{}", fake.address))
        .env("AGENTCTL_TOKEN", "secret");
    command
}

/// `agentctl` that knows no controller.
pub(crate) fn bare(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_agentctl"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    command
        .args(args)
        .env_clear()
        .env("PATH", path)
        .env("HOME", "/nonexistent");
    command
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8")
}

/// A job with one step.
pub(crate) fn job(state: &str, step_state: &str) -> Value {
    let ended = matches!(state, "succeeded" | "failed" | "cancelled").then_some("2026-11-24T04:01:00Z");
    json!({
        "number": 42, "id": "01934f2a-0000-7000-8000-000000000042", "state": state, "workflow": "run",
        "workflow_sha256": "", "title": "count\u{1b}[31m words", "priority": 0,
        "created_at": "2026-11-24T04:00:00Z", "started_at": "2026-11-24T04:00:01Z", "ended_at": ended,
        "reason": null, "usage": {"input_tokens": 0, "output_tokens": 0, "calls": 0},
        "steps": [{
            "key": "only", "kind": "run", "state": step_state, "attempt": 1, "worker": "pi-1", "model": null,
            "usage": {"input_tokens": 0, "output_tokens": 0, "calls": 0},
            "started_at": "2026-11-24T04:00:01Z", "ended_at": null, "error": null,
        }],
    })
}

/// One message of the event stream.
pub(crate) fn event(seq: u64, kind: &str, step: Option<&str>, data: &Value) -> String {
    let event = json!({
        "seq": seq, "at": "2026-11-24T04:00:01.5Z", "kind": kind, "step": step, "data": data,
        "job": {"number": 42, "id": "01934f2a-0000-7000-8000-000000000042"},
        "attempt": step.map(|_| "01934f2a-0000-7000-8000-000000000001"),
    });
    format!("id: {seq}\nevent: {kind}\ndata: {event}\n\n")
}
