//! Jobs: their states and what names them.

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::id::{JobId, JobNumber};

macro_rules! text_enum {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[derive(schemars::JsonSchema)]
        pub enum $name { $($(#[$variant_doc])* #[serde(rename = $text)] $variant),+ }

        impl $name {
            /// Every value, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The text that tables, messages and people use.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::job::UnknownName;

            fn from_str(text: &str) -> Result<Self, $crate::job::UnknownName> {
                Self::ALL.iter().copied().find(|value| value.as_str() == text).ok_or_else(|| {
                    $crate::job::UnknownName {
                        kind: stringify!($name),
                        text: text.chars().take(40).collect(),
                        known: Self::ALL.iter().map(|value| value.as_str()).collect::<Vec<_>>().join(", "),
                    }
                })
            }
        }
    };
}
pub(crate) use text_enum;

/// A text that names no value of an enumeration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a {kind}: expected one of {known}")]
pub struct UnknownName {
    /// The type that was expected.
    pub kind: &'static str,
    /// What was there.
    pub text: String,
    /// What would have been right.
    pub known: String,
}

text_enum! {
    /// How far a job is.
    JobState {
        /// Accepted, nothing dispatched yet.
        Queued = "queued",
        /// At least one step was dispatched.
        Running = "running",
        /// Only a person or a timer can move it on.
        Waiting = "waiting",
        /// A cancel is being carried out.
        Cancelling = "cancelling",
        /// Stopped until a person decides; nothing is lost.
        Parked = "parked",
        /// Every step ended well.
        Succeeded = "succeeded",
        /// A step failed.
        Failed = "failed",
        /// A person cancelled it.
        Cancelled = "cancelled",
    }
}

impl JobState {
    /// Whether the job has ended.
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }
}

/// How payloads name a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobLink {
    /// The short number.
    pub number: JobNumber,
    /// The UUID.
    pub id: JobId,
}

/// The key of a step within its job, such as `plan` or `cycle#2/test[os=linux]`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StepKey(String);

impl StepKey {
    /// The key of a top-level step; the name must have been checked by the workflow loader.
    pub fn top(name: &str) -> Self {
        Self(name.to_owned())
    }

    /// The key of a step in round `round` (from 1) of the loop `self`.
    pub fn in_round(&self, round: u32, name: &str) -> Self {
        Self(format!("{}#{round}/{name}", self.0))
    }

    /// The key of a step in a block without a loop.
    pub fn child(&self, name: &str) -> Self {
        Self(format!("{}/{name}", self.0))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The enclosing block's key, for a step in one.
    pub fn parent(&self) -> Option<&str> {
        let (block, _) = self.0.rsplit_once('/')?;
        Some(block.rsplit_once('#').map_or(block, |(block, _)| block))
    }

    /// The round (from 1) of the nearest loop around this step.
    pub fn round(&self) -> Option<u32> {
        let (block, _) = self.0.rsplit_once('/')?;
        block.rsplit_once('#')?.1.parse().ok()
    }

    /// The step's own name, without its blocks.
    pub fn name(&self) -> &str {
        self.0.rsplit_once('/').map_or(self.0.as_str(), |(_, name)| name)
    }
}

/// A text that is no step key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a step key: 1 to 200 of letters, digits and _ - . # / = , [ ]")]
pub struct InvalidStepKey(String);

impl TryFrom<String> for StepKey {
    type Error = InvalidStepKey;

    fn try_from(text: String) -> Result<Self, InvalidStepKey> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "_-.#/=,[]".contains(c);
        if text.is_empty() || text.len() > 200 || !text.chars().all(allowed) {
            return Err(InvalidStepKey(text.chars().take(80).collect()));
        }
        Ok(Self(text))
    }
}

impl FromStr for StepKey {
    type Err = InvalidStepKey;

    fn from_str(text: &str) -> Result<Self, InvalidStepKey> {
        text.to_owned().try_into()
    }
}

impl From<StepKey> for String {
    fn from(key: StepKey) -> Self {
        key.0
    }
}

impl fmt::Display for StepKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn step_keys_know_their_round_and_block() {
        let cycle = StepKey::top("cycle");
        let test = cycle.in_round(2, "test");
        assert_eq!(test.as_str(), "cycle#2/test");
        assert_eq!(
            (test.parent(), test.round(), test.name()),
            (Some("cycle"), Some(2), "test")
        );
        let inner = test.in_round(1, "x");
        assert_eq!(inner.parent(), Some("cycle#2/test"));
        assert_eq!((cycle.parent(), cycle.round()), (None, None));
        assert!("a b".parse::<StepKey>().is_err());
    }

    #[test]
    fn states_round_trip_as_text() {
        for state in JobState::ALL {
            assert_eq!(state.as_str().parse(), Ok(*state));
        }
        let error = "done".parse::<JobState>().expect_err("no such state");
        assert!(
            error
                .to_string()
                .starts_with("\"done\" is not a JobState: expected one of queued, ")
        );
    }
}
