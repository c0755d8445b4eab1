//! Workers: what is seen of them and what is wanted of them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::job::text_enum;

text_enum! {
    /// What the controller sees of a worker.
    WorkerState {
        /// It talks to us.
        Online = "online",
        /// It was silent for a while, or did not take an offer.
        Suspect = "suspect",
        /// It has no connection.
        Offline = "offline",
    }
}

text_enum! {
    /// What a person wants of a worker.
    Wanted {
        /// Take steps.
        Active = "active",
        /// Take nothing new.
        Paused = "paused",
        /// Take nothing new and finish what runs.
        Draining = "draining",
        /// Forgotten; its credential opens nothing.
        Removed = "removed",
    }
}

/// How busy a worker's machine is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Load {
    /// Load average over one minute.
    #[serde(default)]
    pub load1: f32,
    /// Memory that could be given to a new process, in bytes.
    #[serde(default)]
    pub memory_available: u64,
    /// Free bytes where workspaces live.
    #[serde(default)]
    pub disk_free: u64,
}

/// Checks the name of a worker: 1 to 63 of `a-z 0-9 -`, starting with a letter or digit.
pub fn check_worker_name(name: &str) -> Result<(), InvalidWorkerName> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let good = (1..=63).contains(&name.len()) && name.chars().all(allowed) && !name.starts_with('-');
    if good {
        Ok(())
    } else {
        Err(InvalidWorkerName(name.chars().take(80).collect()))
    }
}

/// A text that cannot name a worker.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} cannot name a worker: use 1 to 63 of a-z, 0-9 and -, such as tower-2")]
pub struct InvalidWorkerName(String);
