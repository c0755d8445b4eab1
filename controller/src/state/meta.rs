//! Single values: the epoch and the like.

use rusqlite::{Connection, OptionalExtension, params};

use super::StateError;

/// Key of the last epoch.
pub const EPOCH: &str = "epoch";
/// Key of whether dispatch as a whole is paused.
pub const PAUSED: &str = "paused";

/// A value, if it was ever set.
pub fn get(connection: &Connection, key: &str) -> Result<Option<String>, StateError> {
    let mut statement = connection.prepare_cached("SELECT value FROM meta WHERE key = ?1")?;
    Ok(statement.query_row([key], |row| row.get(0)).optional()?)
}

/// Sets a value.
pub fn set(connection: &Connection, key: &str, value: &str) -> Result<(), StateError> {
    let sql = "INSERT INTO meta (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = ?2";
    connection.prepare_cached(sql)?.execute(params![key, value])?;
    Ok(())
}

/// Takes the epoch of a new start: above every earlier one, and above the unix time where the clock is right.
pub fn take_epoch(connection: &Connection, unix_seconds: u64) -> Result<u64, StateError> {
    let stored = get(connection, EPOCH)?
        .and_then(|text| text.parse::<u64>().ok())
        .unwrap_or(0);
    let epoch = unix_seconds.max(stored + 1);
    set(connection, EPOCH, &epoch.to_string())?;
    Ok(epoch)
}
