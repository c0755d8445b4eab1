//! `use: check`: runs the repository's own checks on the job's commit.
//!
//! Outputs, also after a failure: `report` (CheckReport), `ok`. Class `check` when it
//! fails; the rule is `tools::checks::judge`'s.

use std::path::PathBuf;

use protocol::step::StepError;

use super::{
    StepContext, StepOutput,
    documents::Documents,
    measure::{judged, measure, wanted},
};
use crate::{
    tools::checks::{judge::judge, protected},
    workspace::Workspace,
};

/// Runs the step.
pub(super) async fn run(cx: &StepContext) -> Result<StepOutput, StepError> {
    let wanted = wanted(cx)?;
    let documents = Documents::of(cx)?;
    let workspace = cx.workspaces.open(wanted, cx.assign.job, cx.caller()).await?;
    let changed = changed_tests(&workspace, workspace.head(), &documents).await?;
    let measured = measure(cx, &workspace, workspace.head(), &documents, &changed).await?;
    let judgement = judge(&measured.report, documents.baseline.as_ref(), documents.intent());
    judged(cx, measured, judgement).await
}

/// The tests that were changed up to `commit` without the plan's leave.
pub(super) async fn changed_tests(
    workspace: &Workspace,
    commit: &str,
    documents: &Documents,
) -> Result<Vec<PathBuf>, StepError> {
    let changed = workspace.changed_paths(workspace.base(), commit).await?;
    if !changed.iter().any(|path| protected::is_test(path)) {
        return Ok(Vec::new());
    }
    let at_base = workspace.paths(workspace.base()).await?;
    Ok(protected::changed_without_leave(
        &changed,
        &at_base,
        documents.plan.as_ref(),
    ))
}
