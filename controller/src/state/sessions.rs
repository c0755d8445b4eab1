//! Rows of browsers that have logged in: only the hash of a cookie is kept, and it ends with its token.

use jiff::Timestamp;
use protocol::{http::tokens::TokenView, id::TokenId};
use rusqlite::{Connection, OptionalExtension, params};

use super::{StateError, tokens};

/// Sessions of one token; a further login ends the oldest.
const OF_A_TOKEN: u32 = 64;

/// A new session; what has expired goes.
pub fn insert(
    connection: &Connection,
    secret_sha256: &[u8],
    token: TokenId,
    now: Timestamp,
    expires_at: Timestamp,
) -> Result<(), StateError> {
    let token = token.uuid().into_bytes();
    connection
        .prepare_cached("DELETE FROM sessions WHERE expires_ms <= ?1")?
        .execute([now.as_millisecond()])?;
    connection
        .prepare_cached("INSERT INTO sessions (secret, token, expires_ms) VALUES (?1, ?2, ?3)")?
        .execute(params![secret_sha256, token, expires_at.as_millisecond()])?;
    let sql = "DELETE FROM sessions WHERE token = ?1 AND secret NOT IN \
               (SELECT secret FROM sessions WHERE token = ?1 ORDER BY expires_ms DESC LIMIT ?2)";
    connection
        .prepare_cached(sql)?
        .execute(params![token, OF_A_TOKEN])?;
    Ok(())
}

/// The token that a session acts with, expiring with whichever of the two ends first.
pub fn token(connection: &Connection, secret_sha256: &[u8]) -> Result<Option<TokenView>, StateError> {
    let found = connection
        .prepare_cached("SELECT token, expires_ms FROM sessions WHERE secret = ?1")?
        .query_row([secret_sha256], |row| {
            Ok((super::rows::id(row, 0)?, super::rows::time(row, 1)?))
        })
        .optional()?;
    let Some((id, expires_at)) = found else {
        return Ok(None);
    };
    let token = tokens::by_id(connection, TokenId::from_uuid(id))?;
    Ok(token.map(|token| TokenView {
        expires_at: Some(token.expires_at.map_or(expires_at, |end| end.min(expires_at))),
        ..token
    }))
}

/// Ends a session.
pub fn remove(connection: &Connection, secret_sha256: &[u8]) -> Result<(), StateError> {
    connection
        .prepare_cached("DELETE FROM sessions WHERE secret = ?1")?
        .execute([secret_sha256])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use protocol::http::tokens::Scope;

    use super::*;
    use crate::state::migrate::MIGRATIONS;

    fn tables() -> (Connection, TokenId) {
        let connection = Connection::open_in_memory().expect("opens");
        connection.pragma_update(None, "foreign_keys", true).expect("set");
        for migration in MIGRATIONS {
            connection.execute_batch(migration.up).expect(migration.name);
        }
        let token = TokenView {
            id: TokenId::new(),
            name: "laptop".to_owned(),
            scopes: vec![Scope::Read],
            created_at: Timestamp::UNIX_EPOCH,
            expires_at: Some(at(100)),
            last_used_at: None,
        };
        assert!(tokens::insert(&connection, &token, b"hash").expect("inserted"));
        (connection, token.id)
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds)
    }

    #[test]
    fn a_session_ends_with_the_earlier_of_its_own_and_its_tokens_end() {
        let (connection, token) = tables();
        insert(&connection, b"a", token, at(0), at(50)).expect("inserted");
        insert(&connection, b"b", token, at(0), at(500)).expect("inserted");
        let end = |secret: &[u8]| {
            super::token(&connection, secret)
                .expect("read")
                .map(|token| token.expires_at)
        };
        assert_eq!(end(b"a"), Some(Some(at(50))));
        assert_eq!(end(b"b"), Some(Some(at(100))));
        remove(&connection, b"a").expect("removed");
        assert_eq!(end(b"a"), None);
        assert!(tokens::remove(&connection, "laptop").expect("removed"));
        assert_eq!(end(b"b"), None, "it ends with its token");
    }

    #[test]
    fn a_token_has_so_many_sessions_and_expired_ones_go() {
        let (connection, token) = tables();
        for number in 0..OF_A_TOKEN + 5 {
            let secret = number.to_be_bytes();
            insert(&connection, &secret, token, at(0), at(10 + i64::from(number))).expect("inserted");
        }
        let count = || -> u32 {
            let sql = "SELECT count(*) FROM sessions";
            connection.query_row(sql, [], |row| row.get(0)).expect("counted")
        };
        assert_eq!(count(), OF_A_TOKEN);
        insert(&connection, b"late", token, at(10_000), at(20_000)).expect("inserted");
        assert_eq!(count(), 1);
    }
}
