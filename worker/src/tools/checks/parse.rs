//! Reads the output of test runners into counts and failures. Pure; output is
//! hostile: nothing here trusts its length, order or truth.

mod gotest;
pub mod junit;
mod libtest;
mod nodetest;
mod pytest;
mod tap;

use std::sync::LazyLock;

use protocol::documents::{CheckFailure, Counts};
use regex::Regex;

/// Most failures that are read from one output.
const MAX_FAILURES: usize = 1000;

/// Longest message of a failure, in characters.
const MAX_MESSAGE: usize = 2000;

/// Longest id of a failure, in characters.
const MAX_ID: usize = 300;

/// Who wrote an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runner {
    /// `cargo test`.
    Libtest,
    /// `go test`, as text or `-json`.
    Go,
    /// `pytest`.
    Pytest,
    /// `node --test` in either of its forms.
    Node,
    /// Whoever it is: every known form is tried.
    Unknown,
}

/// What an output says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Findings {
    /// What was counted; `None` when no test run was recognised.
    pub counts: Option<Counts>,
    /// What failed.
    pub failures: Vec<CheckFailure>,
}

impl Findings {
    const fn is_empty(&self) -> bool {
        self.counts.is_none() && self.failures.is_empty()
    }

    /// Unique ids of bounded length, bounded messages, a bounded number.
    fn tidy(mut self) -> Self {
        let mut seen = std::collections::HashSet::new();
        for failure in &mut self.failures {
            failure.id = failure.id.chars().take(MAX_ID).collect();
            failure.message = failure.message.trim_end().chars().take(MAX_MESSAGE).collect();
        }
        self.failures.retain(|failure| seen.insert(failure.id.clone()));
        self.failures.truncate(MAX_FAILURES);
        self
    }
}

/// Reads an output without colours.
pub fn parse(runner: Runner, text: &str) -> Findings {
    let findings = match runner {
        Runner::Libtest => libtest::parse(text),
        Runner::Go => gotest::parse(text),
        Runner::Pytest => pytest::parse(text),
        Runner::Node => node(text),
        Runner::Unknown => [libtest::parse, pytest::parse, gotest::parse, node]
            .into_iter()
            .map(|parse| parse(text))
            .find(|findings| findings.counts.is_some())
            .unwrap_or_default(),
    };
    findings.tidy()
}

fn node(text: &str) -> Findings {
    let spec = nodetest::parse(text);
    if spec.is_empty() { tap::parse(text) } else { spec }
}

/// The text that a runner means for people: `go test -json` unpacked, no colours.
pub fn readable(text: &str) -> String {
    static ESCAPE: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"\x1b(?:\[[0-9;?]*[A-Za-z]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z])")
            .expect("a valid pattern")
    });
    let plain = ESCAPE.replace_all(text, "");
    gotest::unpacked(&plain).unwrap_or_else(|| plain.into_owned())
}

/// A number of a match; absent or absurd ones are 0.
fn number(text: Option<regex::Match<'_>>) -> u64 {
    text.and_then(|text| text.as_str().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests;
