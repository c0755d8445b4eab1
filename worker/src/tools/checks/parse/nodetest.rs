//! `node --test` in its `spec` form: the summary and the list of failing tests.

use std::sync::LazyLock;

use protocol::documents::{CheckFailure, Counts};
use regex::Regex;

use super::{Findings, number};

static SUMMARY: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^ℹ (pass|fail|cancelled|skipped|todo) (\d+)$").expect("a valid pattern"));
static PLACE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^test at (.+?):(\d+):\d+$").expect("a valid pattern"));
static FAILED: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^✖ (.+?)(?: \([\d.]+ms\))?$").expect("a valid pattern"));

pub(super) fn parse(text: &str) -> Findings {
    let mut counts: Option<Counts> = None;
    let mut failures: Vec<CheckFailure> = Vec::new();
    let mut place: Option<(String, Option<u64>)> = None;
    let mut listing = false;
    for line in text.lines() {
        if let Some(found) = SUMMARY.captures(line) {
            let counts = counts.get_or_insert_with(Counts::default);
            let count = number(found.get(2));
            match &found[1] {
                "pass" => counts.passed += count,
                "fail" => counts.failed += count,
                "cancelled" => counts.errors += count,
                _ => counts.skipped += count,
            }
        } else if line.trim_end() == "✖ failing tests:" {
            listing = true;
        } else if listing {
            if let Some(found) = PLACE.captures(line) {
                place = Some((found[1].to_owned(), found[2].parse().ok()));
            } else if let Some(found) = FAILED.captures(line) {
                let (file, at) = place
                    .take()
                    .map_or((None, None), |(file, line)| (Some(file), line));
                let id = file
                    .as_ref()
                    .map_or_else(|| found[1].to_owned(), |file| format!("{file} > {}", &found[1]));
                failures.push(CheckFailure {
                    id,
                    file,
                    line: at,
                    message: String::new(),
                });
            } else if let Some(failure) = failures.last_mut()
                && !line.trim_start().starts_with("at ")
            {
                failure.message.push_str(line.trim());
                failure.message.push('\n');
            }
        }
    }
    Findings { counts, failures }
}
