//! The journal's file: appending, reading one frame, and writing it anew with
//! what is still needed (new file, sync, rename, sync of the folder).

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use protocol::id::{AttemptId, JournalId};

use super::{
    JournalError, Record,
    frame::{self, Place, Stamped},
    ledger::{Entry, Ledger},
};

/// An error of the file system as ours.
pub(super) fn io_error(path: &Path, action: &'static str, error: &io::Error) -> JournalError {
    JournalError::Io {
        path: path.to_owned(),
        action,
        reason: error.to_string(),
    }
}

/// The open file.
pub(super) struct JournalFile {
    path: PathBuf,
    file: File,
    len: u64,
}

impl JournalFile {
    /// How long it is.
    pub(super) const fn len(&self) -> u64 {
        self.len
    }

    /// Appends bytes of whole frames; syncs if asked.
    pub(super) fn append(&mut self, bytes: &[u8], sync: bool) -> io::Result<()> {
        self.file.write_all_at(bytes, self.len)?;
        if sync {
            self.file.sync_data()?;
        }
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// Reads the record at a place.
    pub(super) fn read(&self, place: Place) -> io::Result<Stamped> {
        let mut bytes = vec![0; place.len as usize];
        self.file.read_exact_at(&mut bytes, place.offset)?;
        frame::decode(&bytes)
            .map(|(_, stamped)| stamped)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a record does not fit its checksum"))
    }

    /// Writes the file anew with what `ledger` still needs, read from `old`;
    /// answers the file and a ledger whose places fit it.
    pub(super) fn rewrite(
        path: &Path,
        (id, start): (JournalId, u64),
        now: u64,
        ledger: &Ledger,
        old: Option<&Self>,
    ) -> io::Result<(Self, Ledger)> {
        let temporary = path.with_extension("new");
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)?;
        let mut out = Rewriter {
            out: io::BufWriter::new(file),
            len: 0,
            ledger: Ledger::default(),
        };
        out.put(now, Record::Opened { journal: id, start })?;
        out.put(now, Record::Epoch(ledger.epoch))?;
        for (&attempt, entry) in &ledger.entries {
            out.entry(attempt, entry, old)?;
        }
        let Rewriter { out, len, ledger } = out;
        let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        if let Some(folder) = path.parent() {
            File::open(folder)?.sync_all()?;
        }
        let path = path.to_owned();
        Ok((Self { path, file, len }, ledger))
    }

    /// Opens an existing file only to read from it.
    pub(super) fn existing(path: &Path) -> io::Result<(Self, Vec<u8>)> {
        let bytes = fs::read(path)?;
        let file = File::open(path)?;
        let (path, len) = (path.to_owned(), bytes.len() as u64);
        Ok((Self { path, file, len }, bytes))
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

struct Rewriter {
    out: io::BufWriter<File>,
    len: u64,
    ledger: Ledger,
}

impl Rewriter {
    fn put(&mut self, at: u64, record: Record) -> io::Result<()> {
        let stamped = Stamped { at, record };
        let mut bytes = vec![];
        frame::encode(&stamped, &mut bytes).map_err(io::Error::other)?;
        self.out.write_all(&bytes)?;
        let place = Place {
            offset: self.len,
            len: bytes.len() as u32,
        };
        self.len += bytes.len() as u64;
        self.ledger.apply(&stamped, place);
        Ok(())
    }

    fn copy(&mut self, place: Place, old: Option<&JournalFile>) -> io::Result<()> {
        let old = old.ok_or_else(|| io::Error::other("nothing to copy a result from"))?;
        let stamped = old.read(place)?;
        self.put(stamped.at, stamped.record)
    }

    fn entry(&mut self, attempt: AttemptId, entry: &Entry, old: Option<&JournalFile>) -> io::Result<()> {
        match entry {
            Entry::Open { job, step, at } => {
                let (job, step) = (*job, step.clone());
                self.put(*at, Record::Accepted { attempt, job, step })
            }
            Entry::Unsent { result } => self.copy(*result, old),
            Entry::Acked { at, result } => {
                self.copy(*result, old)?;
                self.put(*at, Record::Acked { attempt })
            }
            Entry::Barred { at } => self.put(*at, Record::Barred { attempt }),
        }
    }
}
