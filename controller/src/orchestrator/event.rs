//! What can happen to the world, and why it may be refused.

use std::collections::HashSet;

use protocol::{
    artifact::Sha256,
    id::{AttemptId, JobId, WorkerId},
    job::{JobState, StepKey},
    message::{FromWorker, Session, StepResult},
    step::StepState,
    worker::Wanted,
};

use super::{
    approval::Decision,
    world::{Job, Worker},
};

/// One thing that happened.
pub enum Event {
    /// A checked job was accepted (rule 1); the idempotency key was looked up before.
    Submit(Box<Job>),
    /// A person cancels (rule 10).
    CancelJob(JobId),
    /// A person wants failed and later steps to run again.
    RetryJob(JobId),
    /// A person wants a parked job to go on.
    ResumeJob(JobId),
    /// A person wants a late outcome to be the step's result.
    Salvage {
        /// The job.
        job: JobId,
        /// The step.
        step: StepKey,
        /// The superseded attempt.
        attempt: AttemptId,
        /// What the tables say about its late outcome.
        facts: Facts,
    },
    /// A person decides about a step that waits for one (rule 15).
    DecideStep {
        /// The job.
        job: JobId,
        /// The step.
        step: StepKey,
        /// What is decided, by whom.
        decision: Decision,
    },
    /// A person stops or resumes dispatch as a whole.
    PauseDispatch(bool),
    /// A worker got its credential.
    WorkerJoined(Box<Worker>),
    /// A person pauses, drains, resumes or removes a worker.
    WorkerWanted {
        /// Which.
        worker: WorkerId,
        /// What is wanted.
        wanted: Wanted,
    },
    /// A worker's connection ended.
    WorkerDisconnected {
        /// Which.
        worker: WorkerId,
        /// Whether its host closed the connection, which a lost network does not do.
        by_host: bool,
    },
    /// A message of a worker, whose identity the transport has established.
    FromWorker {
        /// Which.
        worker: WorkerId,
        /// The session in the envelope.
        session: Session,
        /// The message.
        message: Box<FromWorker>,
        /// What the tables say about what it names.
        facts: Facts,
    },
    /// A command on MQTT was carried out or refused: its answer becomes an event.
    CommandAnswered(serde_json::Value),
    /// Time has passed.
    Timers,
}

/// What the tables say about what a message names, looked up before the decision.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Attempts outside the world whose outcome is on disk.
    pub recorded: HashSet<AttemptId>,
    /// Blobs that the message names and that are not here.
    pub missing: Vec<Sha256>,
    /// What the job's artifacts would be with those of the result, in bytes.
    pub artifact_bytes: u64,
    /// The kept result of an attempt that the tables do not know otherwise.
    pub kept: Option<Box<StepResult>>,
}

/// Why an event left the world as it was. Never a panic: peers may be late.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nothing has that id.
    #[error("there is no such {0}")]
    Unknown(&'static str),
    /// The job is in a state that does not allow it.
    #[error("job {number} is {state}: {why}")]
    JobState {
        /// Its number.
        number: u64,
        /// Its state.
        state: JobState,
        /// What would be needed.
        why: &'static str,
    },
    /// The concurrency group of the job is full and its workflow says `reject`.
    #[error("concurrency group {group:?} is full: {max} jobs of it are open")]
    GroupFull {
        /// The group.
        group: String,
        /// How many may be.
        max: u32,
    },
    /// The attempt has no late outcome that could be salvaged.
    #[error("{0}")]
    Salvage(&'static str),
    /// The step waits for nobody's decision.
    #[error("step {step} is {state} and waits for nobody's decision")]
    NotAwaiting {
        /// The step.
        step: StepKey,
        /// How far it is.
        state: StepState,
    },
    /// The opposite was decided before.
    #[error("step {step} was already {decided}")]
    Decided {
        /// The step.
        step: StepKey,
        /// What was decided, by whom.
        decided: String,
    },
    /// What the decision is about is not what the person has looked at.
    #[error("what step {step} asks about has changed since it was looked at: the diff changed")]
    Changed {
        /// The step.
        step: StepKey,
    },
    /// An older session, or one that has not said Hello.
    #[error("the message belongs to another session")]
    StaleSession,
    /// The attempt is unknown, superseded or closed.
    #[error("the attempt is not the current one of its step")]
    StaleAttempt,
    /// Nothing to do in this state.
    #[error("nothing to do")]
    NotApplicable,
    /// The worker was removed.
    #[error("the worker was removed")]
    Removed,
}
