//! Backups: everything that a controller needs to go on elsewhere, as one tar file.
//!
//! In this order: `agentd-backup.json`, `agentd.db` (SQLite's online backup of one moment), the
//! configuration for people to read, other files of the state folder, the logs, the blobs that the copy
//! of the database names, and `SHA256` with the hash of all bytes before it: a file that was cut or
//! changed is noticed. Only hashes of tokens are inside, and no plain keys of
//! providers; the key of the certificate authority is, as workers know the controller by it.

mod restore;
mod tape;
mod undo;
mod write;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use restore::{RestoreError, Restored, restore};
pub use undo::{UndoError, Undone, undo_upgrade};
pub use write::{BackupError, Source, write};

/// Name of the first entry.
const HEAD: &str = "agentd-backup.json";
/// Name of the database, in the backup as in a state folder.
const DATABASE: &str = "agentd.db";
/// Name of the merged configuration.
const CONFIGURATION: &str = "configuration.yaml";
/// Name of the last entry.
const SUM: &str = "SHA256";
/// The shape of the file; a reader refuses a higher one.
const FORMAT: u32 = 1;

/// The first entry: what this is.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    format: u32,
    /// Version of the agentd that wrote it.
    version: String,
    /// When.
    created_at: jiff::Timestamp,
}
