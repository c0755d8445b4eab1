//! `go test`, as text (with or without `-v`) and as `-json`.

use std::sync::LazyLock;

use protocol::documents::{CheckFailure, Counts};
use regex::Regex;
use serde::Deserialize;

use super::Findings;

static VERDICT: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^\s*--- (PASS|FAIL|SKIP): (\S+) \(").expect("a valid pattern"));
static CONTEXT: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^=== (?:RUN|CONT|NAME)\s+(\S+)").expect("a valid pattern"));
static PACKAGE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^(ok|FAIL|\?)\s*\t(\S+)(?:\s|$)(.*)$").expect("a valid pattern"));
static DETAIL: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^\s+(\S+\.go):(\d+): (.*)$").expect("a valid pattern"));
static BUILD: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^(?:vet: )?(\S+\.go):(\d+):(?:\d+:)? (.*)$").expect("a valid pattern"));

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Event {
    action: String,
    #[serde(default)]
    output: String,
}

/// The text within `go test -json`; `None` for an output that is no such stream.
pub(super) fn unpacked(text: &str) -> Option<String> {
    let first = text.lines().find(|line| line.starts_with('{'))?;
    serde_json::from_str::<Event>(first).ok()?;
    let mut plain = String::new();
    for line in text.lines() {
        match serde_json::from_str::<Event>(line) {
            Ok(event) if matches!(event.action.as_str(), "output" | "build-output") => {
                plain.push_str(&event.output);
            }
            Ok(_) => {}
            Err(_) => {
                plain.push_str(line);
                plain.push('\n');
            }
        }
    }
    Some(plain)
}

/// What one package's tests said so far.
#[derive(Default)]
struct Package {
    failures: Vec<CheckFailure>,
    /// Messages come before the verdict with `-v`, after it without.
    pending: Vec<(String, CheckFailure)>,
    context: String,
}

pub(super) fn parse(text: &str) -> Findings {
    let unpacked = unpacked(text);
    let text = unpacked.as_deref().unwrap_or(text);
    let mut counts = Counts::default();
    let mut ran = false;
    let mut failures = Vec::new();
    let mut package = Package::default();
    for line in text.lines() {
        if let Some(found) = VERDICT.captures(line) {
            ran = true;
            match &found[1] {
                "PASS" => counts.passed += 1,
                "SKIP" => counts.skipped += 1,
                _ => package.fail(&found[2]),
            }
            found[2].clone_into(&mut package.context);
        } else if let Some(found) = CONTEXT.captures(line) {
            found[1].clone_into(&mut package.context);
        } else if let Some(found) = PACKAGE.captures(line) {
            ran = true;
            let broken = found[3].contains("[build failed]") || found[3].contains("[setup failed]");
            if broken {
                counts.errors += 1;
            }
            let mut closed = std::mem::take(&mut package).close(&found[2], &found[1] == "FAIL", broken);
            counts.failed += if broken { 0 } else { closed.len() as u64 };
            failures.append(&mut closed);
        } else if let Some(found) = DETAIL.captures(line) {
            package.detail(&found[1], &found[2], &found[3]);
        } else if let Some(found) = BUILD.captures(line) {
            // a compile error comes before its package's line, which only sums up
            failures.push(CheckFailure {
                id: format!("error in {}: {}", &found[1], &found[3]),
                file: Some(found[1].trim_start_matches("./").to_owned()),
                line: found[2].parse().ok(),
                message: line.to_owned(),
            });
        } else if line.starts_with("panic: ") {
            package.detail("", "", line);
        }
    }
    Findings {
        counts: ran.then_some(counts),
        failures,
    }
}

impl Package {
    fn fail(&mut self, test: &str) {
        let mut failure = CheckFailure {
            id: test.to_owned(),
            ..CheckFailure::default()
        };
        for (_, detail) in self.pending.iter().filter(|(context, _)| context == test) {
            merge(&mut failure, detail);
        }
        self.failures.push(failure);
    }

    fn detail(&mut self, file: &str, line: &str, message: &str) {
        let detail = CheckFailure {
            id: String::new(),
            file: Some(file.to_owned()).filter(|file| !file.is_empty()),
            line: line.parse().ok(),
            message: message.to_owned(),
        };
        match self
            .failures
            .iter_mut()
            .find(|failure| failure.id == self.context)
        {
            Some(failure) => merge(failure, &detail),
            None => self.pending.push((self.context.clone(), detail)),
        }
    }

    /// The package's line has come: now its name is known. A test whose subtests failed
    /// says nothing of its own.
    fn close(self, name: &str, failed: bool, broken: bool) -> Vec<CheckFailure> {
        let ids: Vec<String> = self
            .failures
            .iter()
            .map(|failure| format!("{}/", failure.id))
            .collect();
        let mut failures: Vec<CheckFailure> = self
            .failures
            .iter()
            .zip(&ids)
            .filter(|(_, prefix)| !self.failures.iter().any(|other| other.id.starts_with(*prefix)))
            .map(|(failure, _)| failure.clone())
            .collect();
        for failure in &mut failures {
            failure.id = format!("{name}.{}", failure.id);
        }
        if failed && failures.is_empty() {
            failures.push(CheckFailure {
                id: name.to_owned(),
                message: if broken {
                    "does not build"
                } else {
                    "the package failed outside of a test"
                }
                .to_owned(),
                ..CheckFailure::default()
            });
        }
        failures
    }
}

fn merge(failure: &mut CheckFailure, detail: &CheckFailure) {
    if failure.file.is_none() {
        failure.file.clone_from(&detail.file);
        failure.line = detail.line;
    }
    failure.message.push_str(&detail.message);
    failure.message.push('\n');
}
