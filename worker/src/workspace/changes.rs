//! What changed between two commits, as patch, numbers, names and bundle.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use protocol::{documents::DiffStat, spec::WorkspaceResult, step::StepError};

use super::{Workspace, mirror::storage_error, tree::path_of};
use crate::{steps::Blobs, tools::git::GitError};

/// How every difference is made: complete, and the same on every machine.
const DIFF: [&str; 7] = [
    "diff",
    "--no-ext-diff",
    "--no-textconv",
    "--no-color",
    "--no-renames",
    "--ignore-submodules=none",
    "--full-index",
];

impl Workspace {
    /// Writes the patch `from..to` into a file: binary files and modes included.
    pub async fn diff(&self, from: &str, to: &str, file: &Path) -> Result<(), StepError> {
        let args = DIFF.iter().copied().chain(["--binary", from, to, "--"]);
        Ok(self.git.to_file(args, file).await?)
    }

    /// The patch `from..to` as text for a model or a person; binary files are only named.
    pub async fn diff_text(&self, from: &str, to: &str) -> Result<String, StepError> {
        let args = DIFF.iter().copied().chain([from, to, "--"]);
        let bytes = self.git.bytes(args).await?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The size of the change.
    pub async fn stat(&self, from: &str, to: &str) -> Result<DiffStat, StepError> {
        let args = DIFF.iter().copied().chain(["--shortstat", from, to, "--"]);
        Ok(read_stat(&self.git.text(args).await?))
    }

    /// The paths that differ.
    pub async fn changed_paths(&self, from: &str, to: &str) -> Result<Vec<PathBuf>, StepError> {
        let args = DIFF.iter().copied().chain(["--name-only", "-z", from, to, "--"]);
        let bytes = self.git.bytes(args).await?;
        Ok(paths(&bytes))
    }

    /// Every path of a commit.
    pub async fn paths(&self, commit: &str) -> Result<Vec<PathBuf>, StepError> {
        let bytes = self
            .git
            .bytes(["ls-tree", "-r", "-z", "--name-only", "--full-tree", commit])
            .await?;
        Ok(paths(&bytes))
    }

    /// Path and object name of every file of a commit: equal objects are equal files.
    pub async fn objects(&self, commit: &str) -> Result<Vec<(PathBuf, String)>, StepError> {
        let format = "--format=%(objectname) %(path)";
        let bytes = self
            .git
            .bytes(["ls-tree", "-r", "-z", "--full-tree", format, commit])
            .await?;
        let pair = |record: &[u8]| {
            let space = record.iter().position(|byte| *byte == b' ')?;
            let object = String::from_utf8_lossy(&record[..space]).into_owned();
            Some((path_of(&record[space + 1..]).to_owned(), object))
        };
        Ok(bytes.split(|byte| *byte == 0).filter_map(pair).collect())
    }

    /// A file's bytes at a commit; `None` when it is not there.
    pub async fn file_at(&self, commit: &str, path: &Path) -> Result<Option<Vec<u8>>, StepError> {
        let mut object = OsString::from(format!("{commit}:"));
        object.push(path);
        match self
            .git
            .bytes(["cat-file".as_ref(), "blob".as_ref(), object.as_os_str()])
            .await
        {
            Ok(bytes) => Ok(Some(bytes)),
            Err(GitError::Failed { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Applies a patch to files and index, all or nothing.
    pub async fn apply(&self, patch: &Path) -> Result<(), StepError> {
        if std::fs::metadata(patch).is_ok_and(|metadata| metadata.len() == 0) {
            return Ok(());
        }
        let args = [
            "apply".as_ref(),
            "--index".as_ref(),
            "--whitespace=nowarn".as_ref(),
            "--".as_ref(),
            patch.as_os_str(),
        ];
        Ok(self.git.run(args).await?)
    }

    /// Whether files and index are those of a commit, to the last byte and mode.
    pub async fn is_at(&self, commit: &str) -> Result<bool, StepError> {
        let tree = self.git.text(["write-tree"]).await?;
        Ok(tree
            == self
                .git
                .text(["rev-parse", &format!("{commit}^{{tree}}")])
                .await?)
    }

    /// Puts these paths back to what they were at a commit; what was not there goes.
    pub async fn restore(&self, commit: &str, changed: &[PathBuf]) -> Result<(), StepError> {
        for path in changed {
            if self.file_at(commit, path).await?.is_some() {
                let args = [
                    "checkout".as_ref(),
                    "--quiet".as_ref(),
                    commit.as_ref(),
                    "--".as_ref(),
                    path.as_os_str(),
                ];
                self.git.run(args).await?;
            } else {
                let args = [
                    "rm".as_ref(),
                    "--quiet".as_ref(),
                    "--force".as_ref(),
                    "--".as_ref(),
                    path.as_os_str(),
                ];
                self.git.run(args).await?;
            }
        }
        Ok(())
    }

    /// Writes the bundle of `base..head`, whose one ref is the job's branch; `false` while
    /// they are equal, as git makes no empty bundles.
    pub async fn bundle(&self, file: &Path) -> Result<bool, StepError> {
        if self.head == self.base {
            return Ok(false);
        }
        let branch = format!("refs/heads/{}", self.branch);
        let _lock = self.mirror.lock_refs().await;
        self.git.run(["update-ref", &branch, &self.head]).await?;
        let not_base = format!("^{}", self.base);
        let args = [
            "bundle".as_ref(),
            "create".as_ref(),
            "--quiet".as_ref(),
            file.as_os_str(),
            branch.as_ref(),
            not_base.as_ref(),
        ];
        self.git.run(args).await?;
        Ok(true)
    }

    /// What the next step needs to start from here, with the bundle uploaded.
    pub async fn result(&self, blobs: &dyn Blobs, scratch: &Path) -> Result<WorkspaceResult, StepError> {
        let file = scratch.join("workspace.bundle");
        std::fs::create_dir_all(scratch).map_err(|error| storage_error(scratch, &error))?;
        let bundle = if self.bundle(&file).await? {
            Some(blobs.store(&file).await?)
        } else {
            None
        };
        Ok(WorkspaceResult {
            base: self.base.clone(),
            commit: self.head.clone(),
            bundle,
        })
    }
}

fn paths(bytes: &[u8]) -> Vec<PathBuf> {
    bytes
        .split(|byte| *byte == 0)
        .filter(|path| !path.is_empty())
        .map(|path| path_of(path).to_owned())
        .collect()
}

/// Reads ` 2 files changed, 3 insertions(+), 1 deletion(-)`.
fn read_stat(text: &str) -> DiffStat {
    let mut stat = DiffStat::default();
    for part in text.split(',') {
        let mut words = part.split_whitespace();
        let count = words.next().and_then(|count| count.parse().ok()).unwrap_or(0);
        match words.next() {
            Some("file" | "files") => stat.files = count,
            Some(word) if word.starts_with("insertion") => stat.insertions = count,
            Some(word) if word.starts_with("deletion") => stat.deletions = count,
            _ => {}
        }
    }
    stat
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_lines_are_read_in_every_form() {
        let stat = read_stat(" 2 files changed, 3 insertions(+), 1 deletion(-)");
        assert_eq!((stat.files, stat.insertions, stat.deletions), (2, 3, 1));
        let stat = read_stat(" 1 file changed, 1 deletion(-)");
        assert_eq!((stat.files, stat.insertions, stat.deletions), (1, 0, 1));
        assert_eq!(read_stat(""), DiffStat::default());
    }
}
