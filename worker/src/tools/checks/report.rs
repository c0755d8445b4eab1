//! Builds a [`CheckReport`]: what is new against the baseline, what is fixed, and one
//! signature for equal failures. Pure.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use protocol::documents::{Check, CheckReport};
use sha2::{Digest as _, Sha256};

/// Compares checks with a baseline.
pub fn build(
    commit: &str,
    checks: Vec<Check>,
    baseline: Option<&CheckReport>,
    protected: &[PathBuf],
) -> CheckReport {
    let mut report = CheckReport {
        commit: commit.to_owned(),
        new_failures: Vec::new(),
        fixed: Vec::new(),
        protected_changed: protected.iter().map(|path| shown(path)).collect(),
        signature: signature(&checks),
        checks,
        ..CheckReport::default()
    };
    if let Some(baseline) = baseline {
        report.new_failures = new_failures(&report, baseline);
        report.fixed = fixed(&report, baseline);
    }
    report
}

/// The ids of failures that decide.
pub fn failing(report: &CheckReport) -> BTreeSet<&str> {
    let decisive = report.checks.iter().filter(|check| !check.passed());
    decisive
        .flat_map(|check| &check.failures)
        .map(|failure| failure.id.as_str())
        .collect()
}

/// Failing now and not in the baseline.
fn new_failures(report: &CheckReport, baseline: &CheckReport) -> Vec<String> {
    let before = failing(baseline);
    let mut new: Vec<String> = Vec::new();
    for check in report.checks.iter().filter(|check| !check.passed()) {
        let fresh = check
            .failures
            .iter()
            .map(|failure| &failure.id)
            .filter(|id| !before.contains(id.as_str()));
        match before_check(check, baseline) {
            // it could not run on the worker that measured the baseline: nothing to compare with
            Some(old) if old.skipped.is_some() => {}
            // the baseline has more failures than were listed: then their number decides
            Some(old) if is_cut(old) && ran_through(check) && count(check) <= count(old) => {}
            _ => new.extend(fresh.cloned()),
        }
    }
    new
}

/// Failing in the baseline and not now, by checks that ran through.
fn fixed(report: &CheckReport, baseline: &CheckReport) -> Vec<String> {
    let now = failing(report);
    let mut fixed = Vec::new();
    for old in baseline.checks.iter().filter(|check| !check.passed()) {
        let ran_through = report
            .checks
            .iter()
            .any(|check| check.name == old.name && ran_through(check));
        if ran_through {
            let gone = old
                .failures
                .iter()
                .map(|failure| &failure.id)
                .filter(|id| !now.contains(id.as_str()));
            fixed.extend(gone.cloned());
        }
    }
    fixed
}

/// Whether a check says something about every test: it was not skipped and did not break off.
pub fn ran_through(check: &Check) -> bool {
    let whole = check.skipped.is_none() && !check.timed_out && check.signal.is_none();
    whole && (check.exit == Some(0) || check.counts.is_some())
}

fn before_check<'a>(check: &Check, baseline: &'a CheckReport) -> Option<&'a Check> {
    baseline.checks.iter().find(|old| old.name == check.name)
}

fn count(check: &Check) -> u64 {
    check.counts.map_or(0, |counts| counts.failed + counts.errors)
}

fn is_cut(check: &Check) -> bool {
    count(check) > check.failures.len() as u64
}

/// Hash of the names of what failed; empty when nothing did.
fn signature(checks: &[Check]) -> String {
    let mut failed: Vec<String> = checks
        .iter()
        .filter(|check| !check.passed())
        .flat_map(|check| {
            check
                .failures
                .iter()
                .map(move |failure| format!("{}\0{}\0", check.name, failure.id))
        })
        .collect();
    if failed.is_empty() {
        return String::new();
    }
    failed.sort();
    hex::encode(&Sha256::digest(failed.concat())[..16])
}

fn shown(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// The report in at most `most` bytes of JSON: first the output goes, then messages, then
/// the ids beyond the first ones. Counts always stay.
pub fn bounded(report: &CheckReport, most: usize) -> CheckReport {
    let mut small = report.clone();
    for (tail, message, failures) in [
        (8192, 2000, 1000),
        (4096, 1000, 200),
        (2048, 400, 200),
        (1024, 100, 200),
        (0, 0, 200),
        (0, 0, 60),
        (0, 0, 10),
    ] {
        if size(&small) <= most {
            return small;
        }
        for check in &mut small.checks {
            cut_front(&mut check.tail, tail);
            check.failures.truncate(failures);
            for failure in &mut check.failures {
                failure.message = failure.message.chars().take(message).collect();
            }
        }
        small.new_failures.truncate(failures);
        small.fixed.truncate(failures);
        small.protected_changed.truncate(failures);
    }
    small
}

fn size(report: &CheckReport) -> usize {
    serde_json::to_vec(report).map_or(usize::MAX, |json| json.len())
}

fn cut_front(text: &mut String, most: usize) {
    let excess = text.len().saturating_sub(most);
    if let Some(from) = (excess..=text.len()).find(|at| text.is_char_boundary(*at)) {
        text.drain(..from);
    }
}

#[cfg(test)]
pub(crate) mod tests;
