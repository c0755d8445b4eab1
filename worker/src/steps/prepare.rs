//! `use: prepare`: names the base commit, fetches the repository and what it depends on,
//! and measures the baseline.
//!
//! Outputs: `base`, `baseline` (CheckReport), `protected` (paths of tests), `runtime`
//! (`{os, arch, checks}`).

use std::path::PathBuf;

use protocol::{
    spec::WorkspaceRef,
    step::{ErrorClass, StepError},
};
use serde_json::json;

use super::{
    StepContext, StepOutput,
    documents::Documents,
    measure::{Measured, measure, small, store_report, wanted},
};
use crate::tools::checks::{
    judge::{Intent, Judgement, judge},
    protected::is_test,
};

/// Most bytes of the list of protected paths, beside a report of 32 KiB in 48 KiB of outputs.
const PROTECTED_BYTES: usize = 8 * 1024;

/// Runs the step.
pub(super) async fn run(cx: &StepContext) -> Result<StepOutput, StepError> {
    let wanted = wanted(cx)?;
    let resolved = cx.workspaces.resolve(&wanted.source, cx.caller()).await?;
    cx.log.info(&format!("base commit {}", resolved.base));
    for note in &resolved.notes {
        cx.log.info(note);
    }
    let wanted = WorkspaceRef {
        base: Some(resolved.base.clone()),
        commit: None,
        bundle: None,
        ..wanted.clone()
    };
    let workspace = cx.workspaces.open(&wanted, cx.assign.job, cx.caller()).await?;
    let mut documents = Documents::of(cx)?;
    documents.baseline = None;
    let Measured { report, notes } = measure(cx, &workspace, &resolved.base, &documents, &[]).await?;
    // failures are what a baseline is for; only what cannot run here is an error
    let mut output = match judge(&report, None, Intent::default()) {
        Judgement::Missing(why) => StepOutput::failed(
            StepError::new(ErrorClass::Missing, why)
                .hint("install it on this worker, or let another worker take the step"),
        ),
        Judgement::Pass(notes) => StepOutput {
            notes,
            ..StepOutput::ok()
        },
        Judgement::Fail(why) => StepOutput {
            notes: vec![format!("the base commit fails its own checks, {why}")],
            ..StepOutput::ok()
        },
    };
    output.notes.extend(resolved.notes);
    output.notes.extend(notes);
    output.artifacts.push(store_report(cx, &report).await?);
    let protected = protected(workspace.paths(&resolved.base).await?);
    let checks: Vec<&str> = report.checks.iter().map(|check| check.name.as_str()).collect();
    let outputs = &mut output.outputs;
    outputs.insert("base".to_owned(), json!(resolved.base));
    outputs.insert(
        "runtime".to_owned(),
        json!({"os": std::env::consts::OS, "arch": std::env::consts::ARCH, "checks": checks}),
    );
    outputs.insert("baseline".to_owned(), json!(small(&report)));
    outputs.insert("protected".to_owned(), json!(protected));
    output.workspace = Some(workspace.result(&*cx.blobs, &cx.scratch).await?);
    Ok(output)
}

/// The tests among these paths, as many as an output can carry. Later steps look at the
/// base commit itself, so that a cut list lets nothing through.
fn protected(paths: Vec<PathBuf>) -> Vec<String> {
    let mut room = PROTECTED_BYTES;
    let tests = paths.into_iter().filter(|path| is_test(path));
    tests
        .map(|path| path.to_string_lossy().into_owned())
        .take_while(|path| {
            let needed = path.len() + 3;
            let fits = needed <= room;
            room = room.saturating_sub(needed);
            fits
        })
        .collect()
}
