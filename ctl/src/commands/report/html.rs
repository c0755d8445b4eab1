//! The report as one page of HTML that needs nothing else: no script, no
//! picture, no address outside. Whatever others wrote is escaped by maud.

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use protocol::{
    documents::{CheckReport, Plan, Verdict},
    http::jobs::{AttemptView, JobView, StepView},
    job::StepKey,
    usage::Usage,
};
use sha2::{Digest, Sha256};

use crate::output::{
    documents,
    relative::{dollars, elapsed, tokens},
    style::Style,
    text::{clean, one_line},
};

const STYLE: &str = include_str!("report.css");

/// What a report is made of.
pub(super) struct Content<'a> {
    /// The job with its steps.
    pub(super) job: &'a JobView,
    /// Its patch, if it has delivered one.
    pub(super) patch: Option<Patch>,
    /// The last lines of each step's current attempt.
    pub(super) logs: Vec<Tail>,
    /// When this was written.
    pub(super) now: Timestamp,
}

/// The beginning of a patch.
pub(super) struct Patch {
    /// What is shown.
    pub(super) text: String,
    /// Whether there is more.
    pub(super) cut: bool,
}

/// The end of a log.
pub(super) struct Tail {
    /// Whose.
    pub(super) step: StepKey,
    /// Lines that are not shown.
    pub(super) left_out: usize,
    /// The last ones.
    pub(super) lines: Vec<String>,
}

/// The whole page.
pub(super) fn page(content: &Content<'_>) -> String {
    let job = content.job;
    let title = format!("Job {}: {}", job.number, one_line(&job.title));
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(policy());
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="referrer" content="no-referrer";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { (title) }
                (summary(content))
                (documents_of(job))
                (steps(job, content.now))
                (patch(job, content.patch.as_ref()))
                (logs(&content.logs))
                footer { "Written by agentctl " (env!("CARGO_PKG_VERSION")) " at " (content.now) "." }
            }
        }
    };
    page.into_string()
}

/// Nothing is loaded and nothing runs; only this very style applies.
fn policy() -> String {
    let hash = STANDARD.encode(Sha256::digest(STYLE));
    format!("default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'")
}

fn summary(content: &Content<'_>) -> Markup {
    let job = content.job;
    let repo = job.repo.as_ref();
    let took = job
        .started_at
        .map(|start| elapsed(start, job.ended_at.unwrap_or(content.now)));
    let rows = [
        ("why", job.reason.as_deref().map(one_line)),
        ("workflow", Some(one_line(&job.workflow))),
        ("repository", repo.map(|repo| one_line(&repo.name))),
        ("base", repo.and_then(|repo| repo.base.as_deref()).map(one_line)),
        ("submitted", Some(job.created_at.to_string())),
        ("took", took),
        ("tokens", Some(used(&job.usage))),
        ("cost", Some(dollars(job.usage.cost_microusd))),
    ];
    html! {
        table.facts {
            tr { th scope="row" { "state" } td { (state(job.state.as_str())) } }
            @for (name, value) in rows {
                @if let Some(value) = value { tr { th scope="row" { (name) } td { (value) } } }
            }
        }
        @if !job.inputs.is_empty() {
            h2 { "Inputs" }
            table.facts {
                @for (name, value) in &job.inputs {
                    @let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                    tr { th scope="row" { (one_line(name)) } td.text { (clean(&text)) } }
                }
            }
        }
    }
}

/// A state; the word is enough, the colour comes on top.
fn state(state: &str) -> Markup {
    html! { span class=(format!("state {state}")) { (state) } }
}

fn used(usage: &Usage) -> String {
    let calls = usage.calls;
    format!(
        "{} ({} in, {} cached, {} out; {calls} calls)",
        tokens(usage.tokens()),
        tokens(usage.input_tokens),
        tokens(usage.cached_tokens),
        tokens(usage.output_tokens),
    )
}

/// Plan, checks and verdict, in the order in which they came about.
fn documents_of(job: &JobView) -> Markup {
    let mut found: Vec<(&str, &StepKey, Vec<String>)> = vec![];
    for step in &job.steps {
        let mut add = |heading, lines: Option<Vec<String>>| {
            found.extend(lines.map(|lines| (heading, &step.key, lines)));
        };
        let checks = |report: CheckReport| documents::checks(&report, Style::PLAIN);
        add(
            "Plan",
            documents::read(step, "plan").map(|plan: Plan| documents::plan(&plan)),
        );
        add("Checks before", documents::read(step, "baseline").map(checks));
        add("Checks", documents::read(step, "report").map(checks));
        add(
            "Verdict",
            documents::read(step, "verdict")
                .map(|verdict: Verdict| documents::verdict(&verdict, Style::PLAIN)),
        );
    }
    html! {
        @for (heading, step, lines) in found {
            h2 { (heading) " " small { (step) } }
            pre { (lines.join("\n")) }
        }
    }
}

fn steps(job: &JobView, now: Timestamp) -> Markup {
    let names = [
        "step", "attempt", "state", "worker", "model", "took", "tokens", "cost",
    ];
    html! {
        h2 { "Steps and attempts" }
        div.wide { table.steps {
            thead { tr { @for name in names { th scope="col" { (name) } } } }
            tbody {
                @for step in &job.steps {
                    (step_row(step, now))
                    @for attempt in &step.attempts { (attempt_row(attempt, now)) }
                }
            }
        } }
    }
}

fn step_row(step: &StepView, now: Timestamp) -> Markup {
    let took = step
        .started_at
        .map(|start| elapsed(start, step.ended_at.unwrap_or(now)));
    html! {
        tr.step {
            th scope="row" colspan="2" { (step.key) }
            td { (state(step.state.as_str())) }
            td colspan="2" { @if let Some(error) = &step.error { (one_line(&error.message)) } }
            td { (took.unwrap_or_default()) }
            td { (tokens(step.usage.tokens())) }
            td { (dollars(step.usage.cost_microusd)) }
        }
    }
}

fn attempt_row(attempt: &AttemptView, now: Timestamp) -> Markup {
    let took = attempt
        .started_at
        .map(|start| elapsed(start, attempt.ended_at.unwrap_or(now)));
    let error = attempt
        .error
        .as_ref()
        .map(|error| format!("{}: {}", error.class, error.message));
    html! {
        tr {
            td {}
            td { (attempt.number) }
            td { (state(attempt.state.as_str())) }
            td { (one_line(&attempt.worker)) }
            td { @if let Some(model) = &attempt.model { (one_line(&model.model)) } }
            td { (took.unwrap_or_default()) }
            td { (tokens(attempt.usage.tokens())) }
            td { (dollars(attempt.usage.cost_microusd)) }
        }
        @for text in error.iter().chain(&attempt.notes) {
            tr { td colspan="2" {} td.text colspan="6" { (clean(text)) } }
        }
    }
}

fn patch(job: &JobView, patch: Option<&Patch>) -> Markup {
    html! {
        h2 { "Diff" }
        @match patch {
            None => p { "The job has delivered none." },
            Some(patch) if patch.text.trim().is_empty() => p { "Nothing was changed." },
            Some(patch) => {
                pre { @for line in patch.text.lines() { span class=(tone(line)) { (clean(line)) } "\n" } }
                @if patch.cut {
                    p { "The rest is left out; " code { "agentctl diff " (job.number) } " prints all of it." }
                }
            }
        }
    }
}

fn tone(line: &str) -> &'static str {
    match line.as_bytes() {
        [b'd', b'i', b'f', b'f', ..] | [b'-', b'-', b'-', ..] | [b'+', b'+', b'+', ..] => "file",
        [b'@', b'@', ..] => "hunk",
        [b'+', ..] => "added",
        [b'-', ..] => "removed",
        _ => "same",
    }
}

fn logs(tails: &[Tail]) -> Markup {
    html! {
        h2 { "Logs" }
        @if tails.is_empty() { p { "No step has said anything." } }
        @for tail in tails {
            details {
                summary { (tail.step) }
                @if tail.left_out > 0 { p { (tail.left_out) " earlier lines are left out." } }
                pre { @for line in &tail.lines { (clean(line)) "\n" } }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use protocol::{job::JobState, step::StepState};
    use serde_json::json;

    use super::*;
    use crate::job::samples;

    /// What strangers may write, in any field.
    const EVIL: &str =
        "</pre></style><script>alert(1)</script><img src=x onerror=alert(1)>\u{1b}[31m\"'&\u{202e}";

    fn content(job: &JobView) -> Content<'_> {
        Content {
            job,
            patch: Some(Patch {
                text: format!("diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-{EVIL}\n+{EVIL}\n"),
                cut: true,
            }),
            logs: vec![Tail {
                step: StepKey::top("plan"),
                left_out: 3,
                lines: vec![EVIL.to_owned()],
            }],
            now: samples::now(),
        }
    }

    #[test]
    fn whatever_strangers_wrote_is_text() {
        let mut step = samples::step("plan", StepState::Failed);
        let outputs = json!({
            "plan": {"summary": EVIL, "items": [{"id": 1, "title": EVIL, "files": [{"path": EVIL}], "detail": EVIL}]},
            "report": {"checks": [{"name": EVIL, "exit": 1, "failures": [{"id": EVIL, "message": EVIL}]}]},
            "verdict": {"decision": "blocked", "findings": [{"severity": "major", "file": EVIL, "claim": EVIL}]},
        });
        step.outputs = outputs.as_object().expect("an object").clone();
        let error = protocol::step::StepError::new(protocol::step::ErrorClass::Exit, EVIL);
        step.error = Some(error);
        step.worker = Some(EVIL.to_owned());
        let mut job = samples::job(JobState::Failed, vec![step]);
        job.title = EVIL.to_owned();
        job.workflow = EVIL.to_owned();
        job.reason = Some(EVIL.to_owned());
        job.inputs.insert(EVIL.to_owned(), json!(EVIL));
        let page = page(&content(&job));
        let open = page.replace("</style>", "<>");
        assert_eq!(open.matches("<>").count(), 1, "the style ends once");
        for tag in ["<script", "<img", "\u{1b}", "\u{202e}"] {
            assert!(!page.contains(tag), "{tag:?} in {page}");
        }
        assert!(page.contains("&lt;script&gt;alert(1)"));
    }

    #[test]
    fn it_needs_nothing_from_elsewhere() {
        let job = samples::job(JobState::Succeeded, vec![]);
        let page = page(&Content {
            patch: None,
            logs: vec![],
            ..content(&job)
        });
        for part in [
            "http:", "https:", " src=", " href=", "url(", "@import", "style=\"",
        ] {
            assert!(!page.contains(part), "{part:?} in {page}");
        }
        assert!(page.contains("content=\"default-src 'none'; style-src 'sha256-"));
    }
}
