//! Makes a state folder from a backup. Everything is unpacked beside its place and verified there; only
//! then does it move in, so that a backup that was cut or damaged changes nothing.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufReader, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use protocol::{artifact::Sha256, id::AttemptId};
use service::state_dir::{self, StateDirError};
use sha2::{Digest, Sha256 as Hasher};

use super::{
    CONFIGURATION, DATABASE, FORMAT, HEAD, Head, SUM,
    tape::{BLOCK, Entry},
};
use crate::{
    credentials::{TOKEN_PREFIX, hash, new_secret},
    state::{StateError, snapshot::Snapshot},
};

/// Where it is unpacked, in the state folder.
const UNPACKED: &str = ".restoring";
/// The lock of a state folder stays in its place.
const LOCK: &str = "lock";
/// The largest head or sum that is read into memory, in bytes.
const SMALL: u64 = 64 << 10;

/// Why nothing was restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The file cannot be opened.
    #[error("cannot read the backup {path}: {source}")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is something else.
    #[error("{0} is no backup of agentd: make one with `agentctl backup`")]
    NoBackup(PathBuf),
    /// A newer agentd has written it.
    #[error(
        "the backup was written in format {found}, and this agentd knows up to {FORMAT}: restore it with agentd {version}"
    )]
    Newer {
        /// Its format.
        found: u32,
        /// Its version.
        version: String,
    },
    /// It ends too early.
    #[error(
        "the backup is cut: it ends in {0}; nothing was restored; take another copy of it, or an older backup"
    )]
    Cut(String),
    /// It is not what was written.
    #[error("the backup is damaged: {0}; nothing was restored; take another copy of it, or an older backup")]
    Damaged(String),
    /// There is something already.
    #[error(
        "the state folder {0} is not empty: name another with --state-dir, or add --replace to move what is there aside"
    )]
    NotEmpty(PathBuf),
    /// The state folder cannot be used.
    #[error(transparent)]
    Folder(#[from] StateDirError),
    /// The database in it cannot be used.
    #[error("the backup's database cannot be used: {0}; nothing was restored")]
    State(#[from] StateError),
    /// A file of the state folder cannot be written.
    #[error("the state folder cannot be written: {0}; nothing was restored")]
    Io(#[from] io::Error),
}

/// What was restored.
#[derive(Debug)]
pub struct Restored {
    /// When the backup was made.
    pub created_at: Timestamp,
    /// How many jobs it has.
    pub jobs: u64,
    /// How many blobs.
    pub blobs: u64,
    /// How many blobs it had lost already when it was made.
    pub missing: u64,
    /// The epoch from which the next start goes on.
    pub epoch: u64,
    /// Where what was there before lies now.
    pub aside: Option<PathBuf>,
}

/// Makes `folder` from the backup `file`.
pub fn restore(file: &Path, folder: &Path, replace: bool, at: Timestamp) -> Result<Restored, RestoreError> {
    let unreadable = |source| RestoreError::Unreadable {
        path: file.to_owned(),
        source,
    };
    let tape = File::open(file).map_err(unreadable)?;
    let mut reader = Reader {
        from: BufReader::new(tape),
        hasher: Hasher::new(),
    };
    let head = read_head(&mut reader, file)?;
    let state = state_dir::open(folder)?;
    let folder = state.path();
    let there = entries(folder)?;
    if !there.is_empty() && !replace {
        return Err(RestoreError::NotEmpty(folder.to_owned()));
    }
    let unpacked = Unpacked(folder.join(UNPACKED));
    unpacked.remove()?;
    fs::create_dir_all(&unpacked.0)?;
    unpack(&mut reader, &unpacked.0)?;
    let mut restored = verify(&unpacked.0, &head)?;
    restored.epoch = adopt(&unpacked.0, at)?;
    if !there.is_empty() {
        restored.aside = Some(move_aside(folder, &there, at)?);
    }
    for name in entries(&unpacked.0)? {
        fs::rename(unpacked.0.join(&name), folder.join(&name))?;
    }
    File::open(folder)?.sync_all()?;
    Ok(restored)
}

/// Names in a folder, but for what is ours alone.
fn entries(folder: &Path) -> io::Result<Vec<std::ffi::OsString>> {
    let mut names = vec![];
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        if name != LOCK && name != UNPACKED {
            names.push(name);
        }
    }
    Ok(names)
}

fn move_aside(folder: &Path, names: &[std::ffi::OsString], at: Timestamp) -> io::Result<PathBuf> {
    let aside = folder.join(format!("before-restore-{}", at.as_second()));
    fs::create_dir(&aside)?;
    for name in names {
        fs::rename(folder.join(name), aside.join(name))?;
    }
    Ok(aside)
}

/// The first entry says what this is.
fn read_head(reader: &mut Reader, file: &Path) -> Result<Head, RestoreError> {
    let none = || RestoreError::NoBackup(file.to_owned());
    let entry = reader.entry().map_err(|_| none())?;
    if entry.name != HEAD || entry.size > SMALL {
        return Err(none());
    }
    let head: Head = serde_json::from_slice(&reader.small(&entry)?).map_err(|_| none())?;
    if head.format > FORMAT {
        return Err(RestoreError::Newer {
            found: head.format,
            version: head.version,
        });
    }
    Ok(head)
}

/// Unpacks all entries up to the sum, which must be right.
fn unpack(reader: &mut Reader, folder: &Path) -> Result<(), RestoreError> {
    loop {
        let sum = hex::encode(reader.hasher.clone().finalize());
        let entry = reader.entry()?;
        if entry.name == SUM {
            if entry.size > SMALL {
                return Err(RestoreError::Damaged("its sum is no sum".to_owned()));
            }
            let told = reader.small(&entry)?;
            if told.trim_ascii() != sum.as_bytes() {
                return Err(RestoreError::Damaged(
                    "its bytes are not those that were written".to_owned(),
                ));
            }
            return Ok(());
        }
        let path = place_of(&entry.name)
            .ok_or_else(|| RestoreError::Damaged(format!("it has an entry {:?}", entry.name)))?;
        let path = folder.join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let expected = blob_of(&entry.name);
        let found = reader.file(&entry, &path)?;
        if expected.is_some_and(|expected| expected != found) {
            return Err(RestoreError::Damaged(format!("{} has other bytes", entry.name)));
        }
    }
}

/// Where an entry belongs; `None` for a name that no backup has, so that nothing leaves the folder.
pub(super) fn place_of(name: &str) -> Option<PathBuf> {
    let is_plain = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.contains('/');
    let known = match name.split_once('/') {
        None => name == DATABASE || name == CONFIGURATION,
        Some(("files", rest)) => {
            let free = rest != LOCK && rest != "blobs" && rest != "logs" && !rest.starts_with(DATABASE);
            return (is_plain(rest) && free).then(|| PathBuf::from(rest));
        }
        Some(("logs", rest)) => {
            let attempt = rest
                .strip_suffix(".log")
                .and_then(|id| id.parse::<AttemptId>().ok());
            attempt.is_some_and(|id| rest == format!("{id}.log"))
        }
        Some(_) => blob_of(name).is_some(),
    };
    known.then(|| PathBuf::from(name))
}

/// The hash that a blob's name says.
fn blob_of(name: &str) -> Option<Sha256> {
    let (first, rest) = name.strip_prefix("blobs/")?.split_once('/')?;
    (first.len() == 2).then(|| format!("{first}{rest}").parse().ok())?
}

/// Every blob of the database is here, but for those that were lost before.
fn verify(folder: &Path, head: &Head) -> Result<Restored, RestoreError> {
    let database = folder.join(DATABASE);
    if !database.exists() {
        return Err(RestoreError::Damaged("it has no database".to_owned()));
    }
    let snapshot = Snapshot::open(&database)?;
    let (mut blobs, mut missing) = (0, 0);
    snapshot.each_blob(|sha256, _| -> Result<(), RestoreError> {
        let name = sha256.to_string();
        let is_here = folder.join("blobs").join(&name[..2]).join(&name[2..]).exists();
        blobs += u64::from(is_here);
        missing += u64::from(!is_here);
        Ok(())
    })?;
    Ok(Restored {
        created_at: head.created_at,
        jobs: snapshot.jobs()?,
        blobs,
        missing,
        epoch: 0,
        aside: None,
    })
}

/// A higher epoch, and a new admin token for whoever sits at this machine.
fn adopt(folder: &Path, at: Timestamp) -> Result<u64, RestoreError> {
    let secret = new_secret(TOKEN_PREFIX);
    let mut file = private(&folder.join("admin.token"))?;
    writeln!(file, "{secret}")?;
    file.sync_all()?;
    Ok(Snapshot::open(&folder.join(DATABASE))?.adopt(at, &hash(&secret))?)
}

fn private(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

/// The folder where it is unpacked; what is left of it goes at the end.
struct Unpacked(PathBuf);

impl Unpacked {
    fn remove(&self) -> io::Result<()> {
        match fs::remove_dir_all(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

impl Drop for Unpacked {
    fn drop(&mut self) {
        if let Err(error) = self.remove() {
            tracing::warn!(%error, "what was unpacked stays in {}", self.0.display());
        }
    }
}

/// The backup, and the hash of what was read of it.
struct Reader {
    from: BufReader<File>,
    hasher: Hasher,
}

impl Reader {
    fn take(&mut self, bytes: &mut [u8], where_: &str) -> Result<(), RestoreError> {
        self.from.read_exact(bytes).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => RestoreError::Cut(where_.to_owned()),
            _ => RestoreError::Damaged(format!("it cannot be read: {error}")),
        })?;
        self.hasher.update(bytes);
        Ok(())
    }

    fn entry(&mut self) -> Result<Entry, RestoreError> {
        let mut block = [0; BLOCK];
        self.take(&mut block, "the head of a file")?;
        Entry::from_block(&block).map_err(|error| RestoreError::Damaged(error.to_string()))
    }

    /// A file that fits into memory.
    fn small(&mut self, entry: &Entry) -> Result<Vec<u8>, RestoreError> {
        let mut bytes = vec![0; entry.size as usize];
        self.take(&mut bytes, &entry.name)?;
        self.skip_padding(entry)?;
        Ok(bytes)
    }

    /// A file to the disk; returns its hash.
    fn file(&mut self, entry: &Entry, path: &Path) -> Result<Sha256, RestoreError> {
        let mut file = private(path)?;
        let mut hasher = Hasher::new();
        let mut buffer = vec![0; 256 << 10];
        let mut left = entry.size;
        while left > 0 {
            let piece = &mut buffer[..left.min(256 << 10) as usize];
            self.take(piece, &entry.name)?;
            hasher.update(&piece[..]);
            file.write_all(piece)?;
            left -= piece.len() as u64;
        }
        file.sync_all()?;
        self.skip_padding(entry)?;
        Ok(Sha256(hasher.finalize().into()))
    }

    fn skip_padding(&mut self, entry: &Entry) -> Result<(), RestoreError> {
        let mut padding = [0; BLOCK];
        self.take(&mut padding[..entry.padding() as usize], &entry.name)
    }
}
