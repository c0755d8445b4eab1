//! Content-addressed files with resumable uploads: bytes to a temporary name,
//! verified, fsynced, renamed, the folder fsynced; only then does a row name them.

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

use bytes::Bytes;
use protocol::artifact::Sha256;
use sha2::Digest;

/// Uploads whose running hash is kept in memory, at most; others are hashed again when they end.
const RUNNING_HASHES: usize = 256;

/// What can go wrong with the store.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// The upload goes on elsewhere.
    #[error("the upload goes on at byte {expected}")]
    WrongOffset {
        /// Where.
        expected: u64,
    },
    /// The bytes have another hash; they were dropped.
    #[error("the uploaded bytes have the hash {found}")]
    WrongHash {
        /// Which.
        found: Sha256,
    },
    /// It would be larger than what was announced or is allowed.
    #[error("the blob would be larger than {limit} bytes")]
    TooLarge {
        /// What was announced or is allowed.
        limit: u64,
    },
    /// The disk has to keep some room for everything else.
    #[error("{bytes} bytes more would leave less than {kept} bytes free on the disk, which has {free}")]
    NoRoom {
        /// What comes.
        bytes: u64,
        /// What is free.
        free: u64,
        /// What stays free.
        kept: u64,
    },
    /// Somebody else uploads the same blob right now.
    #[error("the same blob is being uploaded right now")]
    Busy,
    /// The file system refused.
    #[error("the blob store cannot be used: {0}")]
    Io(#[from] io::Error),
}

impl BlobError {
    /// Whether the disk is full.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Io(error) if error.kind() == io::ErrorKind::StorageFull)
    }
}

/// The files; cheap to clone. Its calls block: keep them off the async threads.
#[derive(Clone)]
pub struct BlobStore(Arc<Inner>);

struct Inner {
    root: PathBuf,
    incoming: PathBuf,
    max_bytes: u64,
    kept_free: u64,
    /// Bytes of the stored files, as they were counted last and have changed since.
    bytes: AtomicU64,
    uploads: Mutex<HashMap<Sha256, Upload>>,
    /// Blobs of which a row is about to be written.
    pins: Mutex<HashMap<Sha256, usize>>,
}

/// An upload in progress.
enum Upload {
    /// A request writes to it, or it is being removed.
    Busy,
    /// So many bytes were hashed so far.
    Idle(u64, sha2::Sha256),
}

impl BlobStore {
    /// A store below `state_dir` for blobs of at most `max_bytes`; uploads leave `kept_free` bytes of
    /// the disk free.
    pub fn open(state_dir: &Path, max_bytes: u64, kept_free: u64) -> io::Result<Self> {
        let root = state_dir.join("blobs");
        let incoming = state_dir.join("incoming");
        fs::create_dir_all(&root)?;
        fs::create_dir_all(&incoming)?;
        Ok(Self(Arc::new(Inner {
            root,
            incoming,
            max_bytes,
            kept_free,
            bytes: AtomicU64::new(0),
            uploads: Mutex::default(),
            pins: Mutex::default(),
        })))
    }

    /// Where a stored blob lies.
    pub fn path(&self, sha256: &Sha256) -> PathBuf {
        let name = sha256.to_string();
        self.0.root.join(&name[..2]).join(&name[2..])
    }

    fn partial(&self, sha256: &Sha256) -> PathBuf {
        self.0.incoming.join(sha256.to_string())
    }

    /// How many bytes of a blob are here, and whether that is all of it.
    pub fn offset(&self, sha256: &Sha256) -> io::Result<(u64, bool)> {
        if let Some(stored) = self.stored(sha256)? {
            return Ok((stored, true));
        }
        Ok((size_of(&self.partial(sha256))?.unwrap_or(0), false))
    }

    /// The size of a stored blob; one that is being removed is not here any more.
    fn stored(&self, sha256: &Sha256) -> io::Result<Option<u64>> {
        let uploads = self.uploads();
        match uploads.get(sha256) {
            Some(Upload::Busy) => Ok(None),
            _ => size_of(&self.path(sha256)),
        }
    }

    /// Refuses an upload of so many bytes that would take the room which is to stay free.
    pub fn check_room(&self, bytes: u64) -> Result<(), BlobError> {
        let disk = rustix::fs::statvfs(&self.0.incoming).map_err(io::Error::from)?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        let kept = self.0.kept_free;
        if free < kept.saturating_add(bytes) {
            return Err(BlobError::NoRoom { bytes, free, kept });
        }
        Ok(())
    }

    /// Adds pieces at an offset as they come; what came before they end or an error stays for the next
    /// upload. Returns the new offset, and whether the blob is whole, verified and on disk.
    pub fn append(
        &self,
        sha256: &Sha256,
        offset: u64,
        length: u64,
        pieces: impl IntoIterator<Item = Bytes>,
    ) -> Result<(u64, bool), BlobError> {
        if let Some(stored) = self.stored(sha256)? {
            return Ok((stored, true));
        }
        if offset > length || length > self.0.max_bytes {
            return Err(BlobError::TooLarge {
                limit: length.min(self.0.max_bytes),
            });
        }
        let held = self.take(sha256)?;
        let outcome = self.write(sha256, offset, length, pieces, held);
        let mut uploads = self.uploads();
        uploads.remove(sha256);
        match outcome {
            Ok((end, Some(hasher))) => {
                if uploads.len() < RUNNING_HASHES {
                    uploads.insert(*sha256, Upload::Idle(end, hasher));
                }
                Ok((end, false))
            }
            Ok((end, None)) => {
                self.0.bytes.fetch_add(end, Ordering::Relaxed);
                Ok((end, true))
            }
            Err(error) => Err(error),
        }
    }

    /// Keeps a blob from being removed until the pin is dropped: for whoever is about to write its row.
    pub fn pin(&self, sha256: Sha256) -> Pin {
        let mut pins = self.0.pins.lock().unwrap_or_else(PoisonError::into_inner);
        *pins.entry(sha256).or_default() += 1;
        Pin {
            store: self.clone(),
            sha256,
        }
    }

    /// Keeps uploads of a blob away until the hold is dropped: for whoever is about to remove it. `None`
    /// if it is being uploaded or pinned.
    pub fn hold(&self, sha256: Sha256) -> Option<Hold> {
        let mut uploads = self.uploads();
        let pins = self.0.pins.lock().unwrap_or_else(PoisonError::into_inner);
        if pins.contains_key(&sha256) || matches!(uploads.get(&sha256), Some(Upload::Busy)) {
            return None;
        }
        uploads.insert(sha256, Upload::Busy);
        Some(Hold {
            store: self.clone(),
            sha256,
        })
    }

    /// Bytes of all stored blobs.
    pub fn bytes(&self) -> u64 {
        self.0.bytes.load(Ordering::Relaxed)
    }

    /// Corrects that number, once somebody has counted.
    pub fn counted(&self, bytes: u64) {
        self.0.bytes.store(bytes, Ordering::Relaxed);
    }

    /// Stored blobs whose hash begins with this byte and whose file is from before `before_ms` (unix time).
    pub fn stored_before(&self, first_byte: u8, before_ms: i64) -> io::Result<Vec<Sha256>> {
        let prefix = format!("{first_byte:02x}");
        let names = old_files(&self.0.root.join(&prefix), before_ms)?;
        Ok(names
            .iter()
            .filter_map(|name| format!("{prefix}{name}").parse().ok())
            .collect())
    }

    /// Removes uploads that nobody has gone on with since `before_ms` (unix time); returns how many.
    pub fn remove_abandoned(&self, before_ms: i64) -> io::Result<u64> {
        let mut removed = 0;
        for name in old_files(&self.0.incoming, before_ms)? {
            let Some(hold) = name.parse().ok().and_then(|sha256| self.hold(sha256)) else {
                continue;
            };
            fs::remove_file(self.partial(&hold.sha256))?;
            removed += 1;
        }
        Ok(removed)
    }

    /// Marks the upload as busy and takes its running hash.
    fn take(&self, sha256: &Sha256) -> Result<Option<(u64, sha2::Sha256)>, BlobError> {
        match self.uploads().insert(*sha256, Upload::Busy) {
            Some(Upload::Busy) => Err(BlobError::Busy),
            Some(Upload::Idle(end, hasher)) => Ok(Some((end, hasher))),
            None => Ok(None),
        }
    }

    fn write(
        &self,
        sha256: &Sha256,
        offset: u64,
        length: u64,
        pieces: impl IntoIterator<Item = Bytes>,
        held: Option<(u64, sha2::Sha256)>,
    ) -> Result<(u64, Option<sha2::Sha256>), BlobError> {
        let partial = self.partial(sha256);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&partial)?;
        let here = file.metadata()?.len();
        if here != offset {
            return Err(BlobError::WrongOffset { expected: here });
        }
        let mut hasher = match held {
            Some((end, hasher)) if end == offset => hasher,
            _ => hash_file(&mut file)?,
        };
        file.seek(SeekFrom::Start(offset))?;
        let (end, earlier) = std::thread::scope(|scope| {
            // what earlier requests brought goes to the disk while this one comes, so that the last sync is short
            let earlier = (offset > 0).then(|| scope.spawn(|| file.sync_data()));
            let end = receive(&file, &mut hasher, offset..length, pieces);
            let synced = earlier.map(|sync| sync.join().expect("a sync does not panic"));
            (end, synced.unwrap_or(Ok(())))
        });
        if let Err(error) = earlier {
            // a second sync of the same file would succeed though these bytes are on no disk
            fs::remove_file(&partial)?;
            return Err(error.into());
        }
        let end = end?;
        if end < length {
            return Ok((end, Some(hasher)));
        }
        let found = Sha256(hasher.finalize().into());
        if found != *sha256 {
            fs::remove_file(&partial)?;
            return Err(BlobError::WrongHash { found });
        }
        if let Err(error) = file.sync_all() {
            // a second sync of the same file would succeed though these bytes are on no disk
            fs::remove_file(&partial)?;
            return Err(error.into());
        }
        let path = self.path(sha256);
        let folder = path.parent().unwrap_or(&self.0.root);
        if !folder.exists() {
            fs::create_dir_all(folder)?;
            File::open(&self.0.root)?.sync_all()?;
        }
        fs::rename(&partial, &path)?;
        File::open(folder)?.sync_all()?;
        Ok((end, None))
    }

    /// Stores the bytes of a local file, such as a recording of the configuration.
    pub fn import(&self, file: &Path) -> Result<(Sha256, u64), BlobError> {
        let bytes = Bytes::from(fs::read(file)?);
        let sha256 = Sha256(sha2::Sha256::digest(&bytes).into());
        let size = bytes.len() as u64;
        remove_file(&self.partial(&sha256))?;
        self.append(&sha256, 0, size, [bytes])?;
        Ok((sha256, size))
    }

    fn uploads(&self) -> std::sync::MutexGuard<'_, HashMap<Sha256, Upload>> {
        self.0.uploads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A blob that must not be removed; see [`BlobStore::pin`].
pub struct Pin {
    store: BlobStore,
    sha256: Sha256,
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut pins = self.store.0.pins.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = pins.get_mut(&self.sha256) {
            *count -= 1;
            if *count == 0 {
                pins.remove(&self.sha256);
            }
        }
    }
}

/// A blob that must not be uploaded; see [`BlobStore::hold`].
pub struct Hold {
    store: BlobStore,
    sha256: Sha256,
}

impl Hold {
    /// Which.
    pub const fn sha256(&self) -> Sha256 {
        self.sha256
    }

    /// Removes the file of the blob; its row must be gone already.
    pub fn remove(self) -> io::Result<()> {
        let path = self.store.path(&self.sha256);
        let size = size_of(&path)?.unwrap_or(0);
        remove_file(&path)?;
        let bytes = &self.store.0.bytes;
        // only a figure: an early count may have missed the file
        let _ = bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |all| {
            Some(all.saturating_sub(size))
        });
        Ok(())
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.store.uploads().remove(&self.sha256);
    }
}

/// The size of a file; `None` if there is none.
pub(super) fn size_of(path: &Path) -> io::Result<Option<u64>> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(Some(metadata.len())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Removes a file that may be gone already.
pub(super) fn remove_file(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Names of the files of a folder that were last written before `before_ms` (unix time).
pub(super) fn old_files(folder: &Path, before_ms: i64) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(vec![]),
        entries => entries?,
    };
    let mut names = vec![];
    for entry in entries {
        let entry = entry?;
        let written = entry.metadata()?.modified()?;
        let ms = written
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |age| i64::try_from(age.as_millis()).unwrap_or(i64::MAX));
        if ms < before_ms {
            names.extend(entry.file_name().into_string());
        }
    }
    Ok(names)
}

/// Writes and hashes pieces; returns where they end, which must be within `range`.
fn receive(
    mut file: &File,
    hasher: &mut sha2::Sha256,
    range: std::ops::Range<u64>,
    pieces: impl IntoIterator<Item = Bytes>,
) -> Result<u64, BlobError> {
    let mut end = range.start;
    for piece in pieces {
        end += piece.len() as u64;
        if end > range.end {
            return Err(BlobError::TooLarge { limit: range.end });
        }
        file.write_all(&piece)?;
        hasher.update(&piece);
    }
    Ok(end)
}

fn hash_file(file: &mut File) -> io::Result<sha2::Sha256> {
    let mut hasher = sha2::Sha256::new();
    let mut buffer = vec![0; 256 << 10];
    file.seek(SeekFrom::Start(0))?;
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            return Ok(hasher);
        }
        hasher.update(&buffer[..count]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, BlobStore) {
        let folder = tempfile::tempdir().expect("a folder");
        let store = BlobStore::open(folder.path(), 1000, 0).expect("opens");
        (folder, store)
    }

    fn sha(bytes: &[u8]) -> Sha256 {
        Sha256(sha2::Sha256::digest(bytes).into())
    }

    #[test]
    fn an_upload_goes_on_where_it_was_even_after_a_restart() {
        let (folder, store) = store();
        let hash = sha(b"hello world");
        assert_eq!(
            store.append(&hash, 0, 11, [Bytes::from("hello")]).expect("first"),
            (5, false)
        );
        let again = BlobStore::open(folder.path(), 1000, 0).expect("opens");
        assert_eq!(again.offset(&hash).expect("known"), (5, false));
        let wrong = again
            .append(&hash, 3, 11, [Bytes::from("lo")])
            .expect_err("wrong place");
        assert!(matches!(wrong, BlobError::WrongOffset { expected: 5 }));
        assert_eq!(
            again
                .append(&hash, 5, 11, [Bytes::from(" world")])
                .expect("second"),
            (11, true)
        );
        assert_eq!(fs::read(again.path(&hash)).expect("stored"), b"hello world");
        assert_eq!(again.append(&hash, 0, 11, []).expect("known already"), (11, true));
    }

    #[test]
    fn pieces_that_end_early_are_kept_and_too_many_are_refused() {
        let (_folder, store) = store();
        let hash = sha(b"hello");
        let pieces = |texts: &'static [&'static str]| texts.iter().map(|text| Bytes::from(*text));
        assert_eq!(
            store.append(&hash, 0, 5, pieces(&["he", "l"])).expect("kept"),
            (3, false)
        );
        let many = store
            .append(&hash, 3, 5, pieces(&["l", "o", "!"]))
            .expect_err("more than announced");
        assert!(matches!(many, BlobError::TooLarge { limit: 5 }));
        let here = store.offset(&hash).expect("known");
        assert_eq!(here, (5, false), "what was announced is kept");
        assert_eq!(store.append(&hash, here.0, 5, []).expect("stored"), (5, true));
    }

    #[test]
    fn wrong_bytes_are_dropped_and_large_ones_refused() {
        let (_folder, store) = store();
        let hash = sha(b"right");
        let wrong = store
            .append(&hash, 0, 5, [Bytes::from("wrong")])
            .expect_err("another hash");
        assert!(matches!(wrong, BlobError::WrongHash { .. }));
        assert_eq!(store.offset(&hash).expect("known"), (0, false));
        let large = store
            .append(&hash, 0, 1001, [Bytes::from("x")])
            .expect_err("too large");
        assert!(matches!(large, BlobError::TooLarge { limit: 1000 }));
    }

    #[test]
    fn an_empty_blob_can_be_stored() {
        let (_folder, store) = store();
        assert_eq!(store.append(&sha(b""), 0, 0, []).expect("stored"), (0, true));
    }

    #[test]
    fn room_that_is_to_stay_free_is_left() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = BlobStore::open(folder.path(), 1000, 0).expect("opens");
        assert!(store.check_room(1).is_ok());
        let store = BlobStore::open(folder.path(), 1000, u64::MAX / 2).expect("opens");
        let refused = store.check_room(1).expect_err("no disk is so large").to_string();
        assert!(
            refused.starts_with("1 bytes more would leave less than"),
            "{refused}"
        );
    }
}
