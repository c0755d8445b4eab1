//! Every regular log line of the worker, as functions named by what happened:
//! searches rely on them, so they are written once.
//!
//! Logs, and decides nothing. What a step says goes into its own log instead.

use std::{fmt, path::Path, time::Duration};

use jiff::SignedDuration;
use protocol::{
    id::{AttemptId, WorkerId},
    job::{JobLink, StepKey},
    label::Labels,
    message::CancelReason,
    sandbox::{SandboxLevel, UNAVAILABLE},
    step::Outcome,
};
use service::tls::Fingerprint;
use tracing::{error, info, warn};

use crate::{pulse::Miss, sandbox::Sandbox};

/// The process works.
pub fn started(name: &str, state_dir: &Path, slots: u32, labels: &Labels) {
    let state_dir = state_dir.display();
    info!(name, %state_dir, slots, %labels, "{name} starts with {slots} slots, state in {state_dir}; labels: {labels}");
}

/// At which level tools will run, and why at no better one; less than `strong` is said loudly.
pub fn sandbox(sandbox: &Sandbox) {
    let (word, means) = (
        sandbox.level().map_or(UNAVAILABLE, SandboxLevel::as_str),
        sandbox.means(),
    );
    if sandbox.level() == Some(SandboxLevel::Strong) {
        info!(sandbox = word, "tools run at sandbox level {word}: {means}");
    } else {
        let lacks = sandbox.lacks().join("; ");
        let why = if lacks.is_empty() {
            "its configuration allows no more"
        } else {
            &lacks
        };
        warn!(
            sandbox = word,
            why, "tools run at sandbox level {word}: {means}. No better level: {why}"
        );
    }
    match sandbox.uncounted() {
        None => info!("what a command may use is limited for all of its processes together"),
        Some(why) => warn!(
            why,
            "what a command may use is limited for each of its processes, and counted once a second: {why}"
        ),
    }
    for line in sandbox.left_out() {
        warn!("{line}");
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

/// The controller has no work for this worker.
pub fn refused(controller: &str, why: &str) {
    error!(controller, "refused by {controller}: {why}");
}

/// The connection is gone, or does not come up.
pub fn disconnected(broker: &str, error: &dyn fmt::Display) {
    warn!(broker, %error, "no connection to the broker at {broker}: {error}");
}

/// The credential opens nothing.
pub fn login_refused(broker: &str) {
    error!(
        broker,
        "the controller at {broker} refuses this worker's credential: it was removed, or the controller is \
         another one; join again with `agent-worker join TOKEN --force`"
    );
}

/// Somebody else answers where the controller was.
pub fn another_controller(broker: &str, shown: Fingerprint, known: Fingerprint) {
    error!(
        broker, %shown, %known,
        "what answers at {broker} is not the controller that this worker joined: its certificate authority is {shown}, \
         the known one is {known}; nothing was sent. If the controller was set up anew, join again with \
         `agent-worker join TOKEN --force`"
    );
}

/// The certificate was renewed in time.
pub fn certificate_renewed(life: SignedDuration) {
    let hours = life.as_hours();
    info!(
        hours,
        "renewed this worker's certificate: it lives for {hours} hours"
    );
}

/// The certificate was not renewed, and will be tried again.
pub fn certificate_not_renewed(error: &dyn fmt::Display, left: SignedDuration) {
    let hours = left.as_hours();
    if left <= SignedDuration::ZERO {
        error!(
            "this worker's certificate has run out: it was away for too long; join again with \
             `agent-worker join TOKEN --force`"
        );
    } else {
        warn!(%error, hours, "this worker's certificate is not renewed: {error}; it lives for {hours} more hours");
    }
}

/// Two processes knock each other off.
pub fn identity_clash(worker: WorkerId) {
    error!(
        %worker,
        "another process uses this worker's identity {worker}: both are knocked off in turn; stop one of \
         them, or join it again with a --state-dir of its own"
    );
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
pub fn attempt_rejected(attempt: AttemptId, why: &dyn fmt::Display) {
    info!(%attempt, "refused an attempt: {why}");
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

/// A message from the controller could not be read.
pub fn message_dropped(error: &dyn fmt::Display) {
    warn!(%error, "dropped a message from the controller: {error}");
}

/// The service manager's watchdog is not fed.
pub fn pulse_missed(miss: Miss) {
    warn!("the watchdog is not fed: {miss} did not answer in time");
}

/// The process was asked to stop.
pub fn stopping(running: usize) {
    info!(running, "stopping with {running} attempts at work");
}
