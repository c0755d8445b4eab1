//! How large a commit is, and what in it stays a pointer.

use protocol::step::{ErrorClass, StepError};

use super::WorkspaceLimits;
use crate::tools::git::{Git, GitError};

/// What a commit consists of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Survey {
    files: u64,
    bytes: u64,
    submodules: u64,
    uses_lfs: bool,
}

/// Looks at every file of a commit.
pub(super) async fn of(git: &Git, commit: &str) -> Result<Survey, GitError> {
    let listing = git.bytes(["ls-tree", "-r", "-l", "-z", commit]).await?;
    let mut survey = Survey::read(&listing);
    if let Ok(attributes) = git
        .bytes(["cat-file", "blob", &format!("{commit}:.gitattributes")])
        .await
    {
        survey.uses_lfs = String::from_utf8_lossy(&attributes).contains("filter=lfs");
    }
    Ok(survey)
}

impl Survey {
    /// Reads `<mode> <type> <object> <size> TAB <path>` records.
    fn read(listing: &[u8]) -> Self {
        let mut survey = Self::default();
        for record in listing
            .split(|byte| *byte == 0)
            .filter(|record| !record.is_empty())
        {
            let meta = record.split(|byte| *byte == b'\t').next().unwrap_or_default();
            let meta = String::from_utf8_lossy(meta);
            let mut fields = meta.split_ascii_whitespace();
            if fields.next() == Some("160000") {
                survey.submodules += 1;
            } else {
                survey.files += 1;
                survey.bytes += fields
                    .nth(2)
                    .and_then(|size| size.parse::<u64>().ok())
                    .unwrap_or(0);
            }
        }
        survey
    }

    /// Whether the commit is within the limits.
    pub(super) fn check(&self, limits: &WorkspaceLimits) -> Result<(), StepError> {
        let (what, value, most) = if self.files > limits.files {
            ("files", self.files, limits.files)
        } else if self.bytes > limits.bytes {
            ("bytes", self.bytes, limits.bytes)
        } else {
            return Ok(());
        };
        Err(StepError::new(
            ErrorClass::Workspace,
            format!("the repository has {value} {what}, more than the {most} that this worker allows"),
        )
        .hint("raise the worker's limit for workspaces"))
    }

    pub(super) fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.files == 0 {
            notes.push("the base commit has no files".to_owned());
        }
        if self.submodules > 0 {
            notes.push(format!(
                "{} submodules are left as pointers: their folders are empty",
                self.submodules
            ));
        }
        if self.uses_lfs {
            notes.push("files of Git LFS are left as pointers: their contents were not fetched".to_owned());
        }
        notes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_bytes_and_submodules_are_counted() {
        let listing = b"100644 blob aaa     120\ta\tb.txt\x00160000 commit bbb       -\tsub\x00100755 blob ccc 8\tx\x00";
        let survey = Survey::read(listing);
        assert_eq!((survey.files, survey.bytes, survey.submodules), (2, 128, 1));
        let limits = WorkspaceLimits {
            files: 1,
            ..WorkspaceLimits::default()
        };
        assert!(survey.check(&limits).unwrap_err().message.contains("2 files"));
        assert_eq!(survey.notes().len(), 1);
    }
}
