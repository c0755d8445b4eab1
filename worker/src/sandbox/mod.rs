//! How tools are kept from the machine that they run on: levels, probed at the start, and
//! the cage of one command.
//!
//! Owned by the worker's workspaces; steps take a [`Cage`] from it and name what the command
//! may read and write. Must not: start programs itself (that is `tools::exec`'s duty), or let a
//! command run at a level that the machine's owner does not allow.

mod bubblewrap;
mod cage;
mod door;
mod egress;
pub mod forward;
pub mod group;
pub mod inside;
mod landlock;
mod probe;
mod seccomp;
mod view;

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use protocol::sandbox::SandboxLevel;

pub(crate) use self::group::{Excess, Group};
use self::{bubblewrap::Profile, egress::Egress, group::Groups, view::View};
pub use self::{
    cage::{Cage, Caged, Start},
    door::Door,
};

/// How tools run on this worker.
#[derive(Clone, Debug)]
pub struct Sandbox {
    means: Means,
    view: View,
    /// The worker's own program, to begin a tool with.
    program: PathBuf,
    state_folder: PathBuf,
    /// Hosts that its owner lets steps ask for.
    network: Vec<String>,
    /// Hosts that the machine's own settings of package managers name.
    sources: Vec<String>,
    /// Where commands are counted as a whole, and why not.
    groups: Option<Arc<Groups>>,
    uncounted: Option<String>,
    /// Why there is no better level, for people.
    lacks: Vec<String>,
}

/// What keeps tools in.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Means {
    /// Tools do not run: no level that the owner allows is to be had.
    Forbidden,
    /// Nothing but their own process group and limits.
    Nothing,
    /// Landlock.
    Landlock,
    /// This bubblewrap.
    Bubblewrap(PathBuf, Profile),
}

/// Why a command cannot be caged.
#[derive(Debug, thiserror::Error)]
pub enum CageError {
    /// No level is to be had.
    #[error("this worker runs no tools: its machine offers no sandbox level that its owner allows ({0})")]
    Forbidden(String),
    /// The step asks for more than there is.
    #[error("this worker runs tools at sandbox level {has}, and the step asks for {needs}")]
    TooWeak {
        /// What there is.
        has: SandboxLevel,
        /// What is asked for.
        needs: SandboxLevel,
    },
    /// The folder of the command's own could not be made.
    #[error("a private folder cannot be made: {0}")]
    Folder(#[from] io::Error),
}

impl Sandbox {
    /// No protection at all; what the owner's `none` means.
    pub fn none() -> Self {
        Self {
            means: Means::Nothing,
            view: View::default(),
            program: PathBuf::new(),
            state_folder: PathBuf::new(),
            network: vec![],
            sources: vec![],
            groups: None,
            uncounted: None,
            lacks: vec![],
        }
    }

    /// The level at which tools run; `None`: they do not.
    pub const fn level(&self) -> Option<SandboxLevel> {
        match &self.means {
            Means::Forbidden => None,
            Means::Nothing => Some(SandboxLevel::None),
            Means::Landlock | Means::Bubblewrap(_, Profile::Reduced) => Some(SandboxLevel::Basic),
            Means::Bubblewrap(_, Profile::Whole) => Some(SandboxLevel::Strong),
        }
    }

    /// What keeps tools in, in a few words.
    pub fn means(&self) -> String {
        match &self.means {
            Means::Forbidden => "tools do not run".to_owned(),
            Means::Nothing => "own process group, scrubbed environment and limits only".to_owned(),
            Means::Landlock => "Landlock, a filter of system calls, limits".to_owned(),
            Means::Bubblewrap(_, Profile::Reduced) => {
                "a part of the namespaces, a filter of system calls, limits".to_owned()
            }
            Means::Bubblewrap(_, Profile::Whole) => "namespaces, a filter of system calls, limits".to_owned(),
        }
    }

    /// What the kernel limits for all processes of a command together; empty if nothing.
    pub fn controllers(&self) -> &[&'static str] {
        self.groups.as_ref().map_or(&[], |groups| groups.controllers())
    }

    /// Why the kernel limits each process of a command by itself, for people.
    pub fn uncounted(&self) -> Option<&str> {
        self.uncounted.as_deref()
    }

    /// Which of the hosts that a step asks for it may reach.
    fn egress(&self, asked: &[String]) -> Egress {
        Egress::of(asked, &self.network, &self.sources)
    }

    /// Why there is no better level, and what its owner could do, one line each.
    pub fn lacks(&self) -> &[String] {
        &self.lacks
    }

    /// Folders that the search path names and that tools do not see.
    pub fn left_out(&self) -> &[String] {
        &self.view.left_out
    }

    /// Whether a step that accepts no less than `needs` may run here.
    pub fn check(&self, needs: Option<SandboxLevel>) -> Result<(), CageError> {
        match (self.level(), needs) {
            (None, _) => Err(self.forbidden()),
            (Some(has), Some(needs)) if has < needs => Err(CageError::TooWeak { has, needs }),
            _ => Ok(()),
        }
    }

    fn forbidden(&self) -> CageError {
        CageError::Forbidden(self.lacks.join("; "))
    }

    /// Whether tools see other file systems and processes than the worker itself.
    const fn has_own_processes(&self) -> bool {
        matches!(self.means, Means::Bubblewrap(..))
    }

    /// What of the machine every tool may read, as paths that exist.
    fn readable(&self) -> impl Iterator<Item = &Path> {
        let links = self.view.links.iter().map(|(link, _)| link.as_path());
        links.chain(self.view.read_only.iter().map(PathBuf::as_path))
    }
}

impl fmt::Display for Sandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.level() {
            Some(level) => write!(f, "{level} ({})", self.means()),
            None => f.write_str("unavailable"),
        }
    }
}
