//! Whether anything may be removed at this moment: a backup wants everything that its copy of the
//! database names to stay until it is through.

use std::sync::Arc;

use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

/// The one lock between those who remove files and those who copy them; cheap to clone.
#[derive(Clone, Default)]
pub struct Keep(Arc<RwLock<()>>);

/// Everything stays while this lives.
pub struct Kept {
    _guard: OwnedRwLockReadGuard<()>,
}

/// Something may go while this lives.
pub struct Removing {
    _guard: OwnedRwLockWriteGuard<()>,
}

impl Keep {
    /// Keeps everything, as soon as the removal that goes on is through with its slice.
    pub async fn everything(&self) -> Kept {
        Kept {
            _guard: self.0.clone().read_owned().await,
        }
    }

    /// Leave to remove a slice; `None` while somebody keeps everything.
    pub fn try_remove(&self) -> Option<Removing> {
        let guard = self.0.clone().try_write_owned().ok()?;
        Some(Removing { _guard: guard })
    }
}
