//! Rows of workers and of the tokens with which they join.

use jiff::Timestamp;
use protocol::{
    id::{BootId, WorkerId},
    label::Labels,
    message::Session,
    model::ReachableModel,
    worker::{Load, Wanted, WorkerState},
};
use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};

use crate::orchestrator::world::Worker;

use super::{
    StateError,
    rows::{id, json, maybe_time, ms, text, time, to_json},
};

/// What is never searched for.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Body {
    labels: Labels,
    slots: u32,
    models: Vec<ReachableModel>,
    version: String,
    load: Load,
    session: Option<Session>,
    boot: Option<BootId>,
}

fn body(worker: &Worker) -> String {
    to_json(&Body {
        labels: worker.labels.clone(),
        slots: worker.slots,
        models: worker.models.clone(),
        version: worker.version.clone(),
        load: worker.load,
        session: worker.session,
        boot: worker.boot,
    })
}

/// A new worker with the hash of its credential: of its secret, or of its certificate.
pub fn insert(connection: &Connection, worker: &Worker, secret_sha256: &[u8]) -> Result<(), StateError> {
    let sql =
        "INSERT INTO workers (id, name, secret, wanted, joined_ms, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    connection.prepare_cached(sql)?.execute(params![
        worker.id.uuid().as_bytes(),
        worker.name,
        secret_sha256,
        worker.wanted.as_str(),
        worker.joined_at.as_millisecond(),
        body(worker)
    ])?;
    Ok(())
}

/// Writes what is known of a worker.
pub(super) fn update(connection: &Connection, worker: &Worker) -> Result<(), StateError> {
    let sql = "UPDATE workers SET wanted = ?2, seen_ms = ?3, body = ?4 WHERE id = ?1";
    connection.prepare_cached(sql)?.execute(params![
        worker.id.uuid().as_bytes(),
        worker.wanted.as_str(),
        ms(worker.last_seen_at),
        body(worker)
    ])?;
    Ok(())
}

/// All workers that were not removed; none is online until it says Hello.
pub(super) fn all(connection: &Connection) -> Result<Vec<Worker>, StateError> {
    let sql = "SELECT id, name, wanted, joined_ms, seen_ms, body FROM workers WHERE wanted <> 'removed'";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map([], |row| {
        let body: Body = json(row, 5)?;
        Ok(Worker {
            id: WorkerId::from_uuid(id(row, 0)?),
            name: row.get(1)?,
            state: WorkerState::Offline,
            wanted: text(row, 2)?,
            labels: body.labels,
            slots: body.slots.max(1),
            used: 0,
            models: body.models,
            version: body.version,
            load: body.load,
            joined_at: time(row, 3)?,
            last_seen_at: maybe_time(row, 4)?,
            session: body.session,
            live: false,
            boot: body.boot,
            closed: None,
            warm: std::collections::VecDeque::new(),
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The worker with this secret or certificate, if it was not removed.
pub fn by_credential(connection: &Connection, sha256: &[u8]) -> Result<Option<WorkerId>, StateError> {
    let sql = "SELECT id FROM workers WHERE (secret = ?1 OR renewed = ?1) AND wanted <> 'removed'";
    let found = connection
        .prepare_cached(sql)?
        .query_row([sha256], |row| id(row, 0))
        .optional()?;
    Ok(found.map(WorkerId::from_uuid))
}

/// Gives a worker a second credential beside the one with which it asked for it; any other opens
/// nothing any more. False if the worker was removed, or asked with none of its own.
pub fn renew(
    connection: &Connection,
    worker: WorkerId,
    asked_with: &[u8],
    renewed: &[u8],
) -> Result<bool, StateError> {
    let sql = "UPDATE workers SET secret = ?2, renewed = ?3 \
               WHERE id = ?1 AND ?2 IN (secret, renewed) AND wanted <> 'removed'";
    let changed =
        connection
            .prepare_cached(sql)?
            .execute(params![worker.uuid().as_bytes(), asked_with, renewed])?;
    Ok(changed == 1)
}

/// The wished name, or the first free one with a number behind it.
pub fn free_name(connection: &Connection, wish: &str) -> Result<String, StateError> {
    let mut taken = connection.prepare_cached("SELECT 1 FROM workers WHERE name = ?1 AND wanted <> ?2")?;
    let mut name = wish.to_owned();
    let mut number = 2;
    while taken.exists(params![name, Wanted::Removed.as_str()])? {
        name = format!("{}-{number}", wish.chars().take(58).collect::<String>());
        number += 1;
    }
    Ok(name)
}

/// Remembers a join token by its hash, and forgets those that ran out a day ago.
pub fn insert_join_token(
    connection: &Connection,
    secret_sha256: &[u8],
    now: Timestamp,
    expires: Timestamp,
) -> Result<(), StateError> {
    const DAY_MS: i64 = 24 * 3600 * 1000;
    connection
        .prepare_cached("DELETE FROM join_tokens WHERE expires_ms < ?1")?
        .execute([now.as_millisecond() - DAY_MS])?;
    connection
        .prepare_cached("INSERT INTO join_tokens (secret, expires_ms) VALUES (?1, ?2)")?
        .execute(params![secret_sha256, expires.as_millisecond()])?;
    Ok(())
}

/// Whether a join token can still be used.
pub fn is_join_token(
    connection: &Connection,
    secret_sha256: &[u8],
    now: Timestamp,
) -> Result<bool, StateError> {
    let sql = "SELECT 1 FROM join_tokens WHERE secret = ?1 AND used_ms IS NULL AND expires_ms > ?2";
    let found = connection
        .prepare_cached(sql)?
        .exists(params![secret_sha256, now.as_millisecond()])?;
    Ok(found)
}

/// Uses a join token for a worker: true for exactly one caller, and only in time.
pub fn use_join_token(
    connection: &Connection,
    secret_sha256: &[u8],
    worker: WorkerId,
    now: Timestamp,
) -> Result<bool, StateError> {
    let sql = "UPDATE join_tokens SET used_ms = ?2, worker = ?3 \
               WHERE secret = ?1 AND used_ms IS NULL AND expires_ms > ?2";
    let used = connection.prepare_cached(sql)?.execute(params![
        secret_sha256,
        now.as_millisecond(),
        worker.uuid().as_bytes()
    ])?;
    Ok(used == 1)
}
