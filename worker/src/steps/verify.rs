//! `use: verify`: the same checks on a fresh clone of the base with the patch applied,
//! and the original tests over the candidate where tests were changed without leave.
//!
//! Outputs, also after a failure: `report` (CheckReport), `ok`.

use protocol::{
    documents::CheckReport,
    spec::WorkspaceRef,
    step::{ErrorClass, StepError},
};

use super::{
    StepContext, StepOutput,
    check::changed_tests,
    documents::Documents,
    measure::{judged, measure, wanted},
};
use crate::{
    tools::checks::judge::{Judgement, judge},
    workspace::Workspace,
};

/// What the checks are called that run with the original tests.
const ORIGINAL: &str = "original tests";

/// Runs the step.
pub(super) async fn run(cx: &StepContext) -> Result<StepOutput, StepError> {
    let documents = Documents::of(cx)?;
    let (fresh, commit) = candidate(cx, wanted(cx)?).await?;
    let changed = changed_tests(&fresh, &commit, &documents).await?;
    let mut measured = measure(cx, &fresh, &commit, &documents, &changed).await?;
    let mut judgement = judge(&measured.report, documents.baseline.as_ref(), documents.intent());
    if !changed.is_empty() {
        cx.log.info(&format!(
            "{} tests were changed without leave: running the original ones",
            changed.len()
        ));
        fresh.restore(fresh.base(), &changed).await?;
        let original = measure(cx, &fresh, &commit, &documents, &changed).await?;
        let second = judge(&original.report, documents.baseline.as_ref(), documents.intent());
        if matches!(judgement, Judgement::Pass(_)) {
            judgement = with_original(judgement, second);
        }
        merge(&mut measured.report, original.report);
    }
    judged(cx, measured, judgement).await
}

/// A fresh tree of the base with the patch applied; it must come out as the job's commit.
async fn candidate(cx: &StepContext, wanted: &WorkspaceRef) -> Result<(Workspace, String), StepError> {
    let folder = cx.scratch.join("verify");
    let mut fresh = cx.workspaces.open_fresh(wanted, &folder, cx.caller()).await?;
    let commit = wanted.commit.clone().unwrap_or_else(|| fresh.base().to_owned());
    let patch = cx.scratch.join("candidate.patch");
    fresh.diff(fresh.base(), &commit, &patch).await?;
    let applied = fresh.apply(&patch).await;
    if applied.is_err() || !fresh.is_at(&commit).await? {
        let why = applied
            .err()
            .map_or_else(|| "it makes other files".to_owned(), |error| error.message);
        let message = format!("the patch does not bring the base to the result: {why}");
        return Err(StepError::new(ErrorClass::Workspace, message));
    }
    fresh.moved_to(&commit);
    Ok((fresh, commit))
}

fn with_original(first: Judgement, second: Judgement) -> Judgement {
    match second {
        Judgement::Fail(why) => Judgement::Fail(format!("with the original tests, {why}")),
        Judgement::Missing(why) => Judgement::Missing(why),
        Judgement::Pass(_) => first,
    }
}

/// One report of both runs; what only the original tests show is new as well.
fn merge(report: &mut CheckReport, original: CheckReport) {
    let known: std::collections::BTreeSet<String> = report.new_failures.iter().cloned().collect();
    report
        .new_failures
        .extend(original.new_failures.into_iter().filter(|id| !known.contains(id)));
    report.checks.extend(
        original
            .checks
            .into_iter()
            .filter(|check| !check.advisory)
            .map(|mut check| {
                check.name = format!("{} ({ORIGINAL})", check.name);
                check
            }),
    );
}
