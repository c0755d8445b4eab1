//! The commit that is sent: HEAD itself, HEAD and uncommitted changes as one
//! more commit, or, from a shallow clone, its files without history.

use std::{ffi::OsString, fs, os::unix::ffi::OsStringExt, path::PathBuf};

use tempfile::TempDir;

use super::{Repository, Wanted, bundle_file, git::Git};
use crate::{error::CliError, output::text::one_line};

/// How many changed files a note names.
const NAMED: usize = 3;

impl Repository {
    /// Makes the commit, in the repository's object store alone.
    pub(super) async fn snapshot(
        &self,
        folder: &TempDir,
        head: &str,
        wanted: &Wanted,
        notes: &mut Vec<String>,
    ) -> Result<String, CliError> {
        let changed = if self.bare || wanted.reference.is_some() {
            Vec::new()
        } else {
            self.changed().await?
        };
        let mut commit = head.to_owned();
        if self.shallow {
            let message = format!("Files of {head}\n\nThe clone is shallow: its history is not here.");
            commit = self.keep(&format!("{head}^{{tree}}"), None, &message).await?;
            notes.push(
                "the clone is shallow: its files are sent without history; `git fetch --unshallow` brings it"
                    .to_owned(),
            );
        }
        match (changed.is_empty(), wanted.dirty) {
            (true, _) => {}
            (false, false) => notes.push(format!(
                "not included: {}; --dirty sends them along",
                describe(&changed)
            )),
            (false, true) => {
                let tree = self.tree_of_work(folder, head).await?;
                commit = self.keep(&tree, Some(&commit), "Uncommitted changes").await?;
                notes.push(format!("included as one commit: {}", describe(&changed)));
            }
        }
        Ok(commit)
    }

    /// Paths with uncommitted changes; names are bytes.
    async fn changed(&self) -> Result<Vec<PathBuf>, CliError> {
        let args = [
            "status",
            "--porcelain=v1",
            "-z",
            "--no-renames",
            "--untracked-files=normal",
            "--ignore-submodules=all",
        ];
        let bytes = self.git().run(&args).await?;
        let entries = bytes.split(|byte| *byte == 0).filter_map(|entry| entry.get(3..));
        Ok(entries
            .map(|name| PathBuf::from(OsString::from_vec(name.to_vec())))
            .collect())
    }

    /// The files as they are now, ignored ones left out, by way of an index of its own.
    async fn tree_of_work(&self, folder: &TempDir, head: &str) -> Result<String, CliError> {
        let git = self.git().with("GIT_INDEX_FILE", folder.path().join("index"));
        git.run(&["read-tree", head]).await?;
        git.run(&["add", "--all", "--", "."]).await?;
        git.line(&["write-tree"]).await
    }

    /// A commit that exists for the job alone. A ref outside branches and tags
    /// keeps it, so that the job's result can be applied on top of it.
    async fn keep(&self, tree: &str, parent: Option<&str>, message: &str) -> Result<String, CliError> {
        // fixed author and time: the same files give the same commit
        let git = ["AUTHOR", "COMMITTER"].iter().fold(self.git(), |git, who| {
            git.with(&format!("GIT_{who}_NAME"), "agentd")
                .with(&format!("GIT_{who}_EMAIL"), "agentd@localhost")
                .with(&format!("GIT_{who}_DATE"), "2000-01-01T00:00:00Z")
        });
        let mut args = vec!["commit-tree", tree, "-m", message];
        args.extend(parent.iter().flat_map(|parent| ["-p", parent]));
        let commit = git.line(&args).await?;
        let kept = format!("refs/agentd/sent/{commit}");
        git.run(&["update-ref", &kept, &commit]).await?;
        Ok(commit)
    }

    /// Writes the bundle, in which the commit is HEAD. A bare repository beside
    /// it borrows the objects, so that no ref of the caller has to move.
    pub(super) async fn write_bundle(&self, folder: &TempDir, commit: &str) -> Result<(), CliError> {
        let objects = self.git().path(&["rev-parse", "--git-path", "objects"]).await?;
        let format = self.git().line(&["rev-parse", "--show-object-format"]).await?;
        let borrowed = folder.path().join("borrowed.git");
        let format = format!("--object-format={format}");
        let outside = Git::at(folder.path());
        outside
            .run(&[
                "init",
                "--quiet",
                "--bare",
                "--template=",
                &format,
                "borrowed.git",
            ])
            .await?;
        let mut alternates = self.root.join(objects).into_os_string().into_vec();
        alternates.push(b'\n');
        fs::create_dir_all(borrowed.join("objects/info"))?;
        fs::write(borrowed.join("objects/info/alternates"), alternates)?;
        let git = Git::at(&borrowed);
        git.run(&["update-ref", "--no-deref", "HEAD", commit]).await?;
        let file = bundle_file(folder).into_os_string();
        let args: Vec<OsString> = vec![
            "bundle".into(),
            "create".into(),
            "--quiet".into(),
            file,
            "HEAD".into(),
        ];
        git.run(&args).await?;
        Ok(())
    }
}

/// `2 uncommitted changes (a.rs, b.rs)`.
fn describe(changed: &[PathBuf]) -> String {
    let names: Vec<String> = changed
        .iter()
        .take(NAMED)
        .map(|path| one_line(&path.to_string_lossy()))
        .collect();
    let more = if changed.len() > NAMED { ", …" } else { "" };
    let noun = if changed.len() == 1 { "change" } else { "changes" };
    format!(
        "{} uncommitted {noun} ({}{more})",
        changed.len(),
        names.join(", ")
    )
}
