//! `cargo test`: libtest's own lines, panics, and compile errors.

use std::{collections::HashMap, sync::LazyLock};

use protocol::documents::{CheckFailure, Counts};
use regex::Regex;

use super::{Findings, number};

static RUNNING: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^\s+(?:Running (?:unittests )?(\S+) \(.*?([\w-]+?)(?:-[0-9a-f]{16})?\)|Doc-tests (\S+))$")
        .expect("a valid pattern")
});
static FAILED: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^test (.+?)(?: - should panic)? \.\.\. FAILED").expect("a valid pattern"));
static RESULT: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"test result: (?:ok|FAILED)\. (\d+) passed; (\d+) failed; (\d+) ignored")
        .expect("a valid pattern")
});
static SECTION: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^---- (.+?)(?: - should panic)? stdout ----$").expect("a valid pattern"));
static PANIC: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"panicked at (\S+?):(\d+)(?::\d+)?:?$").expect("a valid pattern"));
static ERROR: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^error(?:\[E\d+\])?: (.+)$").expect("a valid pattern"));
static ARROW: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^\s+--> (\S+?):(\d+):\d+$").expect("a valid pattern"));

pub(super) fn parse(text: &str) -> Findings {
    let mut counts = None;
    let mut failures: Vec<CheckFailure> = Vec::new();
    let mut target = String::new();
    let mut file: Option<String> = None;
    // where the failures of the running target are, by the test's own name
    let mut open: HashMap<String, usize> = HashMap::new();
    let mut section: Option<usize> = None;
    for line in text.lines() {
        if let Some(found) = RUNNING.captures(line) {
            target = found
                .get(2)
                .or(found.get(3))
                .map_or_else(String::new, |name| name.as_str().to_owned());
            file = found.get(1).map(|file| file.as_str().to_owned());
            open.clear();
            section = None;
        } else if let Some(found) = FAILED.captures(line) {
            let name = found[1].to_owned();
            let id = if target.is_empty() {
                name.clone()
            } else {
                format!("{target}::{name}")
            };
            open.insert(name, failures.len());
            failures.push(CheckFailure {
                id,
                file: file.clone().filter(|file| !file.starts_with("src/")),
                ..CheckFailure::default()
            });
        } else if let Some(found) = RESULT.captures(line) {
            let counts = counts.get_or_insert_with(Counts::default);
            counts.passed += number(found.get(1));
            counts.failed += number(found.get(2));
            counts.skipped += number(found.get(3));
            section = None;
        } else if let Some(found) = SECTION.captures(line) {
            section = open.get(&found[1]).copied();
        } else if line == "failures:" {
            section = None;
        } else if let Some(at) = section {
            add_output(&mut failures[at], line);
        }
    }
    failures.extend(compile_errors(text));
    Findings { counts, failures }
}

fn add_output(failure: &mut CheckFailure, line: &str) {
    if let Some(found) = PANIC.captures(line) {
        failure.file = Some(found[1].to_owned());
        failure.line = found[2].parse().ok();
        failure.message.clear();
    } else if !line.starts_with("note: ") && !line.trim().is_empty() {
        failure.message.push_str(line);
        failure.message.push('\n');
    }
}

/// Errors with a place: the others only sum up.
fn compile_errors(text: &str) -> Vec<CheckFailure> {
    let mut failures = Vec::new();
    let mut error: Option<&str> = None;
    for line in text.lines() {
        if let Some(found) = ERROR.captures(line) {
            error = found.get(1).map(|message| message.as_str());
        } else if let (Some(message), Some(place)) = (error, ARROW.captures(line)) {
            failures.push(CheckFailure {
                id: format!("error in {}: {message}", &place[1]),
                file: Some(place[1].to_owned()),
                line: place[2].parse().ok(),
                message: line_of(text, message),
            });
            error = None;
        } else if line.starts_with("warning") {
            error = None;
        }
    }
    failures
}

/// The compiler's own few lines on an error.
fn line_of(text: &str, message: &str) -> String {
    let from = text.find(message).unwrap_or(0);
    let start = text[..from].rfind('\n').map_or(0, |at| at + 1);
    let block = text[start..].split("\n\n").next().unwrap_or_default();
    block.lines().take(12).flat_map(|line| [line, "\n"]).collect()
}
