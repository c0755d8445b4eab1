//! What shows that a result is good: for people as Markdown, for programs as JSON.

use protocol::{
    artifact::ArtifactRef,
    documents::{Check, CheckReport, DiffStat, Verdict},
};
use serde_json::{Value, json};

use super::super::{StepContext, documents::Documents};

/// Everything that the evidence is made of.
pub(super) struct Evidence<'a> {
    pub(super) cx: &'a StepContext,
    pub(super) documents: &'a Documents,
    pub(super) base: &'a str,
    pub(super) commit: &'a str,
    pub(super) branch: &'a str,
    pub(super) stat: DiffStat,
    pub(super) patch: &'a ArtifactRef,
}

impl Evidence<'_> {
    /// The record.
    pub(super) fn json(&self) -> Value {
        let given = |key: &str| self.cx.spec.with.get(key).cloned().unwrap_or(Value::Null);
        json!({
            "v": 1,
            "job": self.cx.assign.job.number,
            "job_id": self.cx.assign.job.id,
            "title": self.cx.spec.title,
            "task": self.documents.task,
            "branch": self.branch,
            "base": self.base,
            "commit": self.commit,
            "stat": self.stat,
            "patch": {"sha256": self.patch.sha256, "size": self.patch.size},
            "plan": self.documents.plan,
            "baseline": self.documents.baseline,
            "report": self.documents.report,
            "verdict": self.documents.verdict,
            "workers": given("workers"),
            "usage": given("usage"),
        })
    }

    /// The report.
    pub(super) fn markdown(&self) -> String {
        let mut text = format!(
            "# Job {}: {}\n\nBranch `{}`, `{}` → `{}`: {} files, +{} −{}.\n",
            self.cx.assign.job.number,
            one_line(&self.cx.spec.title),
            self.branch,
            short(self.base),
            short(self.commit),
            self.stat.files,
            self.stat.insertions,
            self.stat.deletions,
        );
        text.push_str(&format!("\n## Task\n\n{}\n", quoted(&self.documents.task)));
        self.plan(&mut text);
        checks(&mut text, "Checks before", self.documents.baseline.as_ref());
        checks(&mut text, "Checks after", self.documents.report.as_ref());
        if let Some(report) = &self.documents.report {
            list(&mut text, "Fixed", &report.fixed);
            list(&mut text, "New failures", &report.new_failures);
            list(
                &mut text,
                "Tests changed without the plan's leave",
                &report.protected_changed,
            );
        }
        if let Some(verdict) = &self.documents.verdict {
            review(&mut text, verdict);
        }
        for (key, title) in [("workers", "Workers"), ("usage", "Usage")] {
            if let Some(given) = self.cx.spec.with.get(key).filter(|given| !given.is_null()) {
                text.push_str(&format!("\n## {title}\n\n```json\n{given:#}\n```\n"));
            }
        }
        text
    }

    fn plan(&self, text: &mut String) {
        let Some(plan) = &self.documents.plan else { return };
        text.push_str(&format!("\n## Plan\n\n{}\n\n", one_line(&plan.summary)));
        for item in &plan.items {
            text.push_str(&format!("- {}: {}\n", one_line(&item.id), one_line(&item.title)));
        }
        list(text, "Assumptions", &plan.assumptions);
        list(text, "Risks", &plan.risks);
        list(text, "Open questions", &plan.questions);
    }
}

fn checks(text: &mut String, title: &str, report: Option<&CheckReport>) {
    let Some(report) = report else { return };
    text.push_str(&format!("\n## {title}\n\n"));
    if report.checks.is_empty() {
        text.push_str("No checks were found in this repository: nothing was measured.\n");
        return;
    }
    text.push_str(
        "| check | result | passed | failed | errors | skipped | seconds |\n|---|---|--:|--:|--:|--:|--:|\n",
    );
    for check in &report.checks {
        let counts = check.counts.map_or_else(
            || "| | | |".to_owned(),
            |counts| {
                format!(
                    "{} | {} | {} | {}",
                    counts.passed, counts.failed, counts.errors, counts.skipped
                )
            },
        );
        let seconds = check.ms as f64 / 1000.0;
        text.push_str(&format!(
            "| {} | {} | {counts} | {seconds:.1} |\n",
            cell(&check.name),
            cell(&result_of(check))
        ));
    }
    for failure in report
        .checks
        .iter()
        .filter(|check| !check.passed())
        .flat_map(|check| &check.failures)
    {
        text.push_str(&format!("\n- failing: `{}`", one_line(&failure.id)));
    }
    text.push('\n');
}

fn result_of(check: &Check) -> String {
    match (&check.skipped, check.exit) {
        (Some(why), _) => format!("skipped: {why}"),
        (None, _) if check.timed_out => "ended by its time limit".to_owned(),
        (None, Some(0)) => "passed".to_owned(),
        (None, Some(code)) if check.advisory => format!("complains (exit {code}), for information"),
        (None, Some(code)) => format!("failed (exit {code})"),
        (None, None) => "failed (signal)".to_owned(),
    }
}

fn review(text: &mut String, verdict: &Verdict) {
    let word = |value: Value| value.as_str().unwrap_or_default().replace('_', " ");
    text.push_str(&format!("\n## Review: {}\n\n", word(json!(verdict.decision))));
    if verdict.findings.is_empty() {
        text.push_str("No findings.\n");
    }
    for finding in &verdict.findings {
        let place = match (&finding.file, finding.line) {
            (Some(file), Some(line)) => format!(" `{}:{line}`", one_line(file)),
            (Some(file), None) => format!(" `{}`", one_line(file)),
            (None, _) => String::new(),
        };
        text.push_str(&format!(
            "- **{}**{place}: {}\n",
            word(json!(finding.severity)),
            one_line(&finding.claim)
        ));
    }
}

fn list(text: &mut String, title: &str, lines: &[String]) {
    if lines.is_empty() {
        return;
    }
    text.push_str(&format!("\n### {title}\n\n"));
    for line in lines {
        text.push_str(&format!("- {}\n", one_line(line)));
    }
}

/// Text of a model or a repository cannot begin a heading or a block of its own.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn cell(text: &str) -> String {
    one_line(text).replace('|', "\\|")
}

fn quoted(text: &str) -> String {
    text.lines().flat_map(|line| ["> ", line, "\n"]).collect()
}

fn short(commit: &str) -> &str {
    commit.get(..12).unwrap_or(commit)
}
