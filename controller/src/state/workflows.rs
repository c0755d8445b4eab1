//! Rows of workflows that people have put here.

use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::StateError;

/// Stores or replaces a workflow's text.
pub fn put(connection: &Connection, name: &str, text: &str, at: Timestamp) -> Result<(), StateError> {
    let sql = "INSERT INTO stored_workflows (name, text, put_ms) VALUES (?1, ?2, ?3) \
               ON CONFLICT (name) DO UPDATE SET text = ?2, put_ms = ?3";
    connection
        .prepare_cached(sql)?
        .execute(params![name, text, at.as_millisecond()])?;
    Ok(())
}

/// All stored workflows: name and text.
pub fn all(connection: &Connection) -> Result<Vec<(String, String)>, StateError> {
    let mut statement = connection.prepare_cached("SELECT name, text FROM stored_workflows ORDER BY name")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}
