//! Whether anything may be removed at this moment: a backup wants everything that its copy of the
//! database names to stay until it is through.

use std::sync::Arc;

use tokio::sync::{Mutex, OwnedMutexGuard, OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

/// The one lock between those who remove files and those who copy them; cheap to clone.
#[derive(Clone, Default)]
pub struct Keep {
    files: Arc<RwLock<()>>,
    backup: Arc<Mutex<()>>,
}

/// Everything stays while this lives.
pub struct Kept {
    _files: OwnedRwLockReadGuard<()>,
    _backup: OwnedMutexGuard<()>,
}

/// Something may go while this lives.
pub struct Removing {
    _guard: OwnedRwLockWriteGuard<()>,
}

impl Keep {
    /// Keeps everything, as soon as the removal that goes on is through with its slice; `None` while
    /// another backup is made: each takes the space of a whole database.
    pub async fn for_backup(&self) -> Option<Kept> {
        let backup = self.backup.clone().try_lock_owned().ok()?;
        Some(Kept {
            _files: self.files.clone().read_owned().await,
            _backup: backup,
        })
    }

    /// Leave to remove a slice; `None` while somebody keeps everything.
    pub fn try_remove(&self) -> Option<Removing> {
        let guard = self.files.clone().try_write_owned().ok()?;
        Some(Removing { _guard: guard })
    }
}
