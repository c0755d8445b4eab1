//! What the topics for people and other programs carry: JSON, one type a topic.
//!
//! Others rely on these: fields are only added.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    http::{
        status::Status,
        workers::{CurrentStep, WorkerView},
    },
    id::{AttemptId, WorkerId},
    job::{JobLink, JobState, StepKey, text_enum},
    step::StepState,
    usage::Usage,
    worker::{Load, Wanted},
};

text_enum! {
    /// Whether somebody is there.
    Presence {
        /// It is.
        Online = "online",
        /// It is not.
        Offline = "offline",
    }
}

/// `agentd/status`: the controller at a glance, or its last word.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum StatusMessage {
    /// While it runs.
    Online(Box<Status>),
    /// At an orderly stop.
    Offline {
        /// `offline`.
        state: Presence,
        /// Version of the program.
        version: String,
    },
}

/// `agentd/workers`: the roster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Roster {
    /// By name, at most 200.
    pub workers: Vec<WorkerView>,
    /// Whether there are more.
    pub truncated: bool,
}

/// `agentd/workers/<name>`: one worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WorkerSummary {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: WorkerId,
    /// Whether it is there.
    pub state: Presence,
    /// What is wanted of it.
    pub wanted: Wanted,
    /// How busy its machine is.
    pub load: Load,
    /// How many attempts it takes at a time.
    pub slots: u32,
    /// How many it has.
    pub slots_used: u32,
    /// What it does now.
    pub current: Vec<CurrentStep>,
}

/// `agentd/jobs/open`: the jobs that have not ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OpenJobs {
    /// How many there are in each state.
    pub counts: BTreeMap<JobState, u64>,
    /// At most 100.
    pub jobs: Vec<JobSummary>,
    /// Whether there are more.
    pub truncated: bool,
}

/// `agentd/jobs`: a job at each of its changes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct JobSummary {
    /// Which.
    pub job: JobLink,
    /// For people.
    pub title: String,
    /// Name of its workflow.
    pub workflow: String,
    /// How far it is.
    pub state: JobState,
    /// Why it failed or was cancelled, once it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The state of each step, in the order of the workflow.
    #[schemars(with = "BTreeMap<String, StepState>")]
    pub steps: Map<String, Value>,
    /// The steps that wait for a person.
    #[serde(default)]
    pub awaiting: Vec<AwaitingStep>,
    /// Steps that have ended.
    pub steps_done: u64,
    /// Steps known so far.
    pub steps_total: u64,
    /// What it has used.
    pub usage: Usage,
}

/// A step that waits for a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AwaitingStep {
    /// Which.
    pub step: StepKey,
    /// When silence decides.
    #[schemars(with = "Option<crate::schema::Time>")]
    pub until: Option<Timestamp>,
}

/// `agentd/log`: one line of a live log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LogLine {
    /// Of which job.
    pub job: JobLink,
    /// Of which step.
    pub step: StepKey,
    /// Of which attempt.
    pub attempt: AttemptId,
    /// The text, with secrets hidden.
    pub line: String,
}

/// `agentd/command`: what a program may ask for; answered on `agentd/events` as `command_answer`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Command {
    /// Comes back with the answer: a number, or a text of at most 200 bytes.
    #[serde(default)]
    pub id: Value,
    /// What to do.
    #[serde(rename = "do")]
    pub verb: Verb,
    /// A number, a UUID, `oldest` (approve, reject) or `all` (cancel); pause and resume without it mean
    /// dispatch as a whole.
    #[serde(default)]
    pub job: Option<Value>,
    /// The step; may be left out if only one waits.
    #[serde(default)]
    pub step: Option<String>,
    /// For the record.
    #[serde(default)]
    pub reason: Option<String>,
}

text_enum! {
    /// What a command does.
    Verb {
        /// A step that waits goes on.
        Approve = "approve",
        /// A step that waits fails.
        Reject = "reject",
        /// Stop a job, or all.
        Cancel = "cancel",
        /// Offer nothing new.
        Pause = "pause",
        /// Go on.
        Resume = "resume",
    }
}
