//! Rows of the event log.

use protocol::{
    event::Event,
    id::{AttemptId, JobId},
    job::{JobLink, StepKey},
};
use rusqlite::{Connection, Row, params};

use super::{
    StateError,
    rows::{json, maybe_id, text, time, to_json},
};

pub(super) fn insert(connection: &Connection, event: &Event) -> Result<(), StateError> {
    let sql = "INSERT INTO events (seq, at_ms, kind, job, number, step, attempt, data) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    connection.prepare_cached(sql)?.execute(params![
        event.seq as i64,
        event.at.as_millisecond(),
        event.kind.as_str(),
        event.job.as_ref().map(|job| *job.id.uuid().as_bytes()),
        event.job.as_ref().map(|job| job.number as i64),
        event.step.as_ref().map(StepKey::as_str),
        event.attempt.map(|attempt| *attempt.uuid().as_bytes()),
        to_json(&event.data),
    ])?;
    Ok(())
}

/// The last sequence number, 0 before the first event.
pub fn last_seq(connection: &Connection) -> Result<u64, StateError> {
    let last: Option<i64> = connection.query_row("SELECT max(seq) FROM events", [], |row| row.get(0))?;
    Ok(last.unwrap_or(0) as u64)
}

/// The first kept sequence number, 0 before the first event.
pub fn first_seq(connection: &Connection) -> Result<u64, StateError> {
    let first: Option<i64> = connection.query_row("SELECT min(seq) FROM events", [], |row| row.get(0))?;
    Ok(first.unwrap_or(0) as u64)
}

/// The first and the last sequence number that are kept, 0 and 0 where none are.
pub fn kept(connection: &Connection) -> Result<(u64, u64), StateError> {
    Ok((first_seq(connection)?, last_seq(connection)?))
}

/// Events after a sequence number, of one job or of all, oldest first.
pub fn after(
    connection: &Connection,
    job: Option<JobId>,
    seq: u64,
    limit: u32,
) -> Result<Vec<Event>, StateError> {
    let columns = "SELECT seq, at_ms, kind, job, number, step, attempt, data FROM events";
    let seq = i64::try_from(seq).unwrap_or(i64::MAX);
    let rows: Result<Vec<Event>, rusqlite::Error> = match job {
        Some(job) => connection
            .prepare_cached(&format!(
                "{columns} WHERE job = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3"
            ))?
            .query_map(params![job.uuid().as_bytes(), seq, limit], read)?
            .collect(),
        None => connection
            .prepare_cached(&format!("{columns} WHERE seq > ?1 ORDER BY seq LIMIT ?2"))?
            .query_map(params![seq, limit], read)?
            .collect(),
    };
    Ok(rows?)
}

fn read(row: &Row<'_>) -> rusqlite::Result<Event> {
    let id = maybe_id(row, 3)?;
    let number: Option<i64> = row.get(4)?;
    let step: Option<String> = row.get(5)?;
    Ok(Event {
        seq: row.get::<_, i64>(0)? as u64,
        at: time(row, 1)?,
        kind: text(row, 2)?,
        job: id.zip(number).map(|(id, number)| JobLink {
            number: number as u64,
            id: JobId::from_uuid(id),
        }),
        step: step.and_then(|step| step.parse().ok()),
        attempt: maybe_id(row, 6)?.map(AttemptId::from_uuid),
        data: json(row, 7)?,
    })
}
