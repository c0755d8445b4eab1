//! One newtype per identity, so that no two kinds of id can be mixed up.
//!
//! Every id is a UUID that prints in its hyphenated form; job and attempt ids
//! are version 7, so that they sort by creation. Ids are made at the edges and
//! handed to the pure core as arguments.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// A new id that sorts after all ids made before it.
            pub fn new() -> Self {
                Self(Uuid::now_v7())
            }

            /// Wraps a UUID that came from a table or a simulator.
            pub const fn from_uuid(id: Uuid) -> Self {
                Self(id)
            }

            /// The bare UUID, as tables store it.
            pub const fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::new()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0.hyphenated())
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Uuid::try_parse(text).map(Self).map_err(|_| InvalidId {
                    kind: stringify!($name),
                    text: text.chars().take(64).collect(),
                })
            }
        }
    )+};
}

ids! {
    /// One submitted run of a workflow.
    JobId,
    /// One execution of a step by one worker; the fencing token of its result.
    AttemptId,
    /// One `agent-worker` identity; also its MQTT client id and topic level.
    WorkerId,
    /// One life of a worker process.
    BootId,
    /// The identity of a worker's journal file; a new file means a new history.
    JournalId,
    /// One message on the wire.
    MessageId,
    /// One API token (not its secret).
    TokenId,
}

/// A text that should have been an id and is not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a valid {kind}: expected a UUID")]
pub struct InvalidId {
    kind: &'static str,
    text: String,
}

/// The short number that people use for a job.
pub type JobNumber = u64;

/// How a request names a job: by its number or by its UUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobRef {
    /// The short number.
    Number(JobNumber),
    /// The UUID.
    Id(JobId),
}

impl FromStr for JobRef {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        match text.parse() {
            Ok(number) => Ok(Self::Number(number)),
            Err(_) => text.parse().map(Self::Id),
        }
    }
}

impl fmt::Display for JobRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Id(id) => id.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_round_trip_as_text_and_sort_by_age() {
        let (first, second) = (JobId::new(), JobId::new());
        assert_eq!(first.to_string().parse(), Ok(first));
        assert!(first < second);
        let error = "no".parse::<AttemptId>().expect_err("too short");
        assert_eq!(
            error.to_string(),
            "\"no\" is not a valid AttemptId: expected a UUID"
        );
    }

    #[test]
    fn a_job_is_named_by_number_or_uuid() {
        let id = JobId::new();
        assert_eq!("42".parse(), Ok(JobRef::Number(42)));
        assert_eq!(id.to_string().parse(), Ok(JobRef::Id(id)));
        assert!("forty-two".parse::<JobRef>().is_err());
    }
}
