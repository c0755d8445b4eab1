//! Rows of attempts and of results that came too late.

use jiff::Timestamp;
use protocol::{
    id::{AttemptId, JobId, WorkerId},
    job::StepKey,
    message::{CancelReason, StepResult},
    spec::ModelUsed,
    step::StepError,
    usage::Usage,
};
use rusqlite::{Connection, params};
use serde::{Deserialize, Serialize};

use crate::orchestrator::{Now, world::Attempt};

use super::{
    StateError, refs,
    rows::{id, is_default, json, maybe_time, ms, text, time, to_json},
};

/// What is never searched for. What is as it begins is not written: rows are the half of what a job
/// costs the disk.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Body {
    #[serde(skip_serializing_if = "is_default")]
    said: u8,
    #[serde(skip_serializing_if = "is_default")]
    cancel: Option<CancelReason>,
    #[serde(skip_serializing_if = "is_default")]
    error: Option<StepError>,
    #[serde(skip_serializing_if = "is_default")]
    usage: Usage,
    #[serde(skip_serializing_if = "is_default")]
    model: Option<ModelUsed>,
    #[serde(skip_serializing_if = "is_default")]
    exit: Option<i32>,
    #[serde(skip_serializing_if = "is_default")]
    notes: Vec<String>,
    #[serde(skip_serializing_if = "is_default")]
    late: Option<Box<StepResult>>,
}

/// Writes an attempt; its deadlines become wall time, since the monotonic clock ends with the process.
pub(super) fn upsert(
    connection: &Connection,
    job: JobId,
    step: &StepKey,
    attempt: &Attempt,
    now: Now,
) -> Result<(), StateError> {
    let wall_of = |due: u64| {
        let left = i64::try_from(due.saturating_sub(now.mono)).unwrap_or(i64::MAX);
        now.wall.as_millisecond().saturating_add(left)
    };
    let open = attempt.state.is_open();
    let due = open.then(|| wall_of(attempt.due));
    let hard_due = (open && attempt.hard_due != u64::MAX).then(|| wall_of(attempt.hard_due));
    let body = Body {
        said: attempt.said,
        cancel: attempt.cancel,
        error: attempt.error.clone(),
        usage: attempt.usage,
        model: attempt.model.clone(),
        exit: attempt.exit,
        notes: attempt.notes.clone(),
        late: attempt.late.clone(),
    };
    let document = to_json(&body);
    refs::note(connection, *job.uuid().as_bytes(), &document)?;
    let sql = "INSERT INTO attempts (id, job, step, number, worker, worker_name, state, due_ms, hard_due_ms, \
               offered_ms, started_ms, ended_ms, recorded, body) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14) \
               ON CONFLICT (id) DO UPDATE SET state = ?7, due_ms = ?8, hard_due_ms = ?9, started_ms = ?11, \
               ended_ms = ?12, recorded = ?13, body = ?14";
    connection.prepare_cached(sql)?.execute(params![
        attempt.id.uuid().as_bytes(),
        job.uuid().as_bytes(),
        step.as_str(),
        attempt.number,
        attempt.worker.uuid().as_bytes(),
        attempt.worker_name,
        attempt.state.as_str(),
        due,
        hard_due,
        attempt.offered_at.as_millisecond(),
        ms(attempt.started_at),
        ms(attempt.ended_at),
        attempt.recorded,
        document,
    ])?;
    Ok(())
}

/// An attempt with what its row says about its deadlines.
pub(super) struct AttemptRow {
    pub(super) step: StepKey,
    pub(super) attempt: Attempt,
    /// How long after its next deadline its hard limit is: both were written at one moment, so that
    /// no jump of the wall clock since then is in it.
    pub(super) hard_after_ms: Option<i64>,
}

/// The attempts of a job, oldest first; their deadlines are still to be set.
pub(super) fn of_job(connection: &Connection, job: JobId) -> Result<Vec<AttemptRow>, StateError> {
    let sql = "SELECT id, step, number, worker, worker_name, state, hard_due_ms - due_ms, offered_ms, started_ms, ended_ms, \
               recorded, body FROM attempts WHERE job = ?1 ORDER BY step, number";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map([job.uuid().as_bytes()], |row| {
        let body: Body = json(row, 11)?;
        Ok(AttemptRow {
            step: text(row, 1)?,
            hard_after_ms: row.get(6)?,
            attempt: Attempt {
                id: AttemptId::from_uuid(id(row, 0)?),
                number: row.get(2)?,
                worker: WorkerId::from_uuid(id(row, 3)?),
                worker_name: row.get(4)?,
                state: text(row, 5)?,
                due: 0,
                hard_due: u64::MAX,
                said: body.said,
                cancel: body.cancel,
                offered_at: time(row, 7)?,
                started_at: maybe_time(row, 8)?,
                ended_at: maybe_time(row, 9)?,
                error: body.error,
                usage: body.usage,
                model: body.model,
                exit: body.exit,
                notes: body.notes,
                recorded: row.get(10)?,
                late: body.late,
                due_on_disk: 0,
            },
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Keeps a result that no open job can take; a repeat changes nothing.
pub(super) fn keep_late(
    connection: &Connection,
    result: &StepResult,
    at: Timestamp,
) -> Result<(), StateError> {
    let document = to_json(result);
    refs::note(connection, *result.attempt.uuid().as_bytes(), &document)?;
    let sql =
        "INSERT INTO late_outcomes (attempt, received_ms, result) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
    connection.prepare_cached(sql)?.execute(params![
        result.attempt.uuid().as_bytes(),
        at.as_millisecond(),
        document
    ])?;
    Ok(())
}

/// The kept result of an attempt that the tables do not know otherwise.
pub fn late_outcome(connection: &Connection, attempt: AttemptId) -> Result<Option<StepResult>, StateError> {
    use rusqlite::OptionalExtension;
    let sql = "SELECT result FROM late_outcomes WHERE attempt = ?1";
    let mut statement = connection.prepare_cached(sql)?;
    let result = statement.query_row([attempt.uuid().as_bytes()], |row| json(row, 0));
    Ok(result.optional()?)
}

/// Whether the outcome of an attempt is on disk.
pub fn is_recorded(connection: &Connection, attempt: AttemptId) -> Result<bool, StateError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM attempts WHERE id = ?1 AND recorded = 1) \
               OR EXISTS (SELECT 1 FROM late_outcomes WHERE attempt = ?1)";
    let mut statement = connection.prepare_cached(sql)?;
    Ok(statement.query_row([attempt.uuid().as_bytes()], |row| row.get(0))?)
}

/// Who executes an attempt, of which step of which job.
pub struct AttemptOwner {
    /// The job.
    pub job: JobId,
    /// The step.
    pub step: StepKey,
    /// The worker.
    pub worker: WorkerId,
    /// Its number.
    pub number: u32,
    /// Whether it is open.
    pub open: bool,
}

/// The owner of an attempt, if it exists.
pub fn owner(connection: &Connection, attempt: AttemptId) -> Result<Option<AttemptOwner>, StateError> {
    use rusqlite::OptionalExtension;
    let sql = "SELECT job, step, worker, number, ended_ms IS NULL FROM attempts WHERE id = ?1";
    let owner = connection
        .prepare_cached(sql)?
        .query_row([attempt.uuid().as_bytes()], |row| {
            Ok(AttemptOwner {
                job: JobId::from_uuid(id(row, 0)?),
                step: text(row, 1)?,
                worker: WorkerId::from_uuid(id(row, 2)?),
                number: row.get(3)?,
                open: row.get(4)?,
            })
        })
        .optional()?;
    Ok(owner)
}

/// The attempt of a step by number, or its last one.
pub fn of_step(
    connection: &Connection,
    job: JobId,
    step: &StepKey,
    number: Option<u32>,
) -> Result<Option<(AttemptId, bool)>, StateError> {
    use rusqlite::OptionalExtension;
    let sql = "SELECT id, ended_ms IS NULL FROM attempts WHERE job = ?1 AND step = ?2 \
               AND (?3 IS NULL OR number = ?3) ORDER BY number DESC LIMIT 1";
    let found = connection
        .prepare_cached(sql)?
        .query_row(params![job.uuid().as_bytes(), step.as_str(), number], |row| {
            Ok((AttemptId::from_uuid(id(row, 0)?), row.get(1)?))
        })
        .optional()?;
    Ok(found)
}
