//! The worker's durable record of what it accepted and how it ended. An
//! append-only file, owned by one thread: everything that waits while a sync
//! runs goes into the next one. Acceptances, checkpoints and results are on
//! disk before their write returns; everything else rides along.

mod disk;
mod file;
mod frame;
mod ledger;
#[cfg(test)]
mod tests;
mod writer;

use std::{collections::BTreeMap, path::PathBuf};

use protocol::{
    id::{AttemptId, JobId, JournalId},
    job::StepKey,
    message::{Checkpoint, StepResult},
};
use serde::{Deserialize, Serialize};
use service::{
    ballast::Ballast,
    clock::SharedClock,
    tasks::{OnExit, Tasks},
};
use tokio::sync::{mpsc, oneshot};

use crate::session::Held;
use writer::Command;

pub use disk::{Disk, DiskFile, LocalDisk};
pub use writer::Writer;

/// Writes that may wait; whoever has one more waits with it.
const QUEUE: usize = 256;

/// One thing worth remembering.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Record {
    /// The journal was opened; the first record of every file.
    Opened {
        /// Its identity.
        journal: JournalId,
        /// How often it was opened.
        start: u64,
    },
    /// The highest epoch seen.
    Epoch(u64),
    /// An attempt was accepted: it is never executed again.
    Accepted {
        /// Which.
        attempt: AttemptId,
        /// Its job.
        job: JobId,
        /// Its step.
        step: StepKey,
    },
    /// A turn of an open attempt is finished; what it names is in the cache of blobs.
    Checkpoint(Box<Checkpoint>),
    /// An attempt ended.
    Result(Box<StepResult>),
    /// The controller has the result of an attempt.
    Acked {
        /// Which.
        attempt: AttemptId,
    },
    /// An attempt was cancelled before its Assign came.
    Barred {
        /// Which.
        attempt: AttemptId,
    },
}

impl Record {
    /// Whether its write returns only when it is on disk.
    const fn is_durable(&self) -> bool {
        matches!(
            self,
            Self::Opened { .. } | Self::Accepted { .. } | Self::Checkpoint(_) | Self::Result(_)
        )
    }
}

/// What was wrong with the file when it was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Damage {
    /// The last write was cut by a crash; so many bytes were dropped.
    TornTail(usize),
    /// Bytes inside were changed; the file was kept aside, what could be read was kept.
    Corrupt {
        /// Bytes that could not be read.
        lost: usize,
        /// Where the damaged file is now.
        aside: PathBuf,
    },
}

/// What a journal remembers when it is opened.
#[derive(Debug)]
pub struct Opened {
    /// Its identity; a new one after damage in the middle.
    pub id: JournalId,
    /// How often it was opened, this time included.
    pub start: u64,
    /// The highest epoch seen.
    pub epoch: u64,
    /// What is held of each attempt.
    pub held: BTreeMap<AttemptId, Held>,
    /// What was wrong with the file.
    pub damage: Option<Damage>,
}

/// Why the journal does not do what it should.
#[derive(Clone, Debug, thiserror::Error)]
pub enum JournalError {
    /// The file system refused.
    #[error("the journal {path} cannot be {action}: {reason}")]
    Io {
        /// The file.
        path: PathBuf,
        /// `read` or `written`.
        action: &'static str,
        /// What the system said.
        reason: String,
    },
    /// Its thread has ended.
    #[error("the journal is closed")]
    Closed,
}

/// A handle; cheap to clone. The thread ends when the last one is gone.
#[derive(Clone)]
pub struct Journal(mpsc::Sender<Command>);

impl Journal {
    /// Opens or makes the journal file at `path` and starts its thread. The second
    /// part of the answer names attempts that are no longer remembered, now and then.
    pub fn open(
        path: PathBuf,
        clock: SharedClock,
        tasks: &Tasks,
    ) -> Result<(Self, Opened, mpsc::Receiver<Vec<AttemptId>>), JournalError> {
        let (sender, commands) = mpsc::channel(QUEUE);
        let (forgotten, forgotten_ids) = mpsc::channel(4);
        let ballast = Ballast::new(path.with_file_name("ballast"));
        let (writer, opened) = Writer::open(LocalDisk, path.clone(), clock, forgotten)?;
        let writer = writer.with_ballast(ballast);
        tasks
            .spawn_thread("journal", OnExit::StopProcess, move || writer.run(commands))
            .map_err(|e| file::io_error(&path, "written", &e))?;
        Ok((Self(sender), opened, forgotten_ids))
    }

    /// Writes one record; acceptances and results are on disk when this returns.
    pub async fn write(&self, record: Record) -> Result<(), JournalError> {
        let (done, answer) = oneshot::channel();
        self.send(Command::Write { record, done }).await?;
        answer.await.map_err(|_| JournalError::Closed)?
    }

    /// Reads the result of an attempt again; `None` if it is no longer kept.
    pub async fn recall(&self, attempt: AttemptId) -> Result<Option<Box<StepResult>>, JournalError> {
        let (done, answer) = oneshot::channel();
        self.send(Command::Recall { attempt, done }).await?;
        answer.await.map_err(|_| JournalError::Closed)?
    }

    async fn send(&self, command: Command) -> Result<(), JournalError> {
        self.0.send(command).await.map_err(|_| JournalError::Closed)
    }
}
