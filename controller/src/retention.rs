//! Removes what has been kept long enough: finished jobs by age and by bytes, events, what served a
//! moment (keys, join tokens, late results), uploads that nobody finished, and blobs that nobody names.
//!
//! Woken by period and after a job's end; either way it looks at what is there and removes in small
//! slices, so that no commit and no query waits long. Rows go first and files after them: what a crash
//! leaves between the two is found at the next start. It decides nothing about what is open.

use std::{io, time::Duration};

use protocol::{
    artifact::Sha256,
    event::{Event, EventKind},
    id::AttemptId,
};
use service::clock::SharedClock;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    artifact::{BlobStore, Logs, store::Hold},
    config::Retention as Bounds,
    engine::{CommittedEvents, Engine, EngineError},
    keep::Keep,
    state::{Connection, Readers, StateError, audit, prune},
};

/// How often it looks if nothing ends.
const PERIOD: Duration = Duration::from_secs(3600);
/// How long it rests after a look, whatever ends: a look reads the whole index of blobs.
const REST: Duration = Duration::from_secs(60);
/// Between two slices: others come first.
const BREATH: Duration = Duration::from_millis(10);
/// Jobs in one transaction: their rows are removed within milliseconds also on a slow card.
const JOBS: u32 = 20;
/// Rows of other tables in one transaction.
const ROWS: u32 = 500;
/// A blob or file that nothing names is spared for so long after it was stored or announced: whoever
/// uploads says the name within seconds, and uploads again if the answer is that it is missing.
const SPARED_MS: i64 = HOUR_MS;
/// An upload that nobody went on with for so long is abandoned.
const ABANDONED_MS: i64 = DAY_MS;
/// How long an idempotency key lives.
const KEYS_MS: i64 = 7 * DAY_MS;
const DAY_MS: i64 = 24 * HOUR_MS;
const HOUR_MS: i64 = 3600 * 1000;

/// Why a look ended early.
#[derive(Debug, thiserror::Error)]
enum RetentionError {
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    State(#[from] StateError),
    #[error("a file cannot be removed: {0}")]
    Io(#[from] io::Error),
    /// The process stops, or a backup wants everything to stay.
    #[error("it has to wait")]
    Wait,
}

/// What one look has removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Removed {
    jobs: u64,
    blobs: u64,
    bytes: u64,
    events: u64,
    audit: u64,
    late: u64,
    keys: u64,
    join_tokens: u64,
    uploads: u64,
}

/// The one who removes.
#[derive(Clone)]
pub struct Retention {
    /// What is to be kept.
    pub bounds: Bounds,
    /// Writes.
    pub engine: Engine,
    /// Reads.
    pub readers: Readers,
    /// Files of blobs.
    pub blobs: BlobStore,
    /// Files of logs.
    pub logs: Logs,
    /// Whoever wants everything to stay for a while.
    pub keep: Keep,
    /// Time.
    pub clock: SharedClock,
}

impl Retention {
    /// Looks until the process stops.
    pub async fn run(self, stop: CancellationToken) {
        let mut events = self.engine.subscribe();
        let mut first = true;
        loop {
            let mut removed = Removed::default();
            tokio::select! {
                () = stop.cancelled() => return,
                done = self.look(&mut removed, first) => match done {
                    Ok(()) => first = false,
                    Err(RetentionError::Wait) => {}
                    Err(error) => warn!(%error, "retention could not finish its look: it tries again"),
                },
            }
            self.report(removed).await;
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(REST) => {}
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(PERIOD.saturating_sub(REST)) => {}
                () = a_job_ended(&mut events) => {}
            }
        }
    }

    /// One look at everything; the first one of a process also looks for what a crash has left.
    async fn look(&self, removed: &mut Removed, first: bool) -> Result<(), RetentionError> {
        let now = self.clock.wall().as_millisecond();
        let logs = self.logs.clone();
        let log_bytes = blocking(move || logs.count()).await?;
        if let Some(days) = self.bounds.jobs_days {
            let before = now - i64::from(days) * DAY_MS;
            while self.remove_jobs(before, JOBS, removed).await?.is_some() {}
            let before = before.min(now - DAY_MS);
            removed.late += self
                .rows(move |c| prune::remove_late_outcomes(c, before, ROWS))
                .await?;
        }
        let held = self.sweep(now, removed).await?;
        if let Some(bound) = self.bounds.bytes {
            let over = held.saturating_add(log_bytes).saturating_sub(bound);
            if over > 0 && self.remove_bytes(over, now, removed).await? {
                self.sweep(now, removed).await?;
            }
        }
        if let Some(days) = self.bounds.events_days {
            let before = now - i64::from(days) * DAY_MS;
            removed.events += self.rows(move |c| prune::remove_events(c, before, ROWS)).await?;
        }
        if let Some(days) = self.bounds.audit_days {
            let before = now - i64::from(days) * DAY_MS;
            removed.audit += self.rows(move |c| audit::remove_before(c, before, ROWS)).await?;
        }
        removed.keys += self
            .rows(move |c| prune::remove_keys(c, now - KEYS_MS, ROWS))
            .await?;
        let tokens = move |c: &Connection| prune::remove_join_tokens(c, now - DAY_MS);
        removed.join_tokens += self.engine.write(tokens).await?;
        let blobs = self.blobs.clone();
        removed.uploads += blocking(move || blobs.remove_abandoned(now - ABANDONED_MS)).await?;
        if first {
            self.remove_strays(now - SPARED_MS).await?;
        }
        Ok(())
    }

    /// Removes rows slice by slice until none is left.
    async fn rows<F>(&self, slice: F) -> Result<u64, RetentionError>
    where
        F: Fn(&Connection) -> Result<u64, StateError> + Clone + Send + 'static,
    {
        let mut all = 0;
        loop {
            let removed = self.engine.write(slice.clone()).await?;
            all += removed;
            if removed < u64::from(ROWS) {
                return Ok(all);
            }
            tokio::time::sleep(BREATH).await;
        }
    }

    /// Removes the next slice of finished jobs and their logs; says how many bytes of logs and blobs nobody
    /// needs any more, or that there was none.
    async fn remove_jobs(
        &self,
        before_ms: i64,
        most: u32,
        removed: &mut Removed,
    ) -> Result<Option<u64>, RetentionError> {
        let find = move |connection: &Connection| prune::ended_jobs(connection, before_ms, most);
        let mut jobs = self.readers.query(find).await?;
        if jobs.is_empty() {
            return Ok(None);
        }
        let _free = self.keep.try_remove().ok_or(RetentionError::Wait)?;
        let gone = self
            .engine
            .write_beside(move |connection, world| {
                // one that is being brought back at this moment stays
                jobs.retain(|job| !world.jobs.contains_key(job));
                prune::remove_jobs(connection, &jobs)
            })
            .await?;
        let (logs, attempts) = (self.logs.clone(), gone.attempts);
        let log_bytes = blocking(move || remove_logs(&logs, &attempts)).await?;
        removed.jobs += gone.jobs;
        removed.bytes += log_bytes;
        tokio::time::sleep(BREATH).await;
        Ok((gone.jobs > 0).then_some(log_bytes + gone.loose_bytes))
    }

    /// Removes the jobs that ended first until so many bytes are free; true if there was one.
    async fn remove_bytes(
        &self,
        mut over: u64,
        now: i64,
        removed: &mut Removed,
    ) -> Result<bool, RetentionError> {
        let mut any = false;
        while over > 0 {
            // one by one: none goes that could stay
            let Some(freed) = self.remove_jobs(now, 1, removed).await? else {
                break;
            };
            any = true;
            over = over.saturating_sub(freed);
        }
        Ok(any)
    }

    /// Looks at all blobs and removes those that nothing names; returns the bytes of the named ones.
    async fn sweep(&self, now: i64, removed: &mut Removed) -> Result<u64, RetentionError> {
        let before = now - SPARED_MS;
        let (mut after, mut all, mut held) = (None, 0, 0);
        loop {
            let page = self
                .readers
                .query(move |connection| prune::blobs(connection, after, before, ROWS))
                .await?;
            all += page.bytes;
            held += page.held_bytes;
            if !page.loose.is_empty() {
                let (blobs, bytes) = self.remove_blobs(page.loose, before).await?;
                removed.blobs += blobs;
                removed.bytes += bytes;
                all -= bytes;
            }
            match page.last {
                Some(last) => after = Some(last),
                None => break,
            }
            tokio::time::sleep(BREATH).await;
        }
        self.blobs.counted(all);
        Ok(held)
    }

    /// Rows first, files after the commit, and no upload of the same bytes in between.
    async fn remove_blobs(&self, loose: Vec<Sha256>, before: i64) -> Result<(u64, u64), RetentionError> {
        let _free = self.keep.try_remove().ok_or(RetentionError::Wait)?;
        let holds: Vec<Hold> = loose
            .into_iter()
            .filter_map(|sha256| self.blobs.hold(sha256))
            .collect();
        let wanted: Vec<Sha256> = holds.iter().map(Hold::sha256).collect();
        let gone = self
            .engine
            .write(move |connection| prune::remove_blobs(connection, &wanted, before))
            .await?;
        let count = gone.len() as u64;
        let bytes = gone.iter().map(|(_, size)| size).sum();
        blocking(move || {
            for hold in holds {
                if gone.iter().any(|(sha256, _)| *sha256 == hold.sha256()) {
                    hold.remove()?;
                }
            }
            Ok(())
        })
        .await?;
        Ok((count, bytes))
    }

    /// Removes files that no row names: a crash came between the row and the file.
    async fn remove_strays(&self, before: i64) -> Result<(), RetentionError> {
        for first_byte in 0..=u8::MAX {
            let blobs = self.blobs.clone();
            let stored = blocking(move || blobs.stored_before(first_byte, before)).await?;
            let strays = move |connection: &Connection| prune::unknown_blobs(connection, &stored);
            let strays = self.readers.query(strays).await?;
            if strays.is_empty() {
                continue;
            }
            let holds: Vec<Hold> = strays
                .into_iter()
                .filter_map(|sha256| self.blobs.hold(sha256))
                .collect();
            let held: Vec<Sha256> = holds.iter().map(Hold::sha256).collect();
            // nobody can have made a row of one that is held and is unknown now
            let still = move |connection: &Connection| prune::unknown_blobs(connection, &held);
            let still = self.engine.write(still).await?;
            let _free = self.keep.try_remove().ok_or(RetentionError::Wait)?;
            blocking(move || {
                for hold in holds {
                    if still.contains(&hold.sha256()) {
                        hold.remove()?;
                    }
                }
                Ok(())
            })
            .await?;
        }
        let logs = self.logs.clone();
        let written = blocking(move || logs.written_before(before)).await?;
        for slice in written.chunks(ROWS as usize) {
            let slice = slice.to_vec();
            let strays = move |connection: &Connection| prune::unknown_attempts(connection, &slice);
            let strays = self.readers.query(strays).await?;
            let _free = self.keep.try_remove().ok_or(RetentionError::Wait)?;
            let logs = self.logs.clone();
            blocking(move || remove_logs(&logs, &strays)).await?;
        }
        Ok(())
    }

    /// Says what was removed, in the log and in the audit log.
    async fn report(&self, removed: Removed) {
        if removed == Removed::default() {
            return;
        }
        let Removed {
            jobs,
            blobs,
            bytes,
            events,
            audit: audit_rows,
            late,
            keys,
            join_tokens,
            uploads,
        } = removed;
        let text = format!(
            "{jobs} finished jobs, {blobs} blobs, {bytes} bytes of blobs and logs, {events} events, {audit_rows} \
             rows of the audit log, {late} late results, {keys} idempotency keys, {join_tokens} join tokens, {uploads} abandoned uploads"
        );
        info!(
            jobs,
            blobs, bytes, events, audit_rows, late, keys, join_tokens, uploads, "retention removed {text}"
        );
        let entry = audit::AuditEntry {
            who: "agentd".to_owned(),
            origin: "retention".to_owned(),
            action: "retention.remove".to_owned(),
            object: text,
            result: "ok".to_owned(),
        };
        let at = self.clock.wall();
        let written = self
            .engine
            .write(move |connection| audit::append(connection, &entry, at))
            .await;
        if let Err(error) = written {
            warn!(%error, "what retention removed is not in the audit log");
        }
    }
}

fn remove_logs(logs: &Logs, attempts: &[AttemptId]) -> io::Result<u64> {
    attempts.iter().map(|attempt| logs.remove(*attempt)).sum()
}

/// File work off the async threads.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, RetentionError> {
    let done = tokio::task::spawn_blocking(work).await;
    Ok(done.map_err(|_| RetentionError::Wait)??)
}

/// Waits for the end of a job; who has missed events has missed one.
async fn a_job_ended(events: &mut broadcast::Receiver<CommittedEvents>) {
    loop {
        match events.recv().await {
            Ok(events) if events.iter().any(is_end) => return,
            Ok(_) => {}
            Err(broadcast::error::RecvError::Lagged(_)) => return,
            // the engine is gone: the process stops
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
}

fn is_end(event: &Event) -> bool {
    let state = event.data.get("state").and_then(|state| state.as_str());
    let state = state.and_then(|state| state.parse::<protocol::job::JobState>().ok());
    event.kind == EventKind::JobState && state.is_some_and(protocol::job::JobState::is_terminal)
}

#[cfg(test)]
mod tests;
