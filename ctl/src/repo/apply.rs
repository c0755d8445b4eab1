//! A job's branch from its bundle, without touching a work tree.

use std::{ffi::OsString, path::Path};

use super::Repository;
use crate::{codes::Code, error::CliError};

/// What became of the branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Applied {
    /// It is new, or has moved.
    Made,
    /// It was there already.
    Same,
}

/// The base may be known and yet hang on no branch; git wants it to while it fetches.
const BASE: &str = "refs/agentd/base";
/// Where the job's commit stands until it is clear that the branch may move.
const INCOMING: &str = "refs/agentd/incoming";

impl Repository {
    /// Makes `branch` of the bundle's commit. May be repeated.
    pub(crate) async fn apply(
        &self,
        bundle: &Path,
        base: Option<&str>,
        branch: &str,
        force: bool,
    ) -> Result<Applied, CliError> {
        if let Some(base) = base {
            self.require(base).await?;
            self.git().run(&["update-ref", BASE, base]).await?;
        }
        let applied = self.bring(bundle, branch, force).await;
        for temporary in [BASE, INCOMING] {
            self.git().run(&["update-ref", "-d", temporary]).await?;
        }
        applied
    }

    async fn bring(&self, bundle: &Path, branch: &str, force: bool) -> Result<Applied, CliError> {
        let git = self.git();
        let name = self.bundled(bundle).await?;
        let mut args: Vec<OsString> = ["fetch", "--quiet", "--no-tags", "--no-write-fetch-head"]
            .map(OsString::from)
            .to_vec();
        args.push("--no-recurse-submodules".into());
        args.push(bundle.into());
        args.push(format!("+{name}:{INCOMING}").into());
        git.run(&args).await?;
        let full = format!("refs/heads/{branch}");
        let (there, incoming) = (git.commit(&full).await?, git.commit(INCOMING).await?);
        if let Some(there) = &there {
            if Some(there) == incoming.as_ref() {
                return Ok(Applied::Same);
            }
            self.may_move(branch, &full, force).await?;
        }
        git.run(&["update-ref", &full, INCOMING]).await?;
        Ok(Applied::Made)
    }

    /// The ref under which a bundle holds its commit.
    async fn bundled(&self, bundle: &Path) -> Result<String, CliError> {
        let args: [OsString; 3] = ["bundle".into(), "list-heads".into(), bundle.into()];
        let heads = self.git().line(&args).await?;
        let head = heads.lines().next().and_then(|line| line.split_once(' '));
        let (_, name) =
            head.ok_or_else(|| CliError::new(Code::UnexpectedAnswer, "the job's bundle holds no commit"))?;
        Ok(name.to_owned())
    }

    async fn require(&self, base: &str) -> Result<(), CliError> {
        if self.git().commit(base).await?.is_some() {
            return Ok(());
        }
        let sentence = format!(
            "the repository {} lacks the commit {base} that the job started from",
            self.root.display()
        );
        let hint = if self.shallow {
            "it is a shallow clone: `git fetch --unshallow`, then apply again"
        } else {
            "fetch it (`git fetch --all`), or go to the clone that the job was submitted from: `--repo PATH`"
        };
        Err(CliError::new(Code::MissingBase, sentence).hint(hint))
    }

    /// A branch that somebody works on, or has worked on, is not taken away.
    async fn may_move(&self, branch: &str, full: &str, force: bool) -> Result<(), CliError> {
        let trees = self.git().line(&["worktree", "list", "--porcelain"]).await?;
        if trees
            .lines()
            .any(|line| line.strip_prefix("branch ") == Some(full))
        {
            let sentence = format!("the branch {branch} is checked out, so it cannot be moved");
            return Err(CliError::new(Code::BranchDiffers, sentence)
                .hint("go to another branch first: `git switch -`"));
        }
        let args = ["merge-base", "--is-ancestor", full, INCOMING];
        if force || self.git().output(&args).await?.status.success() {
            return Ok(());
        }
        let sentence = format!("the branch {branch} has commits that are not the job's");
        Err(CliError::new(Code::BranchDiffers, sentence).hint(format!(
            "rename it with `git branch -m {branch} NAME`, or replace it with `--force`"
        )))
    }
}
