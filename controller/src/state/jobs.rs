//! Rows of jobs and of the workflows that they have pinned.

use std::{collections::BTreeMap, sync::Arc};

use protocol::{
    http::jobs::Budget,
    id::{JobId, JobNumber, JobRef, TokenId},
    job::JobState,
    spec::RepoSource,
    usage::Usage,
};
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{orchestrator::world::Job, workflow::model::Workflow};

use super::{
    StateError, refs,
    rows::{id, is_default, json, maybe_time, ms, text, time, to_json},
};

/// What is never searched for. What is as it begins is not written: rows are the half of what a job
/// costs the disk.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Body {
    #[serde(skip_serializing_if = "is_default")]
    pub(super) inputs: Map<String, Value>,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) repo: Option<RepoSource>,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) base: Option<String>,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) budget: Option<Budget>,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) group: Option<String>,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) usage: Usage,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) overdue: bool,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) revived_ms: Option<i64>,
}

impl Body {
    fn of(job: &Job) -> Self {
        Self {
            inputs: job.inputs.clone(),
            labels: job.labels.clone(),
            repo: job.repo.clone(),
            base: job.base.clone(),
            budget: job.budget,
            group: job.group.clone(),
            usage: job.usage,
            overdue: job.overdue,
            revived_ms: ms(job.revived_at),
        }
    }
}

pub(super) const COLUMNS: &str = "id, number, state, workflow, workflow_sha256, title, priority, created_ms, \
                                  started_ms, ended_ms, cancel_requested, reason, body";

/// A row before its workflow and steps are known.
pub(super) struct JobRow {
    pub(super) id: JobId,
    pub(super) number: JobNumber,
    pub(super) state: JobState,
    pub(super) workflow: String,
    pub(super) workflow_sha256: String,
    pub(super) title: String,
    pub(super) priority: i32,
    pub(super) created_at: jiff::Timestamp,
    pub(super) started_at: Option<jiff::Timestamp>,
    pub(super) ended_at: Option<jiff::Timestamp>,
    pub(super) cancel_requested: bool,
    pub(super) reason: Option<String>,
    pub(super) body: Body,
}

impl JobRow {
    /// The row that a job has.
    pub(super) fn of(job: &Job) -> Self {
        Self {
            id: job.id,
            number: job.number,
            state: job.state,
            workflow: job.workflow.name.clone(),
            workflow_sha256: job.workflow.sha256.clone(),
            title: job.title.clone(),
            priority: job.priority,
            created_at: job.created_at,
            started_at: job.started_at,
            ended_at: job.ended_at,
            cancel_requested: job.cancel_requested,
            reason: job.reason.clone(),
            body: Body::of(job),
        }
    }

    pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: JobId::from_uuid(id(row, 0)?),
            number: row.get::<_, i64>(1)? as u64,
            state: text(row, 2)?,
            workflow: row.get(3)?,
            workflow_sha256: row.get(4)?,
            title: row.get(5)?,
            priority: row.get(6)?,
            created_at: time(row, 7)?,
            started_at: maybe_time(row, 8)?,
            ended_at: maybe_time(row, 9)?,
            cancel_requested: row.get(10)?,
            reason: row.get(11)?,
            body: json(row, 12)?,
        })
    }

    /// The job without its steps.
    pub(super) fn into_job(self, workflow: Arc<Workflow>) -> Job {
        Job {
            id: self.id,
            number: self.number,
            state: self.state,
            workflow,
            inputs: self.body.inputs,
            title: self.title,
            priority: self.priority,
            labels: self.body.labels,
            repo: self.body.repo,
            base: self.body.base,
            budget: self.body.budget,
            group: self.body.group,
            created_at: self.created_at,
            started_at: self.started_at,
            revived_at: self
                .body
                .revived_ms
                .and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok()),
            ended_at: self.ended_at,
            reason: self.reason,
            cancel_requested: self.cancel_requested,
            overdue: self.body.overdue,
            usage: self.body.usage,
            steps: vec![],
        }
    }
}

/// Writes a job and, the first time, the workflow that it pins.
pub(super) fn upsert(connection: &Connection, job: &Job) -> Result<(), StateError> {
    pin(connection, &job.workflow)?;
    let document = to_json(&Body::of(job));
    refs::note(connection, *job.id.uuid().as_bytes(), &document)?;
    let sql = "INSERT INTO jobs (id, number, state, workflow, workflow_sha256, title, priority, created_ms, \
               started_ms, ended_ms, cancel_requested, reason, body) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13) \
               ON CONFLICT (id) DO UPDATE SET state = ?3, priority = ?7, started_ms = ?9, ended_ms = ?10, \
               cancel_requested = ?11, reason = ?12, body = ?13";
    connection.prepare_cached(sql)?.execute(params![
        job.id.uuid().as_bytes(),
        job.number as i64,
        job.state.as_str(),
        job.workflow.name,
        job.workflow.sha256,
        job.title,
        job.priority,
        job.created_at.as_millisecond(),
        ms(job.started_at),
        ms(job.ended_at),
        job.cancel_requested,
        job.reason,
        document,
    ])?;
    Ok(())
}

fn pin(connection: &Connection, workflow: &Workflow) -> Result<(), StateError> {
    let known = connection
        .prepare_cached("SELECT 1 FROM pinned_workflows WHERE sha256 = ?1")?
        .exists([&workflow.sha256])?;
    if !known {
        let sql = "INSERT INTO pinned_workflows (sha256, body) VALUES (?1, ?2)";
        connection
            .prepare_cached(sql)?
            .execute(params![workflow.sha256, to_json(workflow)])?;
    }
    Ok(())
}

/// A workflow that a job has pinned.
pub(super) fn pinned(connection: &Connection, sha256: &str) -> Result<Workflow, StateError> {
    let sql = "SELECT body FROM pinned_workflows WHERE sha256 = ?1";
    Ok(connection
        .prepare_cached(sql)?
        .query_row([sha256], |row| json(row, 0))?)
}

/// The highest number that was given out.
pub(super) fn last_number(connection: &Connection) -> Result<JobNumber, StateError> {
    let last: Option<i64> = connection.query_row("SELECT max(number) FROM jobs", [], |row| row.get(0))?;
    Ok(last.unwrap_or(0) as u64)
}

/// The id of a job that is named by number or id.
pub fn find(connection: &Connection, job: JobRef) -> Result<Option<JobId>, StateError> {
    let found = match job {
        JobRef::Number(number) => connection
            .prepare_cached("SELECT id FROM jobs WHERE number = ?1")?
            .query_row([i64::try_from(number).unwrap_or(-1)], |row| id(row, 0))
            .optional()?,
        JobRef::Id(uuid) => connection
            .prepare_cached("SELECT id FROM jobs WHERE id = ?1")?
            .query_row([uuid.uuid().as_bytes()], |row| id(row, 0))
            .optional()?,
    };
    Ok(found.map(JobId::from_uuid))
}

/// What an earlier submit with the same key did.
pub struct EarlierSubmit {
    /// Hash of its body.
    pub body_sha256: Vec<u8>,
    /// The job that it made.
    pub job: JobId,
}

/// An idempotency key of a token, if it was used.
pub fn earlier_submit(
    connection: &Connection,
    token: TokenId,
    key: &str,
) -> Result<Option<EarlierSubmit>, StateError> {
    let sql = "SELECT body_sha256, job FROM idempotency WHERE token = ?1 AND key = ?2";
    let found = connection
        .prepare_cached(sql)?
        .query_row(params![token.uuid().as_bytes(), key], |row| {
            Ok(EarlierSubmit {
                body_sha256: row.get(0)?,
                job: JobId::from_uuid(id(row, 1)?),
            })
        })
        .optional()?;
    Ok(found)
}

/// Remembers an idempotency key, and forgets those over seven days old.
pub fn remember_submit(
    connection: &Connection,
    token: TokenId,
    key: &str,
    body_sha256: &[u8],
    job: JobId,
    now_ms: i64,
) -> Result<(), StateError> {
    const SEVEN_DAYS_MS: i64 = 7 * 24 * 3600 * 1000;
    connection
        .prepare_cached("DELETE FROM idempotency WHERE at_ms < ?1")?
        .execute([now_ms - SEVEN_DAYS_MS])?;
    connection
        .prepare_cached("INSERT INTO idempotency VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute(params![
            token.uuid().as_bytes(),
            key,
            body_sha256,
            job.uuid().as_bytes(),
            now_ms
        ])?;
    Ok(())
}
