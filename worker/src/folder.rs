//! The worker's state folder: who owns it, where things lie in it, and how
//! its caches stay small.

use std::{
    fs::{self, DirBuilder, File},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use service::state_dir::{self, StateDir, StateDirError};

use crate::credential::Credential;

/// Why the state folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// It cannot be opened, or another process has it.
    #[error(transparent)]
    Unusable(#[from] StateDirError),
    /// The file system refused.
    #[error("the state folder cannot be used: {path}: {source}")]
    Io {
        /// What was touched.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is no credential.
    #[error(
        "this worker has not joined a controller yet (there is no {0}): run `agentctl workers join-token` \
         where the controller is, then here the line that it prints: `agent-worker join TOKEN`"
    )]
    NotJoined(PathBuf),
    /// The credential cannot be read.
    #[error(
        "{path} cannot be read as a credential: {reason}; join again with `agent-worker join TOKEN --force`"
    )]
    BadCredential {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
}

/// The state folder, owned by this process.
#[derive(Debug)]
pub struct StateFolder {
    root: PathBuf,
    /// Keeps every other process out.
    owned: StateDir,
}

impl StateFolder {
    /// Makes the folder if needed and takes it for this process.
    pub fn open(root: &Path) -> Result<Self, FolderError> {
        let at = |path: &Path| {
            let path = path.to_owned();
            move |source| FolderError::Io { path, source }
        };
        let owned = state_dir::open(root)?;
        let root = fs::canonicalize(root).map_err(at(root))?;
        let folder = Self { root, owned };
        for part in [folder.spools(), folder.blobs(), folder.scratch()] {
            make_folder(&part).map_err(at(&part))?;
        }
        Ok(folder)
    }

    /// The folder itself; work trees lie right in it.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The hold on the folder, for who clears up after this process.
    pub fn share_lock(&self) -> io::Result<File> {
        self.owned.share_lock()
    }

    /// The journal's file.
    pub fn journal(&self) -> PathBuf {
        self.root.join("journal")
    }

    /// Log spools, one file an attempt.
    pub fn spools(&self) -> PathBuf {
        self.root.join("spool")
    }

    /// Blobs by hash.
    pub fn blobs(&self) -> PathBuf {
        self.root.join("blobs")
    }

    /// Private folders of attempts.
    pub fn scratch(&self) -> PathBuf {
        self.root.join("scratch")
    }

    fn credential_file(&self) -> PathBuf {
        self.root.join("credential.json")
    }

    /// Whether this worker has joined a controller.
    pub fn has_joined(&self) -> bool {
        self.credential_file().exists()
    }

    /// Reads the credential.
    pub fn credential(&self) -> Result<Credential, FolderError> {
        let path = self.credential_file();
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(FolderError::NotJoined(path));
            }
            Err(source) => return Err(FolderError::Io { path, source }),
        };
        serde_json::from_slice(&text).map_err(|error| FolderError::BadCredential {
            path,
            reason: error.to_string(),
        })
    }

    /// Stores the credential (mode 0600) so that a crash leaves the old or the new one.
    pub fn store_credential(&self, credential: &Credential) -> Result<(), FolderError> {
        let path = self.credential_file();
        let written = serde_json::to_string_pretty(credential)
            .map_err(io::Error::other)
            .and_then(|text| state_dir::write_private(&path, format!("{text}\n").as_bytes()));
        written.map_err(|source| FolderError::Io { path, source })
    }

    /// Removes what attempts of an earlier life left in their private folders.
    pub fn clear_scratch(&self) -> io::Result<()> {
        for entry in fs::read_dir(self.scratch())? {
            let path = entry?.path();
            let removed = if path.is_dir() {
                fs::remove_dir_all(&path)
            } else {
                fs::remove_file(&path)
            };
            if let Err(error) = removed {
                tracing::warn!(%error, path = %path.display(), "an old private folder stays");
            }
        }
        Ok(())
    }
}

/// Makes a folder and its parents, for this user alone.
pub fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Removes the files of a folder that are older than `max_age`, then the
/// oldest until at most `max_bytes` are left.
pub async fn sweep(folder: PathBuf, max_bytes: u64, max_age: Duration, now: SystemTime) {
    let shown = folder.display().to_string();
    let swept = tokio::task::spawn_blocking(move || sweep_now(&folder, max_bytes, max_age, now)).await;
    match swept {
        Ok(Ok(0)) => {}
        Ok(Ok(count)) => tracing::debug!(folder = shown, count, "removed old files"),
        Ok(Err(error)) => tracing::warn!(%error, folder = shown, "old files could not be removed"),
        Err(error) => tracing::warn!(%error, folder = shown, "old files could not be removed"),
    }
}

fn sweep_now(folder: &Path, max_bytes: u64, max_age: Duration, now: SystemTime) -> io::Result<usize> {
    let mut files = vec![];
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        if metadata.is_file() {
            let age = now.duration_since(metadata.modified()?).unwrap_or_default();
            files.push((age, metadata.len(), entry.path()));
        }
    }
    files.sort_unstable();
    let (mut kept, mut removed) = (0, 0);
    for (age, size, path) in files {
        kept += size;
        if age > max_age || kept > max_bytes {
            fs::remove_file(&path)?;
            removed += 1;
        }
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_owns_a_state_folder() {
        let home = tempfile::tempdir().expect("a folder");
        let root = home.path().join("state");
        let first = StateFolder::open(&root).expect("free");
        let second = StateFolder::open(&root).expect_err("in use");
        assert!(second.to_string().contains("in use by process"), "{second}");
        drop(first);
        StateFolder::open(&root).expect("free again");
    }

    #[test]
    fn without_a_credential_the_way_to_join_is_named() {
        let home = tempfile::tempdir().expect("a folder");
        let folder = StateFolder::open(home.path()).expect("opens");
        let error = folder.credential().expect_err("none");
        assert!(error.to_string().contains("agent-worker join TOKEN"));
        fs::write(folder.credential_file(), "{").expect("writes");
        let error = folder.credential().expect_err("broken");
        assert!(error.to_string().contains("--force"));
    }

    #[test]
    fn the_oldest_files_make_room() {
        let home = tempfile::tempdir().expect("a folder");
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        for (name, age_s) in [("new", 10), ("old", 1_000), ("older", 2_000), ("ancient", 90_000)] {
            let path = home.path().join(name);
            fs::write(&path, [0; 100]).expect("writes");
            let time = now - Duration::from_secs(age_s);
            let file = File::options().append(true).open(&path).expect("opens");
            file.set_modified(time).expect("sets");
        }
        let removed = sweep_now(home.path(), 250, Duration::from_secs(86_400), now).expect("sweeps");
        assert_eq!(removed, 2);
        assert!(home.path().join("old").exists() && !home.path().join("older").exists());
    }
}
