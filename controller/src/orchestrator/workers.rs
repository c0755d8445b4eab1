//! Workers as the core sees them: joined, heard, gone, drained, removed.

use protocol::{
    event::EventKind,
    id::WorkerId,
    message::{Drain, Session, ToWorker},
    step::AttemptState,
    worker::{Wanted, WorkerState},
};
use serde_json::json;

use super::{
    draft::{Draft, Effect},
    event::Refusal,
    timers::Timer,
    world::{Closed, Worker},
};

/// After a closed connection without a new Hello, the lease counts as run out (design, §4).
pub(crate) const CLOSED_MS: u64 = 20_000;
/// And the grace is this short: safe, since a late result is still adopted.
const CLOSED_GRACE_MS: u64 = 30_000;

impl Draft<'_> {
    /// A worker got its credential.
    pub(super) fn worker_joined(&mut self, worker: Worker) {
        let (id, name) = (worker.id, worker.name.clone());
        self.world.workers.insert(id, worker);
        self.changes.workers.insert(id);
        self.event(EventKind::WorkerJoined, None, None, None, json!({"worker": name}));
    }

    /// A worker that was not removed.
    pub(super) fn known(&self, id: WorkerId) -> Result<&Worker, Refusal> {
        let worker = self.world.workers.get(&id);
        worker
            .filter(|worker| worker.wanted != Wanted::Removed)
            .ok_or(Refusal::Removed)
    }

    /// Notes that the worker spoke, and refuses what does not belong to its current session.
    pub(super) fn heard(&mut self, id: WorkerId, session: Session) -> Result<(), Refusal> {
        let wall = self.now.wall;
        let worker = self.known(id)?;
        if !worker.live || worker.session != Some(session) {
            return Err(Refusal::StaleSession);
        }
        if let Some(worker) = self.world.workers.get_mut(&id) {
            worker.last_seen_at = Some(wall);
        }
        self.set_worker_state(id, WorkerState::Online);
        Ok(())
    }

    /// A person pauses, drains, resumes or removes a worker.
    pub(super) fn worker_wanted(&mut self, id: WorkerId, wanted: Wanted) -> Result<(), Refusal> {
        let worker = self
            .world
            .workers
            .get_mut(&id)
            .ok_or(Refusal::Unknown("worker"))?;
        if worker.wanted == Wanted::Removed {
            return Err(Refusal::Unknown("worker"));
        }
        worker.wanted = wanted;
        let data = json!({"worker": worker.name, "state": worker.state, "wanted": wanted});
        self.changes.workers.insert(id);
        if wanted == Wanted::Removed {
            self.remove_worker(id);
        } else {
            self.event(EventKind::WorkerState, None, None, None, data);
            let draining = wanted == Wanted::Draining;
            self.say(id, ToWorker::Drain(Drain { draining }));
        }
        Ok(())
    }

    /// Its open attempts are lost at once and its connection is closed.
    fn remove_worker(&mut self, id: WorkerId) {
        for (job, key, _, state) in self.open_attempts_of(id) {
            if state == AttemptState::Cancelling {
                self.cancelling_due(job, &key);
            } else {
                self.lose(job, &key, "its worker was removed");
                self.settle(job);
            }
        }
        let Some(worker) = self.world.workers.get_mut(&id) else {
            return;
        };
        // it stays connected until its connection is closed: the commit may still be refused
        worker.state = WorkerState::Offline;
        let name = worker.name.clone();
        self.event(
            EventKind::WorkerRemoved,
            None,
            None,
            None,
            json!({"worker": name}),
        );
        self.effects.push(Effect::Kick(id));
    }

    /// The connection ended; whether the worker is gone shows later.
    pub(super) fn worker_disconnected(&mut self, id: WorkerId, by_host: bool) -> Result<(), Refusal> {
        let now = self.now.mono;
        let worker = self.world.workers.get_mut(&id).ok_or(Refusal::Removed)?;
        if worker.wanted == Wanted::Removed {
            return Ok(());
        }
        worker.live = false;
        worker.closed = Some(Closed { at: now, by_host });
        self.world.timers.insert((now + CLOSED_MS, Timer::Worker(id)));
        self.set_worker_state(id, WorkerState::Suspect);
        Ok(())
    }

    /// Some time after a connection ended: without a new Hello the worker is offline, and if its
    /// host closed the connection, its attempts are suspect with a short grace.
    pub(super) fn worker_due(&mut self, id: WorkerId) {
        let now = self.now.mono;
        let closed = self.world.workers.get(&id).and_then(|worker| worker.closed);
        // the timer of an earlier connection: the worker came back, or has a later timer
        let Some(closed) = closed.filter(|closed| closed.at + CLOSED_MS <= now) else {
            return;
        };
        self.set_worker_state(id, WorkerState::Offline);
        if !closed.by_host {
            return;
        }
        for (job, key, _, state) in self.open_attempts_of(id) {
            if state == AttemptState::Running {
                self.suspect(job, &key, CLOSED_GRACE_MS);
            }
        }
    }

    /// A worker says that it goes: only a hint.
    pub(super) fn bye(&mut self, id: WorkerId, session: Session, why: &str) -> Result<(), Refusal> {
        self.heard(id, session)?;
        let name = self.world.workers.get(&id).map(|worker| worker.name.clone());
        let data = json!({"worker": name, "text": format!("says goodbye: {why}")});
        self.event(EventKind::Note, None, None, None, data);
        Ok(())
    }
}
