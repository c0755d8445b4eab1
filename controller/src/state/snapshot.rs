//! A copy of the database as of one moment, made while others write; and what a restored one needs.

use std::{path::Path, time::Duration};

use jiff::Timestamp;
use protocol::{
    artifact::Sha256,
    http::tokens::{Scope, TokenView},
    id::{AttemptId, TokenId},
};
use rusqlite::{
    Connection, OpenFlags,
    backup::{Backup, StepResult},
};

use super::{StateError, meta, migrate::MIGRATIONS, rows::id, tokens};

/// Between two tries to begin while somebody brings the write-ahead log into the database.
const AGAIN: Duration = Duration::from_millis(50);

/// The copy; its file must not change while this lives.
pub struct Snapshot(Connection);

/// Brings a database that nobody uses into one file, without a log beside it; answers its version.
pub fn settle(database: &Path) -> Result<u32, StateError> {
    let connection = Connection::open(database)?;
    connection.pragma_update(None, "journal_mode", "DELETE")?;
    Ok(connection.pragma_query_value(None, "user_version", |row| row.get(0))?)
}

impl Snapshot {
    /// Copies the database at `source`, by SQLite's online backup: one read transaction, which holds no
    /// writer up.
    pub fn take(source: &Path, to: &Path) -> Result<Self, StateError> {
        let from = Connection::open_with_flags(
            source,
            OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        )?;
        let mut copy = Connection::open(to)?;
        let backup = Backup::new(&from, &mut copy)?;
        while backup.step(-1)? != StepResult::Done {
            std::thread::sleep(AGAIN);
        }
        drop(backup);
        // the copy is one file
        copy.pragma_update(None, "journal_mode", "DELETE")?;
        Ok(Self(copy))
    }

    /// Opens a copy that a backup has brought, and checks that it is whole and not from a newer agentd.
    pub fn open(path: &Path) -> Result<Self, StateError> {
        let copy = Connection::open_with_flags(
            path,
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        )?;
        let found: u32 = copy.pragma_query_value(None, "user_version", |row| row.get(0))?;
        let known = MIGRATIONS.len() as u32;
        if found > known {
            return Err(StateError::Newer {
                path: path.to_owned(),
                found,
                known,
            });
        }
        let verdict: String = copy.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        if verdict == "ok" {
            Ok(Self(copy))
        } else {
            Err(StateError::Damaged(verdict))
        }
    }

    /// Calls `see` with every blob and its size, in the order of their hashes.
    pub fn each_blob<E: From<StateError>>(
        &self,
        mut see: impl FnMut(Sha256, u64) -> Result<(), E>,
    ) -> Result<(), E> {
        let sql = "SELECT sha256, size FROM blobs ORDER BY sha256";
        let mut statement = self.0.prepare(sql).map_err(StateError::from)?;
        let mut rows = statement.query([]).map_err(StateError::from)?;
        while let Some(row) = rows.next().map_err(StateError::from)? {
            let sha256 = row.get(0).map_err(StateError::from)?;
            let size: i64 = row.get(1).map_err(StateError::from)?;
            see(Sha256(sha256), size as u64)?;
        }
        Ok(())
    }

    /// Calls `see` with every attempt.
    pub fn each_attempt<E: From<StateError>>(
        &self,
        mut see: impl FnMut(AttemptId) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut statement = self
            .0
            .prepare("SELECT id FROM attempts")
            .map_err(StateError::from)?;
        let mut rows = statement.query([]).map_err(StateError::from)?;
        while let Some(row) = rows.next().map_err(StateError::from)? {
            see(AttemptId::from_uuid(id(row, 0).map_err(StateError::from)?))?;
        }
        Ok(())
    }

    /// How many jobs it has.
    pub fn jobs(&self) -> Result<u64, StateError> {
        let jobs: i64 = self
            .0
            .query_row("SELECT count(*) FROM jobs", [], |row| row.get(0))?;
        Ok(jobs as u64)
    }

    /// Makes it the beginning of a new line of history on the same machine: an epoch above its own and
    /// that of the line that is left.
    pub fn succeed(&self, at: Timestamp, left: &Path) -> Result<u64, StateError> {
        let unix_seconds = u64::try_from(at.as_second()).unwrap_or(0);
        let left = Connection::open_with_flags(left, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        meta::take_epoch(&self.0, unix_seconds.max(meta::number(&left, meta::EPOCH)? + 1))
    }

    /// Makes it the beginning of a new line of history: a higher epoch, and an admin token whose plain text
    /// is in the new folder, since that of the old one may be lost with its machine.
    pub fn adopt(&self, at: Timestamp, secret_sha256: &[u8]) -> Result<u64, StateError> {
        let unix_seconds = u64::try_from(at.as_second()).unwrap_or(0);
        let epoch = meta::take_epoch(&self.0, unix_seconds)?;
        let token = TokenView {
            id: TokenId::new(),
            name: format!("restored-{epoch}"),
            scopes: vec![Scope::Admin],
            created_at: at,
            expires_at: None,
            last_used_at: None,
        };
        tokens::insert(&self.0, &token, secret_sha256)?;
        Ok(epoch)
    }
}
