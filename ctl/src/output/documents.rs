//! The documents that steps hand to each other, as people read them.

use protocol::{
    documents::{Check, CheckReport, Decision, Finding, Plan, Severity, Verdict},
    http::jobs::StepView,
};
use serde::de::DeserializeOwned;

use super::{
    relative::duration_ms,
    style::{Style, Tone},
    text::{clean, one_line},
};

/// Failures that are named per check; the log has them all.
const NAMED_FAILURES: usize = 5;

/// Every document among the outputs of a step, each with a heading.
pub(crate) fn of_step(step: &StepView, style: Style) -> Vec<String> {
    let mut lines = Vec::new();
    let mut add = |what: &str, document: Option<Vec<String>>| {
        if let Some(document) = document {
            lines.push(style.paint(&format!("{what} ({})", step.key), Tone::Strong));
            lines.extend(document);
        }
    };
    add("plan", read(step, "plan").map(|document| plan(&document)));
    add(
        "baseline",
        read(step, "baseline").map(|document| checks(&document, style)),
    );
    add(
        "checks",
        read(step, "report").map(|document| checks(&document, style)),
    );
    add(
        "verdict",
        read(step, "verdict").map(|document| verdict(&document, style)),
    );
    lines
}

/// A document among the outputs of a step.
pub(crate) fn read<T: DeserializeOwned>(step: &StepView, name: &str) -> Option<T> {
    let value = step.outputs.get(name).filter(|value| value.is_object())?;
    serde_json::from_value(value.clone()).ok()
}

/// What the architect intends.
pub(crate) fn plan(plan: &Plan) -> Vec<String> {
    let mut lines = vec![format!("  {}", one_line(&plan.summary))];
    for item in &plan.items {
        let files: Vec<&str> = item.files.iter().map(|file| file.path.as_str()).collect();
        let files = if files.is_empty() {
            String::new()
        } else {
            format!(" ({})", files.join(", "))
        };
        lines.push(one_line_of("  - ", &format!("{}{files}", item.title)));
        lines.extend(paragraph("    ", &item.detail));
    }
    let asides = [
        ("assumes", &plan.assumptions),
        ("risk", &plan.risks),
        ("question", &plan.questions),
    ];
    for (what, texts) in asides {
        lines.extend(texts.iter().map(|text| one_line_of(&format!("  {what}: "), text)));
    }
    lines
}

/// What checks measured.
pub(crate) fn checks(report: &CheckReport, style: Style) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for check in &report.checks {
        let (word, tone) = match check {
            Check { skipped: Some(_), .. } => ("skipped", Tone::Dim),
            check if check.passed() => ("passed", Tone::Good),
            _ => ("failed", Tone::Bad),
        };
        let word = style.paint(&format!("{word:<7}"), tone);
        lines.push(format!("  {word} {}", one_line(&measured(check))));
        for failure in check.failures.iter().take(NAMED_FAILURES) {
            lines.push(one_line_of(
                "          ",
                &format!("{}: {}", failure.id, failure.message),
            ));
        }
        let more = check.failures.len().saturating_sub(NAMED_FAILURES);
        if more > 0 {
            lines.push(format!("          … {more} more"));
        }
    }
    if lines.is_empty() {
        lines.push("  no check was found".to_owned());
    }
    lines
}

/// Name, counts, end and time of one check.
fn measured(check: &Check) -> String {
    if let Some(why) = &check.skipped {
        return format!("{}: {why}", check.name);
    }
    let mut parts = Vec::new();
    if let Some(counts) = &check.counts {
        let all = [
            (counts.passed, "passed"),
            (counts.failed, "failed"),
            (counts.errors, "could not run"),
            (counts.skipped, "left out"),
        ];
        parts.extend(
            all.iter()
                .filter(|(count, _)| *count > 0)
                .map(|(count, word)| format!("{count} {word}")),
        );
    }
    match (check.timed_out, check.exit, check.signal) {
        (true, _, _) => parts.push("ended by its time limit".to_owned()),
        (_, Some(0), _) => {}
        (_, Some(exit), _) => parts.push(format!("exit code {exit}")),
        (_, None, Some(signal)) => parts.push(format!("signal {signal}")),
        (_, None, None) => {}
    }
    parts.push(duration_ms(check.ms));
    format!("{}: {}", check.name, parts.join(", "))
}

/// What the reviewer thinks.
pub(crate) fn verdict(verdict: &Verdict, style: Style) -> Vec<String> {
    let (word, tone) = match verdict.decision {
        Decision::Approve => ("approved", Tone::Good),
        Decision::RequestChanges => ("changes requested", Tone::Alert),
        Decision::Blocked => ("blocked", Tone::Bad),
    };
    let count = match verdict.findings.len() {
        0 => "no finding".to_owned(),
        1 => "1 finding".to_owned(),
        count => format!("{count} findings"),
    };
    let mut lines = vec![format!("  {}, {count}", style.paint(word, tone))];
    lines.extend(verdict.findings.iter().map(finding));
    lines
}

fn finding(finding: &Finding) -> String {
    let severity = match finding.severity {
        Severity::Minor => "minor",
        Severity::Major => "major",
        Severity::Blocker => "blocker",
    };
    let place = match (&finding.file, finding.line) {
        (Some(file), Some(line)) => format!(" {file}:{line}"),
        (Some(file), None) => format!(" {file}"),
        _ => String::new(),
    };
    one_line_of("  - ", &format!("{severity}{place}: {}", finding.claim))
}

fn one_line_of(indent: &str, text: &str) -> String {
    format!("{indent}{}", one_line(text))
}

fn paragraph(indent: &str, text: &str) -> Vec<String> {
    let text = clean(text);
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    lines.map(|line| format!("{indent}{}", line.trim_end())).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::job::samples;

    #[test]
    fn documents_read_as_people_would_write_them() {
        let mut step = samples::step("cycle#1/review", protocol::step::StepState::Succeeded);
        let outputs = json!({
            "plan": {"summary": "Mend the parser.\n", "items": [{"id": 1, "title": "empty input", "files": [{"path": "src/lib.rs"}], "detail": "Return an\nempty list."}], "risks": ["none known"]},
            "baseline": {"checks": []},
            "report": {"checks": [
                {"name": "cargo test", "command": ["cargo", "test"], "exit": 101, "ms": 1234, "counts": {"passed": 2, "failed": 1, "errors": 0, "skipped": 0}, "failures": [{"id": "parser::empty", "message": "assertion\nfailed"}]},
                {"name": "clippy", "skipped": "not installed"},
                {"name": "sleep", "timed_out": true, "ms": 120_000},
            ]},
            "verdict": {"decision": "request_changes", "findings": [{"severity": "major", "file": "src/lib.rs", "line": 3, "claim": "panics"}]},
            "commit": "abc",
        });
        step.outputs = outputs.as_object().expect("an object").clone();
        insta::assert_snapshot!(of_step(&step, Style::PLAIN).join("\n"), @r"
        plan (cycle#1/review)
          Mend the parser.
          - empty input (src/lib.rs)
            Return an
            empty list.
          risk: none known
        baseline (cycle#1/review)
          no check was found
        checks (cycle#1/review)
          failed  cargo test: 2 passed, 1 failed, exit code 101, 1.2s
                  parser::empty: assertion failed
          skipped clippy: not installed
          failed  sleep: ended by its time limit, 2m 00s
        verdict (cycle#1/review)
          changes requested, 1 finding
          - major src/lib.rs:3: panics
        ");
    }
}
