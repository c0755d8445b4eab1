//! What the workflow gives to an agent: the step's `with`, read into the
//! documents that roles know, and written out for a model.

use protocol::documents::{Check, CheckFailure, CheckReport, FileAction, Finding, Plan, Severity, Verdict};
use serde::{Deserialize as _, de::DeserializeOwned};
use serde_json::{Map, Value};

use super::context::{Section, Shrink, tail};

/// Failures shown of one check.
const SHOWN_FAILURES: usize = 20;
/// Bytes shown of one failure's message.
const SHOWN_MESSAGE: usize = 2000;
/// Bytes shown of the end of a check's output, where no failure was recognised.
const SHOWN_TAIL: usize = 4000;

/// The inputs of an agent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Brief {
    /// `task`: what is to be done, in words.
    pub task: String,
    /// `plan`: the architect's.
    pub plan: Option<Plan>,
    /// `baseline`: what the checks measured before any change.
    pub baseline: Option<CheckReport>,
    /// `report`: what they measured last.
    pub report: Option<CheckReport>,
    /// `verdict`: what the reviewer said last.
    pub verdict: Option<Verdict>,
    /// `failures`, `findings` and whatever else the workflow gives, as text, by name.
    pub others: Vec<(String, String)>,
}

/// Inputs that are read by the step itself, not by the model.
const FOR_THE_STEP: [&str; 2] = ["against", "protected"];

impl Brief {
    /// Reads the `with` of a step; nulls count as absent.
    pub fn read(with: &Map<String, Value>) -> Self {
        let mut brief = Self::default();
        for (name, value) in with.iter().filter(|(_, value)| !value.is_null()) {
            let known = match name.as_str() {
                "task" => value
                    .as_str()
                    .map(|task| task.clone_into(&mut brief.task))
                    .is_some(),
                "plan" => take(value, &mut brief.plan),
                "baseline" => take(value, &mut brief.baseline),
                "report" => take(value, &mut brief.report),
                "verdict" => take(value, &mut brief.verdict),
                name => FOR_THE_STEP.contains(&name),
            };
            if !known {
                brief.others.push((name.clone(), plain(name, value)));
            }
        }
        brief
    }

    /// The sections after files and map, in their fixed order; the task comes last.
    pub fn sections(&self) -> Vec<Section> {
        let plan = self.plan.as_ref().map(write_plan).unwrap_or_default();
        let baseline = match &self.report {
            Some(_) => String::new(),
            None => self.baseline.as_ref().map(write_report).unwrap_or_default(),
        };
        let report = self.report.as_ref().map(write_report).unwrap_or_default();
        let verdict = self.verdict.as_ref().map(write_verdict).unwrap_or_default();
        let mut sections = vec![
            Section::new("Plan", plan, Shrink::Never),
            Section::new("Checks before any change", baseline, Shrink::Cut(3)),
            Section::new("Checks of the last change", report, Shrink::Cut(4)),
            Section::new("Review of the last change", verdict, Shrink::Cut(5)),
        ];
        let others = self.others.iter();
        sections.extend(others.map(|(name, text)| Section::new(name, text, Shrink::Cut(3))));
        sections.push(Section::new("Task", &self.task, Shrink::Never));
        sections.into_iter().flatten().collect()
    }

    /// The words that may point to files: the task, and what fails.
    pub fn words(&self) -> String {
        let mut words = self.task.clone();
        for failure in self.failures() {
            words.push_str(&format!(
                "\n{} {} {}",
                failure.id,
                failure.file.as_deref().unwrap_or(""),
                failure.message
            ));
        }
        words
    }

    /// Files that checks and reviewer name.
    pub fn named_files(&self) -> Vec<&str> {
        let failing = self.failures().filter_map(|failure| failure.file.as_deref());
        let findings = self.verdict.iter().flat_map(|verdict| &verdict.findings);
        failing
            .chain(findings.filter_map(|finding| finding.file.as_deref()))
            .collect()
    }

    fn failures(&self) -> impl Iterator<Item = &CheckFailure> {
        let report = self.report.as_ref().or(self.baseline.as_ref());
        report
            .into_iter()
            .flat_map(|report| &report.checks)
            .flat_map(|check| &check.failures)
    }
}

fn take<T: DeserializeOwned>(value: &Value, slot: &mut Option<T>) -> bool {
    *slot = T::deserialize(value).ok();
    slot.is_some()
}

/// A value as text: lists of failures and findings as lines, texts as they are, the rest as JSON.
fn plain(name: &str, value: &Value) -> String {
    let failures = Vec::<CheckFailure>::deserialize(value)
        .ok()
        .filter(|_| name == "failures");
    let findings = Vec::<Finding>::deserialize(value)
        .ok()
        .filter(|_| name == "findings");
    match (value, failures, findings) {
        (_, Some(failures), _) => failures.iter().map(write_failure).collect(),
        (_, _, Some(findings)) => findings.iter().map(write_finding).collect(),
        (Value::String(text), ..) => text.clone(),
        _ => serde_json::to_string_pretty(value).unwrap_or_default(),
    }
}

/// The plan as a model reads it.
fn write_plan(plan: &Plan) -> String {
    let mut text = format!("{}\n", plan.summary);
    for item in &plan.items {
        text.push_str(&format!("\n### {}. {}\n", item.id, item.title));
        for file in &item.files {
            let action = match file.action {
                FileAction::Add => "add",
                FileAction::Modify => "modify",
                FileAction::Delete => "delete",
            };
            text.push_str(&format!("- {action} `{}`\n", file.path));
        }
        for (label, line) in [("", &item.detail), ("Done when: ", &item.done_when)] {
            if !line.trim().is_empty() {
                text.push_str(&format!("{label}{}\n", line.trim_end()));
            }
        }
    }
    for (label, lines) in [
        ("Assumptions", &plan.assumptions),
        ("Tests that may change", &plan.may_change_tests),
        ("Risks", &plan.risks),
    ] {
        if !lines.is_empty() {
            text.push_str(&format!("\n{label}: {}\n", lines.join("; ")));
        }
    }
    text
}

/// What checks measured, as a model reads it: no times, so that equal results read equal.
fn write_report(report: &CheckReport) -> String {
    let mut text = String::new();
    for check in &report.checks {
        text.push_str(&format!("- {}: {}\n", check.name, outcome(check)));
        if check.skipped.is_some() || (check.exit == Some(0) && !check.timed_out) {
            continue;
        }
        check
            .failures
            .iter()
            .take(SHOWN_FAILURES)
            .for_each(|failure| text.push_str(&write_failure(failure)));
        if check.failures.len() > SHOWN_FAILURES {
            text.push_str(&format!(
                "  ({} more failures)\n",
                check.failures.len() - SHOWN_FAILURES
            ));
        }
        // a failure with the check's own name stands for output that nobody could read
        let unread = check.failures.iter().all(|failure| failure.id == check.name);
        if unread && !check.tail.trim().is_empty() {
            text.push_str(&super::edit::repair::fenced(&tail(&check.tail, SHOWN_TAIL)));
        }
    }
    for (label, names) in [
        (
            "New failures (they did not fail before the change)",
            &report.new_failures,
        ),
        (
            "Tests changed without leave (put them back)",
            &report.protected_changed,
        ),
    ] {
        if !names.is_empty() {
            text.push_str(&format!("\n{label}: {}\n", names.join(", ")));
        }
    }
    text
}

fn outcome(check: &Check) -> String {
    let mut text = match (&check.skipped, check.timed_out, check.exit, check.signal) {
        (Some(why), ..) => return format!("not run, {why}"),
        (_, true, ..) => "did not end within its time limit".to_owned(),
        (_, _, Some(0), _) => "passed".to_owned(),
        (_, _, Some(code), _) => format!("failed with exit code {code}"),
        (_, _, None, Some(signal)) => format!("ended by signal {signal}"),
        (_, _, None, None) => "failed".to_owned(),
    };
    if let Some(counts) = check.counts {
        text.push_str(&format!(
            ", {} tests passed, {} failed",
            counts.passed,
            counts.failed + counts.errors
        ));
    }
    if check.advisory {
        text.push_str(" (advice only)");
    }
    text
}

fn write_failure(failure: &CheckFailure) -> String {
    let place = match (&failure.file, failure.line) {
        (Some(file), Some(line)) => format!(" ({file}:{line})"),
        (Some(file), None) => format!(" ({file})"),
        (None, _) => String::new(),
    };
    let message = super::context::cut(failure.message.trim_end(), SHOWN_MESSAGE);
    let mut text = format!("  - {}{place}\n", failure.id);
    for line in message.lines() {
        text.push_str(&format!("    {line}\n"));
    }
    text
}

/// A verdict as a model reads it.
fn write_verdict(verdict: &Verdict) -> String {
    let findings: String = verdict.findings.iter().map(write_finding).collect();
    let open = verdict.plan_items.iter().filter(|item| !item.done);
    let open: Vec<String> = open
        .map(|item| format!("- item {} is not done: {}\n", item.id, item.evidence))
        .collect();
    findings + &open.concat()
}

fn write_finding(finding: &Finding) -> String {
    let severity = match finding.severity {
        Severity::Minor => "minor",
        Severity::Major => "major",
        Severity::Blocker => "blocker",
    };
    let place = match (&finding.file, finding.line) {
        (Some(file), Some(line)) => format!(" {file}:{line}:"),
        (Some(file), None) => format!(" {file}:"),
        (None, _) => String::new(),
    };
    let mut text = format!("- {severity}:{place} {}\n", finding.claim);
    for (label, line) in [
        ("Evidence", &finding.evidence),
        ("Suggestion", &finding.suggestion),
    ] {
        if !line.trim().is_empty() {
            text.push_str(&format!("  {label}: {}\n", line.trim()));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(with: Value) -> Brief {
        match with {
            Value::Object(with) => Brief::read(&with),
            other => panic!("{other}"),
        }
    }

    #[test]
    fn known_inputs_become_documents_and_the_rest_is_shown() {
        let brief = read(json!({
            "task": "mend it",
            "plan": {"summary": "s", "items": [{"id": 1, "title": "t", "files": [{"path": "a.py"}]}]},
            "verdict": null,
            "against": "HEAD~1",
            "findings": [{"severity": "major", "file": "a.py", "line": 3, "claim": "wrong"}],
            "extra": {"x": 1},
        }));
        let titles: Vec<String> = brief
            .sections()
            .into_iter()
            .map(|section| section.title)
            .collect();
        assert_eq!(titles, ["Plan", "findings", "extra", "Task"]);
        assert!(brief.sections()[0].body.contains("### 1. t\n- modify `a.py`\n"));
        assert_eq!(brief.sections()[1].body, "- major: a.py:3: wrong\n");
    }

    #[test]
    fn a_report_shows_what_failed_and_no_times() {
        let report = json!({"checks": [
            {"name": "pytest", "command": ["pytest"], "exit": 1, "ms": 1234, "counts": {"passed": 2, "failed": 1, "errors": 0, "skipped": 0},
             "failures": [{"id": "test_m.py::test_area", "file": "test_m.py", "line": 7, "message": "assert 5 == 6"}], "tail": "in 0.03s"},
            {"name": "make", "command": ["make"], "exit": 2, "failures": [{"id": "make", "message": "`make` exited with 2"}], "tail": "No rule\n"},
            {"name": "ruff", "skipped": "ruff is not installed"},
        ], "new_failures": ["test_m.py::test_area"]});
        let brief = read(json!({"task": "t", "report": report, "baseline": {"checks": []}}));
        let text = &brief.sections()[0].body;
        assert!(text.contains("- pytest: failed with exit code 1, 2 tests passed, 1 failed\n  - test_m.py::test_area (test_m.py:7)\n    assert 5 == 6\n"), "{text}");
        assert!(
            text.contains("No rule") && !text.contains("0.03") && !text.contains("1234"),
            "{text}"
        );
        assert!(text.contains("- ruff: not run, ruff is not installed"), "{text}");
        assert_eq!(brief.named_files(), ["test_m.py"]);
    }
}
