//! Every regular log line of the worker, as functions named by what happened:
//! searches rely on them, so they are written once.
//!
//! Logs, and decides nothing. What a step says goes into its own log instead.

use std::{fmt, path::Path, time::Duration};

use protocol::{
    id::AttemptId,
    job::{JobLink, StepKey},
    label::Labels,
    message::CancelReason,
    step::Outcome,
};
use tracing::{info, warn};

use crate::config::SandboxLevel;

/// The process works.
pub fn started(name: &str, state_dir: &Path, slots: u32, labels: &Labels) {
    let state_dir = state_dir.display();
    info!(name, %state_dir, slots, %labels, "{name} starts with {slots} slots, state in {state_dir}; labels: {labels}");
}

/// At which level tools will run; the lowest one is said loudly.
pub fn sandbox(level: SandboxLevel) {
    let word = level.as_str();
    if level == SandboxLevel::None {
        warn!(
            sandbox = word,
            "tools run without a sandbox: own process group, scrubbed environment and limits only"
        );
    } else {
        info!(sandbox = word, "tools run at sandbox level {word}");
    }
}

/// The credential was stored.
pub fn joined(name: &str, controller: &str) {
    info!(name, controller, "joined {controller} as {name}");
}

/// The controller answered the Hello.
pub fn connected(controller: &str) {
    info!(controller, "connected to {controller}");
}

/// The connection is gone; the next try comes after this wait.
pub fn disconnected(controller: &str, error: &dyn fmt::Display, retry: Duration) {
    warn!(controller, %error, retry_ms = retry.as_millis() as u64, "no connection to {controller}: {error}");
}

/// The journal knew results that the controller has not acknowledged.
pub fn results_kept(count: usize) {
    if count > 0 {
        info!(count, "{count} finished results wait for the controller");
    }
}

/// An attempt was accepted.
pub fn attempt_accepted(job: JobLink, step: &StepKey, attempt: AttemptId) {
    let job = job.number;
    info!(job, %step, %attempt, "accepted step {step} of job {job}");
}

/// An attempt was refused.
pub fn attempt_rejected(job: JobLink, step: &StepKey, attempt: AttemptId, why: &dyn fmt::Display) {
    let job = job.number;
    info!(job, %step, %attempt, "refused step {step} of job {job}: {why}");
}

/// An attempt is being stopped.
pub fn attempt_cancelled(attempt: AttemptId, reason: CancelReason) {
    info!(%attempt, ?reason, "stopping an attempt: {reason:?}");
}

/// An attempt ended.
pub fn attempt_ended(job: JobLink, step: &StepKey, attempt: AttemptId, outcome: Outcome, took: Duration) {
    let job = job.number;
    info!(job, %step, %attempt, outcome = outcome.as_str(), took_ms = took.as_millis() as u64, "step {step} of job {job}: {outcome}");
}

/// A message from the controller was dropped.
pub fn message_ignored(kind: &str, why: &dyn fmt::Display) {
    tracing::debug!(kind, "ignored {kind}: {why}");
}

/// The process was asked to stop.
pub fn stopping(running: usize) {
    info!(running, "stopping with {running} attempts at work");
}
