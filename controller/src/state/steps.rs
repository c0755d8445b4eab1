//! Rows of steps.

use protocol::{
    approval::Wait, id::JobId, job::StepKey, message::Checkpoint, spec::WorkspaceResult, step::StepError,
    usage::Usage,
};
use rusqlite::{Connection, params};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::orchestrator::world::Step;

use super::{
    StateError, refs,
    rows::{is_default, json, maybe_time, ms, text, to_json},
};

/// What is never searched for. What is as it begins is not written: rows are the half of what a job
/// costs the disk.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Body {
    #[serde(skip_serializing_if = "is_default")]
    path: Vec<String>,
    #[serde(skip_serializing_if = "is_default")]
    needs: Vec<StepKey>,
    #[serde(skip_serializing_if = "is_default")]
    skipped_by_need: bool,
    #[serde(skip_serializing_if = "is_default")]
    work_left: u32,
    #[serde(skip_serializing_if = "is_default")]
    infra_left: u32,
    #[serde(skip_serializing_if = "is_default")]
    not_before_ms: Option<i64>,
    #[serde(skip_serializing_if = "is_default")]
    outputs: Map<String, Value>,
    #[serde(skip_serializing_if = "is_default")]
    workspace: Option<WorkspaceResult>,
    #[serde(skip_serializing_if = "is_default")]
    error: Option<StepError>,
    #[serde(skip_serializing_if = "is_default")]
    note: Option<String>,
    #[serde(skip_serializing_if = "is_default")]
    usage: Usage,
    #[serde(skip_serializing_if = "is_default")]
    round: u32,
    #[serde(skip_serializing_if = "is_default")]
    last_round: u32,
    #[serde(skip_serializing_if = "is_default")]
    checkpoint: Option<Checkpoint>,
    #[serde(skip_serializing_if = "is_default")]
    approval: Option<Wait>,
}

/// Writes a step.
pub(super) fn upsert(connection: &Connection, job: JobId, step: &Step) -> Result<(), StateError> {
    let body = Body {
        path: step.path.clone(),
        needs: step.needs.clone(),
        skipped_by_need: step.skipped_by_need,
        work_left: step.work_left,
        infra_left: step.infra_left,
        not_before_ms: ms(step.not_before),
        outputs: step.outputs.clone(),
        workspace: step.workspace.clone(),
        error: step.error.clone(),
        note: step.note.clone(),
        usage: step.usage,
        round: step.round,
        last_round: step.last_round,
        checkpoint: step.checkpoint.clone(),
        approval: step.approval.clone(),
    };
    let document = to_json(&body);
    refs::note(connection, *job.uuid().as_bytes(), &document)?;
    let sql = "INSERT INTO steps (job, key, position, state, started_ms, ended_ms, body) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) \
               ON CONFLICT (job, key) DO UPDATE SET state = ?4, started_ms = ?5, ended_ms = ?6, body = ?7";
    connection.prepare_cached(sql)?.execute(params![
        job.uuid().as_bytes(),
        step.key.as_str(),
        step.position,
        step.state.as_str(),
        ms(step.started_at),
        ms(step.ended_at),
        document,
    ])?;
    Ok(())
}

/// The steps of a job in order, without their attempts.
pub(super) fn of_job(connection: &Connection, job: JobId) -> Result<Vec<Step>, StateError> {
    let sql =
        "SELECT key, position, state, started_ms, ended_ms, body FROM steps WHERE job = ?1 ORDER BY position";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map([job.uuid().as_bytes()], |row| {
        let body: Body = json(row, 5)?;
        Ok(Step {
            key: text(row, 0)?,
            path: body.path,
            position: row.get(1)?,
            state: text(row, 2)?,
            needs: body.needs,
            skipped_by_need: body.skipped_by_need,
            attempts: vec![],
            work_left: body.work_left,
            infra_left: body.infra_left,
            ready_since: None,
            not_before: body
                .not_before_ms
                .and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok()),
            excluded: vec![],
            outputs: body.outputs,
            workspace: body.workspace,
            error: body.error,
            note: body.note,
            usage: body.usage,
            started_at: maybe_time(row, 3)?,
            ended_at: maybe_time(row, 4)?,
            round: body.round,
            last_round: body.last_round,
            checkpoint: body.checkpoint,
            approval: body.approval,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// How many steps of a job ended well or were skipped, and how many there are.
pub(super) fn progress(connection: &Connection, job: JobId) -> Result<(u32, u32), StateError> {
    let sql = "SELECT count(*) FILTER (WHERE state IN ('succeeded', 'skipped')), count(*) FROM steps WHERE job = ?1";
    let mut statement = connection.prepare_cached(sql)?;
    Ok(statement.query_row([job.uuid().as_bytes()], |row| Ok((row.get(0)?, row.get(1)?)))?)
}
