//! Logs of attempts: one file each, appended at the offset that the worker
//! names; its spool is the truth, so that what is already here is skipped.

use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use protocol::id::AttemptId;
use tokio::sync::watch;

use super::store::{old_files, remove_file, size_of};

/// Attempts whose growth is watched at a time, at most; a further follower polls by asking again.
const WATCHED: usize = 4096;

/// Why bytes were not taken.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// There would be a hole.
    #[error("the log goes on at byte {expected}")]
    Gap {
        /// Where.
        expected: u64,
    },
    /// The step has printed too much.
    #[error("the log would be larger than {limit} bytes")]
    TooLarge {
        /// The limit.
        limit: u64,
    },
    /// The file system refused.
    #[error("the log cannot be written: {0}")]
    Io(#[from] io::Error),
}

/// The files; cheap to clone. Its calls block: keep them off the async threads.
#[derive(Clone)]
pub struct Logs(Arc<Inner>);

struct Inner {
    root: PathBuf,
    max_bytes: u64,
    /// Bytes of all files, as they were counted last and have changed since.
    bytes: AtomicU64,
    watched: Mutex<HashMap<AttemptId, watch::Sender<u64>>>,
}

impl Logs {
    /// Logs below `state_dir`, each of at most `max_bytes` and a little for the marks of a cut.
    pub fn open(state_dir: &Path, max_bytes: u64) -> io::Result<Self> {
        let root = state_dir.join("logs");
        fs::create_dir_all(&root)?;
        Ok(Self(Arc::new(Inner {
            root,
            max_bytes: max_bytes + 64 * 1024,
            bytes: AtomicU64::new(0),
            watched: Mutex::default(),
        })))
    }

    /// Where the log of an attempt lies.
    pub fn path(&self, attempt: AttemptId) -> PathBuf {
        self.0.root.join(format!("{attempt}.log"))
    }

    /// How many bytes are here.
    pub fn size(&self, attempt: AttemptId) -> io::Result<u64> {
        Ok(size_of(&self.path(attempt))?.unwrap_or(0))
    }

    /// Bytes of all logs.
    pub fn bytes(&self) -> u64 {
        self.0.bytes.load(Ordering::Relaxed)
    }

    /// Counts them anew.
    pub fn count(&self) -> io::Result<u64> {
        let mut bytes = 0;
        for entry in fs::read_dir(&self.0.root)? {
            bytes += size_of(&entry?.path())?.unwrap_or(0);
        }
        self.0.bytes.store(bytes, Ordering::Relaxed);
        Ok(bytes)
    }

    /// Attempts whose log was last written before `before_ms` (unix time).
    pub fn written_before(&self, before_ms: i64) -> io::Result<Vec<AttemptId>> {
        let names = old_files(&self.0.root, before_ms)?;
        let attempts = names
            .iter()
            .filter_map(|name| name.strip_suffix(".log")?.parse().ok());
        Ok(attempts.collect())
    }

    /// Removes the log of an attempt that is gone; returns how many bytes it had.
    pub fn remove(&self, attempt: AttemptId) -> io::Result<u64> {
        let path = self.path(attempt);
        let size = size_of(&path)?.unwrap_or(0);
        remove_file(&path)?;
        let bytes = &self.0.bytes;
        // only a figure: an early count may have missed the file
        let _ = bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |all| {
            Some(all.saturating_sub(size))
        });
        Ok(size)
    }

    /// Takes bytes from an offset on and returns how many bytes there are now.
    pub fn append(&self, attempt: AttemptId, offset: u64, bytes: &[u8]) -> Result<u64, LogError> {
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.path(attempt))?;
        let here = file.metadata()?.len();
        if offset > here {
            return Err(LogError::Gap { expected: here });
        }
        // a repeat after a lost answer: what is here is skipped
        let known = (here - offset).min(bytes.len() as u64) as usize;
        let end = here + (bytes.len() - known) as u64;
        if end > self.0.max_bytes {
            return Err(LogError::TooLarge {
                limit: self.0.max_bytes,
            });
        }
        file.write_all(&bytes[known..])?;
        self.0.bytes.fetch_add(end - here, Ordering::Relaxed);
        self.announce(attempt, end);
        Ok(end)
    }

    fn announce(&self, attempt: AttemptId, end: u64) {
        let mut watched = self.watched();
        if let Some(sender) = watched.get(&attempt) {
            if sender.is_closed() {
                watched.remove(&attempt);
            } else {
                sender.send_replace(end);
            }
        }
    }

    /// Tells when the log grows.
    pub fn watch(&self, attempt: AttemptId) -> Option<watch::Receiver<u64>> {
        let mut watched = self.watched();
        watched.retain(|_, sender| !sender.is_closed());
        if watched.len() >= WATCHED && !watched.contains_key(&attempt) {
            return None;
        }
        Some(
            watched
                .entry(attempt)
                .or_insert_with(|| watch::channel(0).0)
                .subscribe(),
        )
    }

    /// At most `max` bytes from an offset on.
    pub fn read(&self, attempt: AttemptId, offset: u64, max: usize) -> io::Result<Vec<u8>> {
        let mut file = match File::open(self.path(attempt)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(vec![]),
            Err(error) => return Err(error),
        };
        file.seek(SeekFrom::Start(offset))?;
        let mut bytes = Vec::new();
        file.take(max as u64).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn watched(&self) -> std::sync::MutexGuard<'_, HashMap<AttemptId, watch::Sender<u64>>> {
        self.0.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_chunk_adds_nothing_and_a_hole_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let logs = Logs::open(folder.path(), 100).expect("opens");
        let attempt = AttemptId::new();
        let growth = logs.watch(attempt).expect("watched");
        assert_eq!(logs.append(attempt, 0, b"one\n").expect("first"), 4);
        assert_eq!(logs.append(attempt, 2, b"e\ntwo\n").expect("overlap"), 8);
        assert_eq!(logs.append(attempt, 0, b"one\n").expect("repeat"), 8);
        assert!(matches!(
            logs.append(attempt, 9, b"x"),
            Err(LogError::Gap { expected: 8 })
        ));
        assert_eq!(logs.read(attempt, 4, 100).expect("reads"), b"two\n");
        assert_eq!(*growth.borrow(), 8);
    }
}
