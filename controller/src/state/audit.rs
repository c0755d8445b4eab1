//! Rows of the audit log: append-only.

use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::StateError;

/// Who did what from where, with which result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// Name of the token or worker.
    pub who: String,
    /// Address.
    pub origin: String,
    /// Such as `job.cancel`.
    pub action: String,
    /// To what.
    pub object: String,
    /// `ok`, or the code of the refusal.
    pub result: String,
}

/// Appends one.
pub fn append(connection: &Connection, entry: &AuditEntry, at: Timestamp) -> Result<(), StateError> {
    let sql =
        "INSERT INTO audit (at_ms, who, origin, action, object, result) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    connection.prepare_cached(sql)?.execute(params![
        at.as_millisecond(),
        entry.who,
        entry.origin,
        entry.action,
        entry.object,
        entry.result
    ])?;
    Ok(())
}
