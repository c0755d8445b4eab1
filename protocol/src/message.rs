//! The private messages between controller and worker.
//!
//! Unknown fields are ignored and new fields have defaults, so that versions
//! can differ. Durations only, never dates: the two clocks need not agree.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    artifact::{ArtifactRef, BlobRef, Sha256},
    id::{AttemptId, BootId, JobId, JournalId},
    job::{JobLink, StepKey, text_enum},
    label::Labels,
    model::ReachableModel,
    spec::{ModelUsed, StepSpec, WorkspaceResult},
    step::{Outcome, StepError},
    usage::Usage,
    worker::Load,
};

/// The version of the messages that this code speaks.
pub const PROTOCOL_VERSION: u32 = 1;

/// Largest message on the wire, in bytes; larger things travel by HTTP.
pub const MAX_MESSAGE_BYTES: usize = 128 * 1024;

/// One connection of one life of a worker: ordered by start, then by connection.
/// A journal id that the controller has never seen counts as newer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Session {
    /// The journal file.
    pub journal: JournalId,
    /// How often that journal was opened.
    pub start: u64,
    /// The connection of that start, from 1.
    pub connection: u64,
}

impl Session {
    /// Whether `self` comes after `stored`, the last session that the controller knows.
    pub fn is_newer_than(&self, stored: &Self) -> bool {
        self.journal != stored.journal || (self.start, self.connection) > (stored.start, stored.connection)
    }
}

/// From the controller to a worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "body", rename_all = "snake_case")]
pub enum ToWorker {
    /// Execute this attempt.
    Assign(Box<Assign>),
    /// Stop this attempt.
    Cancel(Cancel),
    /// The leases of these attempts were renewed.
    Lease(Lease),
    /// Say that you still have this attempt.
    Probe(Probe),
    /// Your result was received.
    Ack(Ack),
    /// The answer to a Hello.
    Sync(Box<Sync>),
    /// Take nothing new; finish what runs.
    Drain(Drain),
    /// A person's text for a running agent.
    Signal(Signal),
    /// The answer to a Hello of a worker that cannot be given anything.
    Refused(Refused),
}

/// From a worker to the controller.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "body", rename_all = "snake_case")]
pub enum FromWorker {
    /// Here I am, and this is what I hold.
    Hello(Box<Hello>),
    /// I have written this attempt down and execute it.
    Accept(Accept),
    /// I cannot take this attempt.
    Reject(Reject),
    /// These attempts are alive.
    Renew(Renew),
    /// How far an attempt is.
    Progress(Progress),
    /// A finished turn that a later attempt may go on from.
    Checkpoint(Checkpoint),
    /// An attempt has ended.
    Result(Box<StepResult>),
    /// I am going.
    Bye(Bye),
}

impl FromWorker {
    /// The word on the wire, for logs.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Hello(_) => "hello",
            Self::Accept(_) => "accept",
            Self::Reject(_) => "reject",
            Self::Renew(_) => "renew",
            Self::Progress(_) => "progress",
            Self::Checkpoint(_) => "checkpoint",
            Self::Result(_) => "result",
            Self::Bye(_) => "bye",
        }
    }
}

/// See [`ToWorker::Assign`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Assign {
    /// The job.
    pub job: JobLink,
    /// The step.
    pub step: StepKey,
    /// The fencing token.
    pub attempt: AttemptId,
    /// For people.
    pub number: u32,
    /// What to do; `None` when it is too large and must be fetched by HTTP.
    #[serde(default)]
    pub spec: Option<StepSpec>,
    /// Names of the secrets that the step may fetch.
    #[serde(default)]
    pub secrets: Vec<String>,
    /// Hard limit of the whole attempt, in milliseconds.
    pub timeout_ms: u64,
    /// How long the attempt is presumed alive without a word.
    pub lease_ms: u64,
    /// How long after that it may still come back.
    pub grace_ms: u64,
    /// How long a Cancel leaves between the polite and the hard end.
    pub cancel_grace_ms: u64,
    /// Artifacts that the step reads.
    #[serde(default)]
    pub artifacts: Vec<ArtifactRef>,
    /// The checkpoint of an earlier attempt to go on from.
    #[serde(default)]
    pub checkpoint: Option<Checkpoint>,
    /// W3C trace context.
    #[serde(default)]
    pub traceparent: Option<String>,
}

/// See [`ToWorker::Cancel`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cancel {
    /// Which attempt.
    pub attempt: AttemptId,
    /// Why.
    pub why: CancelReason,
    /// From the polite to the hard end, in milliseconds.
    pub kill_after_ms: u64,
}

text_enum! {
    /// Why an attempt is stopped.
    CancelReason {
        /// A person wished it.
        User = "user",
        /// Its hard limit passed.
        Timeout = "timeout",
        /// A newer attempt exists, or its step has ended.
        Superseded = "superseded",
        /// Money or tokens ran out.
        Budget = "budget",
    }
}

/// See [`ToWorker::Lease`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The attempts that are presumed alive again.
    pub attempts: Vec<AttemptId>,
}

/// See [`ToWorker::Probe`]; answered by a Renew that names the attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// Which attempt.
    pub attempt: AttemptId,
}

/// See [`ToWorker::Ack`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// Which attempt.
    pub attempt: AttemptId,
    /// What became of its result.
    pub verdict: AckVerdict,
}

/// What became of a result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AckVerdict {
    /// It is the step's result, on disk.
    Applied,
    /// It came too late and is kept for salvage, on disk.
    Superseded,
    /// These blobs are not here yet: keep the result, upload them, say it again.
    Missing(Vec<Sha256>),
}

/// See [`ToWorker::Sync`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sync {
    /// Attempts that go on.
    #[serde(default)]
    pub resume: Vec<AttemptId>,
    /// Attempts to stop; what neither list names goes on too.
    #[serde(default)]
    pub stop: Vec<AttemptId>,
    /// Results that are on disk here.
    #[serde(default)]
    pub ack: Vec<AttemptId>,
    /// Results that are wanted (again).
    #[serde(default)]
    pub want_result: Vec<AttemptId>,
    /// How many log bytes of an attempt are here.
    #[serde(default)]
    pub log_from: Vec<(AttemptId, u64)>,
    /// Say the first Renew after a random wait of up to this many milliseconds.
    #[serde(default)]
    pub spread_ms: u64,
    /// Largest log of a step, in bytes.
    #[serde(default = "default_log_bytes")]
    pub log_bytes: u64,
}

impl Default for Sync {
    fn default() -> Self {
        Self {
            resume: Vec::new(),
            stop: Vec::new(),
            ack: Vec::new(),
            want_result: Vec::new(),
            log_from: Vec::new(),
            spread_ms: 0,
            log_bytes: default_log_bytes(),
        }
    }
}

/// 16 MiB of log per step.
const fn default_log_bytes() -> u64 {
    16 << 20
}

/// See [`ToWorker::Drain`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drain {
    /// Whether to take nothing new (`true`) or to go on as before.
    pub draining: bool,
}

/// See [`ToWorker::Signal`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signal {
    /// Which attempt.
    pub attempt: AttemptId,
    /// What the person says.
    pub text: String,
}

/// See [`ToWorker::Refused`]: neither a Sync nor an Assign follows in this session, but another Hello
/// may be said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// One sentence for the worker's owner: what does not fit, and the way out.
    pub why: String,
}

/// See [`FromWorker::Hello`]. Said in the lowest version that the worker understands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    /// This life of the process.
    pub boot_id: BootId,
    /// Version of the program.
    pub version: String,
    /// Lowest message version that it understands.
    pub protocol_min: u32,
    /// Highest message version that it understands.
    pub protocol_max: u32,
    /// What it has.
    pub labels: Labels,
    /// How many attempts it takes at a time.
    pub slots: u32,
    /// Models that it reaches by itself.
    #[serde(default)]
    pub models: Vec<ReachableModel>,
    /// How busy the machine is.
    #[serde(default)]
    pub load: Load,
    /// Attempts that it executes.
    #[serde(default)]
    pub running: Vec<RunningAttempt>,
    /// Results that were not acknowledged yet.
    #[serde(default)]
    pub unsent: Vec<(AttemptId, Outcome)>,
    /// The highest epoch that it has seen.
    #[serde(default)]
    pub highest_epoch: u64,
}

/// An attempt in a [`Hello`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunningAttempt {
    /// Which.
    pub attempt: AttemptId,
    /// For how long, in milliseconds.
    pub for_ms: u64,
    /// The last checkpoint's number.
    #[serde(default)]
    pub last_seq: u64,
}

/// See [`FromWorker::Accept`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accept {
    /// Which attempt.
    pub attempt: AttemptId,
}

/// See [`FromWorker::Reject`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reject {
    /// Which attempt.
    pub attempt: AttemptId,
    /// Why.
    pub why: RejectReason,
    /// One sentence.
    #[serde(default)]
    pub detail: String,
    /// When it may be offered to this worker again.
    #[serde(default)]
    pub retry_after_ms: u64,
}

text_enum! {
    /// Why a worker refuses an attempt.
    RejectReason {
        /// No slot is free, or it drains.
        Busy = "busy",
        /// It does not have what the step requires.
        Labels = "labels",
        /// Not enough disk.
        Disk = "disk",
        /// The spec cannot be read or fetched.
        Spec = "spec",
        /// The message is of a version that it does not speak.
        Version = "version",
    }
}

/// See [`FromWorker::Renew`]: one message for all attempts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Renew {
    /// Attempts that are alive.
    pub attempts: Vec<AttemptId>,
    /// How busy the machine is.
    #[serde(default)]
    pub load: Load,
}

/// See [`FromWorker::Progress`]: at most one a second.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Which attempt.
    pub attempt: AttemptId,
    /// Counts up within the attempt.
    pub seq: u64,
    /// From 0 to 1, where it is known.
    #[serde(default)]
    pub fraction: Option<f32>,
    /// What it is doing.
    #[serde(default)]
    pub note: String,
    /// What was used so far in this attempt: a total, so that a repeat adds nothing.
    #[serde(default)]
    pub usage: Usage,
    /// The model in use.
    #[serde(default)]
    pub model: Option<ModelUsed>,
}

/// See [`FromWorker::Checkpoint`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The attempt that made it.
    pub attempt: AttemptId,
    /// Counts up within the step.
    pub seq: u64,
    /// The finished turns so far; uploaded before.
    pub transcript: BlobRef,
    /// The workspace at that point, if it changed.
    #[serde(default)]
    pub workspace: Option<WorkspaceResult>,
    /// What this attempt used so far: a total, without the attempts that it goes on from.
    #[serde(default)]
    pub usage: Usage,
}

/// See [`FromWorker::Result`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepResult {
    /// The job.
    pub job: JobId,
    /// The step.
    pub step: StepKey,
    /// The fencing token.
    pub attempt: AttemptId,
    /// How it ended.
    pub outcome: Outcome,
    /// Why not well.
    #[serde(default)]
    pub error: Option<StepError>,
    /// Exit code of a command.
    #[serde(default)]
    pub exit: Option<i32>,
    /// What later steps may read; at most 48 KiB as JSON. Also set after a failure.
    #[serde(default)]
    pub outputs: Map<String, Value>,
    /// Files that were uploaded before.
    #[serde(default)]
    pub artifacts: Vec<ArtifactRef>,
    /// What model calls cost in this attempt, in all.
    #[serde(default)]
    pub usage: Usage,
    /// The model that answered.
    #[serde(default)]
    pub model: Option<ModelUsed>,
    /// The branch after a writing step.
    #[serde(default)]
    pub workspace: Option<WorkspaceResult>,
    /// Bytes of the log.
    #[serde(default)]
    pub log_bytes: u64,
    /// Hash of the log, when it is complete on the controller.
    #[serde(default)]
    pub log_sha256: Option<Sha256>,
    /// Things worth knowing, for people.
    #[serde(default)]
    pub notes: Vec<String>,
    /// From Accept to the end, in milliseconds.
    #[serde(default)]
    pub duration_ms: u64,
    /// Of that, waiting for models.
    #[serde(default)]
    pub model_ms: u64,
}

/// Largest `outputs` of a [`StepResult`] as JSON, in bytes.
pub const MAX_OUTPUT_BYTES: usize = 48 * 1024;

/// See [`FromWorker::Bye`]: also the will, and only ever a hint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bye {
    /// One word or sentence.
    pub why: String,
}

/// A piece of a live log, on the log topic: lossy on purpose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogTail {
    /// Which attempt.
    pub attempt: AttemptId,
    /// Offset of the first byte in the masked spool.
    pub offset: u64,
    /// Whole lines.
    pub text: String,
}
