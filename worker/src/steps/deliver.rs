//! `use: deliver`: what a person gets.
//!
//! Artifacts: `patch` (`git diff --binary --full-index base..result`), `bundle` (of the
//! job's branch; absent when nothing changed), `report` (Markdown), `evidence.json`.
//! Outputs: `patch_bytes`, `files`, `insertions`, `deletions`, `commit`, `base`, `branch`.

mod evidence;

use std::{fs, path::Path};

use protocol::step::StepError;
use serde_json::json;

use super::{
    StepContext, StepOutput,
    documents::Documents,
    measure::{store, unusable, wanted},
};

/// Runs the step.
pub(super) async fn run(cx: &StepContext) -> Result<StepOutput, StepError> {
    let wanted = wanted(cx)?;
    let documents = Documents::of(cx)?;
    let workspace = cx.workspaces.open(wanted, cx.assign.job, cx.caller()).await?;
    let (base, commit) = (workspace.base().to_owned(), workspace.head().to_owned());
    let mut output = StepOutput::ok();

    let patch = cx.scratch.join("patch");
    workspace.diff(&base, &commit, &patch).await?;
    let patch = store(cx, "patch", &patch).await?;
    let stat = workspace.stat(&base, &commit).await?;
    let bundle = cx.scratch.join("bundle");
    if workspace.bundle(&bundle).await? {
        output.artifacts.push(store(cx, "bundle", &bundle).await?);
    } else {
        output
            .notes
            .push("nothing was changed: the patch is empty and there is no bundle".to_owned());
    }
    let evidence = evidence::Evidence {
        cx,
        documents: &documents,
        base: &base,
        commit: &commit,
        branch: &wanted.branch,
        stat,
        patch: &patch,
    };
    let markdown = write(cx, "report", evidence.markdown().as_bytes())?;
    output.artifacts.push(store(cx, "report", &markdown).await?);
    let record = write(cx, "evidence.json", format!("{:#}\n", evidence.json()).as_bytes())?;
    output.artifacts.push(store(cx, "evidence.json", &record).await?);

    for (name, value) in [
        ("patch_bytes", json!(patch.size)),
        ("files", json!(stat.files)),
        ("insertions", json!(stat.insertions)),
        ("deletions", json!(stat.deletions)),
        ("commit", json!(commit)),
        ("base", json!(base)),
        ("branch", json!(wanted.branch)),
    ] {
        output.outputs.insert(name.to_owned(), value);
    }
    output.artifacts.insert(0, patch);
    Ok(output)
}

fn write(cx: &StepContext, name: &str, bytes: &[u8]) -> Result<std::path::PathBuf, StepError> {
    let file = cx.scratch.join(name);
    fs::write(&file, bytes).map_err(|error| unusable(Path::new(&file), &error))?;
    Ok(file)
}
