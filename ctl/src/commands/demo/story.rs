//! What the demonstration shows when the job has ended.

use protocol::{
    documents::{CheckReport, Plan, Verdict},
    http::jobs::{JobView, StepView},
};

use crate::output::{
    documents,
    style::{Style, Tone},
};

/// The documents of the job, in the order in which they were made.
pub(super) fn documents(job: &JobView, style: Style) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some((step, plan)) = find::<Plan>(job, "plan") {
        lines.push(heading("plan", step, style));
        lines.extend(documents::plan(&plan));
    }
    if let Some((step, report)) = find::<CheckReport>(job, "baseline") {
        lines.push(heading("checks before", step, style));
        lines.extend(documents::checks(&report, style));
    }
    if let Some((step, report)) = find::<CheckReport>(job, "report") {
        lines.push(heading("checks after, in a fresh clone", step, style));
        lines.extend(documents::checks(&report, style));
    }
    if let Some((step, verdict)) = find::<Verdict>(job, "verdict") {
        lines.push(heading("verdict", step, style));
        lines.extend(documents::verdict(&verdict, style));
    }
    lines
}

/// The last step with such an output.
fn find<'a, T: serde::de::DeserializeOwned>(job: &'a JobView, name: &str) -> Option<(&'a StepView, T)> {
    let steps = job.steps.iter().rev();
    let mut found = steps.filter_map(|step| Some((step, documents::read(step, name)?)));
    found.next()
}

fn heading(what: &str, step: &StepView, style: Style) -> String {
    let worker = step
        .worker
        .as_deref()
        .map(|worker| format!(" on {worker}"))
        .unwrap_or_default();
    style.paint(&format!("{what} ({}{worker})", step.key), Tone::Strong)
}
