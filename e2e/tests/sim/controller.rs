//! The controller's side: the product's decisions between tables and outlet, in
//! the order in which the engine has them.

use std::collections::BTreeSet;

use controller::{
    orchestrator::{Changes, Draft, Effect, Event, Facts, Now, Refusal, World, decide, timers::Timer},
    queue,
};
use protocol::{
    artifact::Sha256,
    id::{AttemptId, JobId, WorkerId},
    message::{FromWorker, StepResult},
    worker::Wanted,
};

use crate::{
    Part, Variant,
    books::{Books, Cause},
    random::Random,
    sqlite::{self, Sqlite},
    tables::Tables,
};

/// Every so many commits the world is compared with what SQLite would give to a start.
const COMPARE_EVERY: u64 = 8;

/// What can go wrong when a group is committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Commit {
    /// Nothing: its effects leave.
    Good,
    /// The disk refuses: nothing has happened, and the world is read again.
    Refused,
    /// The process dies when so many of its effects have left.
    ThenDies(usize),
}

/// What came of an event.
pub(crate) struct Done {
    /// What the event itself led to; `None` if nothing of it is on disk.
    pub(crate) decided: Option<Result<(), Refusal>>,
    /// What is to be said.
    pub(crate) effects: Vec<Effect>,
}

/// One controller with its tables.
pub(crate) struct Controller {
    pub(crate) world: World,
    pub(crate) tables: Tables,
    /// The same in SQLite, in the schedules that have it.
    sqlite: Option<Sqlite>,
    commits: u64,
    pub(crate) books: Books,
    pub(crate) epoch: u64,
    /// Blobs that were uploaded.
    pub(crate) blobs: BTreeSet<Sha256>,
    entropy: Random,
    variant: Variant,
}

impl Controller {
    pub(crate) fn new(seed: u64, variant: Variant) -> Self {
        Self {
            world: World::default(),
            tables: Tables::default(),
            sqlite: (variant == Variant::OnSqlite).then(Sqlite::new),
            commits: 0,
            books: Books::default(),
            epoch: 1,
            blobs: BTreeSet::new(),
            entropy: Random::new(seed),
            variant,
        }
    }

    /// One group with this event in it: look up, decide, pass time, dispatch, commit.
    pub(crate) fn take(&mut self, mut event: Event, now: Now, commit: Commit) -> Done {
        self.sabotage(&mut event);
        let mut fetched = vec![];
        self.look_up(&mut event, now, &mut fetched);
        let cause = match &event {
            Event::RetryJob(job) | Event::Salvage { job, .. } => Cause::Revival(*job),
            Event::FromWorker { worker, .. } => Cause::Word(*worker),
            _ => Cause::Other,
        };
        let joined = match &event {
            Event::WorkerJoined(worker) if self.sqlite.is_some() => Some(worker.clone()),
            _ => None,
        };
        let (mut changes, mut effects) = (Changes::default(), vec![]);
        let mut draft = Draft {
            world: &mut self.world,
            now,
            entropy: &mut self.entropy,
            changes: &mut changes,
            effects: &mut effects,
        };
        let decided = decide(&mut draft, event);
        decide(&mut draft, Event::Timers).expect("timers are never refused");
        queue::dispatch(&mut draft);
        if commit == Commit::Refused {
            if let Some(sqlite) = &self.sqlite {
                sqlite.refuse(joined.as_deref());
            }
            self.read_again(now);
            let (decided, effects) = (None, vec![]);
            return Done { decided, effects };
        }
        self.tables.commit(&self.world, &changes);
        if let Some(sqlite) = &mut self.sqlite {
            sqlite.commit(&self.world, joined.as_deref(), &changes, now);
        }
        self.books.check(&self.world, &self.tables, &changes, cause, now);
        self.decide_again(&changes, now);
        self.forget(&changes, &fetched);
        self.commits += 1;
        if self.sqlite.is_some() && self.commits.is_multiple_of(COMPARE_EVERY) {
            sqlite::assert_same("memory and disk", &self.world, &self.load(now));
        }
        if let Commit::ThenDies(after) = commit {
            effects.truncate(after);
        }
        let decided = Some(decided);
        Done { decided, effects }
    }

    /// A decision goes as far as it can: once more changes nothing.
    fn decide_again(&mut self, changes: &Changes, now: Now) {
        if changes.is_empty() {
            return;
        }
        let (mut more, mut effects) = (Changes::default(), vec![]);
        let mut draft = Draft {
            world: &mut self.world,
            now,
            entropy: &mut self.entropy,
            changes: &mut more,
            effects: &mut effects,
        };
        for job in changes
            .jobs
            .iter()
            .chain(changes.steps.iter().map(|(job, _)| job))
        {
            draft.settle(*job);
        }
        queue::dispatch(&mut draft);
        assert!(
            more.is_empty() && effects.is_empty(),
            "something was left to be done: {more:?}, and to be said: {effects:?}"
        );
    }

    /// As the engine's groups forget after their commit.
    fn forget(&mut self, changes: &Changes, fetched: &[JobId]) {
        self.world.forget_ended(&changes.ended);
        self.world.forget_ended(fetched);
        self.world
            .workers
            .retain(|_, worker| worker.wanted != Wanted::Removed);
    }

    /// Brings what the event names from the tables into reach of the decision.
    fn look_up(&mut self, event: &mut Event, now: Now, fetched: &mut Vec<JobId>) {
        match event {
            Event::CancelJob(job)
            | Event::RetryJob(job)
            | Event::ResumeJob(job)
            | Event::DecideStep { job, .. }
            | Event::Salvage { job, .. } => {
                self.fetch(*job, now, fetched);
            }
            Event::FromWorker { message, facts, .. } => match &**message {
                FromWorker::Hello(hello) => {
                    if hello.highest_epoch > self.epoch {
                        self.epoch = hello.highest_epoch + 1;
                    }
                    let recorded = hello.unsent.iter().map(|(attempt, _)| *attempt);
                    facts.recorded = recorded.filter(|id| self.was_recorded(*id)).collect();
                }
                FromWorker::Result(result) => {
                    *facts = self.facts_of(result);
                    if !facts.recorded.contains(&result.attempt)
                        && let Some(job) = self.tables.owner(result.attempt)
                    {
                        self.fetch(job, now, fetched);
                    }
                }
                _ => {}
            },
            _ => {}
        }
    }

    /// Brings a job that has ended back, for one decision.
    pub(crate) fn fetch(&mut self, job: JobId, now: Now, fetched: &mut Vec<JobId>) {
        if self.world.jobs.contains_key(&job) {
            return;
        }
        let limits = self.world.limits;
        let found = self.tables.job(job, &limits, now);
        if let Some(sqlite) = &self.sqlite {
            let real = sqlite.job(job, &limits, now);
            let (real, found) = (real.as_ref().map(sqlite::kept), found.as_ref().map(sqlite::kept));
            assert_eq!(real, found, "a job of the past");
        }
        if let Some(found) = found {
            self.world.adopt_job(found);
            fetched.push(job);
        }
    }

    fn was_recorded(&self, attempt: AttemptId) -> bool {
        let recorded = self.tables.is_recorded(attempt);
        if let Some(sqlite) = &self.sqlite {
            assert_eq!(sqlite.is_recorded(attempt), recorded, "the result of {attempt}");
            assert_eq!(
                sqlite.owner(attempt),
                self.tables.owner(attempt),
                "the job of {attempt}"
            );
        }
        !self.world.attempts.contains_key(&attempt) && recorded
    }

    /// The world that a start finds on disk.
    fn load(&self, now: Now) -> World {
        let empty = || World {
            limits: self.world.limits,
            models: self.world.models.clone(),
            ..World::default()
        };
        let found = self.tables.load(empty(), now);
        let Some(sqlite) = &self.sqlite else {
            return found;
        };
        let real = sqlite.load(empty(), now);
        sqlite::assert_same("SQLite and the tables that stand for it", &real, &found);
        assert_eq!(real.timers, found.timers, "deadlines after a start");
        real
    }

    fn facts_of(&self, result: &StepResult) -> Facts {
        let mut facts = Facts::default();
        let named = result.artifacts.iter().map(|artifact| artifact.sha256);
        facts.missing = named.filter(|blob| !self.blobs.contains(blob)).collect();
        if self.was_recorded(result.attempt) {
            facts.recorded.insert(result.attempt);
        }
        facts
    }

    /// After a refused commit: the world of the tables, with the connections that there are.
    fn read_again(&mut self, now: Now) {
        let loaded = self.load(now);
        let before = std::mem::replace(&mut self.world, loaded);
        for (id, was) in before.workers {
            let same = |worker: &&mut controller::orchestrator::world::Worker| worker.session == was.session;
            if let Some(worker) = self.world.workers.get_mut(&id).filter(same) {
                (worker.live, worker.state, worker.closed) = (was.live, was.state, was.closed);
                if let Some(closed) = was.closed {
                    let due = closed.at + 20_000;
                    self.world.timers.insert((due, Timer::Worker(id)));
                }
            }
        }
        self.books.look_again(&self.world);
    }

    /// Another process goes on from the tables.
    pub(crate) fn restart(&mut self, now: Now) {
        self.epoch = (self.epoch + 1).max(now.wall.as_second().max(0) as u64);
        self.world = self.load(now);
        if self.variant == Variant::Without(Part::LeasesOnDisk) {
            let volatile = |timer: &Timer| matches!(timer, Timer::Attempt(_) | Timer::Hard(_));
            self.world.timers.retain(|(_, timer)| !volatile(timer));
        }
        self.books.look_again(&self.world);
        self.books
            .check(&self.world, &self.tables, &Changes::default(), Cause::Other, now);
    }

    /// Without a fence a result counts for its step, whichever attempt it belongs to.
    fn sabotage(&self, event: &mut Event) {
        let Event::FromWorker { worker, message, .. } = event else {
            return;
        };
        let FromWorker::Result(result) = &mut **message else {
            return;
        };
        let step = self.world.step(result.job, &result.step);
        if let (Variant::Without(Part::Fence), Some(current)) =
            (self.variant, step.and_then(|step| step.current()))
        {
            (result.attempt, *worker) = (current.id, current.worker);
        }
    }

    /// Late results that a person could salvage.
    pub(crate) fn salvageable(&mut self, job: JobId, now: Now) -> Vec<Event> {
        let mut fetched = vec![];
        self.fetch(job, now, &mut fetched);
        let steps = self.world.jobs.get(&job).into_iter().flat_map(|job| &job.steps);
        let late = steps.flat_map(|step| step.attempts.iter().map(|attempt| (step.key.clone(), attempt)));
        let late = late.filter(|(_, attempt)| attempt.late.is_some());
        let events = late.map(|(step, attempt)| {
            let attempt = attempt.id;
            let facts = Facts::default();
            Event::Salvage {
                job,
                step,
                attempt,
                facts,
            }
        });
        let events = events.collect();
        self.world.forget_ended(&fetched);
        events
    }

    /// Whether this worker may still speak.
    pub(crate) fn knows(&self, worker: WorkerId) -> bool {
        self.world.workers.contains_key(&worker)
    }
}
