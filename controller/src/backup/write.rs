//! Writes a backup: the copy of the database first, then the files that it names. Nothing may remove
//! files meanwhile; that is the caller's to see to.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use sha2::{Digest, Sha256 as Hasher};

use super::{
    CONFIGURATION, DATABASE, FORMAT, HEAD, Head, SUM,
    tape::{BLOCK, Entry, write_file},
};
use crate::{
    artifact::{BlobStore, Logs},
    state::{StateError, snapshot::Snapshot},
};

/// Files of the state folder that belong to one machine, one process, or are copied otherwise; the plain
/// admin token stays where it is.
const LEFT_OUT: &[&str] = &["admin.token", "endpoints.json", "lock", "ballast", COPY];
/// The copy of the database while a backup is written.
const COPY: &str = "backup.db";

/// Why a backup could not be written to its end.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The database cannot be copied.
    #[error(transparent)]
    State(#[from] StateError),
    /// A file cannot be read, or whoever takes the backup has gone.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// What goes into a backup.
pub struct Source<'a> {
    /// The state folder.
    pub folder: &'a Path,
    /// Files of blobs.
    pub blobs: &'a BlobStore,
    /// Files of logs.
    pub logs: &'a Logs,
    /// The merged configuration, secrets masked.
    pub configuration: &'a str,
    /// Version of this program.
    pub version: &'a str,
    /// Now.
    pub at: Timestamp,
}

/// Writes a backup. Returns the blobs that the database names and whose file is gone: they are not in it.
pub fn write(source: &Source<'_>, to: impl Write) -> Result<u64, BackupError> {
    let at = source.at.as_second();
    let mut tape = Tape {
        to,
        hasher: Hasher::new(),
        at,
    };
    let head = Head {
        format: FORMAT,
        version: source.version.to_owned(),
        created_at: source.at,
    };
    tape.bytes(HEAD, &serde_json::to_vec(&head).map_err(io::Error::from)?)?;
    let copy = Temporary(source.folder.join(COPY));
    copy.remove()?;
    let snapshot = Snapshot::take(&source.folder.join(DATABASE), &copy.0)?;
    tape.file(DATABASE, &copy.0)?;
    tape.bytes(CONFIGURATION, source.configuration.as_bytes())?;
    for name in other_files(source.folder)? {
        tape.file(&format!("files/{name}"), &source.folder.join(&name))?;
    }
    snapshot.each_attempt(|attempt| -> Result<(), BackupError> {
        // an attempt that printed nothing has no log
        tape.file_if_there(&format!("logs/{attempt}.log"), &source.logs.path(attempt))?;
        Ok(())
    })?;
    let mut missing = 0;
    snapshot.each_blob(|sha256, _| -> Result<(), BackupError> {
        let path = source.blobs.path(&sha256);
        if !tape.file_if_there(&blob_name(&path), &path)? {
            tracing::warn!(%sha256, "a blob has lost its file: the backup goes without it");
            missing += 1;
        }
        Ok(())
    })?;
    tape.end()?;
    Ok(missing)
}

/// `blobs/aa/bb…`, as it lies in the state folder.
fn blob_name(path: &Path) -> String {
    let part = |path: Option<&Path>| {
        let name = path.and_then(Path::file_name).unwrap_or_default();
        name.to_string_lossy().into_owned()
    };
    format!("blobs/{}/{}", part(path.parent()), part(Some(path)))
}

/// Keys and whatever else lies directly in the state folder.
fn other_files(folder: &Path) -> io::Result<Vec<String>> {
    let mut names = vec![];
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        let is_passing = matches!(name.rsplit('.').next(), Some("new" | "backup"));
        let left_out = LEFT_OUT.contains(&name.as_str())
            || is_passing
            || [".", DATABASE, COPY].iter().any(|start| name.starts_with(start));
        if entry.file_type()?.is_file() && !left_out {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// A file that goes with the end of the backup, whatever that is.
struct Temporary(PathBuf);

impl Temporary {
    fn remove(&self) -> io::Result<()> {
        match fs::remove_file(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Err(error) = self.remove() {
            tracing::warn!(%error, "the copy of the database stays in the state folder");
        }
    }
}

/// What comes out, and the hash of it.
struct Tape<W> {
    to: W,
    hasher: Hasher,
    at: i64,
}

impl<W: Write> Tape<W> {
    fn bytes(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let entry = Entry {
            name: name.to_owned(),
            size: bytes.len() as u64,
        };
        let at = self.at;
        write_file(self, &entry, at, bytes)
    }

    fn file(&mut self, name: &str, path: &Path) -> io::Result<()> {
        if self.file_if_there(name, path)? {
            return Ok(());
        }
        Err(io::Error::new(
            io::ErrorKind::NotFound,
            format!("{} is gone", path.display()),
        ))
    }

    fn file_if_there(&mut self, name: &str, path: &Path) -> io::Result<bool> {
        let file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            file => file?,
        };
        // a log may grow meanwhile: what comes later is not of this backup
        let entry = Entry {
            name: name.to_owned(),
            size: file.metadata()?.len(),
        };
        let at = self.at;
        write_file(self, &entry, at, file)?;
        Ok(true)
    }

    /// The hash of everything, and two empty blocks, by which tar knows its end.
    fn end(mut self) -> io::Result<()> {
        let sum = format!("{}\n", hex::encode(std::mem::take(&mut self.hasher).finalize()));
        self.bytes(SUM, sum.as_bytes())?;
        self.to.write_all(&[0; 2 * BLOCK])?;
        self.to.flush()
    }
}

impl<W: Write> Write for Tape<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}
