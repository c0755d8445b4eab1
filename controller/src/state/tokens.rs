//! Rows of API tokens: only the hash of a secret is kept.

use jiff::Timestamp;
use protocol::{
    http::tokens::{Scope, TokenView},
    id::TokenId,
};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{
    StateError,
    rows::{id, maybe_time, ms, time},
};

const COLUMNS: &str = "id, name, scopes, created_ms, expires_ms, used_ms";

fn read(row: &Row<'_>) -> rusqlite::Result<TokenView> {
    let scopes: String = row.get(2)?;
    Ok(TokenView {
        id: TokenId::from_uuid(id(row, 0)?),
        name: row.get(1)?,
        scopes: scopes.split(',').filter_map(|scope| scope.parse().ok()).collect(),
        created_at: time(row, 3)?,
        expires_at: maybe_time(row, 4)?,
        last_used_at: maybe_time(row, 5)?,
    })
}

/// A new token; false if its name is taken.
pub fn insert(connection: &Connection, token: &TokenView, secret_sha256: &[u8]) -> Result<bool, StateError> {
    let scopes: Vec<&str> = token.scopes.iter().map(|scope: &Scope| scope.as_str()).collect();
    let sql = "INSERT INTO tokens (id, name, secret, scopes, created_ms, expires_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
               ON CONFLICT (name) DO NOTHING";
    let inserted = connection.prepare_cached(sql)?.execute(params![
        token.id.uuid().as_bytes(),
        token.name,
        secret_sha256,
        scopes.join(","),
        token.created_at.as_millisecond(),
        ms(token.expires_at),
    ])?;
    Ok(inserted == 1)
}

/// The token with this secret, expired or not.
pub fn by_secret(connection: &Connection, secret_sha256: &[u8]) -> Result<Option<TokenView>, StateError> {
    let sql = format!("SELECT {COLUMNS} FROM tokens WHERE secret = ?1");
    Ok(connection
        .prepare_cached(&sql)?
        .query_row([secret_sha256], read)
        .optional()?)
}

/// The token with this id.
pub fn by_id(connection: &Connection, token: TokenId) -> Result<Option<TokenView>, StateError> {
    let sql = format!("SELECT {COLUMNS} FROM tokens WHERE id = ?1");
    Ok(connection
        .prepare_cached(&sql)?
        .query_row([token.uuid().as_bytes()], read)
        .optional()?)
}

/// All tokens by name.
pub fn all(connection: &Connection) -> Result<Vec<TokenView>, StateError> {
    let mut statement = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM tokens ORDER BY name"))?;
    let rows = statement.query_map([], read)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Notes that a token was used.
pub fn touch(connection: &Connection, token: TokenId, at: Timestamp) -> Result<(), StateError> {
    connection
        .prepare_cached("UPDATE tokens SET used_ms = ?2 WHERE id = ?1")?
        .execute(params![token.uuid().as_bytes(), at.as_millisecond()])?;
    Ok(())
}

/// Removes a token by name or id; false if there is none.
pub fn remove(connection: &Connection, name: &str) -> Result<bool, StateError> {
    let id = name.parse::<TokenId>().ok().map(|id| *id.uuid().as_bytes());
    let removed = connection
        .prepare_cached("DELETE FROM tokens WHERE name = ?1 OR id = ?2")?
        .execute(params![name, id])?;
    Ok(removed > 0)
}
