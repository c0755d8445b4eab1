//! What retention removes, a slice at a time: each function is one short write or one short look.
//!
//! Which slice, and when, is [`crate::retention`]'s to say. Nothing here removes a job that is open,
//! or a blob that anything names.

use protocol::{
    artifact::Sha256,
    id::{AttemptId, JobId},
};
use rusqlite::{Connection, params};

use super::{StateError, meta, refs, rows::id};

/// What a removal of jobs has left behind.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct RemovedJobs {
    /// How many jobs went.
    pub jobs: u64,
    /// Their attempts, whose logs are still files.
    pub attempts: Vec<AttemptId>,
    /// Bytes of blobs that nothing names any more.
    pub loose_bytes: u64,
}

/// Finished jobs, the one that ended first in front; only those that ended before `before_ms`.
pub fn ended_jobs(connection: &Connection, before_ms: i64, limit: u32) -> Result<Vec<JobId>, StateError> {
    let sql =
        "SELECT id FROM jobs WHERE ended_ms IS NOT NULL AND ended_ms < ?1 ORDER BY ended_ms, number LIMIT ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map(params![before_ms, limit], |row| Ok(JobId::from_uuid(id(row, 0)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Removes jobs that have ended, with all their rows; others of the list stay.
pub fn remove_jobs(connection: &Connection, jobs: &[JobId]) -> Result<RemovedJobs, StateError> {
    let mut removed = RemovedJobs::default();
    for job in jobs {
        let key = *job.uuid().as_bytes();
        let number: Option<i64> = connection
            .prepare_cached("SELECT max(number) FROM jobs WHERE id = ?1 AND ended_ms IS NOT NULL")?
            .query_row([key], |row| row.get(0))?;
        let Some(number) = number else { continue };
        meta::raise(connection, meta::LAST_NUMBER, number as u64)?;
        let blobs = blobs_of(connection, key)?;
        removed.attempts.extend(attempts_of(connection, key)?);
        refs::forget(connection, key)?;
        // its steps, attempts, artifacts and idempotency keys go with it
        connection
            .prepare_cached("DELETE FROM jobs WHERE id = ?1")?
            .execute([key])?;
        removed.jobs += 1;
        for (sha256, size) in blobs {
            if !is_held(connection, &sha256)? {
                removed.loose_bytes += size;
            }
        }
    }
    Ok(removed)
}

fn blobs_of(connection: &Connection, job: [u8; 16]) -> Result<Vec<(Sha256, u64)>, StateError> {
    let sql = "SELECT sha256, size FROM blobs WHERE sha256 IN \
               (SELECT sha256 FROM artifacts WHERE job = ?1 UNION SELECT sha256 FROM blob_refs WHERE owner = ?1)";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map([job], |row| {
        Ok((Sha256(row.get(0)?), row.get::<_, i64>(1)? as u64))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn attempts_of(connection: &Connection, job: [u8; 16]) -> Result<Vec<AttemptId>, StateError> {
    let mut statement = connection.prepare_cached("SELECT id FROM attempts WHERE job = ?1")?;
    let rows = statement.query_map([job], |row| Ok(AttemptId::from_uuid(id(row, 0)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Whether anything names a blob.
pub fn is_held(connection: &Connection, sha256: &Sha256) -> Result<bool, StateError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM artifacts WHERE sha256 = ?1) \
               OR EXISTS (SELECT 1 FROM blob_refs WHERE sha256 = ?1)";
    let mut statement = connection.prepare_cached(sql)?;
    Ok(statement.query_row([sha256.0], |row| row.get(0))?)
}

/// Some blobs in the order of their hashes.
#[derive(Debug, Default)]
pub struct BlobPage {
    /// The last of them; `None` if there are no more.
    pub last: Option<Sha256>,
    /// Bytes of all of them.
    pub bytes: u64,
    /// Bytes of those that something names.
    pub held_bytes: u64,
    /// Those that nothing names and nobody has announced since.
    pub loose: Vec<Sha256>,
}

/// The next blobs behind `after`; a loose one was stored or announced before `before_ms`.
pub fn blobs(
    connection: &Connection,
    after: Option<Sha256>,
    before_ms: i64,
    limit: u32,
) -> Result<BlobPage, StateError> {
    let sql = "SELECT sha256, size, stored_ms FROM blobs WHERE sha256 > ?1 ORDER BY sha256 LIMIT ?2";
    let mut statement = connection.prepare_cached(sql)?;
    // no bytes come before all bytes
    let after = after.map_or(vec![], |sha256| sha256.0.to_vec());
    let mut rows = statement.query(params![after, limit])?;
    let mut page = BlobPage::default();
    while let Some(row) = rows.next()? {
        let sha256 = Sha256(row.get(0)?);
        let size = row.get::<_, i64>(1)? as u64;
        page.last = Some(sha256);
        page.bytes += size;
        if is_held(connection, &sha256)? {
            page.held_bytes += size;
        } else if row.get::<_, i64>(2)? < before_ms {
            page.loose.push(sha256);
        }
    }
    Ok(page)
}

/// Removes the rows of those blobs that nothing names and nobody has announced since `before_ms`;
/// returns which they were, with their sizes. Their files are still there.
pub fn remove_blobs(
    connection: &Connection,
    blobs: &[Sha256],
    before_ms: i64,
) -> Result<Vec<(Sha256, u64)>, StateError> {
    let mut removed = vec![];
    for sha256 in blobs {
        if is_held(connection, sha256)? {
            continue;
        }
        let sql = "DELETE FROM blobs WHERE sha256 = ?1 AND stored_ms < ?2 RETURNING size";
        let mut statement = connection.prepare_cached(sql)?;
        let mut rows = statement.query(params![sha256.0, before_ms])?;
        if let Some(row) = rows.next()? {
            removed.push((*sha256, row.get::<_, i64>(0)? as u64));
        }
    }
    Ok(removed)
}

/// Removes events from before `before_ms`, the oldest first.
pub fn remove_events(connection: &Connection, before_ms: i64, limit: u32) -> Result<u64, StateError> {
    let sql = "DELETE FROM events WHERE at_ms < ?1 AND seq IN (SELECT seq FROM events ORDER BY seq LIMIT ?2) \
               RETURNING seq";
    let mut statement = connection.prepare_cached(sql)?;
    let seqs: Vec<i64> = statement
        .query_map(params![before_ms, limit], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    if let Some(last) = seqs.iter().max() {
        meta::raise(connection, meta::LAST_SEQ, *last as u64)?;
    }
    Ok(seqs.len() as u64)
}

/// Removes results of unknown attempts that came before `before_ms`, and lets go of their blobs.
pub fn remove_late_outcomes(connection: &Connection, before_ms: i64, limit: u32) -> Result<u64, StateError> {
    let sql = "DELETE FROM late_outcomes WHERE attempt IN \
               (SELECT attempt FROM late_outcomes WHERE received_ms < ?1 LIMIT ?2) RETURNING attempt";
    let mut statement = connection.prepare_cached(sql)?;
    let attempts: Vec<[u8; 16]> = statement
        .query_map(params![before_ms, limit], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for attempt in &attempts {
        refs::forget(connection, *attempt)?;
    }
    Ok(attempts.len() as u64)
}

/// Removes idempotency keys that were used before `before_ms`.
pub fn remove_keys(connection: &Connection, before_ms: i64, limit: u32) -> Result<u64, StateError> {
    let sql = "DELETE FROM idempotency WHERE (token, key) IN \
               (SELECT token, key FROM idempotency WHERE at_ms < ?1 ORDER BY at_ms LIMIT ?2)";
    let removed = connection
        .prepare_cached(sql)?
        .execute(params![before_ms, limit])?;
    Ok(removed as u64)
}

/// Removes join tokens that ran out before `before_ms`.
pub fn remove_join_tokens(connection: &Connection, before_ms: i64) -> Result<u64, StateError> {
    let sql = "DELETE FROM join_tokens WHERE expires_ms < ?1";
    Ok(connection.prepare_cached(sql)?.execute([before_ms])? as u64)
}

/// Those of the attempts that have no row.
pub fn unknown_attempts(
    connection: &Connection,
    attempts: &[AttemptId],
) -> Result<Vec<AttemptId>, StateError> {
    let mut known = connection.prepare_cached("SELECT 1 FROM attempts WHERE id = ?1")?;
    let mut unknown = vec![];
    for attempt in attempts {
        if !known.exists([attempt.uuid().as_bytes()])? {
            unknown.push(*attempt);
        }
    }
    Ok(unknown)
}

/// Those of the blobs that have no row.
pub fn unknown_blobs(connection: &Connection, blobs: &[Sha256]) -> Result<Vec<Sha256>, StateError> {
    let mut known = connection.prepare_cached("SELECT 1 FROM blobs WHERE sha256 = ?1")?;
    let mut unknown = vec![];
    for sha256 in blobs {
        if !known.exists([sha256.0])? {
            unknown.push(*sha256);
        }
    }
    Ok(unknown)
}
