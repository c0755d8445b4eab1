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

use crate::{Broken, books::Books, random::Random, tables::Tables};

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
    pub(crate) books: Books,
    pub(crate) epoch: u64,
    /// Blobs that were uploaded.
    pub(crate) blobs: BTreeSet<Sha256>,
    entropy: Random,
    broken: Option<Broken>,
}

impl Controller {
    pub(crate) fn new(seed: u64, broken: Option<Broken>) -> Self {
        Self {
            world: World::default(),
            tables: Tables::default(),
            books: Books::default(),
            epoch: 1,
            blobs: BTreeSet::new(),
            entropy: Random(seed),
            broken,
        }
    }

    /// One group with this event in it: look up, decide, pass time, dispatch, commit.
    pub(crate) fn take(&mut self, mut event: Event, now: Now, commit: Commit) -> Done {
        self.sabotage(&mut event);
        let mut fetched = vec![];
        self.look_up(&mut event, now, &mut fetched);
        let revived = match &event {
            Event::RetryJob(job) | Event::Salvage { job, .. } => Some(*job),
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
            self.read_again(now);
            let (decided, effects) = (None, vec![]);
            return Done { decided, effects };
        }
        self.tables.commit(&self.world, &changes);
        self.books
            .check(&self.world, &self.tables, &changes, revived, now);
        self.forget(&changes, &fetched);
        if let Commit::ThenDies(after) = commit {
            effects.truncate(after);
        }
        let decided = Some(decided);
        Done { decided, effects }
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
        if let Some(found) = self.tables.job(job, &limits, now) {
            self.world.adopt_job(found);
            fetched.push(job);
        }
    }

    fn was_recorded(&self, attempt: AttemptId) -> bool {
        !self.world.attempts.contains_key(&attempt) && self.tables.is_recorded(attempt)
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

    fn empty_world(&self) -> World {
        World {
            limits: self.world.limits,
            models: self.world.models.clone(),
            ..World::default()
        }
    }

    /// After a refused commit: the world of the tables, with the connections that there are.
    fn read_again(&mut self, now: Now) {
        let loaded = self.tables.load(self.empty_world(), now);
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
        self.world = self.tables.load(self.empty_world(), now);
        if self.broken == Some(Broken::LeasesInMemory) {
            let volatile = |timer: &Timer| matches!(timer, Timer::Attempt(_) | Timer::Hard(_));
            self.world.timers.retain(|(_, timer)| !volatile(timer));
        }
        self.books.look_again(&self.world);
        self.books
            .check(&self.world, &self.tables, &Changes::default(), None, now);
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
        if let (Some(Broken::NoFence), Some(current)) = (self.broken, step.and_then(|step| step.current())) {
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
