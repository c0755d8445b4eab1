//! The journal's file: appending, reading one frame, and writing it anew with
//! what is still needed (new file, sync, then in the place of the old one).

use std::{
    io,
    path::{Path, PathBuf},
};

use protocol::id::{AttemptId, JournalId};

use super::{
    JournalError, Record,
    disk::{Disk, DiskFile},
    frame::{self, Place, Stamped},
    ledger::{Entry, Ledger},
};

/// Bytes that a new file collects before it writes them.
const BUFFER: usize = 64 << 10;

/// An error of the file system as ours.
pub(super) fn io_error(path: &Path, action: &'static str, error: &io::Error) -> JournalError {
    JournalError::Io {
        path: path.to_owned(),
        action,
        reason: error.to_string(),
    }
}

/// The open file.
pub(super) struct JournalFile<F> {
    path: PathBuf,
    file: F,
    len: u64,
}

impl<F: DiskFile> JournalFile<F> {
    /// How long it is.
    pub(super) const fn len(&self) -> u64 {
        self.len
    }

    /// Appends bytes of whole frames; syncs if asked.
    pub(super) fn append(&mut self, bytes: &[u8], sync: bool) -> io::Result<()> {
        self.file.write_at(self.len, bytes)?;
        if sync {
            self.file.sync()?;
        }
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// Reads the record at a place.
    pub(super) fn read(&self, place: Place) -> io::Result<Stamped> {
        let mut bytes = vec![0; place.len as usize];
        self.file.read_at(place.offset, &mut bytes)?;
        frame::decode(&bytes)
            .map(|(_, stamped)| stamped)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a record does not fit its checksum"))
    }

    /// Writes the file anew with what `ledger` still needs, read from `old`;
    /// answers the file and a ledger whose places fit it.
    pub(super) fn rewrite<D: Disk<File = F>>(
        disk: &D,
        path: &Path,
        (id, start): (JournalId, u64),
        now: u64,
        ledger: &Ledger,
        old: Option<&Self>,
    ) -> io::Result<(Self, Ledger)> {
        let temporary = path.with_extension("new");
        let mut out = Rewriter {
            file: disk.create(&temporary)?,
            buffer: vec![],
            written: 0,
            ledger: Ledger::default(),
        };
        out.put(now, Record::Opened { journal: id, start })?;
        out.put(now, Record::Epoch(ledger.epoch))?;
        for (&attempt, entry) in &ledger.entries {
            out.entry(attempt, entry, old)?;
        }
        out.flush()?;
        let Rewriter {
            file,
            written,
            ledger,
            ..
        } = out;
        file.sync()?;
        disk.replace(&temporary, path)?;
        let (path, len) = (path.to_owned(), written);
        Ok((Self { path, file, len }, ledger))
    }

    /// Opens an existing file only to read from it.
    pub(super) fn existing<D: Disk<File = F>>(disk: &D, path: &Path) -> io::Result<(Self, Vec<u8>)> {
        let file = disk.open(path)?;
        let len = file.size()?;
        let mut bytes = vec![0; len as usize];
        file.read_at(0, &mut bytes)?;
        let path = path.to_owned();
        Ok((Self { path, file, len }, bytes))
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

struct Rewriter<F> {
    file: F,
    buffer: Vec<u8>,
    written: u64,
    ledger: Ledger,
}

impl<F: DiskFile> Rewriter<F> {
    fn put(&mut self, at: u64, record: Record) -> io::Result<()> {
        let stamped = Stamped { at, record };
        let from = self.buffer.len();
        frame::encode(&stamped, &mut self.buffer).map_err(io::Error::other)?;
        let place = Place {
            offset: self.written + from as u64,
            len: (self.buffer.len() - from) as u32,
        };
        self.ledger.apply(&stamped, place);
        if self.buffer.len() >= BUFFER {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.write_at(self.written, &self.buffer)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    fn copy(&mut self, place: Place, old: Option<&JournalFile<F>>) -> io::Result<()> {
        let old = old.ok_or_else(|| io::Error::other("nothing to copy a result from"))?;
        let stamped = old.read(place)?;
        self.put(stamped.at, stamped.record)
    }

    fn entry(&mut self, attempt: AttemptId, entry: &Entry, old: Option<&JournalFile<F>>) -> io::Result<()> {
        match entry {
            Entry::Open {
                job,
                step,
                at,
                checkpoint,
            } => {
                let (job, step) = (*job, step.clone());
                self.put(*at, Record::Accepted { attempt, job, step })?;
                match checkpoint {
                    Some(checkpoint) => self.put(*at, Record::Checkpoint(checkpoint.clone())),
                    None => Ok(()),
                }
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
