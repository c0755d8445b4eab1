//! The writer: one connection with group commit and `synchronous=FULL`.

use std::path::Path;

use protocol::event::Event;
use rusqlite::{Connection, OpenFlags};

use crate::orchestrator::{Changes, Effect, Now, World};

use super::{
    StateError, artifacts, attempts, audit, events, jobs, meta, migrate, refs, steps, usage, workers,
};

/// Prepared statements kept: more than we have.
const STATEMENTS: usize = 128;
/// The write-ahead log is checkpointed at about 16 MiB: pages that every job writes go to the database
/// less often, and fewer commits wait for it.
const WAL_PAGES: u32 = 4000;

/// The writer connection, owned by the engine's thread.
pub struct Store {
    connection: Connection,
    next_seq: u64,
    next_number: u64,
}

/// Proof that what these effects rest on is on disk: only [`Store::commit`] makes it.
pub struct Committed {
    effects: Vec<Effect>,
    events: Vec<Event>,
}

impl Committed {
    /// What may now be said and shown.
    pub fn into_parts(self) -> (Vec<Effect>, Vec<Event>) {
        (self.effects, self.events)
    }
}

impl Store {
    /// Opens or makes the database and brings it to our version.
    pub fn open(path: &Path) -> Result<Self, StateError> {
        let mut connection = Connection::open_with_flags(
            path,
            OpenFlags::SQLITE_OPEN_READ_WRITE
                | OpenFlags::SQLITE_OPEN_CREATE
                | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        )?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        connection.pragma_update(None, "wal_autocheckpoint", WAL_PAGES)?;
        connection.pragma_update(None, "cache_size", -4096)?;
        connection.busy_timeout(std::time::Duration::from_secs(5))?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        migrate::migrate(&mut connection, path)?;
        audit::chain_old_rows(&connection)?;
        let last_seq = events::last_seq(&connection)?.max(meta::number(&connection, meta::LAST_SEQ)?);
        let last_number = jobs::last_number(&connection)?.max(meta::number(&connection, meta::LAST_NUMBER)?);
        Ok(Self {
            connection,
            next_seq: last_seq + 1,
            next_number: last_number + 1,
        })
    }

    /// Brings everything into the one file of the database: the last word of an orderly stop, when
    /// nobody else has it open any more. Whoever copies that file then has all of it.
    pub fn settle(path: &Path) -> Result<(), StateError> {
        let connection = Connection::open_with_flags(
            path,
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        )?;
        connection.busy_timeout(std::time::Duration::from_secs(1))?;
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        connection.close().map_err(|(_, error)| error)?;
        Ok(())
    }

    /// The connection, for domain operations of this module's siblings.
    pub const fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The next short number of a job.
    pub const fn take_number(&mut self) -> u64 {
        let number = self.next_number;
        self.next_number += 1;
        number
    }

    /// Begins the transaction of a group.
    pub fn begin(&self) -> Result<(), StateError> {
        self.connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        Ok(())
    }

    /// Gives the group up; nothing of it was written.
    pub fn roll_back(&self) -> Result<(), StateError> {
        if self.connection.is_autocommit() {
            return Ok(());
        }
        Ok(self.connection.execute_batch("ROLLBACK")?)
    }

    /// Writes what a group of decisions changed, and commits it with everything else that was
    /// written since [`Store::begin`]. Only then may the effects leave.
    pub fn commit(
        &mut self,
        world: &World,
        changes: &Changes,
        effects: Vec<Effect>,
        now: Now,
    ) -> Result<Committed, StateError> {
        self.save(world, changes, now)?;
        let mut seq = self.next_seq;
        let mut written = Vec::with_capacity(changes.events.len());
        for new in &changes.events {
            let event = Event {
                seq,
                at: now.wall,
                kind: new.kind,
                job: new.job,
                step: new.step.clone(),
                attempt: new.attempt,
                data: new.data.clone(),
            };
            events::insert(&self.connection, &event)?;
            written.push(event);
            seq += 1;
        }
        self.connection.prepare_cached("COMMIT")?.execute([])?;
        self.next_seq = seq;
        Ok(Committed {
            effects,
            events: written,
        })
    }

    fn save(&self, world: &World, changes: &Changes, now: Now) -> Result<(), StateError> {
        let connection = &self.connection;
        for id in &changes.workers {
            if let Some(worker) = world.workers.get(id) {
                workers::update(connection, worker)?;
            }
        }
        for id in &changes.jobs {
            if let Some(job) = world.jobs.get(id) {
                jobs::upsert(connection, job)?;
            }
        }
        for (id, key) in &changes.steps {
            if let Some(step) = world.step(*id, key) {
                steps::upsert(connection, *id, step)?;
            }
        }
        for id in &changes.attempts {
            let place = world.attempts.get(id);
            let step = place.and_then(|(job, key)| world.step(*job, key));
            let attempt = step.and_then(|step| step.attempts.iter().find(|attempt| attempt.id == *id));
            if let (Some((job, key)), Some(attempt)) = (place, attempt) {
                attempts::upsert(connection, *job, key, attempt, now)?;
            }
        }
        for (job, key, attempt, artifact) in &changes.artifacts {
            artifacts::insert(connection, *job, key, *attempt, artifact, now.wall)?;
        }
        for result in &changes.late {
            attempts::keep_late(connection, result, now.wall)?;
        }
        for id in &changes.ended {
            refs::rebuild(connection, *id)?;
        }
        if !changes.used.is_zero() {
            usage::add(connection, now.wall, changes.used)?;
        }
        if let Some(paused) = changes.paused {
            meta::set(connection, meta::PAUSED, if paused { "1" } else { "0" })?;
        }
        Ok(())
    }
}
