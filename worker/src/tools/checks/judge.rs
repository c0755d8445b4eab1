//! When a check step passes. Pure.
//!
//! 1. A failure that the baseline does not have fails the step.
//! 2. A check that decided in the baseline and cannot run on this worker is an error of
//!    class `missing`: silence is no pass.
//! 3. Failures of the baseline that remain fail the step when the job is about them: the
//!    task speaks of tests or failures (`fail…`, `broken`, `tests pass`, `red tests`), or
//!    task or plan name the failing test or its file. Otherwise they are tolerated and noted.
//!    The owner of the workflow may decide either way ([`Failing`]).
//! 4. Where nothing could be measured the step passes and says so.

use std::{collections::BTreeSet, sync::LazyLock};

use protocol::documents::{CheckFailure, CheckReport, Counts, Plan};
use regex::Regex;
use serde::Deserialize;

use super::report::failing;

/// Shortest name of a test that is looked for in a task: `a` or `it` would be found everywhere.
const MIN_NAME: usize = 4;

/// How many names a sentence lists.
const MAX_LISTED: usize = 5;

static ABOUT_FAILURES: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r"(?ix)\b(?: fail(?:s|ed|ing|ure|ures)? | broken
          | (?:tests?|checks?|suite|build|ci) \s+ (?:\w+\s+){0,2} (?:pass|passes|green|red|succeed|succeeds)
          | (?:pass|fix|repair) \s+ (?:\w+\s+){0,3} (?:tests?|checks?|suite|build)
          | red \s+ (?:tests?|build|ci) )\b",
    )
    .expect("a valid pattern")
});

/// What becomes of failures that the baseline has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Failing {
    /// As task and plan say.
    #[default]
    Auto,
    /// They must go.
    Fix,
    /// They may stay.
    Tolerate,
}

/// What the job is about.
#[derive(Clone, Copy, Debug, Default)]
pub struct Intent<'a> {
    /// The task in a person's words.
    pub task: &'a str,
    /// The architect's plan.
    pub plan: Option<&'a Plan>,
    /// What becomes of failures that the baseline has.
    pub failing: Failing,
}

/// What a check step decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// Good; with what is worth knowing.
    Pass(Vec<String>),
    /// Bad, in one sentence.
    Fail(String),
    /// Cannot be decided on this worker, in one sentence.
    Missing(String),
}

/// Decides.
pub fn judge(report: &CheckReport, baseline: Option<&CheckReport>, intent: Intent<'_>) -> Judgement {
    if let Some(missing) = missing(report, baseline) {
        return Judgement::Missing(missing);
    }
    let failing_now = failing(report);
    let Some(baseline) = baseline else {
        return if failing_now.is_empty() {
            Judgement::Pass(measured_note(report))
        } else {
            Judgement::Fail(format!("failing: {}", listed(&failing_now)))
        };
    };
    if let Some(gone) = gone(report, baseline) {
        return Judgement::Fail(format!("`{gone}` ran in the baseline and is not there any more"));
    }
    if !report.new_failures.is_empty() {
        let new = report.new_failures.iter().map(String::as_str).collect();
        return Judgement::Fail(format!(
            "{}: {}",
            counted(report.new_failures.len(), "new failure"),
            listed(&new)
        ));
    }
    let to_fix = match intent.failing {
        Failing::Fix => failing_now.clone(),
        Failing::Tolerate => BTreeSet::new(),
        Failing::Auto if ABOUT_FAILURES.is_match(intent.task) => failing_now.clone(),
        Failing::Auto => named(report, intent.task, intent.plan),
    };
    if !to_fix.is_empty() {
        let list = listed(&to_fix);
        return Judgement::Fail(format!(
            "still failing, and what the task is about: {}: {list}",
            counted(to_fix.len(), "test")
        ));
    }
    let mut notes = measured_note(report);
    if !failing_now.is_empty() {
        notes.push(format!(
            "failing before already, and not what the task is about: {}: {}",
            counted(failing_now.len(), "test"),
            listed(&failing_now)
        ));
    }
    notes.extend(fewer_tests(report, baseline));
    Judgement::Pass(notes)
}

/// `1 test`, `2 tests`.
fn counted(count: usize, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

/// A runner that the change has made disappear.
fn gone<'a>(report: &CheckReport, baseline: &'a CheckReport) -> Option<&'a str> {
    let mut before = baseline
        .checks
        .iter()
        .filter(|check| !check.advisory && check.skipped.is_none());
    let gone = before.find(|old| report.checks.iter().all(|check| check.name != old.name))?;
    Some(&gone.name)
}

/// Tests that do not run any more do not fail: worth a look.
fn fewer_tests(report: &CheckReport, baseline: &CheckReport) -> Vec<String> {
    let ran = |counts: Counts| counts.passed + counts.failed + counts.errors;
    let pairs = report.checks.iter().filter_map(|check| {
        let old = baseline.checks.iter().find(|old| old.name == check.name)?;
        Some((&check.name, ran(check.counts?), ran(old.counts?)))
    });
    let fewer = pairs.filter(|(_, now, before)| now < before);
    fewer
        .map(|(name, now, before)| format!("`{name}` ran {now} tests where it ran {before} before"))
        .collect()
}

/// A check that measured something before and was skipped now; or nothing but skipped runners.
fn missing(report: &CheckReport, baseline: Option<&CheckReport>) -> Option<String> {
    let decided_before = |name: &str| {
        let checks = baseline.map_or(&[][..], |baseline| &baseline.checks);
        checks
            .iter()
            .any(|check| check.name == name && check.skipped.is_none())
    };
    let decisive = || report.checks.iter().filter(|check| !check.advisory);
    let nothing_ran = decisive().all(|check| check.skipped.is_some());
    let skipped = decisive().find_map(|check| {
        let why = check.skipped.as_ref()?;
        (nothing_ran || decided_before(&check.name)).then(|| format!("`{}` cannot run: {why}", check.name))
    })?;
    Some(skipped)
}

fn measured_note(report: &CheckReport) -> Vec<String> {
    if report
        .checks
        .iter()
        .any(|check| !check.advisory && check.skipped.is_none())
    {
        return Vec::new();
    }
    vec!["no tests were found in this repository: nothing was measured".to_owned()]
}

/// The failures whose test or file is named in task or plan.
fn named<'a>(report: &'a CheckReport, task: &str, plan: Option<&Plan>) -> BTreeSet<&'a str> {
    let mut text = task.to_owned();
    let mut files = BTreeSet::new();
    if let Some(plan) = plan {
        for item in &plan.items {
            text.extend(["\n", &item.title, "\n", &item.detail, "\n", &item.done_when]);
            files.extend(item.files.iter().map(|file| file.path.as_str()));
        }
    }
    let is_named = |failure: &CheckFailure| {
        let name = failure
            .id
            .rsplit([':', '.', '>', '/'])
            .next()
            .unwrap_or_default()
            .trim();
        let by_file = failure
            .file
            .as_deref()
            .is_some_and(|file| files.contains(file) || text.contains(file));
        by_file || name.len() >= MIN_NAME && has_word(&text, name)
    };
    let decisive = report.checks.iter().filter(|check| !check.passed());
    decisive
        .flat_map(|check| &check.failures)
        .filter(|failure| is_named(failure))
        .map(|failure| failure.id.as_str())
        .collect()
}

fn has_word(text: &str, word: &str) -> bool {
    text.match_indices(word).any(|(at, _)| {
        let is_part = |c: char| c.is_alphanumeric() || c == '_';
        let before = text[..at].chars().next_back().is_some_and(is_part);
        let after = text[at + word.len()..].chars().next().is_some_and(is_part);
        !before && !after
    })
}

fn listed(ids: &BTreeSet<&str>) -> String {
    let first: Vec<&str> = ids.iter().copied().take(MAX_LISTED).collect();
    let more = ids.len().saturating_sub(MAX_LISTED);
    if more > 0 {
        format!("{} and {more} more", first.join(", "))
    } else {
        first.join(", ")
    }
}

#[cfg(test)]
mod tests;
