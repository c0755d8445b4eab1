//! The real tables under a schedule: every commit goes through the controller's
//! `state`, and what is read from there must be the world in memory, and what
//! `tables` says, which stands for them in the schedules that are fast.

use std::path::Path;

use controller::{
    orchestrator::{
        Changes, Now, World,
        world::{Job, Limits, Worker},
    },
    state::{Store, attempts, load, workers},
};
use protocol::id::{AttemptId, JobId};

/// A database in memory.
pub(crate) struct Sqlite(Store);

impl Sqlite {
    pub(crate) fn new() -> Self {
        Self(Store::open(Path::new(":memory:")).expect("opens"))
    }

    /// A group as the engine commits it; `joined` is a worker that is new in it.
    pub(crate) fn commit(&mut self, world: &World, joined: Option<&Worker>, changes: &Changes, now: Now) {
        self.begin(joined);
        self.0.commit(world, changes, vec![], now).expect("commits");
    }

    /// A group that the disk refuses.
    pub(crate) fn refuse(&self, joined: Option<&Worker>) {
        self.begin(joined);
        self.0.roll_back().expect("rolls back");
    }

    fn begin(&self, joined: Option<&Worker>) {
        self.0.begin().expect("begins");
        if let Some(worker) = joined {
            let credential = worker.id.uuid();
            workers::insert(self.0.connection(), worker, credential.as_bytes()).expect("inserts");
        }
    }

    /// The world of a controller that starts now.
    pub(crate) fn load(&self, mut world: World, now: Now) -> World {
        load::world(self.0.connection(), &mut world, now).expect("loads");
        world
    }

    /// One job, ended or not.
    pub(crate) fn job(&self, id: JobId, limits: &Limits, now: Now) -> Option<Job> {
        load::job(self.0.connection(), id, limits, now).expect("loads")
    }

    /// Whether the outcome of an attempt is on disk.
    pub(crate) fn is_recorded(&self, attempt: AttemptId) -> bool {
        attempts::is_recorded(self.0.connection(), attempt).expect("reads")
    }

    /// The job that an attempt belongs to.
    pub(crate) fn owner(&self, attempt: AttemptId) -> Option<JobId> {
        let owner = attempts::owner(self.0.connection(), attempt).expect("reads");
        owner.map(|owner| owner.job)
    }
}

/// Panics where two worlds differ in what a start must not lose.
pub(crate) fn assert_same(what: &str, one: &World, other: &World) {
    assert_eq!(one.paused, other.paused, "{what}");
    assert_eq!(one.ready, other.ready, "{what}: the index of ready steps");
    let jobs = |world: &World| -> Vec<String> { world.jobs.values().map(kept).collect() };
    assert_eq!(jobs(one), jobs(other), "{what}: jobs");
    let workers = |world: &World| -> Vec<String> {
        let rows = world.workers.values().map(|worker| {
            let (wanted, session, labels) = (worker.wanted, worker.session, &worker.labels);
            let (name, slots, used, boot) = (&worker.name, worker.slots, worker.used, worker.boot);
            format!("{name} {wanted:?} {session:?} {labels} {slots} {used} {boot:?}")
        });
        rows.collect()
    };
    assert_eq!(workers(one), workers(other), "{what}: workers");
}

/// A job without what lives on the monotonic clock.
pub(crate) fn kept(job: &Job) -> String {
    let mut job = job.clone();
    job.steps.sort_by(|a, b| a.position.cmp(&b.position));
    for step in &mut job.steps {
        step.ready_since = None;
        step.excluded.clear();
        for attempt in &mut step.attempts {
            (attempt.due, attempt.hard_due, attempt.due_on_disk) = (0, 0, 0);
        }
    }
    format!("{job:#?}")
}
