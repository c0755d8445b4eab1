//! Rows of sealed secrets. What is in them, only the seal knows.

use jiff::Timestamp;
use protocol::{
    http::secrets::SecretView,
    id::{AttemptId, JobId},
};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{
    StateError, audit,
    audit::AuditEntry,
    rows::{maybe_time, time},
    views,
};

const COLUMNS: &str = "name, created_ms, set_ms, set_by, used_ms";

fn read(row: &Row<'_>) -> rusqlite::Result<SecretView> {
    Ok(SecretView {
        name: row.get(0)?,
        created_at: time(row, 1)?,
        set_at: time(row, 2)?,
        set_by: row.get(3)?,
        last_used_at: maybe_time(row, 4)?,
    })
}

/// Makes a secret, or gives it another value.
pub fn set(
    connection: &Connection,
    name: &str,
    sealed: &[u8],
    by: &str,
    at: Timestamp,
) -> Result<SecretView, StateError> {
    let sql = format!(
        "INSERT INTO secrets (name, sealed, created_ms, set_ms, set_by) VALUES (?1, ?2, ?3, ?3, ?4) \
         ON CONFLICT (name) DO UPDATE SET sealed = ?2, set_ms = ?3, set_by = ?4 RETURNING {COLUMNS}"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    Ok(statement.query_row(params![name, sealed, at.as_millisecond(), by], read)?)
}

/// All of them by name.
pub fn all(connection: &Connection) -> Result<Vec<SecretView>, StateError> {
    let sql = format!("SELECT {COLUMNS} FROM secrets ORDER BY name");
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map([], read)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// All of them, sealed.
pub fn sealed(connection: &Connection) -> Result<Vec<(String, Vec<u8>)>, StateError> {
    let mut statement = connection.prepare_cached("SELECT name, sealed FROM secrets")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Removes one; false if there is none.
pub fn remove(connection: &Connection, name: &str) -> Result<bool, StateError> {
    let removed = connection
        .prepare_cached("DELETE FROM secrets WHERE name = ?1")?
        .execute([name])?;
    Ok(removed == 1)
}

/// Those of the names that nothing has.
pub fn unknown(connection: &Connection, names: &[String]) -> Result<Vec<String>, StateError> {
    let mut statement = connection.prepare_cached("SELECT EXISTS (SELECT 1 FROM secrets WHERE name = ?1)")?;
    let mut unknown = vec![];
    for name in names {
        if !statement.query_row([name], |row| row.get::<_, bool>(0))? {
            unknown.push(name.clone());
        }
    }
    Ok(unknown)
}

/// What becomes of an attempt's wish for its secrets.
#[derive(Debug, PartialEq, Eq)]
pub enum Handed {
    /// Here they are, sealed.
    Sealed(Vec<(String, Vec<u8>)>),
    /// It has got them before.
    Before,
    /// These are gone.
    Unknown(Vec<String>),
}

/// Hands the named secrets to an attempt, once, and writes that into the audit log.
pub fn hand_out(
    connection: &Connection,
    (job, attempt): (JobId, AttemptId),
    names: &[String],
    mut entry: AuditEntry,
    at: Timestamp,
) -> Result<Handed, StateError> {
    let number = views::number(connection, job)?.unwrap_or(0);
    entry.object = format!("{} to job {number}, {}", names.join(", "), entry.object);
    let handed = take(connection, attempt, names, at)?;
    entry.result = match &handed {
        Handed::Sealed(_) => "ok".to_owned(),
        Handed::Before => "handed out before".to_owned(),
        Handed::Unknown(unknown) => format!("unknown: {}", unknown.join(", ")),
    };
    audit::append(connection, &entry, at)?;
    Ok(handed)
}

fn take(
    connection: &Connection,
    attempt: AttemptId,
    names: &[String],
    at: Timestamp,
) -> Result<Handed, StateError> {
    let mut found = vec![];
    let mut unknown = vec![];
    let mut statement = connection.prepare_cached("SELECT sealed FROM secrets WHERE name = ?1")?;
    for name in names {
        match statement.query_row([name], |row| row.get(0)).optional()? {
            Some(sealed) => found.push((name.clone(), sealed)),
            None => unknown.push(name.clone()),
        }
    }
    if !unknown.is_empty() {
        return Ok(Handed::Unknown(unknown));
    }
    let first = connection
        .prepare_cached("UPDATE attempts SET secrets_ms = ?2 WHERE id = ?1 AND secrets_ms IS NULL")?
        .execute(params![attempt.uuid().as_bytes(), at.as_millisecond()])?;
    if first == 0 {
        return Ok(Handed::Before);
    }
    let mut used = connection.prepare_cached("UPDATE secrets SET used_ms = ?2 WHERE name = ?1")?;
    for name in names {
        used.execute(params![name, at.as_millisecond()])?;
    }
    Ok(Handed::Sealed(found))
}
