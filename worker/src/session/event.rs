//! What can happen to the conversation and what it wants done: plain values.

use protocol::{
    artifact::Sha256,
    codec::Envelope,
    id::{AttemptId, JobId},
    job::StepKey,
    label::Labels,
    message::{
        Assign, Cancel, CancelReason, Checkpoint, FromWorker, Progress, Session, StepResult, ToWorker,
    },
    model::ReachableModel,
    worker::Load,
};

use crate::journal::Record;

/// What this worker holds of an attempt. An attempt that is not held was never
/// seen, or its acknowledgement is more than a day old.
#[derive(Clone, Debug, PartialEq)]
pub enum Held {
    /// Being written down; a Cancel may come before that is done.
    Accepting {
        /// What was assigned.
        assign: Box<Assign>,
        /// A Cancel that came meanwhile: it will not start.
        cancelled: Option<Cancel>,
    },
    /// Being executed.
    Running {
        /// Since when, on this process's monotonic clock, in milliseconds.
        since_ms: u64,
        /// Its lease, in milliseconds: it is renewed three times as often.
        lease_ms: u64,
        /// How long a stop leaves it, in milliseconds.
        cancel_grace_ms: u64,
        /// Its last finished turn that the controller can read.
        checkpoint: Option<Box<Checkpoint>>,
    },
    /// Its result is being written down; still alive for the controller.
    Ending {
        /// The result.
        result: Box<StepResult>,
    },
    /// Its result is on disk and was not acknowledged yet.
    Unsent {
        /// The result.
        result: Box<StepResult>,
    },
    /// Its result was acknowledged; the journal keeps it for a day.
    Acked,
    /// Accepted by an earlier life of this process, which died.
    Dead {
        /// Its job.
        job: JobId,
        /// Its step.
        step: StepKey,
        /// Its last finished turn, until the controller was told of it.
        checkpoint: Option<Box<Checkpoint>>,
    },
    /// Cancelled before its Assign came: it must never start.
    Barred,
}

/// What this machine has, as a Hello says it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Introduction {
    /// What it has.
    pub labels: Labels,
    /// Models that it reaches by itself.
    pub models: Vec<ReachableModel>,
    /// How busy it is.
    pub load: Load,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// The broker answered a new connection; they count from 1.
    Connected(u64),
    /// The connection is gone.
    Disconnected,
    /// A message came.
    Received(Box<Envelope<ToWorker>>),
    /// The acceptance of an attempt is on disk.
    AcceptWritten(AttemptId),
    /// It could not be written.
    AcceptNotWritten(AttemptId, String),
    /// A step ended.
    Ended(Box<StepResult>),
    /// The result of an attempt is on disk.
    ResultWritten(AttemptId),
    /// An acknowledged result was read again from the journal.
    Recalled(Box<StepResult>),
    /// Blobs that the controller missed are there now.
    Uploaded(AttemptId),
    /// They are gone here too, so the result is worth nothing.
    BlobsGone(AttemptId, String),
    /// The journal no longer keeps these.
    Forgotten(Vec<AttemptId>),
    /// An attempt got on.
    Progress(Progress),
    /// A turn of an attempt's agent is finished, and kept on this machine.
    Turn(Box<Checkpoint>),
    /// The controller has what a checkpoint names.
    TurnSent(Box<Checkpoint>),
    /// It is time for a Hello.
    HelloDue(Box<Introduction>),
    /// It is time to renew the leases.
    RenewDue(Load),
    /// The process was asked to end.
    Stopping,
}

/// Something to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// A connection begins: earlier words are void, results are said again.
    Begin(Session),
    /// Say a Hello now, and again until there is a Sync.
    Greet,
    /// The Hello was answered.
    Synced {
        /// The controller's start.
        epoch: u64,
        /// Wait up to this many milliseconds before the first Renew.
        spread_ms: u64,
        /// Largest log of a step, in bytes.
        log_bytes: u64,
    },
    /// The Hello was refused, for this reason.
    Refused(String),
    /// A higher epoch was seen.
    Epoch(u64),
    /// Say this.
    Say(FromWorker),
    /// The controller has the result of this attempt: stop saying it.
    Settled(AttemptId),
    /// Write this down. `Accepted` and `Result` are answered by
    /// [`Input::AcceptWritten`] and [`Input::ResultWritten`].
    Write(Record),
    /// Execute this attempt.
    Start(Box<Assign>),
    /// End this attempt.
    Stop {
        /// Which.
        attempt: AttemptId,
        /// Why.
        why: CancelReason,
        /// From the polite to the hard end, in milliseconds.
        kill_after_ms: u64,
    },
    /// Read an acknowledged result again; answered by [`Input::Recalled`].
    Recall(AttemptId),
    /// Upload these blobs again; answered by [`Input::Uploaded`] or [`Input::BlobsGone`].
    Upload {
        /// The attempt whose result or checkpoint names them.
        attempt: AttemptId,
        /// Which.
        missing: Vec<Sha256>,
    },
    /// Send the rest of a log from this byte on.
    ResumeLog(AttemptId, u64),
    /// Nothing, and why.
    Ignored(Ignored),
}

/// Why something changed nothing: for the log at debug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ignored {
    /// The message belongs to another session.
    OtherSession,
    /// The message comes from an earlier life of the controller.
    OldEpoch,
    /// The attempt is not one that this could change.
    NotApplicable,
    /// This worker does not do that.
    Unsupported,
}
