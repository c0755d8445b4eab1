//! Single values: the epoch and the like.

use rusqlite::{Connection, OptionalExtension, params};

use super::StateError;

/// Key of the last epoch.
pub const EPOCH: &str = "epoch";
/// Key of whether dispatch as a whole is paused.
pub const PAUSED: &str = "paused";
/// Key of the last time that this process was seen to work, for the service manager.
pub const PULSE: &str = "pulse";
/// Key of the highest number that a removed job had: numbers are never handed out again.
pub const LAST_NUMBER: &str = "last_number";
/// Key of the last sequence number that was removed from the event log.
pub const LAST_SEQ: &str = "last_seq";

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

/// A number, 0 if it was never set.
pub fn number(connection: &Connection, key: &str) -> Result<u64, StateError> {
    let text = get(connection, key)?;
    Ok(text.and_then(|text| text.parse().ok()).unwrap_or(0))
}

/// Sets a number unless a higher one is there.
pub fn raise(connection: &Connection, key: &str, value: u64) -> Result<(), StateError> {
    if number(connection, key)? < value {
        set(connection, key, &value.to_string())?;
    }
    Ok(())
}

/// Takes the epoch of a new start: above every earlier one, and above the unix time where the clock is right.
pub fn take_epoch(connection: &Connection, unix_seconds: u64) -> Result<u64, StateError> {
    let epoch = unix_seconds.max(number(connection, EPOCH)? + 1);
    set(connection, EPOCH, &epoch.to_string())?;
    Ok(epoch)
}
