//! Removes trees, caches and mirrors by age and disk budget, oldest first.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use super::{WorkspaceLimits, slot::Slots};

/// The file whose modification time says when a folder was last used.
const USED: &str = "used";

/// What was used so lately may be in use: longer than a step takes.
const IN_USE: Duration = Duration::from_secs(6 * 3600);

/// What a round of pruning removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Folders.
    pub folders: u64,
    /// Bytes.
    pub bytes: u64,
}

/// Notes that a folder is in use now.
pub(super) fn touch(folder: &Path) -> io::Result<()> {
    fs::write(folder.join(USED), b"")
}

struct Folder {
    path: PathBuf,
    used: SystemTime,
    bytes: u64,
}

pub(super) fn prune(state_dir: &Path, limits: &WorkspaceLimits, slots: &Slots) -> Pruned {
    let mut folders = Vec::new();
    for job in children(&state_dir.join("trees")) {
        let trees = children(&job);
        if trees.is_empty() {
            let _ = fs::remove_dir(&job);
        }
        folders.extend(trees.into_iter().map(measure));
    }
    for kind in ["caches", "mirrors"] {
        folders.extend(children(&state_dir.join(kind)).into_iter().map(measure));
    }
    folders.sort_by_key(|folder| folder.used);
    let now = SystemTime::now();
    let mut total: u64 = folders.iter().map(|folder| folder.bytes).sum();
    let mut pruned = Pruned::default();
    for folder in folders {
        let age = now.duration_since(folder.used).unwrap_or_default();
        // a step says only at its start that it uses a cache or mirror
        if age < limits.keep_for && (total <= limits.disk || age < IN_USE) {
            continue;
        }
        slots.unless_taken(&folder.path, || {
            if fs::remove_dir_all(&folder.path).is_ok() {
                total -= folder.bytes;
                pruned.folders += 1;
                pruned.bytes += folder.bytes;
            }
        });
    }
    pruned
}

fn children(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect()
}

fn measure(path: PathBuf) -> Folder {
    let used = fs::metadata(path.join(USED)).and_then(|metadata| metadata.modified());
    Folder {
        used: used.unwrap_or(SystemTime::UNIX_EPOCH),
        bytes: size(&path),
        path,
    }
}

fn size(folder: &Path) -> u64 {
    let mut bytes = 0;
    let mut todo = vec![folder.to_owned()];
    while let Some(folder) = todo.pop() {
        let Ok(entries) = fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries.flatten() {
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => todo.push(entry.path()),
                Ok(metadata) => bytes += metadata.len(),
                Err(_) => {}
            }
        }
    }
    bytes
}
