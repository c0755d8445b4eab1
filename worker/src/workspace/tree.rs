//! The tree of one attempt: its files, our index of them, and commits.

use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use protocol::{
    spec::WorkspaceRef,
    step::{ErrorClass, StepError},
};

use super::{
    Caller,
    mirror::{Mirror, storage_error},
    slot::Slot,
    throwaway,
};
use crate::{
    log::LogSink,
    tools::git::{Git, GitError},
};

/// Longest commit message in characters; it travels as an argument.
const MAX_MESSAGE: usize = 8 * 1024;

/// The mode of a submodule in a tree.
const GITLINK: &[u8] = b"160000";

/// A work tree that belongs to one attempt; dropping it gives the folder back.
pub struct Workspace {
    pub(super) mirror: Arc<Mirror>,
    pub(super) branch: String,
    pub(super) base: String,
    pub(super) head: String,
    pub(super) git: Git,
    slot: Slot,
    log: LogSink,
}

impl Workspace {
    pub(super) async fn check_out(
        mirror: Arc<Mirror>,
        slot: Slot,
        wanted: &WorkspaceRef,
        base: String,
        head: String,
        caller: Caller<'_>,
    ) -> Result<Self, StepError> {
        let git = mirror.git(caller.stop).with_tree(&slot.tree(), &slot.index());
        let workspace = Self {
            mirror,
            branch: wanted.branch.clone(),
            base,
            head,
            git,
            slot,
            log: caller.log.clone(),
        };
        match workspace.reset().await {
            Err(error) if error.class == ErrorClass::Workspace => {
                // what a killed worker or a tool left behind cannot be trusted: start from nothing
                let wiped = workspace.slot.wipe();
                wiped.map_err(|error| storage_error(&workspace.slot.tree(), &error))?;
                workspace.reset().await?;
            }
            other => other?,
        }
        Ok(workspace)
    }

    /// The folder with the files.
    pub fn root(&self) -> PathBuf {
        self.slot.tree()
    }

    /// The job's base commit.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// The commit that the files are at, apart from what was changed since.
    pub fn head(&self) -> &str {
        &self.head
    }

    /// The files were brought to another commit by a patch.
    pub fn moved_to(&mut self, commit: &str) {
        commit.clone_into(&mut self.head);
    }

    /// Throws away every change that was not committed; ignored files stay.
    pub async fn reset(&self) -> Result<(), StepError> {
        let at = |error| storage_error(&self.slot.tree(), &error);
        throwaway::remove(&self.root()).map_err(at)?;
        self.git.run(["read-tree", "--reset", "-u", &self.head]).await?;
        self.git.run(["clean", "-ffdq"]).await?;
        Ok(())
    }

    /// Shows tools a `.git`: one commit, no remote, no hooks.
    pub async fn show_git(&self) -> Result<(), StepError> {
        throwaway::make(
            &self.git,
            &self.root(),
            &self.slot.index(),
            &self.head,
            &self.branch,
        )
        .await
    }

    /// Commits every change; `None` when there is none.
    pub async fn commit_all(&mut self, message: &str) -> Result<Option<String>, StepError> {
        self.hide_submodules().await?;
        self.git.run(["add", "--all", "--", "."]).await?;
        self.leave_out_embedded().await?;
        let tree = self.git.text(["write-tree"]).await?;
        let before = self
            .git
            .text(["rev-parse", &format!("{}^{{tree}}", self.head)])
            .await?;
        if tree == before {
            return Ok(None);
        }
        let message = match message.char_indices().nth(MAX_MESSAGE) {
            Some((end, _)) => &message[..end],
            None => message,
        };
        let args = ["commit-tree", &tree, "-p", &self.head, "-m", message];
        self.head = self.git.text(args).await?;
        Ok(Some(self.head.clone()))
    }

    /// A tool may have put a repository into a submodule's empty folder; git would run
    /// commands in it, with its configuration.
    async fn hide_submodules(&self) -> Result<(), StepError> {
        let listing = self.git.bytes(["ls-files", "--stage", "-z"]).await?;
        for path in gitlinks(&listing) {
            let folder = self.root().join(path);
            throwaway::remove(&folder).map_err(|error| storage_error(&folder, &error))?;
        }
        Ok(())
    }

    /// A repository that was made inside of the tree is no part of the change.
    async fn leave_out_embedded(&self) -> Result<(), GitError> {
        let before = self.git.bytes(["ls-tree", "-r", "-z", &self.head]).await?;
        let before = gitlinks(&before);
        let now = self.git.bytes(["ls-files", "--stage", "-z"]).await?;
        for path in gitlinks(&now).into_iter().filter(|path| !before.contains(path)) {
            let shown = path.to_string_lossy();
            self.log
                .info(&format!("left out of the commit: the git repository in {shown}"));
            let args: [&OsStr; 4] = [
                "update-index".as_ref(),
                "--force-remove".as_ref(),
                "--".as_ref(),
                &path,
            ];
            self.git.run(args).await?;
        }
        Ok(())
    }
}

/// The submodules in `<mode> … TAB <path>` records.
fn gitlinks(listing: &[u8]) -> Vec<OsString> {
    listing
        .split(|byte| *byte == 0)
        .filter(|record| record.starts_with(GITLINK))
        .filter_map(|record| {
            let tab = record.iter().position(|byte| *byte == b'\t')?;
            Some(OsStr::from_bytes(&record[tab + 1..]).to_owned())
        })
        .collect()
}

/// A path within a repository, from the bytes that git wrote.
pub(super) fn path_of(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}
