//! One bare repository per source: every object that this worker knows of it.

use std::path::{Path, PathBuf};

use protocol::{
    artifact::BlobRef,
    spec::RepoSource,
    step::{ErrorClass, StepError},
};
use sha2::{Digest as _, Sha256};
use tokio::sync::{Mutex, MutexGuard};

use super::{Caller, WorkspaceLimits, prune, remote};
use crate::{
    steps::Stop,
    tools::{
        environment::Toolchains,
        git::{Git, GitError, RemoteUrl},
    },
};

/// The folder name of a source's mirror and caches: stable, and free of what the source says.
pub(super) fn key(source: &RepoSource) -> String {
    let identity = match source {
        RepoSource::Url { url, .. } => format!("url {}", url.trim_end_matches('/').trim_end_matches(".git")),
        RepoSource::Bundle { name, .. } => format!("bundle {name}"),
    };
    hex::encode(&Sha256::digest(identity)[..12])
}

/// A bare mirror.
pub(super) struct Mirror {
    folder: PathBuf,
    toolchains: Toolchains,
    limits: WorkspaceLimits,
    /// Held while refs change; objects need no lock.
    refs: Mutex<()>,
}

impl Mirror {
    pub(super) fn new(folder: PathBuf, toolchains: Toolchains, limits: WorkspaceLimits) -> Self {
        Self {
            folder,
            toolchains,
            limits,
            refs: Mutex::new(()),
        }
    }

    pub(super) fn git(&self, stop: &Stop) -> Git {
        Git::new(&self.folder, &self.toolchains, stop)
    }

    pub(super) async fn lock_refs(&self) -> MutexGuard<'_, ()> {
        self.refs.lock().await
    }

    pub(super) fn is_shallow(&self) -> bool {
        self.folder.join("shallow").exists()
    }

    /// Finds out which commit a source means, and gets it.
    pub(super) async fn resolve(&self, source: &RepoSource, caller: Caller<'_>) -> Result<String, StepError> {
        match source {
            RepoSource::Bundle { head, .. } => {
                self.provide_base(source, head, caller).await?;
                Ok(head.clone())
            }
            RepoSource::Url { url, reference } => {
                let url = self.checked(url)?;
                let _lock = self.prepared(caller).await?;
                let git = self
                    .git(caller.stop)
                    .with_remote(&url, &self.toolchains, self.limits.fetch_time);
                let target = remote::resolve(&git, &url, reference.as_deref()).await?;
                if let Some(commit) = &target.commit
                    && self.has(commit, caller).await
                {
                    return Ok(commit.clone());
                }
                caller
                    .log
                    .info(&format!("fetching {} of {}", target.name, url.as_str()));
                remote::fetch(&git, &url, &target.name).await
            }
        }
    }

    /// Makes sure that a job's base commit is here.
    pub(super) async fn provide_base(
        &self,
        source: &RepoSource,
        base: &str,
        caller: Caller<'_>,
    ) -> Result<(), StepError> {
        check_commit(base)?;
        let _lock = self.prepared(caller).await?;
        if self.has(base, caller).await {
            return Ok(());
        }
        match source {
            RepoSource::Bundle { blob, .. } => self.import(*blob, base, caller).await,
            RepoSource::Url { url, reference } => {
                let url = self.checked(url)?;
                let git = self
                    .git(caller.stop)
                    .with_remote(&url, &self.toolchains, self.limits.fetch_time);
                caller.log.info(&format!("fetching {base} of {}", url.as_str()));
                remote::fetch_commit(&git, &url, base, reference.as_deref()).await
            }
        }
    }

    /// Makes sure that a commit of the job's branch is here; its bundle builds upon the base.
    pub(super) async fn provide_commit(
        &self,
        commit: &str,
        bundle: Option<BlobRef>,
        caller: Caller<'_>,
    ) -> Result<(), StepError> {
        check_commit(commit)?;
        if self.has(commit, caller).await {
            return Ok(());
        }
        let bundle = bundle.ok_or_else(|| {
            StepError::new(
                ErrorClass::Workspace,
                format!(
                    "commit {commit} of the job's branch is not on this worker and came without a bundle"
                ),
            )
        })?;
        self.import(bundle, commit, caller).await
    }

    async fn import(&self, blob: BlobRef, commit: &str, caller: Caller<'_>) -> Result<(), StepError> {
        let file = caller.blobs.fetch(blob).await?;
        let git = self.git(caller.stop);
        // names the commits that it builds upon, if they are missing
        git.run([
            "bundle".as_ref(),
            "verify".as_ref(),
            "--quiet".as_ref(),
            file.as_os_str(),
        ])
        .await
        .map_err(|error| bundle_error(blob, error))?;
        git.run(["bundle".as_ref(), "unbundle".as_ref(), file.as_os_str()])
            .await
            .map_err(|error| bundle_error(blob, error))?;
        if self.has(commit, caller).await {
            return Ok(());
        }
        Err(StepError::new(
            ErrorClass::Workspace,
            format!("the bundle {} does not contain commit {commit}", blob.sha256),
        ))
    }

    async fn has(&self, commit: &str, caller: Caller<'_>) -> bool {
        let object = format!("{commit}^{{commit}}");
        self.git(caller.stop)
            .run(["cat-file", "-e", &object])
            .await
            .is_ok()
    }

    async fn prepared(&self, caller: Caller<'_>) -> Result<MutexGuard<'_, ()>, StepError> {
        let lock = self.refs.lock().await;
        self.git(caller.stop).init().await?;
        prune::touch(&self.folder).map_err(|error| storage_error(&self.folder, &error))?;
        Ok(lock)
    }

    fn checked(&self, url: &str) -> Result<RemoteUrl, StepError> {
        RemoteUrl::parse(url, self.limits.file_urls)
            .map_err(|error| StepError::new(ErrorClass::Spec, error.to_string()))
    }
}

/// An object name in full: never an option, a range or a path.
fn check_commit(commit: &str) -> Result<(), StepError> {
    if matches!(commit.len(), 40 | 64) && commit.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(());
    }
    let shown: String = commit.chars().take(80).collect();
    Err(StepError::new(
        ErrorClass::Spec,
        format!("{shown:?} is not a commit: expected 40 hex digits"),
    ))
}

fn bundle_error(blob: BlobRef, error: GitError) -> StepError {
    match error {
        GitError::Failed { said, .. } => StepError::new(
            ErrorClass::Workspace,
            format!("the bundle {} cannot be read: {said}", blob.sha256),
        )
        .hint("send the repository again; a bundle must hold all commits that the controller does not know"),
        other => other.into(),
    }
}

/// The worker's own storage failed.
pub(super) fn storage_error(path: &Path, error: &std::io::Error) -> StepError {
    StepError::new(
        ErrorClass::Infra,
        format!("this worker cannot use {}: {error}", path.display()),
    )
}
