//! All SQL of the controller. One writer connection, owned by the engine's
//! thread; a few read-only ones for everybody else. Rows stay in here: the
//! outside sees domain types.

pub mod artifacts;
pub mod attempts;
pub mod audit;
pub mod events;
pub mod jobs;
pub mod load;
pub mod meta;
pub mod migrate;
pub mod prune;
pub mod readers;
pub mod refs;
pub mod rows;
pub mod secrets;
pub mod sessions;
pub mod snapshot;
pub mod steps;
pub mod store;
pub mod tokens;
pub mod usage;
pub mod views;
pub mod workers;
pub mod workflows;

#[cfg(test)]
mod tests;

use std::path::PathBuf;

pub use readers::Readers;
pub use rusqlite::Connection;
pub use store::{Committed, Store};

/// What can go wrong with the tables.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// SQLite refused.
    #[error("the database {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// A document in a row cannot be read.
    #[error("a row of {table} cannot be read: {source}")]
    Row {
        /// Which table.
        table: &'static str,
        /// Why.
        source: serde_json::Error,
    },
    /// The database was written by a newer version.
    #[error(
        "the database {path} has version {found}, and this agentd knows up to {known}: start the newer \
         agentd again, or go back to how it was before its upgrade with `agentd undo-upgrade`"
    )]
    Newer {
        /// Where it is.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// Ours.
        known: u32,
    },
    /// A file beside the database cannot be made.
    #[error("{what} {path}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The database is not whole.
    #[error("the database is damaged: {0}")]
    Damaged(String),
    /// The readers' thread is gone.
    #[error("the database is closed")]
    Closed,
}

impl StateError {
    /// Whether the disk is full: nothing is lost, and freeing space mends it.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Sqlite(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull))
    }
}
