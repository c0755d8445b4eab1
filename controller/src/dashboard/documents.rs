//! What steps put out, for people: plan, report of the checks, verdict; anything else as it is.
//! All of it came from a model or a repository.

use maud::{Markup, html};
use protocol::documents::{Check, CheckReport, Decision, Finding, Plan, Severity, Verdict};
use serde_json::{Map, Value};

use super::{parts, words};

/// Text of one output that is shown as it is, at most.
const MOST: usize = 20_000;

/// The outputs of a step.
pub(super) fn draw(outputs: &Map<String, Value>) -> Markup {
    html! {
        @for (name, value) in outputs {
            (one(name, value))
        }
    }
}

/// The kinds that have a form of their own.
fn one(name: &str, value: &Value) -> Markup {
    if value.get("items").is_some()
        && let Ok(plan) = serde_json::from_value::<Plan>(value.clone())
    {
        return draw_plan(&plan);
    }
    if value.get("checks").is_some()
        && let Ok(report) = serde_json::from_value::<CheckReport>(value.clone())
    {
        return draw_report(name, &report);
    }
    if value.get("decision").is_some()
        && let Ok(verdict) = serde_json::from_value::<Verdict>(value.clone())
    {
        return draw_verdict(&verdict);
    }
    let text = match value {
        Value::String(text) => text.clone(),
        other => serde_json::to_string_pretty(other).unwrap_or_default(),
    };
    html! {
        @if text.len() < 80 && !text.contains('\n') {
            p.output { b { (name) } ": " (text) }
        } @else {
            details { summary { (name) } pre { (words::clipped(&text, MOST)) } }
        }
    }
}

fn draw_plan(plan: &Plan) -> Markup {
    let list = |title: &str, lines: &[String]| {
        html! {
            @if !lines.is_empty() {
                h4 { (title) }
                ul { @for line in lines { li { (line) } } }
            }
        }
    };
    html! {
        div.document {
            h3 { "Plan" }
            p { (plan.summary) }
            ol {
                @for item in &plan.items {
                    li {
                        b { (item.title) }
                        @if !item.files.is_empty() {
                            ": " @for file in &item.files { code { (file.path) } " " }
                        }
                        @if !item.detail.is_empty() { p.prose { (item.detail) } }
                        @if !item.done_when.is_empty() { p.hint { "Done when " (item.done_when) } }
                    }
                }
            }
            (list("Taken for granted", &plan.assumptions))
            (list("May go wrong", &plan.risks))
            (list("Questions", &plan.questions))
        }
    }
}

fn draw_report(name: &str, report: &CheckReport) -> Markup {
    html! {
        div.document {
            h3 { @if name == "report" { "Checks" } @else { (name) } }
            table.list {
                thead { tr { @for head in ["Check", "Result", "Counted", "Took"] { th scope="col" { (head) } } } }
                tbody { @for check in &report.checks { (check_row(check)) } }
            }
            @if !report.new_failures.is_empty() {
                h4 { "Fail since the change" }
                ul { @for id in &report.new_failures { li { code { (id) } } } }
            }
            @if !report.fixed.is_empty() {
                h4 { "Mended" }
                ul { @for id in &report.fixed { li { code { (id) } } } }
            }
            @if !report.protected_changed.is_empty() {
                h4 { "Tests that were changed without the plan's leave" }
                ul { @for path in &report.protected_changed { li { code { (path) } } } }
            }
            @for check in report.checks.iter().filter(|check| !check.failures.is_empty()) {
                details {
                    summary { "Failures of " (check.name) }
                    @for failure in &check.failures {
                        p { code { (failure.id) } @if let Some(file) = &failure.file { " " (file) @if let Some(line) = failure.line { ":" (line) } } }
                        pre { (words::clipped(&failure.message, 4000)) }
                    }
                }
            }
        }
    }
}

fn check_row(check: &Check) -> Markup {
    let (state, said) = match (&check.skipped, check.timed_out, check.exit, check.signal) {
        (Some(why), ..) => ("skipped", why.clone()),
        (_, true, ..) => ("timed_out", String::new()),
        (_, _, Some(0), _) => ("succeeded", String::new()),
        (_, _, Some(exit), _) => ("failed", format!("exit {exit}")),
        (.., Some(signal)) => ("failed", format!("signal {signal}")),
        _ => ("failed", String::new()),
    };
    html! {
        tr {
            td data-label="Check" {
                (check.name) @if check.advisory { " " small { "(advice)" } }
                @if !check.command.is_empty() { br; code.small { (words::clipped(&check.command.join(" "), 160)) } }
            }
            td data-label="Result" { (parts::state(state)) " " small { (said) } }
            td data-label="Counted" {
                @if let Some(counts) = &check.counts {
                    (counts.passed) " passed, " (counts.failed + counts.errors) " failed"
                } @else { "–" }
            }
            td data-label="Took" { (words::span(jiff::SignedDuration::from_millis(check.ms as i64))) }
        }
    }
}

fn draw_verdict(verdict: &Verdict) -> Markup {
    let decision = match verdict.decision {
        Decision::Approve => "✓ approve",
        Decision::RequestChanges => "✗ request changes",
        Decision::Blocked => "‖ blocked",
    };
    html! {
        div.document {
            h3 { "Verdict: " (decision) }
            @if verdict.findings.is_empty() { p { "No findings." } }
            ul { @for finding in &verdict.findings { (draw_finding(finding)) } }
        }
    }
}

fn draw_finding(finding: &Finding) -> Markup {
    let severity = match finding.severity {
        Severity::Minor => "minor",
        Severity::Major => "major",
        Severity::Blocker => "blocker",
    };
    html! {
        li {
            b { (severity) } " "
            @if let Some(file) = &finding.file { code { (file) @if let Some(line) = finding.line { ":" (line) } } " " }
            (finding.claim)
            @if !finding.evidence.is_empty() { pre { (words::clipped(&finding.evidence, 2000)) } }
            @if !finding.suggestion.is_empty() { p.hint { (finding.suggestion) } }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn documents_have_their_form_and_everything_in_them_is_text() {
        let Value::Object(outputs) = json!({
            "plan": {"summary": "<b>s</b>", "items": [{"title": "<i>t</i>", "detail": "# d"}]},
            "report": {"checks": [{"name": "make", "exit": 2, "failures": [{"id": "a", "message": "<u>"}]}]},
            "verdict": {"decision": "request_changes", "findings": [{"severity": "major", "claim": "<s>"}]},
            "note": "<q>",
            "long": ["<em>".repeat(40)],
        }) else {
            panic!("an object")
        };
        let html = draw(&outputs).into_string();
        for part in ["Plan", "exit 2", "request changes", "major", "&lt;q&gt;"] {
            assert!(html.contains(part), "{part} is missing: {html}");
        }
        for tag in ["<b>s", "<i>", "<u>", "<s>", "<q>", "<em>"] {
            assert!(!html.contains(tag), "{tag}");
        }
    }
}
