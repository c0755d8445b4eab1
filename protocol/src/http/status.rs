//! `/v1/status`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Endpoint, Method};
use crate::usage::Usage;

/// `GET /v1/status`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct GetStatus {}

impl Endpoint for GetStatus {
    const METHOD: Method = Method::Get;
    const ROUTE: &'static str = "/v1/status";
    type Response = Status;
    fn path(&self) -> String {
        Self::ROUTE.to_owned()
    }
}

/// Bytes in the state folder, by what they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DiskUsed {
    /// The database with its write-ahead log.
    pub database: u64,
    /// Artifacts, bundles and other blobs.
    pub blobs: u64,
    /// Logs of attempts.
    pub logs: u64,
}

/// The controller at a glance; also the payload of the retained topic `agentd/status`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Status {
    /// `online`, or `offline` as the last word of an orderly stop.
    pub state: String,
    /// Version of the program.
    pub version: String,
    /// This start of the controller.
    pub epoch: u64,
    /// Seconds since it started.
    pub uptime_s: u64,
    /// Steps that wait for a worker.
    pub queue_depth: u64,
    /// Attempts on workers.
    pub running: u64,
    /// Steps that wait for a person.
    #[serde(default)]
    pub awaiting: u64,
    /// Jobs that have not ended.
    pub jobs_open: u64,
    /// Workers that are online.
    pub workers_online: u64,
    /// All workers.
    pub workers: u64,
    /// Whether dispatch as a whole is paused.
    pub paused: bool,
    /// What was used since midnight UTC.
    pub today: Usage,
    /// Free bytes in the state folder.
    #[serde(default)]
    pub disk_free: u64,
    /// What the state folder holds.
    #[serde(default)]
    pub disk_used: DiskUsed,
    /// Model aliases and how many candidates each has.
    #[serde(default)]
    pub models: Vec<String>,
}
