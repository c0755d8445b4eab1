//! Which blobs the documents of a job name: bundles, checkpoints, late results.
//!
//! Whatever looks like a hash in a document counts: a field that is added later is held without being
//! named here, and a hash that is none of ours holds nothing. Blobs of artifacts have rows of their own.

use protocol::id::JobId;
use rusqlite::{Connection, params};

use super::StateError;

/// Hex digits of a SHA-256.
const DIGITS: usize = 64;

/// Notes the blobs that a document of `owner` names, in the transaction that writes the document.
pub(super) fn note(connection: &Connection, owner: [u8; 16], document: &str) -> Result<(), StateError> {
    for sha256 in hashes(document) {
        connection
            .prepare_cached("INSERT OR IGNORE INTO blob_refs (owner, sha256) VALUES (?1, ?2)")?
            .execute(params![owner, sha256])?;
    }
    Ok(())
}

/// Forgets what only earlier documents of a job have named, such as checkpoints of steps that went on.
pub(super) fn rebuild(connection: &Connection, job: JobId) -> Result<(), StateError> {
    let owner = *job.uuid().as_bytes();
    if forget(connection, owner)? == 0 {
        return Ok(());
    }
    let sql = "SELECT body FROM jobs WHERE id = ?1 UNION ALL SELECT body FROM steps WHERE job = ?1 \
               UNION ALL SELECT body FROM attempts WHERE job = ?1";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([owner])?;
    while let Some(row) = rows.next()? {
        note(
            connection,
            owner,
            row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?,
        )?;
    }
    Ok(())
}

/// Lets go of all blobs of an owner; returns how many they were.
pub(super) fn forget(connection: &Connection, owner: [u8; 16]) -> Result<usize, StateError> {
    let sql = "DELETE FROM blob_refs WHERE owner = ?1";
    Ok(connection.prepare_cached(sql)?.execute([owner])?)
}

/// Every run of exactly 64 lower-case hex digits.
fn hashes(document: &str) -> impl Iterator<Item = [u8; 32]> + '_ {
    let is_digit = |c: &u8| matches!(c, b'0'..=b'9' | b'a'..=b'f');
    document
        .as_bytes()
        .split(move |c| !is_digit(c))
        .filter(|run| run.len() == DIGITS)
        .filter_map(|run| {
            let mut bytes = [0; DIGITS / 2];
            hex::decode_to_slice(run, &mut bytes).ok()?;
            Some(bytes)
        })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::hashes;

    proptest! {
        #[test]
        fn every_hash_of_a_document_is_found(
            bytes in proptest::collection::vec(any::<[u8; 32]>(), 0..5),
            text in "[^0-9a-f]{1,10}",
        ) {
            let hexes: Vec<String> = bytes.iter().map(hex::encode).collect();
            let document = serde_json::json!({"a": hexes, "b": text}).to_string();
            prop_assert_eq!(hashes(&document).collect::<Vec<_>>(), bytes);
        }
    }

    #[test]
    fn what_is_shorter_or_longer_is_no_hash() {
        for count in [0, 40, 63, 65, 128] {
            let document = format!("\"{}\"", "a".repeat(count));
            assert_eq!(hashes(&document).count(), 0, "{count} digits");
        }
    }
}
