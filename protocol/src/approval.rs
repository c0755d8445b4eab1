//! Approvals: steps that wait for a person.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::job::text_enum;

text_enum! {
    /// What a person says to a step that waits for one, or what silence means.
    Answer {
        /// The job goes on.
        Approve = "approve",
        /// The step fails.
        Reject = "reject",
    }
}

impl Answer {
    /// What the step then is, for people: `approved` or `rejected`.
    pub const fn participle(self) -> &'static str {
        match self {
            Self::Approve => "approved",
            Self::Reject => "rejected",
        }
    }
}

/// The wait of a step for a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Wait {
    /// When a person was asked.
    #[schemars(with = "crate::schema::Time")]
    pub since: Timestamp,
    /// When silence decides.
    #[schemars(with = "crate::schema::Time")]
    pub until: Timestamp,
    /// How it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided: Option<Decided>,
}

/// What was decided about a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Decided {
    /// What.
    pub answer: Answer,
    /// By whom; `None`: nobody decided in time.
    #[serde(default)]
    pub by: Option<String>,
    /// When.
    #[schemars(with = "crate::schema::Time")]
    pub at: Timestamp,
    /// Why, in that person's words.
    #[serde(default)]
    pub reason: Option<String>,
}

impl std::fmt::Display for Decided {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let answer = self.answer.participle();
        match &self.by {
            Some(by) => write!(f, "{answer} by {by}")?,
            None => write!(f, "{answer} because nobody decided in time")?,
        }
        match &self.reason {
            Some(reason) => write!(f, ": {reason}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decision_reads_as_a_sentence() {
        let decided = |answer, by: Option<&str>, reason: Option<&str>| {
            let decided = Decided {
                answer,
                by: by.map(str::to_owned),
                at: Timestamp::UNIX_EPOCH,
                reason: reason.map(str::to_owned),
            };
            decided.to_string()
        };
        let by = Some("token \"anna\"");
        assert_eq!(
            decided(Answer::Reject, by, Some("too risky")),
            "rejected by token \"anna\": too risky"
        );
        assert_eq!(decided(Answer::Approve, by, None), "approved by token \"anna\"");
        assert_eq!(
            decided(Answer::Reject, None, None),
            "rejected because nobody decided in time"
        );
    }
}
