//! A worker's disk: what was not synced may be gone after a crash, and on a bad
//! day it is full or fails to sync.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
};

use worker::journal::{Disk, DiskFile};

/// What is wrong with the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Trouble {
    #[default]
    None,
    /// Nothing more fits on it.
    Full,
    /// It takes writes and fails to sync them.
    Sync,
}

#[derive(Clone, Debug, Default)]
struct Content {
    /// What a reader sees.
    now: Vec<u8>,
    /// What a loss of power leaves.
    synced: Vec<u8>,
    /// A sync failed: the kernel has forgotten what was dirty, later syncs do not save it.
    doomed: bool,
}

#[derive(Debug, Default)]
struct Inner {
    files: Vec<Content>,
    names: BTreeMap<PathBuf, usize>,
    synced_names: BTreeMap<PathBuf, usize>,
    trouble: Trouble,
}

/// A disk that many hold.
#[derive(Clone, Debug, Default)]
pub(crate) struct SimDisk(Arc<Mutex<Inner>>);

/// A file on it.
#[derive(Debug)]
pub(crate) struct SimFile {
    disk: SimDisk,
    index: usize,
}

impl SimDisk {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().expect("nobody panics while it is held")
    }

    pub(crate) fn set_trouble(&self, trouble: Trouble) {
        self.inner().trouble = trouble;
    }

    /// The power fails: only what was synced is left, and some bytes of what was not (`keep` decides how many).
    pub(crate) fn lose_power(&self, keep: impl Fn(u64) -> u64) {
        let mut inner = self.inner();
        inner.names = inner.synced_names.clone();
        for file in &mut inner.files {
            let grown = file.now.len().saturating_sub(file.synced.len());
            let appended = grown > 0 && file.now.starts_with(&file.synced) && !file.doomed;
            let kept = if appended {
                keep(grown as u64 + 1) as usize
            } else {
                0
            };
            let torn = file.synced.len()..file.synced.len() + kept;
            let tail = file.now[torn].to_vec();
            file.now = file.synced.clone();
            file.now.extend(tail);
            file.synced = file.now.clone();
            file.doomed = false;
        }
    }

    /// All files are gone, as on a machine that keeps no journal.
    pub(crate) fn wipe(&self) {
        let mut inner = self.inner();
        inner.names.clear();
        inner.synced_names.clear();
    }
}

fn full() -> io::Error {
    io::Error::from(io::ErrorKind::StorageFull)
}

impl Disk for SimDisk {
    type File = SimFile;

    fn open(&self, path: &Path) -> io::Result<SimFile> {
        let index = self.inner().names.get(path).copied();
        let index = index.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        let disk = self.clone();
        Ok(SimFile { disk, index })
    }

    fn create(&self, path: &Path) -> io::Result<SimFile> {
        let mut inner = self.inner();
        if inner.trouble == Trouble::Full {
            return Err(full());
        }
        let index = inner.files.len();
        inner.files.push(Content::default());
        inner.names.insert(path.to_owned(), index);
        let disk = self.clone();
        Ok(SimFile { disk, index })
    }

    fn replace(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut inner = self.inner();
        let index = inner.names.remove(from);
        let index = index.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        inner.names.insert(to.to_owned(), index);
        if inner.trouble == Trouble::Sync {
            return Err(io::Error::other("the folder was not synced"));
        }
        inner.synced_names.insert(to.to_owned(), index);
        Ok(())
    }

    fn copy(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut inner = self.inner();
        let index = inner.names.get(from).copied();
        let index = index.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        let copy = inner.files[index].clone();
        inner.files.push(copy);
        let index = inner.files.len() - 1;
        inner.names.insert(to.to_owned(), index);
        Ok(())
    }
}

impl DiskFile for SimFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.disk.inner().files[self.index].now.len() as u64)
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        let inner = self.disk.inner();
        let from = offset as usize;
        let found = inner.files[self.index].now.get(from..from + bytes.len());
        let found = found.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
        bytes.copy_from_slice(found);
        Ok(())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut inner = self.disk.inner();
        let (room, result) = match inner.trouble {
            // half of it still fits
            Trouble::Full => (bytes.len() / 2, Err(full())),
            Trouble::None | Trouble::Sync => (bytes.len(), Ok(())),
        };
        let from = offset as usize;
        let file = &mut inner.files[self.index].now;
        if file.len() < from + room {
            file.resize(from + room, 0);
        }
        file[from..from + room].copy_from_slice(&bytes[..room]);
        result
    }

    fn sync(&self) -> io::Result<()> {
        let mut inner = self.disk.inner();
        let trouble = inner.trouble;
        let file = &mut inner.files[self.index];
        if trouble == Trouble::Sync {
            file.doomed = true;
            return Err(io::Error::other("the disk failed to sync"));
        }
        if !file.doomed {
            file.synced = file.now.clone();
        }
        Ok(())
    }
}
