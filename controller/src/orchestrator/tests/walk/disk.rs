//! The tables of a walk: whatever was decided is written down, and a world
//! that is read from them must be the one in memory.

use std::path::Path;

use protocol::{id::AttemptId, id::JobId, worker::Wanted};

use crate::{
    orchestrator::{Changes, Now, World, world::Job, world::Worker},
    state::{Store, attempts, load, workers},
};

pub(super) struct Disk(Store);

impl Disk {
    pub(super) fn new() -> Self {
        Self(Store::open(Path::new(":memory:")).expect("opens"))
    }

    pub(super) fn joined(&self, worker: &Worker) {
        let id = worker.id.uuid();
        workers::insert(self.0.connection(), worker, id.as_bytes()).expect("inserted");
    }

    /// Commits as the engine does.
    pub(super) fn commit(&mut self, world: &mut World, changes: &Changes, now: Now) {
        self.0.begin().expect("begins");
        self.0.commit(world, changes, vec![], now).expect("commits");
        let ended: Vec<JobId> = world.jobs.keys().copied().collect();
        world.forget_ended(&ended);
        world.workers.retain(|_, worker| worker.wanted != Wanted::Removed);
    }

    /// The world of a controller that starts now.
    pub(super) fn load(&self, world: &World, now: Now) -> World {
        let mut loaded = World {
            limits: world.limits,
            models: world.models.clone(),
            ..World::default()
        };
        load::world(self.0.connection(), &mut loaded, now).expect("loads");
        loaded
    }

    /// A job that has ended, for one decision.
    pub(super) fn bring_back(&self, world: &mut World, job: JobId, now: Now) {
        if world.jobs.contains_key(&job) {
            return;
        }
        let limits = world.limits;
        if let Some(job) = load::job(self.0.connection(), job, &limits, now).expect("loads") {
            world.adopt_job(job);
        }
    }

    /// Whether the outcome of an attempt is on disk, and the job that it belongs to.
    pub(super) fn known(&self, attempt: AttemptId) -> (bool, Option<JobId>) {
        let connection = self.0.connection();
        let recorded = attempts::is_recorded(connection, attempt).expect("reads");
        let owner = attempts::owner(connection, attempt).expect("reads");
        (recorded, owner.map(|owner| owner.job))
    }
}

/// Panics where the two differ in what a restart must not lose.
pub(super) fn assert_same(memory: &World, disk: &World) {
    assert_eq!(memory.paused, disk.paused);
    assert_eq!(memory.ready, disk.ready, "the index of ready steps");
    let jobs = |world: &World| -> Vec<String> { world.jobs.values().map(persisted).collect() };
    assert_eq!(jobs(memory), jobs(disk), "jobs");
    let workers = |world: &World| -> Vec<String> {
        let known = world.workers.values().map(|worker| {
            format!(
                "{} {:?} {:?} {:?} {} {} {:?}",
                worker.name,
                worker.wanted,
                worker.session,
                worker.labels,
                worker.slots,
                worker.used,
                worker.boot
            )
        });
        known.collect()
    };
    assert_eq!(workers(memory), workers(disk), "workers");
}

/// A job without what lives on the monotonic clock.
fn persisted(job: &Job) -> String {
    let mut job = job.clone();
    job.steps.sort_by(|a, b| a.position.cmp(&b.position));
    for step in &mut job.steps {
        step.ready_since = None;
        step.excluded.clear();
        for attempt in &mut step.attempts {
            attempt.due = 0;
            attempt.hard_due = 0;
            attempt.due_on_disk = 0;
        }
    }
    format!("{job:#?}")
}
