//! What prepare, check and verify share: dependencies fetched, checks run, a report
//! made and put out.

use std::{
    borrow::Cow,
    fs,
    path::{Path, PathBuf},
};

use protocol::{
    artifact::ArtifactRef,
    documents::CheckReport,
    spec::WorkspaceRef,
    step::{ErrorClass, StepError},
};
use serde_json::json;

use super::{StepContext, StepOutput, documents::Documents};
use crate::{
    tools::{
        checks::{detect, judge::Judgement, report, run},
        dependencies::Fetcher,
    },
    workspace::Workspace,
};

/// Most bytes of a report in a step's outputs, which hold 48 KiB in all; the whole report
/// is an artifact.
const REPORT_BYTES: usize = 32 * 1024;

/// Name of that artifact.
const CHECKS: &str = "checks.json";

/// Endings of the names of artifacts that are texts of ours.
const TEXTS: [&str; 6] = [".log", ".json", ".jsonl", ".ndjson", ".md", ".txt"];

/// What was measured.
pub(super) struct Measured {
    /// The whole report.
    pub(super) report: CheckReport,
    /// Things worth knowing.
    pub(super) notes: Vec<String>,
}

/// Runs the repository's checks on the files of a workspace.
pub(super) async fn measure(
    cx: &StepContext,
    workspace: &Workspace,
    commit: &str,
    documents: &Documents,
    protected: &[PathBuf],
) -> Result<Measured, StepError> {
    workspace.show_git().await?;
    let home = cx.workspaces.home(&wanted(cx)?.source)?;
    let own = cx.workspaces.own_home()?;
    let (root, toolchains) = (workspace.root(), cx.workspaces.toolchains());
    let fetcher = Fetcher {
        root: &root,
        home: &home,
        own: &own,
        toolchains,
        cage: cx.cage()?.write(&root).write(&home),
        network: &cx.spec.network,
        log: &cx.log,
        stop: &cx.stop,
    };
    let dependencies = fetcher.ensure().await?;
    let environment = dependencies.environment(toolchains, &home);
    let has_program = |program: &str| toolchains.find(program).is_some();
    let plans = match &documents.checks {
        Some(configured) => configured.clone(),
        None => detect::detect(&root, &has_program),
    };
    let setting = run::Setting {
        root: &root,
        environment: &environment,
        cage: &fetcher.cage,
        limit: cx.spec.check_limit.duration(),
        baseline: documents.baseline.as_ref(),
        log: &cx.log,
        stop: &cx.stop,
    };
    let checks = run::run(&plans, &setting).await?;
    Ok(Measured {
        report: report::build(commit, checks, documents.baseline.as_ref(), protected),
        notes: dependencies.notes,
    })
}

/// The files that the step works on.
pub(super) fn wanted(cx: &StepContext) -> Result<&WorkspaceRef, StepError> {
    cx.spec.workspace.as_ref().ok_or_else(|| {
        StepError::new(
            ErrorClass::Spec,
            "this step needs a repository, and the job has none",
        )
        .hint("submit the job with `--repo`")
    })
}

/// The output of a step that judges a report: `report`, `ok`, and the whole report as an artifact.
pub(super) async fn judged(
    cx: &StepContext,
    measured: Measured,
    judgement: Judgement,
) -> Result<StepOutput, StepError> {
    let (mut output, ok) = match judgement {
        Judgement::Pass(notes) => {
            let mut output = StepOutput::ok();
            output.notes = notes;
            (output, true)
        }
        Judgement::Fail(why) => (StepOutput::failed(StepError::new(ErrorClass::Check, why)), false),
        Judgement::Missing(why) => {
            let error = StepError::new(ErrorClass::Missing, why);
            let error = error.hint("install it on this worker, or let another worker take the step");
            (StepOutput::failed(error), false)
        }
    };
    output.notes.extend(measured.notes);
    output.artifacts.push(store_report(cx, &measured.report).await?);
    output
        .outputs
        .insert("report".to_owned(), json!(small(&measured.report)));
    output.outputs.insert("ok".to_owned(), json!(ok));
    Ok(output)
}

/// The report as an output may carry it.
pub(super) fn small(whole: &CheckReport) -> CheckReport {
    report::bounded(whole, REPORT_BYTES)
}

/// Uploads the whole report.
pub(super) async fn store_report(cx: &StepContext, whole: &CheckReport) -> Result<ArtifactRef, StepError> {
    let text = serde_json::to_vec_pretty(whole);
    let text = text.map_err(|error| {
        StepError::new(
            ErrorClass::Infra,
            format!("the report cannot be written: {error}"),
        )
    })?;
    let file = cx.scratch.join(CHECKS);
    fs::write(&file, text).map_err(|error| unusable(&file, &error))?;
    store(cx, CHECKS, &file).await
}

/// Uploads a file under a name.
///
/// Secrets in it are hidden if it is a text of ours: a log, a transcript, a report. A patch or a
/// bundle is what the repository has, to the last byte.
pub(super) async fn store(cx: &StepContext, name: &str, file: &Path) -> Result<ArtifactRef, StepError> {
    if TEXTS.iter().any(|ending| name.ends_with(ending)) {
        hide(cx, file).map_err(|error| unusable(file, &error))?;
    }
    let blob = cx.blobs.store(file).await?;
    Ok(ArtifactRef {
        name: name.to_owned(),
        sha256: blob.sha256,
        size: blob.size,
    })
}

fn hide(cx: &StepContext, file: &Path) -> std::io::Result<()> {
    let text = fs::read(file)?;
    let text = String::from_utf8_lossy(&text);
    match cx.mask.apply(&text) {
        Cow::Owned(hidden) => fs::write(file, hidden),
        Cow::Borrowed(_) => Ok(()),
    }
}

/// The attempt's own folder failed.
pub(super) fn unusable(path: &Path, error: &std::io::Error) -> StepError {
    StepError::new(
        ErrorClass::Infra,
        format!("this worker cannot use {}: {error}", path.display()),
    )
}
