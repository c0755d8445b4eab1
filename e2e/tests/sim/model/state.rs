//! A state of the model and how it moves: the world of a controller, two session
//! machines, and everything that was ever said.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use controller::orchestrator::{Entropy, World};
use protocol::{
    codec::Envelope,
    id::{AttemptId, BootId, JobId, JournalId, WorkerId},
    message::{FromWorker, Session, ToWorker},
    step::{AttemptState, Outcome},
};
use uuid::Uuid;
use worker::session::{Held, Identity, Machine};

use super::Faults;

/// Something that must never happen, or that a run should have seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub(super) enum Flag {
    TwoResults = 1,
    Superseded = 2,
    ExecutedTwice = 4,
    BeganFenced = 8,
    GivenUp = 16,
    NoDeadline = 32,
    Succeeded = 64,
    Adopted = 128,
    Late = 256,
}

impl Flag {
    /// Those that must never be raised.
    const BAD: u16 = Self::TwoResults as u16
        | Self::Superseded as u16
        | Self::ExecutedTwice as u16
        | Self::BeganFenced as u16
        | Self::GivenUp as u16
        | Self::NoDeadline as u16;
}

/// One thing that can happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Action {
    Deliver(u64),
    /// The deadline of the current attempt.
    Due,
    /// Its hard limit.
    Hard,
    Finish(usize, AttemptId),
    HelloAgain(usize),
    Connect(usize),
    CrashWorker(usize),
    CrashController,
    Cancel,
    Remove,
}

/// Something that was said.
#[derive(Clone)]
pub(super) enum Packet {
    Up(usize, Session, Box<FromWorker>),
    Down(usize, Box<Envelope<ToWorker>>),
}

/// A machine with a worker.
#[derive(Clone)]
pub(super) struct Side {
    pub(super) machine: Machine,
    pub(super) start: u64,
    pub(super) connection: u64,
    pub(super) executing: BTreeSet<AttemptId>,
    pub(super) started: BTreeSet<AttemptId>,
    pub(super) fenced: BTreeSet<AttemptId>,
    /// The results that were written down.
    pub(super) finished: BTreeMap<AttemptId, Outcome>,
}

#[derive(Clone)]
pub(crate) struct State {
    pub(super) world: Arc<World>,
    pub(super) epoch: u64,
    pub(super) minted: u64,
    pub(super) sides: [Arc<Side>; 2],
    pub(super) removed: bool,
    pub(super) net: Arc<BTreeMap<u64, Packet>>,
    pub(super) faults: Faults,
    flags: u16,
    /// The print of both sides, without what is on its way.
    sides_print: u64,
    /// The print of everything that decides what can happen from here on.
    print: u64,
}

impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        self.print == other.print
    }
}

impl Hash for State {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.print.hash(hasher);
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let job = self.world.jobs.values().next();
        let attempts = job
            .iter()
            .flat_map(|job| &job.steps)
            .flat_map(|step| &step.attempts);
        let attempts: Vec<_> = attempts.map(|attempt| (attempt.worker, attempt.state)).collect();
        write!(f, "{:?} {attempts:?}", job.map(|job| job.state))
    }
}

/// Attempts are counted.
pub(super) struct Minted<'a>(pub(super) &'a mut u64);

impl Entropy for Minted<'_> {
    fn attempt_id(&mut self) -> AttemptId {
        *self.0 += 1;
        AttemptId::from_uuid(Uuid::from_u64_pair(7, *self.0))
    }

    fn unit(&mut self) -> f64 {
        0.0
    }
}

pub(super) fn worker_id(w: usize) -> WorkerId {
    WorkerId::from_uuid(Uuid::from_u64_pair(1, w as u64))
}

pub(super) fn index_of(worker: WorkerId) -> usize {
    usize::from(worker != worker_id(0))
}

impl State {
    pub(super) fn new(faults: Faults) -> Self {
        let side = |w: usize| Arc::new(Side::new(w, 1, 0, BTreeMap::new()));
        Self {
            world: Arc::new(World::default()),
            epoch: 1,
            minted: 0,
            sides: [side(0), side(1)],
            removed: false,
            net: Arc::default(),
            faults,
            flags: 0,
            sides_print: 0,
            print: 0,
        }
    }

    pub(super) fn has(&self, flag: Flag) -> bool {
        self.flags & flag as u16 != 0
    }

    pub(super) fn flag(&mut self, flag: Flag) {
        self.flags |= flag as u16;
    }

    /// Whether something happened that never must.
    pub(super) fn is_bad(&self) -> bool {
        self.flags & Flag::BAD != 0
    }

    /// Names what both sides know, without what is on its way between them.
    pub(super) const fn sides_print(&self) -> u64 {
        self.sides_print
    }

    pub(super) fn job(&self) -> JobId {
        *self.world.jobs.keys().next().expect("the model has one job")
    }

    pub(super) fn attempts(&self) -> usize {
        let job = self.world.jobs.values().next();
        job.map_or(0, |job| job.steps.iter().map(|step| step.attempts.len()).sum())
    }

    pub(super) fn current(&self) -> Option<(AttemptId, AttemptState)> {
        let mut steps = self.world.jobs.values().flat_map(|job| &job.steps);
        let current = steps.find_map(|step| step.current());
        current.map(|attempt| (attempt.id, attempt.state))
    }

    pub(super) fn actions(&self, actions: &mut Vec<Action>) {
        actions.extend(self.net.keys().map(|key| Action::Deliver(*key)));
        if let Some((_, state)) = self.current() {
            if state.is_open() {
                actions.push(Action::Due);
            }
            if state == AttemptState::Running {
                actions.push(Action::Hard);
            }
        }
        for w in 0..2 {
            if w == 1 && self.removed {
                continue;
            }
            let side = &self.sides[w];
            actions.extend(side.executing.iter().map(|attempt| Action::Finish(w, *attempt)));
            if !side.machine.is_synced() {
                actions.push(Action::HelloAgain(w));
            }
            if self.faults.reconnects > 0 {
                actions.push(Action::Connect(w));
            }
            if self.faults.worker_crashes > 0 {
                actions.push(Action::CrashWorker(w));
            }
        }
        if self.faults.controller_crashes > 0 {
            actions.push(Action::CrashController);
        }
        if self.faults.cancels > 0 {
            actions.push(Action::Cancel);
        }
        if self.faults.removals > 0 {
            actions.push(Action::Remove);
        }
    }

    /// Takes out what no longer matters and makes the prints.
    pub(super) fn seal(&mut self) {
        self.tidy();
        let mut hasher = DefaultHasher::new();
        for job in self.world.jobs.values() {
            (job.state, job.cancel_requested, job.overdue).hash(&mut hasher);
            for step in &job.steps {
                (step.state, step.infra_left, step.work_left).hash(&mut hasher);
                for attempt in &step.attempts {
                    (attempt.id, attempt.worker, attempt.state, attempt.cancel).hash(&mut hasher);
                    (attempt.said, attempt.recorded, attempt.late_outcome()).hash(&mut hasher);
                    (attempt.hard_due == u64::MAX).hash(&mut hasher);
                }
            }
        }
        for worker in self.world.workers.values() {
            (worker.state, worker.wanted, worker.session, worker.live).hash(&mut hasher);
            (worker.used, worker.boot, !worker.warm.is_empty()).hash(&mut hasher);
        }
        for side in &self.sides {
            side.hash_into(&mut hasher);
        }
        (self.epoch, self.minted, self.removed).hash(&mut hasher);
        self.sides_print = hasher.finish();
        self.net.keys().for_each(|key| key.hash(&mut hasher));
        (self.faults, self.flags).hash(&mut hasher);
        self.print = hasher.finish();
    }

    /// Takes out what changes nothing, whenever it arrives.
    fn tidy(&mut self) {
        if !self.net.values().all(|packet| self.is_heard(packet)) {
            let mut net = (*self.net).clone();
            net.retain(|_, packet| self.is_heard(packet));
            self.net = Arc::new(net);
        }
    }

    /// Whether somebody would still listen to it: sessions only grow, and an attempt is over when its
    /// worker was told that its result is on the controller's disk.
    fn is_heard(&self, packet: &Packet) -> bool {
        let w = match packet {
            Packet::Down(w, _) | Packet::Up(w, ..) => *w,
        };
        if w == 1 && self.removed {
            return false;
        }
        let machine = &self.sides[w].machine;
        let over = |attempt: &AttemptId| {
            machine.held(*attempt) == Some(&Held::Acked) && is_recorded(&self.world, *attempt)
        };
        match packet {
            Packet::Down(_, envelope) => {
                let mine = envelope.session == machine.session() && envelope.epoch >= machine.epoch();
                mine && match &envelope.message {
                    ToWorker::Assign(assign) => !over(&assign.attempt),
                    ToWorker::Cancel(cancel) => !over(&cancel.attempt),
                    ToWorker::Probe(probe) => !over(&probe.attempt),
                    ToWorker::Ack(ack) => !over(&ack.attempt),
                    ToWorker::Lease(_) => false,
                    ToWorker::Sync(_) | ToWorker::Drain(_) | ToWorker::Signal(_) | ToWorker::Refused(_) => {
                        true
                    }
                }
            }
            Packet::Up(_, session, message) => {
                let row = self.world.workers.get(&worker_id(w));
                let known = row.and_then(|row| row.session);
                let older = known.is_some_and(|known| known != *session && !session.is_newer_than(&known));
                match &**message {
                    FromWorker::Result(result) => !over(&result.attempt),
                    _ if older => false,
                    FromWorker::Accept(accept) => !over(&accept.attempt),
                    FromWorker::Reject(reject) => !over(&reject.attempt),
                    FromWorker::Renew(renew) => !renew.attempts.iter().all(over),
                    FromWorker::Hello(_)
                    | FromWorker::Progress(_)
                    | FromWorker::Checkpoint(_)
                    | FromWorker::Bye(_) => true,
                }
            }
        }
    }

    pub(super) fn put(&mut self, packet: Packet) {
        let mut hasher = DefaultHasher::new();
        packet.hash_into(&mut hasher);
        Arc::make_mut(&mut self.net).insert(hasher.finish(), packet);
    }
}

impl Packet {
    /// What tells it from others; the rest of a message follows from the attempt that it names.
    fn hash_into(&self, hasher: &mut DefaultHasher) {
        match self {
            Self::Up(w, session, message) => {
                (0, w, session, std::mem::discriminant(&**message)).hash(hasher);
                match &**message {
                    FromWorker::Accept(accept) => accept.attempt.hash(hasher),
                    FromWorker::Reject(reject) => reject.attempt.hash(hasher),
                    FromWorker::Renew(renew) => renew.attempts.hash(hasher),
                    FromWorker::Result(result) => (result.attempt, result.outcome).hash(hasher),
                    other => format!("{other:?}").hash(hasher),
                }
            }
            Self::Down(w, envelope) => {
                let message = &envelope.message;
                (
                    1,
                    w,
                    envelope.session,
                    envelope.epoch,
                    std::mem::discriminant(message),
                )
                    .hash(hasher);
                match message {
                    ToWorker::Assign(assign) => assign.attempt.hash(hasher),
                    ToWorker::Cancel(cancel) => (cancel.attempt, cancel.why).hash(hasher),
                    ToWorker::Probe(probe) => probe.attempt.hash(hasher),
                    other => format!("{other:?}").hash(hasher),
                }
            }
        }
    }
}

/// Whether the controller has the result of an attempt on disk.
pub(super) fn is_recorded(world: &World, id: AttemptId) -> bool {
    let steps = world.jobs.values().flat_map(|job| &job.steps);
    let mut attempts = steps.flat_map(|step| &step.attempts);
    attempts.any(|attempt| attempt.id == id && attempt.recorded)
}

impl Side {
    pub(super) fn new(w: usize, start: u64, epoch: u64, held: BTreeMap<AttemptId, Held>) -> Self {
        let identity = Identity {
            boot: BootId::from_uuid(Uuid::from_u64_pair(w as u64, start)),
            journal: JournalId::from_uuid(Uuid::from_u64_pair(9, w as u64)),
            start,
            slots: 1,
        };
        Self {
            machine: Machine::new(identity, epoch, held),
            start,
            connection: 0,
            executing: BTreeSet::new(),
            started: BTreeSet::new(),
            fenced: BTreeSet::new(),
            finished: BTreeMap::new(),
        }
    }

    fn hash_into(&self, hasher: &mut DefaultHasher) {
        (
            self.machine.session(),
            self.machine.is_synced(),
            self.machine.epoch(),
        )
            .hash(hasher);
        for attempt in &self.known() {
            let held = self.machine.held(*attempt);
            let outcome = match held {
                Some(Held::Unsent { result } | Held::Ending { result }) => Some(result.outcome),
                _ => None,
            };
            (attempt, held.map(std::mem::discriminant), outcome).hash(hasher);
            (self.executing.contains(attempt), self.fenced.contains(attempt)).hash(hasher);
        }
    }

    /// All attempts that it can know of.
    pub(super) fn known(&self) -> BTreeSet<AttemptId> {
        self.started.union(&self.fenced).copied().collect()
    }
}

/// The same world again.
pub(super) fn copy(world: &World) -> World {
    World {
        jobs: world.jobs.clone(),
        workers: world.workers.clone(),
        attempts: world.attempts.clone(),
        ready: world.ready.clone(),
        timers: world.timers.clone(),
        paused: world.paused,
        limits: world.limits,
        models: world.models.clone(),
    }
}
