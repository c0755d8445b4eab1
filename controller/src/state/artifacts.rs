//! Rows of blobs and of the artifacts that name them.

use jiff::Timestamp;
use protocol::{
    artifact::{ArtifactRef, Sha256},
    http::jobs::{ArtifactFile, ArtifactView},
    id::{AttemptId, JobId},
    job::StepKey,
};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{
    StateError,
    rows::{text, time},
};

/// How old the last announcement of a blob may be before it is written down again. Retention spares
/// unnamed blobs for longer than this, so that most announcements cost no write.
pub const ANNOUNCED_FOR_MS: i64 = 10 * 60 * 1000;

/// Notes that a blob is stored (its bytes are on disk already), or that somebody is about to name it.
pub fn insert_blob(
    connection: &Connection,
    sha256: &Sha256,
    size: u64,
    at: Timestamp,
) -> Result<(), StateError> {
    let sql = "INSERT INTO blobs (sha256, size, stored_ms) VALUES (?1, ?2, ?3) \
               ON CONFLICT (sha256) DO UPDATE SET stored_ms = max(stored_ms, ?3)";
    connection
        .prepare_cached(sql)?
        .execute(params![sha256.0, size as i64, at.as_millisecond()])?;
    Ok(())
}

/// Whether a blob is here, for somebody who is about to name it: retention spares it for a while. Only
/// in a transaction of the writer, so that it is still here when the name is written down.
pub fn claim_blob(connection: &Connection, sha256: &Sha256, at: Timestamp) -> Result<bool, StateError> {
    let sql = "SELECT stored_ms FROM blobs WHERE sha256 = ?1";
    let stored: Option<i64> = connection
        .prepare_cached(sql)?
        .query_row([sha256.0], |row| row.get(0))
        .optional()?;
    let Some(stored) = stored else {
        return Ok(false);
    };
    if stored < at.as_millisecond() - ANNOUNCED_FOR_MS {
        connection
            .prepare_cached("UPDATE blobs SET stored_ms = ?2 WHERE sha256 = ?1")?
            .execute(params![sha256.0, at.as_millisecond()])?;
    }
    Ok(true)
}

/// The size of a stored blob.
pub fn blob_size(connection: &Connection, sha256: &Sha256) -> Result<Option<u64>, StateError> {
    let sql = "SELECT size FROM blobs WHERE sha256 = ?1";
    let size: Option<i64> = connection
        .prepare_cached(sql)?
        .query_row([sha256.0], |row| row.get(0))
        .optional()?;
    Ok(size.map(|size| size as u64))
}

/// Notes an artifact of a job; a later attempt's replaces an earlier one's. Its size is that of the
/// stored bytes, whatever was said.
pub(crate) fn insert(
    connection: &Connection,
    job: JobId,
    step: &StepKey,
    attempt: AttemptId,
    artifact: &ArtifactRef,
    at: Timestamp,
) -> Result<(), StateError> {
    let sql = "INSERT INTO artifacts (job, step, name, attempt, sha256, size, at_ms) \
               VALUES (?1, ?2, ?3, ?4, ?5, coalesce((SELECT size FROM blobs WHERE sha256 = ?5), ?6), ?7) \
               ON CONFLICT (job, step, name) \
               DO UPDATE SET attempt = ?4, sha256 = ?5, size = excluded.size, at_ms = ?7";
    connection.prepare_cached(sql)?.execute(params![
        job.uuid().as_bytes(),
        step.as_str(),
        artifact.name,
        attempt.uuid().as_bytes(),
        artifact.sha256.0,
        artifact.size as i64,
        at.as_millisecond(),
    ])?;
    Ok(())
}

/// Bytes of all artifacts of a job once these of a step have joined or replaced them; 0 if there are none.
pub fn bytes_with(
    connection: &Connection,
    job: JobId,
    step: &StepKey,
    more: &[ArtifactRef],
) -> Result<u64, StateError> {
    if more.is_empty() {
        return Ok(0);
    }
    let (job, step) = (job.uuid(), step.as_str());
    let all = "SELECT coalesce(sum(size), 0) FROM artifacts WHERE job = ?1";
    let mut all: i64 = connection
        .prepare_cached(all)?
        .query_row([job.as_bytes()], |row| row.get(0))?;
    let one = "SELECT coalesce((SELECT size FROM blobs WHERE sha256 = ?4), 0) \
               - coalesce((SELECT size FROM artifacts WHERE job = ?1 AND step = ?2 AND name = ?3), 0)";
    let mut one = connection.prepare_cached(one)?;
    for artifact in more {
        let more: i64 = one.query_row(
            params![job.as_bytes(), step, artifact.name, artifact.sha256.0],
            |row| row.get(0),
        )?;
        all = all.saturating_add(more);
    }
    Ok(u64::try_from(all).unwrap_or(0))
}

fn read(row: &Row<'_>) -> rusqlite::Result<ArtifactView> {
    let step: StepKey = text(row, 0)?;
    let name: String = row.get(1)?;
    Ok(ArtifactView {
        name: format!("{step}/{name}"),
        file: ArtifactFile {
            sha256: Sha256(row.get(2)?),
            size: row.get::<_, i64>(3)? as u64,
        },
        step,
        created_at: time(row, 4)?,
    })
}

/// All artifacts of a job, oldest first.
pub fn of_job(connection: &Connection, job: JobId) -> Result<Vec<ArtifactView>, StateError> {
    let sql =
        "SELECT step, name, sha256, size, at_ms FROM artifacts WHERE job = ?1 ORDER BY at_ms, step, name";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map([job.uuid().as_bytes()], read)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// One artifact by `<step key>/<name>`; a bare name means the newest artifact of that name.
pub fn find(connection: &Connection, job: JobId, name: &str) -> Result<Option<ArtifactView>, StateError> {
    let sql = "SELECT step, name, sha256, size, at_ms FROM artifacts \
               WHERE job = ?1 AND (step || '/' || name = ?2 OR name = ?2) \
               ORDER BY (step || '/' || name = ?2) DESC, at_ms DESC LIMIT 1";
    let mut statement = connection.prepare_cached(sql)?;
    Ok(statement
        .query_row(params![job.uuid().as_bytes(), name], read)
        .optional()?)
}
