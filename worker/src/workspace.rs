//! Work trees of this worker: one bare mirror per repository in the worker's own
//! storage, and for each attempt a tree of files that nobody else uses meanwhile.
//!
//! Must not: read anything back from the `.git` that tools see, or take an
//! instruction from a repository.

mod changes;
mod mirror;
mod prune;
mod remote;
mod slot;
mod survey;
mod throwaway;
mod tree;

use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use protocol::{
    job::JobLink,
    spec::{RepoSource, WorkspaceRef},
    step::StepError,
};

use self::{mirror::Mirror, slot::Slots};
pub use self::{prune::Pruned, tree::Workspace};
use crate::{
    log::LogSink,
    sandbox::Sandbox,
    steps::{Blobs, StepContext, Stop},
    tools::environment::Toolchains,
};

/// Limits on repositories and on what is kept of them.
#[derive(Clone, Copy, Debug)]
pub struct WorkspaceLimits {
    /// Most files of a commit.
    pub files: u64,
    /// Most bytes of a commit's files.
    pub bytes: u64,
    /// How long a clone or fetch may take.
    pub fetch_time: Duration,
    /// Trees, caches and mirrors that nobody used for so long go.
    pub keep_for: Duration,
    /// Most bytes of trees, caches and mirrors together; the oldest go first.
    pub disk: u64,
    /// Whether `file` URLs may be cloned.
    pub file_urls: bool,
}

impl Default for WorkspaceLimits {
    /// 200,000 files and 4 GiB (larger than the Linux kernel's sources), 15 min for a clone over a
    /// slow line, one week, 20 GiB (fits beside a system on a 32 GB card), no `file` URLs.
    fn default() -> Self {
        Self {
            files: 200_000,
            bytes: 4 << 30,
            fetch_time: Duration::from_secs(900),
            keep_for: Duration::from_secs(7 * 24 * 3600),
            disk: 20 << 30,
            file_urls: false,
        }
    }
}

/// What an operation may use on behalf of its attempt.
#[derive(Clone, Copy)]
pub struct Caller<'a> {
    /// The controller's blobs.
    pub blobs: &'a dyn Blobs,
    /// The attempt's log.
    pub log: &'a LogSink,
    /// When to stop.
    pub stop: &'a Stop,
}

impl StepContext {
    /// This attempt as the caller of workspace operations.
    pub fn caller(&self) -> Caller<'_> {
        Caller {
            blobs: &*self.blobs,
            log: &self.log,
            stop: &self.stop,
        }
    }
}

/// The work trees of this worker.
pub struct Workspaces {
    state_dir: PathBuf,
    limits: WorkspaceLimits,
    toolchains: Toolchains,
    sandbox: Arc<Sandbox>,
    mirrors: Mutex<HashMap<String, Arc<Mirror>>>,
    slots: Slots,
}

impl Workspaces {
    /// Work trees below `state_dir` (folders `mirrors`, `trees`, `caches`), whose tools run in `sandbox`.
    pub fn new(
        state_dir: &Path,
        limits: WorkspaceLimits,
        toolchains: Toolchains,
        sandbox: Arc<Sandbox>,
    ) -> io::Result<Self> {
        for folder in ["mirrors", "trees", "caches"] {
            std::fs::create_dir_all(state_dir.join(folder))?;
        }
        Ok(Self {
            state_dir: state_dir.to_owned(),
            limits,
            toolchains,
            sandbox,
            mirrors: Mutex::default(),
            slots: Slots::new(state_dir.join("trees")),
        })
    }

    /// Where this machine's toolchains are.
    pub const fn toolchains(&self) -> &Toolchains {
        &self.toolchains
    }

    /// How this machine's tools are kept from it.
    pub const fn sandbox(&self) -> &Arc<Sandbox> {
        &self.sandbox
    }

    /// The private home of a repository's tools, with their caches; kept between steps.
    pub fn home(&self, source: &RepoSource) -> Result<PathBuf, StepError> {
        self.cache(&mirror::key(source))
    }

    fn cache(&self, name: &str) -> Result<PathBuf, StepError> {
        let home = self.state_dir.join("caches").join(name);
        let made = std::fs::create_dir_all(&home).and_then(|()| prune::touch(&home));
        made.map_err(|error| mirror::storage_error(&home, &error))?;
        Ok(home)
    }

    /// A folder for caches of the worker's own, which no repository's tools get to see.
    pub fn own_home(&self) -> Result<PathBuf, StepError> {
        self.cache("own")
    }

    /// Opens a tree at the commit that a step starts from. A tree that the job used before on
    /// this worker is reused: its ignored files stay as a cache, everything else is reset.
    pub async fn open(
        &self,
        wanted: &WorkspaceRef,
        job: JobLink,
        caller: Caller<'_>,
    ) -> Result<Workspace, StepError> {
        let (mirror, base, head) = self.provide(wanted, caller).await?;
        let slot = self.slots.take(job)?;
        Workspace::check_out(mirror, slot, wanted, base, head, caller).await
    }

    /// Opens a fresh tree of the base commit in an empty folder, as a new clone would be.
    pub async fn open_fresh(
        &self,
        wanted: &WorkspaceRef,
        folder: &Path,
        caller: Caller<'_>,
    ) -> Result<Workspace, StepError> {
        let (mirror, base, _) = self.provide(wanted, caller).await?;
        let slot = slot::Slot::in_folder(folder)?;
        Workspace::check_out(mirror, slot, wanted, base.clone(), base, caller).await
    }

    /// The commit that a source means now: the job's base. Also says what is worth knowing.
    pub async fn resolve(&self, source: &RepoSource, caller: Caller<'_>) -> Result<Resolved, StepError> {
        let mirror = self.mirror(source);
        let base = mirror.resolve(source, caller).await?;
        let survey = survey::of(&mirror.git(caller.stop), &base).await?;
        survey.check(&self.limits)?;
        let mut notes = survey.notes();
        if mirror.is_shallow() {
            notes.push("the repository is a shallow clone: older history is not there".to_owned());
        }
        Ok(Resolved { base, notes })
    }

    /// Removes what is too old or too much; nothing that is in use. Blocks on the disk.
    pub fn prune(&self) -> Pruned {
        prune::prune(&self.state_dir, &self.limits, &self.slots)
    }

    /// Makes sure that base and start commit are in the mirror.
    async fn provide(
        &self,
        wanted: &WorkspaceRef,
        caller: Caller<'_>,
    ) -> Result<(Arc<Mirror>, String, String), StepError> {
        let mirror = self.mirror(&wanted.source);
        let base = match &wanted.base {
            Some(base) => {
                mirror.provide_base(&wanted.source, base, caller).await?;
                base.clone()
            }
            None => mirror.resolve(&wanted.source, caller).await?,
        };
        let head = wanted.commit.clone().unwrap_or_else(|| base.clone());
        mirror.provide_commit(&head, wanted.bundle, caller).await?;
        Ok((mirror, base, head))
    }

    fn mirror(&self, source: &RepoSource) -> Arc<Mirror> {
        let key = mirror::key(source);
        let mut mirrors = self.mirrors.lock().unwrap_or_else(PoisonError::into_inner);
        let mirror = mirrors.entry(key.clone()).or_insert_with(|| {
            let folder = self.state_dir.join("mirrors").join(format!("{key}.git"));
            Arc::new(Mirror::new(folder, self.toolchains.clone(), self.limits))
        });
        Arc::clone(mirror)
    }
}

/// What a source means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The commit.
    pub base: String,
    /// Things worth knowing, such as submodules that stay empty.
    pub notes: Vec<String>,
}

#[cfg(test)]
mod tests;
