//! Committed events: what happened, in order, for SSE, MQTT and people.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    id::AttemptId,
    job::{JobLink, StepKey, text_enum},
};

text_enum! {
    /// What happened.
    EventKind {
        /// A job was accepted; data: `title`, `workflow`, `state`.
        JobCreated = "job_created",
        /// A job changed its state; data: `from`, `state`, `reason?`.
        JobState = "job_state",
        /// A step changed its state; data: `from`, `state`, `worker?`, `model?`, `number?`, `error?`,
        /// and of an approval `until?` or `decided?`.
        StepState = "step_state",
        /// An attempt said how far it is; data: `note`, `fraction?`, `usage`, `worker`, `model?`.
        Progress = "progress",
        /// Something worth knowing about a job or step; data: `text`.
        Note = "note",
        /// A worker joined; data: `worker`.
        WorkerJoined = "worker_joined",
        /// A worker changed its state or what is wanted of it; data: `worker`, `state`, `wanted`.
        WorkerState = "worker_state",
        /// A worker was removed; data: `worker`.
        WorkerRemoved = "worker_removed",
        /// The answer to a command on MQTT; data: `id`, `do`, `ok`, `error?`.
        CommandAnswer = "command_answer",
    }
}

/// One row of the event log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// Counts up without gaps.
    pub seq: u64,
    /// When it was committed.
    #[schemars(with = "crate::schema::Time")]
    pub at: Timestamp,
    /// What happened.
    pub kind: EventKind,
    /// To which job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobLink>,
    /// To which step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<StepKey>,
    /// To which attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<AttemptId>,
    /// The rest, by kind.
    #[serde(default)]
    pub data: Map<String, Value>,
}
