//! Steps and attempts: their states, outcomes and errors.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::job::text_enum;

text_enum! {
    /// How far a step is.
    StepState {
        /// Waits for other steps.
        Blocked = "blocked",
        /// Waits for a worker.
        Ready = "ready",
        /// Waits for a timer before its next attempt.
        RetryWait = "retry_wait",
        /// Waits for a person.
        Awaiting = "awaiting",
        /// Offered to a worker that has not accepted yet.
        Offered = "offered",
        /// A worker runs it, or its own steps run.
        Running = "running",
        /// Being stopped.
        Cancelling = "cancelling",
        /// Stopped until a person decides.
        Parked = "parked",
        /// Ended well.
        Succeeded = "succeeded",
        /// Ended badly.
        Failed = "failed",
        /// Not needed.
        Skipped = "skipped",
        /// Stopped by a person.
        Cancelled = "cancelled",
    }
}

impl StepState {
    /// Whether the step has ended.
    pub const fn is_terminal(self) -> bool {
        matches!(
            self,
            Self::Succeeded | Self::Failed | Self::Skipped | Self::Cancelled
        )
    }

    /// Whether an attempt of it may be on a worker and was not given up.
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Offered | Self::Running | Self::Cancelling)
    }
}

text_enum! {
    /// How far an attempt is.
    AttemptState {
        /// Said to the worker, not accepted yet.
        Offered = "offered",
        /// Accepted.
        Running = "running",
        /// Its lease ran out; it may come back.
        Suspect = "suspect",
        /// Being stopped.
        Cancelling = "cancelling",
        /// Ended well.
        Succeeded = "succeeded",
        /// Ended badly.
        Failed = "failed",
        /// Ended by a deadline.
        TimedOut = "timed_out",
        /// Ended by a cancel.
        Cancelled = "cancelled",
        /// The worker refused it.
        Rejected = "rejected",
        /// Nobody knows; a late result still counts while no newer attempt exists.
        Lost = "lost",
    }
}

impl AttemptState {
    /// Whether the attempt has a deadline: everything open has one.
    pub const fn is_open(self) -> bool {
        matches!(
            self,
            Self::Offered | Self::Running | Self::Suspect | Self::Cancelling
        )
    }
}

text_enum! {
    /// How the worker says that an attempt ended.
    Outcome {
        /// As wished.
        Ok = "ok",
        /// Badly; the error says why.
        Failed = "failed",
        /// Its own time limit ended it.
        TimedOut = "timed_out",
        /// It was stopped, or its process died.
        Killed = "killed",
    }
}

text_enum! {
    /// What kind of trouble ended an attempt; `retry.on` of a workflow names these.
    ErrorClass {
        /// A command exited with another code than 0, or by a signal.
        Exit = "exit",
        /// A check found failures.
        Check = "check",
        /// A model's answer could not be used, also after repair.
        ModelOutput = "model_output",
        /// A provider asked to come back later.
        RateLimited = "rate_limited",
        /// A provider's quota is spent.
        Quota = "quota",
        /// A provider was not reachable or broke off.
        Provider = "provider",
        /// A provider refused the key.
        Auth = "auth",
        /// A provider refused the request.
        BadRequest = "bad_request",
        /// The prompt does not fit the window.
        TooLong = "too_long",
        /// A replay recording does not fit the request.
        Replay = "replay",
        /// A limit of calls, rounds, tokens or money was reached.
        Budget = "budget",
        /// A time limit passed.
        Timeout = "timeout",
        /// The repository could not be cloned, checked out, committed or bundled.
        Workspace = "workspace",
        /// The step's own definition cannot work.
        Spec = "spec",
        /// The worker's machine was at fault; another one may do better.
        Infra = "infra",
        /// Somebody killed it.
        Killed = "killed",
        /// A tool, runtime or model that the step needs is not there.
        Missing = "missing",
        /// A person refused it.
        Rejected = "rejected",
    }
}

/// Why an attempt did not end well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StepError {
    /// What kind of trouble.
    pub class: ErrorClass,
    /// One sentence for people.
    pub message: String,
    /// What would help.
    #[serde(default)]
    pub hint: Option<String>,
    /// The least wait before another attempt, in milliseconds (a provider's Retry-After).
    #[serde(default)]
    pub retry_after_ms: Option<u64>,
}

impl StepError {
    /// An error without a hint.
    pub fn new(class: ErrorClass, message: impl Into<String>) -> Self {
        Self {
            class,
            message: message.into(),
            hint: None,
            retry_after_ms: None,
        }
    }

    /// The same with a hint.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl std::fmt::Display for StepError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for StepError {}
