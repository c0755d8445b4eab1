//! Landlock: a process gives up everything in the file system but the places that it is told.
//!
//! For machines on which namespaces are forbidden. It hides less than a file system of one's
//! own: names and permissions outside can still be looked at or changed where the user may.

use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetStatus, Scope,
};

/// The least version that is of use: before it, files outside could be cut to nothing.
const LEAST: ABI = ABI::V3;

/// What of a newer version is used where it is there: devices, signals, abstract sockets.
const BEST: ABI = ABI::V6;

/// Devices that programs open.
const DEVICES: [&str; 6] = [
    "/dev/full",
    "/dev/null",
    "/dev/random",
    "/dev/tty",
    "/dev/urandom",
    "/dev/zero",
];

/// Readable besides what the view shows: a file system of its own has other ones in their place.
const ALSO_READABLE: [&str; 4] = ["/proc", "/etc/passwd", "/etc/group", "/etc/hosts"];

/// Where a process may go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ground {
    /// Files and folders to read and execute.
    pub(super) readable: Vec<PathBuf>,
    /// Folders to write in.
    pub(super) writable: Vec<PathBuf>,
}

impl Ground {
    pub(super) const fn is_empty(&self) -> bool {
        self.readable.is_empty() && self.writable.is_empty()
    }
}

/// Gives up the rest of the file system, for this process and what it starts.
pub(super) fn stay_on(ground: &Ground) -> Result<(), String> {
    let text = |error: landlock::RulesetError| format!("Landlock is not to be had: {error}");
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(LEAST))
        .map_err(text)?
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(BEST))
        .map_err(text)?
        .scope(Scope::from_all(BEST))
        .map_err(text)?
        .create()
        .map_err(text)?;
    let also = ALSO_READABLE.iter().map(Path::new);
    let places = ground.readable.iter().map(PathBuf::as_path).chain(also);
    let read = places.map(|path| (path, AccessFs::from_read(BEST)));
    let devices = DEVICES
        .iter()
        .map(|path| (Path::new(path), AccessFs::from_file(BEST)));
    let write = ground
        .writable
        .iter()
        .map(|path| (path.as_path(), AccessFs::from_all(BEST)));
    for (path, access) in read.chain(devices).chain(write) {
        // what is not there needs no rule
        let Ok(place) = PathFd::new(path) else { continue };
        let access = if path.is_dir() {
            access
        } else {
            access & AccessFs::from_file(BEST)
        };
        rules = rules.add_rule(PathBeneath::new(place, access)).map_err(text)?;
    }
    let status = rules.restrict_self().map_err(text)?;
    match status.ruleset {
        RulesetStatus::NotEnforced => {
            Err("Landlock is not to be had: the kernel enforces nothing".to_owned())
        }
        RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced => Ok(()),
    }
}
