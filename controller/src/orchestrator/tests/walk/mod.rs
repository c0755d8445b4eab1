//! Random schedules: people, workers and a network that loses, repeats and
//! reorders. [`Sim`], [`books`] and [`disk`] assert after each step what must
//! always hold; in the end everything goes well, and every job ends.
//!
//! A failure names its seed: `AGENTD_SEED=… cargo test -p controller walk`
//! replays it alone. `AGENTD_SCHEDULES=n` sets how many are run.

mod actor;
mod books;
mod disk;
mod flows;

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use jiff::SignedDuration;
use protocol::{
    approval::Answer,
    id::{JobId, WorkerId},
    job::JobState,
    message::{FromWorker, Session, ToWorker},
    step::StepState,
    worker::Wanted,
};
use serde_json::json;

use self::{actor::Actor, books::Books, disk::Disk};
use super::sim::{Seeded, Sim};
use crate::{
    orchestrator::{Effect, Event, Facts, approval::Decision, why},
    workflow::{load::load, model::Workflow, prompts::Prompts},
};

/// Schedules of a plain `cargo test`: what a small machine does in some seconds without optimization.
const SCHEDULES: u64 = if cfg!(debug_assertions) { 500 } else { 20_000 };
/// Different workflows.
const FLOWS: u64 = 200;
/// Steps of one schedule before everything goes well.
const STEPS: u64 = 60;
/// Every so many schedules write everything to tables and read it back after each step.
const ON_DISK: u64 = 25;

struct Walk {
    sim: Sim,
    random: Seeded,
    flows: Arc<Vec<Workflow>>,
    actors: BTreeMap<WorkerId, Actor>,
    /// On the way to workers.
    down: Vec<(WorkerId, Session, ToWorker)>,
    /// On the way to the controller.
    up: Vec<(WorkerId, Session, FromWorker)>,
    books: Books,
    disk: Option<Disk>,
    submitted: Vec<JobId>,
    joined: u32,
}

impl Walk {
    fn new(seed: u64, flows: &Arc<Vec<Workflow>>) -> Self {
        let mut walk = Self {
            sim: Sim::new(seed),
            random: Seeded(!seed),
            flows: flows.clone(),
            actors: BTreeMap::new(),
            down: vec![],
            up: vec![],
            books: Books::default(),
            disk: seed.is_multiple_of(ON_DISK).then(Disk::new),
            submitted: vec![],
            joined: 0,
        };
        walk.join(true);
        for _ in 0..2 + walk.random.below(3) {
            let fast = walk.chance(2);
            walk.join(fast);
        }
        walk
    }

    fn chance(&mut self, one_in: u64) -> bool {
        self.random.below(one_in) == 0
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> Option<T> {
        let bound = from.len().max(1) as u64;
        from.get(self.random.below(bound) as usize).cloned()
    }

    fn a_worker(&mut self) -> Option<WorkerId> {
        let workers: Vec<WorkerId> = self.actors.keys().copied().collect();
        self.pick(&workers)
    }

    fn join(&mut self, fast: bool) {
        self.joined += 1;
        let slots = 1 + self.random.below(2) as u32;
        let id = self.sim.joined(&format!("w{}", self.joined), slots);
        if let Some(disk) = &self.disk {
            disk.joined(&self.sim.world.workers[&id]);
        }
        self.after(None);
        let mut actor = Actor::new(&mut self.random, slots, fast);
        actor.connect(&mut self.random, false);
        self.up.push((id, actor.session, actor.hello()));
        self.actors.insert(id, actor);
        let last = self.up.len() - 1;
        self.arrive(last);
    }

    /// One event, and what must hold after it.
    fn decide(&mut self, event: Event) {
        let revived = match &event {
            Event::RetryJob(job) | Event::Salvage { job, .. } => Some(*job),
            _ => None,
        };
        if let (Some(disk), Some(job)) = (&self.disk, revived) {
            disk.bring_back(&mut self.sim.world, job, self.sim.now);
        }
        // many are refused in the state that they meet, and must then change nothing
        let _ = self.sim.decide(event);
        self.after(revived);
    }

    /// Says what is to be said, checks, writes down.
    fn after(&mut self, revived: Option<JobId>) {
        for effect in std::mem::take(&mut self.sim.effects) {
            if let Effect::Say {
                worker,
                session,
                message,
            } = effect
            {
                self.down.push((worker, session, message));
            }
        }
        let changes = std::mem::take(&mut self.sim.changes);
        let mono = self.sim.now.mono;
        self.books.check(&self.sim.world, changes.used, revived, mono);
        if let Some(disk) = &mut self.disk {
            disk.commit(&mut self.sim.world, &changes, self.sim.now);
            let loaded = disk.load(&self.sim.world, self.sim.now);
            disk::assert_same(&self.sim.world, &loaded);
            if self.random.below(40) == 0 {
                self.restart(loaded);
            }
        }
    }

    /// Another controller goes on from the tables; all connections are gone.
    fn restart(&mut self, loaded: crate::orchestrator::World) {
        self.sim.world = loaded;
        self.down.clear();
        for actor in self.actors.values_mut() {
            actor.connected = false;
        }
    }

    fn event(&mut self) {
        match self.random.below(100) {
            0..=5 => self.submit(),
            6..=15 => self.pass(),
            16..=45 => self.deliver_down(),
            46..=70 => self.deliver_up(),
            71..=85 => self.work(),
            86..=93 => self.connection(),
            _ => self.person(),
        }
    }

    fn submit(&mut self) {
        if self.submitted.len() >= 4 {
            return;
        }
        let flow = self.random.below(self.flows.len() as u64) as usize;
        let job = self.sim.job_of(self.flows[flow].clone(), json!({}));
        self.submitted.push(job.id);
        self.decide(Event::Submit(Box::new(job)));
    }

    fn pass(&mut self) {
        if self.chance(12) {
            // somebody sets the clock: no lease may notice
            let by = self.random.below(7_200_000) as i64 - 3_600_000;
            self.sim.now.wall += SignedDuration::from_millis(by);
        }
        let most = self.pick(&[10, 1_000, 10_000, 45_000, 130_000, 700_000]);
        let ms = self.random.below(most.unwrap_or(1));
        self.sim.now.mono += ms;
        self.sim.now.wall += SignedDuration::from_millis(ms as i64);
        self.decide(Event::Timers);
    }

    /// Some message reaches its worker, or is lost, or comes twice.
    fn deliver_down(&mut self) {
        if self.down.is_empty() {
            return;
        }
        let index = self.random.below(self.down.len() as u64) as usize;
        let (worker, session, message) = self.down.swap_remove(index);
        if self.chance(12) {
            return;
        }
        if self.chance(12) {
            self.down.push((worker, session, message.clone()));
        }
        let Some(actor) = self.actors.get_mut(&worker) else {
            return;
        };
        if actor.connected && actor.session == session {
            let answers = actor.receive(&mut self.random, message);
            self.up
                .extend(answers.into_iter().map(|said| (worker, session, said)));
        }
    }

    fn deliver_up(&mut self) {
        if self.up.is_empty() {
            return;
        }
        let index = self.random.below(self.up.len() as u64) as usize;
        if self.chance(12) {
            self.up.swap_remove(index);
        } else {
            if self.chance(12) {
                let again = self.up[index].clone();
                self.up.push(again);
            }
            self.arrive(index);
        }
    }

    /// A message reaches the controller, with what the tables say about it.
    fn arrive(&mut self, index: usize) {
        let (worker, session, message) = self.up.swap_remove(index);
        let mut facts = Facts::default();
        if let Some(disk) = &self.disk {
            let named: Vec<_> = match &message {
                FromWorker::Result(result) => vec![result.attempt],
                FromWorker::Hello(hello) => hello.unsent.iter().map(|(attempt, _)| *attempt).collect(),
                _ => vec![],
            };
            for attempt in named {
                if self.sim.world.attempts.contains_key(&attempt) {
                    continue;
                }
                match (disk.known(attempt), &message) {
                    ((true, _), _) => {
                        facts.recorded.insert(attempt);
                    }
                    ((false, Some(job)), FromWorker::Result(_)) => {
                        disk.bring_back(&mut self.sim.world, job, self.sim.now);
                    }
                    _ => {}
                }
            }
        }
        self.decide(Event::FromWorker {
            worker,
            session,
            message: Box::new(message),
            facts,
        });
    }

    fn work(&mut self) {
        let Some(id) = self.a_worker() else {
            return;
        };
        let actor = self.actors.get_mut(&id).expect("picked");
        if let Some(said) = actor.work(&mut self.random) {
            self.up.push((id, actor.session, said));
        }
    }

    fn connection(&mut self) {
        let Some(worker) = self.a_worker() else {
            return;
        };
        let anew = self.chance(3);
        let what = self.random.below(10);
        let actor = self.actors.get_mut(&worker).expect("picked");
        match what {
            0..=2 if actor.connected => {
                actor.connected = false;
                let by_host = self.chance(2);
                self.decide(Event::WorkerDisconnected { worker, by_host });
            }
            3 | 4 if actor.connected => {
                let said = (worker, actor.session, actor.hello());
                self.up.push(said);
            }
            _ => {
                actor.connect(&mut self.random, anew);
                let said = (worker, actor.session, actor.hello());
                self.up.push(said);
            }
        }
    }

    fn person(&mut self) {
        let jobs = self.submitted.clone();
        let Some(job) = self.pick(&jobs) else {
            return;
        };
        let what = self.random.below(16);
        match what {
            14 | 15 => self.answer(job),
            0 | 1 => self.decide(Event::CancelJob(job)),
            2..=4 => self.decide(Event::RetryJob(job)),
            5 | 6 => self.decide(Event::ResumeJob(job)),
            7..=9 => self.salvage(job),
            10 => {
                let paused = self.chance(2);
                self.decide(Event::PauseDispatch(paused));
            }
            11 if self.actors.len() > 2 && self.chance(3) => {
                let worker = self.a_worker().expect("more than two");
                let wanted = Wanted::Removed;
                self.decide(Event::WorkerWanted { worker, wanted });
                self.sim.world.workers.remove(&worker);
                self.actors.remove(&worker);
                self.join(true);
            }
            _ => {
                let wanted = [Wanted::Active, Wanted::Active, Wanted::Paused, Wanted::Draining];
                let wanted = self.pick(&wanted).expect("some");
                let worker = self.a_worker().expect("there are always some");
                self.decide(Event::WorkerWanted { worker, wanted });
            }
        }
    }

    /// Somebody decides about a step, more often than not about one that waits for it.
    fn answer(&mut self, job: JobId) {
        let anything = self.chance(4);
        let steps = self
            .sim
            .world
            .jobs
            .get(&job)
            .into_iter()
            .flat_map(|job| &job.steps);
        let steps: Vec<_> = steps
            .filter(|step| anything || step.state == StepState::Awaiting)
            .map(|step| step.key.clone())
            .collect();
        if let (Some(step), Some(answer)) = (self.pick(&steps), self.pick(Answer::ALL)) {
            let decision = Decision {
                answer,
                by: "somebody".to_owned(),
                reason: None,
                seen: None,
            };
            self.decide(Event::DecideStep { job, step, decision });
        }
    }

    fn salvage(&mut self, job: JobId) {
        if let Some(disk) = &self.disk {
            disk.bring_back(&mut self.sim.world, job, self.sim.now);
        }
        let steps = self
            .sim
            .world
            .jobs
            .get(&job)
            .into_iter()
            .flat_map(|job| &job.steps);
        let late: Vec<_> = steps
            .flat_map(|step| step.attempts.iter().map(|attempt| (step.key.clone(), attempt)))
            .filter(|(_, attempt)| attempt.late.is_some())
            .map(|(step, attempt)| (step, attempt.id))
            .collect();
        if let Some((step, attempt)) = self.pick(&late) {
            self.decide(Event::Salvage {
                job,
                step,
                attempt,
                facts: Facts::default(),
            });
        }
    }

    /// From here on everything goes well: then every job must end.
    fn end_well(&mut self) {
        self.decide(Event::PauseDispatch(false));
        for _ in 0..150 {
            let open: Vec<(JobId, JobState)> = self
                .sim
                .world
                .jobs
                .values()
                .filter(|job| !job.state.is_terminal())
                .map(|job| (job.id, job.state))
                .collect();
            if open.is_empty() {
                return;
            }
            for (job, _) in open.iter().filter(|(_, state)| *state == JobState::Parked) {
                self.decide(Event::ResumeJob(*job));
            }
            let workers: Vec<WorkerId> = self.actors.keys().copied().collect();
            for worker in workers {
                let wanted = Wanted::Active;
                self.decide(Event::WorkerWanted { worker, wanted });
                let actor = self.actors.get_mut(&worker).expect("listed");
                actor.connect(&mut self.random, false);
                let said = (worker, actor.session, actor.hello());
                self.up.push(said);
                let last = self.up.len() - 1;
                self.arrive(last);
                self.everybody_delivers(worker);
            }
            self.sim.now.mono += 120_000;
            self.sim.now.wall += SignedDuration::from_millis(120_000);
            self.decide(Event::Timers);
        }
        let open = self
            .sim
            .world
            .jobs
            .values()
            .filter(|job| !job.state.is_terminal());
        let stuck: Vec<String> = open
            .map(|job| why::explain(&self.sim.world, job, self.sim.now.mono).summary)
            .collect();
        panic!("these never end: {stuck:#?}");
    }

    fn everybody_delivers(&mut self, worker: WorkerId) {
        for _ in 0..8 {
            let mine = |(to, ..): &mut (WorkerId, Session, ToWorker)| *to == worker;
            let said: Vec<_> = self.down.extract_if(.., mine).collect();
            let actor = self.actors.get_mut(&worker).expect("listed");
            for (_, session, message) in said {
                if actor.connected && session == actor.session {
                    actor.receive(&mut self.random, message);
                }
            }
            let session = actor.session;
            let results = actor.finish(&mut self.random);
            if results.is_empty() {
                return;
            }
            for result in results {
                self.up.push((worker, session, result));
                let last = self.up.len() - 1;
                self.arrive(last);
            }
        }
    }
}

fn run(seed: u64, flows: &Arc<Vec<Workflow>>) {
    let mut walk = Walk::new(seed, flows);
    for _ in 0..STEPS {
        walk.event();
    }
    walk.end_well();
}

fn variable(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}

#[test]
fn whatever_happens_the_books_are_right_and_every_job_ends() {
    let prompts = Prompts::builtin();
    let flows = (0..FLOWS).map(|number| {
        let text = flows::text(number);
        load(&text, &prompts).unwrap_or_else(|errors| panic!("{text}\n{errors:#?}"))
    });
    let flows = Arc::new(flows.collect::<Vec<_>>());
    if let Some(seed) = variable("AGENTD_SEED") {
        return run(seed, &flows);
    }
    let count = variable("AGENTD_SCHEDULES").unwrap_or(SCHEDULES);
    let next = AtomicU64::new(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= count {
                        return;
                    }
                    let outcome = catch_unwind(AssertUnwindSafe(|| run(seed, &flows)));
                    assert!(
                        outcome.is_ok(),
                        "AGENTD_SEED={seed} breaks a rule: see the panic above"
                    );
                }
            });
        }
    });
}
