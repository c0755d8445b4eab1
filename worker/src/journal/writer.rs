//! The thread that owns the journal's file.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use protocol::{
    id::{AttemptId, JournalId},
    message::StepResult,
};
use service::{ballast::Ballast, clock::SharedClock};
use tokio::sync::{mpsc, oneshot};

use super::{
    Damage, JournalError, Opened, Record,
    disk::{Disk, DiskFile},
    file::{JournalFile, io_error},
    frame::{self, Place, Stamped},
    ledger::{Entry, Ledger},
};
use crate::session::Held;

/// Records that go to disk with one sync, at most.
const BATCH: usize = 256;
/// The file is written anew when it is at least this large and twice what it was then: 16 MiB.
const REWRITE_BYTES: u64 = 16 << 20;

type Done = oneshot::Sender<Result<(), JournalError>>;

/// What the handle asks for.
pub(super) enum Command {
    /// Write a record.
    Write { record: Record, done: Done },
    /// Read the result of an attempt.
    Recall {
        attempt: AttemptId,
        done: oneshot::Sender<Result<Option<Box<StepResult>>, JournalError>>,
    },
}

/// Owner of the file and of what its records amount to.
pub struct Writer<D: Disk> {
    disk: D,
    file: JournalFile<D::File>,
    ledger: Ledger,
    identity: (JournalId, u64),
    clock: SharedClock,
    rewrite_at: u64,
    /// After a failed write or sync nothing is known about the file's end: it is written anew first.
    broken: bool,
    /// Room for the ends of attempts on a full disk, where there is any.
    ballast: Option<Ballast>,
    forgotten: mpsc::Sender<Vec<AttemptId>>,
}

impl<D: Disk> Writer<D> {
    /// Reads what is there, cuts or keeps aside what is damaged, and writes the file anew.
    /// Attempts that are no longer remembered are named to `forgotten`.
    pub fn open(
        disk: D,
        path: PathBuf,
        clock: SharedClock,
        forgotten: mpsc::Sender<Vec<AttemptId>>,
    ) -> Result<(Self, Opened), JournalError> {
        let now = seconds(&clock);
        let (old, scan) = match JournalFile::existing(&disk, &path) {
            Ok((file, bytes)) => (Some(file), frame::scan(&bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => (None, frame::Scan::default()),
            Err(error) => return Err(io_error(&path, "read", &error)),
        };
        let mut before = Ledger::default();
        for (place, stamped) in &scan.records {
            before.apply(stamped, *place);
        }
        let headless = old.is_some() && before.opened.is_none() && scan.torn > 0;
        let damage = if scan.lost > 0 || headless {
            let lost = scan.lost + scan.torn;
            let aside = keep_aside(&disk, &path, now).map_err(|e| io_error(&path, "written", &e))?;
            before.opened = None;
            Some(Damage::Corrupt { lost, aside })
        } else {
            (scan.torn > 0).then_some(Damage::TornTail(scan.torn))
        };
        drop(scan);
        before.expire(now);
        before.expire_dead(now);
        let (id, starts) = before.opened.unwrap_or_else(|| (JournalId::new(), 0));
        let identity = (id, starts + 1);
        let (file, ledger) = JournalFile::rewrite(&disk, &path, identity, now, &before, old.as_ref())
            .map_err(|e| io_error(&path, "written", &e))?;
        let opened = remembered(&file, &ledger, identity, damage).map_err(|e| io_error(&path, "read", &e))?;
        let rewrite_at = REWRITE_BYTES.max(2 * file.len());
        let writer = Self {
            disk,
            file,
            ledger,
            identity,
            clock,
            rewrite_at,
            broken: false,
            ballast: None,
            forgotten,
        };
        Ok((writer, opened))
    }

    /// With room for the ends of attempts, which is given up when the disk is full.
    pub(super) fn with_ballast(mut self, ballast: Ballast) -> Self {
        self.ballast = Some(ballast);
        // without it nothing is accepted: that says so
        self.has_room();
        self
    }

    /// Whether there is room for new attempts, beside that for the ends of others.
    fn has_room(&mut self) -> bool {
        let Some(ballast) = self.ballast.as_mut().filter(|ballast| !ballast.is_held()) else {
            return true;
        };
        if let Err(error) = ballast.hold() {
            tracing::warn!(%error, "there is no room on the disk: nothing new is accepted");
        }
        ballast.is_held()
    }

    /// Serves the handles until they are gone.
    pub(super) fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        while let Some(first) = commands.blocking_recv() {
            let mut writes = vec![];
            let mut next = Some(first);
            while let Some(command) = next {
                match command {
                    Command::Write {
                        record: Record::Accepted { .. },
                        done,
                    } if !self.has_room() => {
                        let full = io::Error::from(io::ErrorKind::StorageFull);
                        // whoever asks may have gone
                        let _gone = done.send(Err(io_error(self.file.path(), "written", &full)));
                    }
                    Command::Write { record, done } => writes.push((record, done)),
                    Command::Recall { attempt, done } => {
                        // whoever asks may have gone
                        let _gone = done.send(self.recall(attempt));
                    }
                }
                next = (writes.len() < BATCH).then(|| commands.try_recv().ok()).flatten();
            }
            if !writes.is_empty() {
                self.write(writes);
            }
        }
    }

    fn write(&mut self, writes: Vec<(Record, Done)>) {
        let (records, waiting): (Vec<Record>, Vec<Done>) = writes.into_iter().unzip();
        let outcome = self.keep(&records);
        for done in waiting {
            // whoever asked may have gone
            let _gone = done.send(outcome.clone());
        }
    }

    /// Writes records with one sync; acceptances and results are on disk when this returns.
    pub fn keep(&mut self, records: &[Record]) -> Result<(), JournalError> {
        let now = seconds(&self.clock);
        let outcome = self
            .append_somehow(now, records)
            .or_else(|error| {
                if error.kind() == io::ErrorKind::StorageFull && self.give_room(records) {
                    return self.append_somehow(now, records);
                }
                Err(error)
            })
            .map_err(|error| io_error(self.file.path(), "written", &error));
        self.broken = outcome.is_err();
        if outcome.is_ok() && self.file.len() > self.rewrite_at {
            // it stays usable as it is: the next try comes at twice the size
            if let Err(error) = self.rewrite(now) {
                tracing::warn!(%error, "the journal could not be written anew");
                self.rewrite_at *= 2;
            }
        }
        outcome
    }

    /// Appends; to a file that was written anew if the old one cannot be used.
    fn append_somehow(&mut self, now: u64, records: &[Record]) -> io::Result<()> {
        let appended = self.append(now, records);
        self.broken |= appended.is_err();
        appended.or_else(|_| self.rewrite(now).and_then(|()| self.append(now, records)))
    }

    /// Gives up the last room of a full disk for what has ended or got on; whether there was any.
    fn give_room(&mut self, records: &[Record]) -> bool {
        let is_worth_it = |record: &Record| matches!(record, Record::Result(_) | Record::Checkpoint(_));
        let given = records.iter().any(is_worth_it) && self.ballast.as_mut().is_some_and(Ballast::release);
        if given {
            tracing::warn!("the disk is full: its last room is given up for what has ended");
        }
        given
    }

    fn append(&mut self, now: u64, records: &[Record]) -> io::Result<()> {
        if self.broken {
            return Err(io::Error::other("an earlier write failed"));
        }
        let start = self.file.len();
        let mut bytes = vec![];
        let mut placed = Vec::with_capacity(records.len());
        for record in records {
            let from = bytes.len();
            let record = record.clone();
            let stamped = Stamped { at: now, record };
            frame::encode(&stamped, &mut bytes).map_err(io::Error::other)?;
            let place = Place {
                offset: start + from as u64,
                len: (bytes.len() - from) as u32,
            };
            placed.push((place, stamped));
        }
        self.file.append(&bytes, records.iter().any(Record::is_durable))?;
        for (place, stamped) in &placed {
            self.ledger.apply(stamped, *place);
        }
        Ok(())
    }

    fn rewrite(&mut self, now: u64) -> io::Result<()> {
        let gone = self.ledger.expire(now);
        let path = self.file.path().to_owned();
        let (file, ledger) = JournalFile::rewrite(
            &self.disk,
            &path,
            self.identity,
            now,
            &self.ledger,
            Some(&self.file),
        )?;
        (self.file, self.ledger, self.broken) = (file, ledger, false);
        self.rewrite_at = REWRITE_BYTES.max(2 * self.file.len());
        if !gone.is_empty() && self.forgotten.try_send(gone).is_err() {
            tracing::debug!("nobody heard which attempts the journal forgot");
        }
        Ok(())
    }

    /// Reads the result of an attempt again; `None` if it is no longer kept.
    pub fn recall(&self, attempt: AttemptId) -> Result<Option<Box<StepResult>>, JournalError> {
        let Some(Entry::Acked { result, .. } | Entry::Unsent { result }) = self.ledger.entries.get(&attempt)
        else {
            return Ok(None);
        };
        let stamped = self
            .file
            .read(*result)
            .map_err(|e| io_error(self.file.path(), "read", &e))?;
        Ok(match stamped.record {
            Record::Result(result) => Some(result),
            _ => None,
        })
    }
}

/// Seconds since 1970; a clock from before that counts as 1970.
fn seconds(clock: &SharedClock) -> u64 {
    u64::try_from(clock.wall_ms() / 1000).unwrap_or_default()
}

/// Copies a damaged file, so that nothing readable is lost for good.
fn keep_aside<D: Disk>(disk: &D, path: &Path, now: u64) -> io::Result<PathBuf> {
    let aside = path.with_extension(format!("damaged-{now}"));
    disk.copy(path, &aside)?;
    Ok(aside)
}

fn remembered<F: DiskFile>(
    file: &JournalFile<F>,
    ledger: &Ledger,
    (id, start): (JournalId, u64),
    damage: Option<Damage>,
) -> io::Result<Opened> {
    let mut held = BTreeMap::new();
    for (&attempt, entry) in &ledger.entries {
        let what = match entry {
            Entry::Open {
                job,
                step,
                checkpoint,
                ..
            } => Held::Dead {
                job: *job,
                step: step.clone(),
                checkpoint: checkpoint.clone(),
            },
            Entry::Unsent { result } => match file.read(*result)?.record {
                Record::Result(result) => Held::Unsent { result },
                _ => continue,
            },
            Entry::Acked { .. } => Held::Acked,
            Entry::Barred { .. } => Held::Barred,
        };
        held.insert(attempt, what);
    }
    Ok(Opened {
        id,
        start,
        epoch: ledger.epoch,
        held,
        damage,
    })
}
