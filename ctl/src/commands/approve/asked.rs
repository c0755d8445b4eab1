//! What a step that waits for a person asks about, as that person reads it.

use jiff::Timestamp;
use protocol::{
    http::{
        approvals::{ApprovalDetail, ShownStep},
        jobs::{ArtifactView, JobView, ListArtifacts, StepView},
    },
    id::JobRef,
    job::StepKey,
};
use reqwest::header::HeaderMap;
use serde_json::{Map, Value};

use crate::{
    client::Client,
    commands::{
        artifacts::fetch,
        diff::{PATCH, paint},
    },
    error::CliError,
    job::heading,
    output::{
        documents,
        relative::ago,
        style::{Style, Tone},
        text::one_line,
    },
};

/// Lines of a patch that are shown; `agentctl diff` has them all.
const PATCH_LINES: usize = 400;
/// Bytes of a patch that are read.
const PATCH_BYTES: usize = 8 << 20;

/// The job, the results of the steps that are shown, their patches, and how long there is to decide.
pub(super) async fn lines(
    client: &Client,
    job: &JobView,
    asked: &ApprovalDetail,
    style: Style,
) -> Result<Vec<String>, CliError> {
    let mut lines = vec![style.paint(&heading(job), Tone::Strong)];
    for shown in &asked.shown {
        lines.extend(of_step(job, shown, style));
    }
    let number = JobRef::Number(job.number);
    let artifacts = client.call(&ListArtifacts { job: number }).await?;
    let of_shown = |step: &StepKey| asked.shown.iter().any(|shown| shown.step == *step);
    for artifact in artifacts.items.iter().filter(|artifact| of_shown(&artifact.step)) {
        if is_patch(artifact) {
            let response = fetch(client, number, &artifact.name, HeaderMap::new()).await?;
            let patch = client.read(response, PATCH_BYTES).await?;
            lines.extend(of_patch(&artifact.step, &patch, job.number, style));
        }
    }
    let approval = &asked.approval;
    lines.push(format!(
        "{} waits for a decision; without one it is {} {}",
        asked.step,
        approval.on_timeout.participle(),
        ago(approval.wait.until, Timestamp::now())
    ));
    Ok(lines)
}

fn is_patch(artifact: &ArtifactView) -> bool {
    artifact.name.rsplit('/').next() == Some(PATCH)
}

/// Documents as people read them, anything else as it is; of a block, what its steps have put out.
fn of_step(job: &JobView, shown: &ShownStep, style: Style) -> Vec<String> {
    let known = job.steps.iter().find(|step| step.key == shown.step);
    let Some(known) = known else { return vec![] };
    if known.kind != "steps" {
        return of_outputs(known, shown.step.clone(), &shown.outputs, style);
    }
    let inner = shown.outputs.iter().filter_map(|(name, outputs)| {
        let outputs = outputs.as_object().filter(|outputs| !outputs.is_empty())?;
        Some(of_outputs(known, shown.step.child(name), outputs, style))
    });
    inner.flatten().collect()
}

fn of_outputs(known: &StepView, key: StepKey, outputs: &Map<String, Value>, style: Style) -> Vec<String> {
    let view = StepView {
        key,
        outputs: outputs.clone(),
        ..known.clone()
    };
    let lines = documents::of_step(&view, style);
    if !lines.is_empty() {
        return lines;
    }
    let head = style.paint(&format!("outputs ({})", view.key), Tone::Strong);
    let plain = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let each = outputs
        .iter()
        .map(|(name, value)| format!("  {}", one_line(&format!("{name}: {}", plain(value)))));
    std::iter::once(head).chain(each).collect()
}

fn of_patch(step: &StepKey, patch: &[u8], number: u64, style: Style) -> Vec<String> {
    let text = String::from_utf8_lossy(patch);
    let mut lines = vec![style.paint(&format!("patch ({step})"), Tone::Strong)];
    lines.extend(text.lines().take(PATCH_LINES).map(|line| paint(line, style)));
    let more = text.lines().count().saturating_sub(PATCH_LINES);
    if more > 0 {
        lines.push(format!("… {more} more lines: agentctl diff {number}"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use protocol::{job::JobState, step::StepState};
    use serde_json::json;

    use super::*;
    use crate::job::samples::{job, step};

    fn shown(key: &str, kind: &str, outputs: Value) -> String {
        let view = StepView {
            kind: kind.to_owned(),
            ..step(key, StepState::Succeeded)
        };
        let shown = ShownStep {
            step: view.key.clone(),
            state: view.state,
            outputs: serde_json::from_value(outputs).expect("a map"),
        };
        of_step(&job(JobState::Waiting, vec![view]), &shown, Style::PLAIN).join("\n")
    }

    #[test]
    fn a_plan_reads_as_one_and_anything_else_as_it_is() {
        let plan = json!({"plan": {"summary": "Quote fields.", "items": [{"title": "add quote.rs"}]}});
        insta::assert_snapshot!(shown("plan", "agent", plan), @r"
        plan (plan)
          Quote fields.
          - add quote.rs
        ");
        insta::assert_snapshot!(shown("count", "run", json!({"lines": 3, "file": "a.txt"})), @r"
        outputs (count)
          lines: 3
          file: a.txt
        ");
        let block = json!({"edit": {}, "review": {"decision": "approve"}});
        insta::assert_snapshot!(shown("cycle", "steps", block), @r"
        outputs (cycle/review)
          decision: approve
        ");
    }

    #[test]
    fn a_long_patch_is_cut_and_says_where_the_rest_is() {
        let lines = of_patch(
            &StepKey::top("deliver"),
            "+x\n".repeat(402).as_bytes(),
            7,
            Style::PLAIN,
        );
        assert_eq!(lines.len(), 402);
        assert_eq!(lines[401], "… 2 more lines: agentctl diff 7");
    }
}
