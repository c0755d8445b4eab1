//! Goes back to the database as it was before an upgrade, from the copy that the upgrade made of it.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use service::state_dir::{self, StateDirError};

use super::DATABASE;
use crate::state::{
    StateError,
    migrate::{MIGRATIONS, backup_path},
    snapshot::{Snapshot, settle},
};

/// Why nothing was undone.
#[derive(Debug, thiserror::Error)]
pub enum UndoError {
    /// This agentd can use the database as it is.
    #[error("the database has version {found}, which this agentd knows: there is no upgrade to undo")]
    NotNewer {
        /// Its version.
        found: u32,
    },
    /// No copy that this agentd knows.
    #[error(
        "{0} has no copy of its database of version {known} or earlier: start the newer agentd again, or \
         restore a backup with `agentd restore FILE --replace`",
        known = MIGRATIONS.len()
    )]
    NoCopy(PathBuf),
    /// The state folder cannot be used.
    #[error(transparent)]
    Folder(#[from] StateDirError),
    /// One of the databases cannot be used.
    #[error("{0}; nothing was undone")]
    State(#[from] StateError),
    /// A file cannot be written.
    #[error("the state folder cannot be written: {0}; nothing was undone")]
    Io(#[from] io::Error),
}

/// What was undone.
#[derive(Debug)]
pub struct Undone {
    /// The version from which it comes.
    pub from: u32,
    /// The version of the database now.
    pub to: u32,
    /// How many jobs it has.
    pub jobs: u64,
    /// The epoch from which the next start goes on.
    pub epoch: u64,
    /// Where the newer database lies now.
    pub aside: PathBuf,
}

/// Puts the newest copy that this agentd knows in the place of a newer database, in one step: whenever
/// it is killed, one of the two is there, whole.
pub fn undo_upgrade(folder: &Path, at: Timestamp) -> Result<Undone, UndoError> {
    let state = state_dir::open(folder)?;
    let folder = state.path();
    let database = folder.join(DATABASE);
    let from = settle(&database)?;
    let known = MIGRATIONS.len() as u32;
    if from <= known {
        return Err(UndoError::NotNewer { found: from });
    }
    let copies = (1..=known).rev();
    let (to, copy) = copies
        .map(|version| (version, backup_path(&database, version)))
        .find(|(_, copy)| copy.exists())
        .ok_or_else(|| UndoError::NoCopy(folder.to_owned()))?;

    let next = folder.join(".undoing");
    fs::copy(&copy, &next)?;
    let snapshot = Snapshot::open(&next)?;
    let (jobs, epoch) = (snapshot.jobs()?, snapshot.succeed(at, &database)?);
    drop(snapshot);
    File::open(&next)?.sync_all()?;

    let aside = folder.join(format!("agentd.v{from}.undone-{}", at.as_second()));
    // a file system without links gets a copy
    fs::hard_link(&database, &aside).or_else(|_| fs::copy(&database, &aside).map(drop))?;
    fs::rename(&next, &database)?;
    File::open(folder)?.sync_all()?;
    Ok(Undone {
        from,
        to,
        jobs,
        epoch,
        aside,
    })
}
