//! One schedule: a controller, some workers, people and a network that a seed
//! plays tricks on; then everything goes well, and every job must end.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use controller::orchestrator::{
    Effect, Event, Facts, Now as ControllerNow, Refusal, why,
    world::{Job, Worker},
};
use jiff::{SignedDuration, Timestamp};
use protocol::{
    approval::Answer,
    codec::Envelope,
    id::{JobId, MessageId, WorkerId},
    job::{JobState, StepKey},
    label::Labels,
    message::{FromWorker, PROTOCOL_VERSION, Session, ToWorker},
    step::StepState,
    usage::Usage,
    worker::{Load, Wanted, WorkerState},
};
use service::clock::ManualClock;
use uuid::Uuid;

use crate::{
    Variant,
    controller::{Commit, Controller},
    execution::Now,
    flows::Flows,
    machine::SimWorker,
    random::Random,
};

/// How long after the last fault every job must have ended, in simulated milliseconds: 12 hours.
const END_WITHIN_MS: u64 = 12 * 3_600_000;
/// Most events after the last fault.
const END_EVENTS: u64 = 60_000;

/// Something on its way.
#[derive(Clone)]
pub(crate) enum Packet {
    Up {
        worker: WorkerId,
        session: Session,
        message: Box<FromWorker>,
    },
    Down {
        worker: WorkerId,
        envelope: Box<Envelope<ToWorker>>,
    },
    /// The broker notices the end of a connection.
    Closed {
        worker: WorkerId,
        connection: u64,
        by_host: bool,
    },
    /// The worker does.
    Lost { worker: WorkerId, connection: u64 },
}

pub(crate) struct Schedule {
    pub(crate) now: u64,
    pub(crate) random: Random,
    pub(crate) controller: Controller,
    pub(crate) workers: BTreeMap<WorkerId, SimWorker>,
    pub(crate) submitted: Vec<JobId>,
    pub(crate) calm: bool,
    pub(crate) variant: Variant,
    /// Directions that are cut, until when: (worker, towards the controller).
    pub(crate) cuts: BTreeMap<(WorkerId, bool), u64>,
    pub(crate) wall_offset: i64,
    flows: Arc<Flows>,
    clock: ManualClock,
    wires: BTreeMap<(u64, u64), Packet>,
    sequence: u64,
    /// The broker's newest connection of each worker.
    connections: BTreeMap<WorkerId, u64>,
    /// Connections that the broker has taken.
    lines: u64,
    /// Since when the controller's process runs; `None` while it is down.
    began: Option<u64>,
    back_at: u64,
    numbers: u64,
    joined: u64,
}

impl Schedule {
    pub(crate) fn new(seed: u64, flows: &Arc<Flows>, variant: Variant) -> Self {
        let mut schedule = Self {
            now: 0,
            random: Random::new(!seed),
            controller: Controller::new(seed, variant),
            workers: BTreeMap::new(),
            submitted: vec![],
            calm: false,
            variant,
            cuts: BTreeMap::new(),
            wall_offset: 0,
            flows: flows.clone(),
            clock: ManualClock::new(wall(0, 0)),
            wires: BTreeMap::new(),
            sequence: 0,
            connections: BTreeMap::new(),
            lines: 0,
            began: Some(0),
            back_at: 0,
            numbers: 0,
            joined: 0,
        };
        schedule.join(true);
        for _ in 0..=schedule.random.below(3) {
            let fast = schedule.random.one_in(2);
            schedule.join(fast);
        }
        schedule
    }

    pub(crate) fn moment(&self) -> Now {
        Now {
            ms: self.now,
            calm: self.calm,
        }
    }

    pub(crate) fn controller_now(&self) -> ControllerNow {
        ControllerNow {
            wall: wall(self.now, self.wall_offset),
            // the monotonic clock begins with the process
            mono: 1_000 + self.now - self.began.unwrap_or(self.now),
        }
    }

    /// A worker joins; it stays away from faults until it is known.
    pub(crate) fn join(&mut self, fast: bool) {
        self.joined += 1;
        let id = WorkerId::from_uuid(Uuid::from_u64_pair(1, self.joined));
        let slots = 1 + self.random.below(2) as u32;
        let row = Worker {
            id,
            name: format!("w{}", self.joined),
            state: WorkerState::Offline,
            wanted: Wanted::Active,
            labels: Labels::default(),
            slots,
            used: 0,
            models: vec![],
            version: String::new(),
            load: Load::default(),
            joined_at: wall(self.now, self.wall_offset),
            last_seen_at: None,
            session: None,
            live: false,
            boot: None,
            closed: None,
            warm: VecDeque::new(),
        };
        if self.decide(Event::WorkerJoined(Box::new(row))).is_some() {
            let random = Random::new(self.random.draw());
            let clock = Arc::new(self.clock.clone());
            let worker = SimWorker::new(id, fast, slots, clock, random);
            self.workers.insert(id, worker);
        }
    }

    pub(crate) fn submit(&mut self) {
        if self.submitted.len() >= 4 {
            return;
        }
        let flows = if self.random.one_in(2) {
            &self.flows.chosen
        } else {
            &self.flows.made
        };
        let workflow = self.random.pick(flows).expect("there are some");
        self.numbers += 1;
        let job = Job {
            id: JobId::from_uuid(Uuid::from_u64_pair(2, self.numbers)),
            number: self.numbers,
            state: JobState::Queued,
            priority: workflow.priority,
            budget: workflow.budget.map(|rule| rule.caps),
            group: workflow.concurrency.as_ref().map(|rule| rule.group.clone()),
            workflow,
            inputs: serde_json::Map::new(),
            title: String::new(),
            labels: BTreeMap::new(),
            repo: None,
            base: None,
            created_at: wall(self.now, self.wall_offset),
            started_at: None,
            revived_at: None,
            ended_at: None,
            reason: None,
            cancel_requested: false,
            overdue: false,
            usage: Usage::default(),
            steps: vec![],
        };
        let id = job.id;
        if let Some(Ok(())) = self.decide(Event::Submit(Box::new(job))) {
            self.submitted.push(id);
        }
    }

    /// The controller takes an event, unless it is down or dies over it.
    pub(crate) fn decide(&mut self, event: Event) -> Option<Result<(), Refusal>> {
        self.began?;
        let commit = match self.random.below(120) {
            _ if self.calm || self.joined <= 1 => Commit::Good,
            0 | 1 => Commit::Refused,
            2 | 3 => Commit::ThenDies(self.random.below(4) as usize),
            4 => {
                // it dies before the commit
                self.controller_dies();
                return None;
            }
            _ => Commit::Good,
        };
        let now = self.controller_now();
        let done = self.controller.take(event, now, commit);
        for effect in done.effects {
            match effect {
                Effect::Say {
                    worker,
                    session,
                    message,
                } => self.say(worker, session, message),
                Effect::Kick(worker) => self.close(worker, true),
            }
        }
        if matches!(commit, Commit::ThenDies(_)) {
            self.controller_dies();
        }
        done.decided
    }

    fn say(&mut self, worker: WorkerId, session: Session, message: ToWorker) {
        let envelope = Box::new(Envelope {
            v: PROTOCOL_VERSION,
            id: MessageId::from_uuid(Uuid::nil()),
            epoch: self.controller.epoch,
            session,
            message,
        });
        if self.is_cut(worker, false) {
            return;
        }
        self.send_copies(Packet::Down { worker, envelope });
    }

    /// A message leaves, and arrives once, twice or never.
    fn send_copies(&mut self, packet: Packet) {
        let copies = self.copies();
        for _ in 1..copies {
            self.send(packet.clone());
        }
        if copies > 0 {
            self.send(packet);
        }
    }

    /// How often a message arrives.
    fn copies(&mut self) -> u64 {
        match self.random.below(24) {
            _ if self.calm => 1,
            0 => 0,
            1 | 2 => 2,
            _ => 1,
        }
    }

    fn send(&mut self, packet: Packet) {
        let slowest = [1, 1, 20, 20, 500, 8_000, 60_000];
        let slowest = if self.calm {
            Some(20)
        } else {
            self.random.pick(&slowest)
        };
        let delay = self.random.below(slowest.unwrap_or(1));
        self.send_after(delay, packet);
    }

    pub(crate) fn send_after(&mut self, delay: u64, packet: Packet) {
        self.sequence += 1;
        self.wires.insert((self.now + delay, self.sequence), packet);
    }

    fn is_cut(&self, worker: WorkerId, up: bool) -> bool {
        self.cuts
            .get(&(worker, up))
            .is_some_and(|until| *until > self.now)
    }

    /// A connection ends: each side notices in its own time.
    pub(crate) fn close(&mut self, worker: WorkerId, by_host: bool) {
        let Some(connection) = self.workers.get(&worker).and_then(SimWorker::connection) else {
            return;
        };
        let (here, there) = if self.calm {
            (10, 10)
        } else {
            (self.random.below(45_000), self.random.below(30_000))
        };
        let closed = Packet::Closed {
            worker,
            connection,
            by_host,
        };
        self.send_after(here, closed);
        self.send_after(there, Packet::Lost { worker, connection });
    }

    pub(crate) fn controller_dies(&mut self) {
        self.began = None;
        self.back_at = self.now + self.random.below(20_000);
        let of_broker = |packet: &Packet| matches!(packet, Packet::Up { .. } | Packet::Closed { .. });
        self.wires.retain(|_, packet| !of_broker(packet));
        self.connections.clear();
        let open = self
            .workers
            .values()
            .filter_map(|w| Some((w.id, w.connection()?)));
        for (worker, connection) in open.collect::<Vec<_>>() {
            let delay = self.random.below(if self.calm { 10 } else { 40_000 });
            self.send_after(delay, Packet::Lost { worker, connection });
        }
    }

    fn controller_starts(&mut self) {
        self.began = Some(self.now);
        let now = self.controller_now();
        self.controller.restart(now);
        self.decide(Event::Timers);
    }

    /// When something happens next, and before what time.
    fn next_at(&self) -> u64 {
        let wire = self.wires.first_key_value().map_or(u64::MAX, |((at, _), _)| *at);
        let mut at = wire;
        for worker in self.workers.values() {
            at = at.min(worker.wake_at());
        }
        match self.began {
            None => at.min(self.back_at),
            Some(began) => {
                let due = self.controller.world.next_due();
                at.min(due.map_or(u64::MAX, |due| (began + due).saturating_sub(1_000)))
            }
        }
    }

    /// Lets everything happen that happens until then.
    pub(crate) fn run_until(&mut self, until: u64) -> u64 {
        let mut events = 0;
        loop {
            let at = self.next_at().max(self.now);
            if at > until {
                break;
            }
            self.advance(at);
            self.happen();
            events += 1;
            if events > END_EVENTS {
                break;
            }
        }
        self.advance(until.max(self.now));
        events
    }

    fn advance(&mut self, to: u64) {
        self.clock.advance(Duration::from_millis(to - self.now));
        self.now = to;
    }

    pub(crate) fn set_wall(&mut self, offset: i64) {
        self.wall_offset = offset;
        self.clock.set_wall(wall(self.now, offset));
    }

    fn happen(&mut self) {
        if self.began.is_none() && self.back_at <= self.now {
            self.controller_starts();
        }
        if let Some(((at, _), _)) = self.wires.first_key_value()
            && *at <= self.now
            && let Some((_, packet)) = self.wires.pop_first()
        {
            self.arrive(packet);
        }
        let now = self.moment();
        let awake = self.workers.values().filter(|worker| worker.wake_at() <= now.ms);
        for id in awake.map(|worker| worker.id).collect::<Vec<_>>() {
            // an earlier one may have made the controller close its door
            if let Some(worker) = self.workers.get_mut(&id) {
                worker.wake(now);
                self.dial(id);
                self.after(id);
            }
        }
        let due = self.controller.world.next_due();
        if self.began.is_some() && due.is_some_and(|due| due <= self.controller_now().mono) {
            self.decide(Event::Timers);
        }
    }

    fn dial(&mut self, id: WorkerId) {
        let now = self.moment();
        let reachable = self.began.is_some()
            && self.controller.knows(id)
            && !self.is_cut(id, true)
            && !self.is_cut(id, false);
        let worker = self.workers.get_mut(&id).expect("it has just done something");
        if !worker.dials(now.ms) {
            return;
        }
        if !reachable {
            worker.dial_later(now.ms);
            return;
        }
        self.lines += 1;
        worker.connected(self.lines, now);
        self.connections.insert(id, self.lines);
    }

    /// What a worker has said goes out; what it believes is compared with the tables.
    fn after(&mut self, id: WorkerId) {
        let Some(worker) = self.workers.get_mut(&id) else {
            return;
        };
        let tables = &self.controller.tables;
        for attempt in worker.settled.drain(..) {
            assert!(
                tables.is_recorded(attempt),
                "{attempt} was acknowledged and is on no disk"
            );
        }
        for attempt in worker.given_up.drain(..) {
            assert!(
                tables.is_recorded(attempt),
                "the finished result of {attempt} was given up"
            );
        }
        self.controller.blobs.extend(worker.uploads.drain(..));
        for (session, message) in std::mem::take(&mut worker.said) {
            if self.began.is_none() || self.is_cut(id, true) {
                continue;
            }
            self.send_copies(Packet::Up {
                worker: id,
                session,
                message: Box::new(message),
            });
        }
    }

    fn arrive(&mut self, packet: Packet) {
        let now = self.moment();
        match packet {
            Packet::Up {
                worker,
                session,
                message,
            } => {
                // the front door is closed to workers that were removed
                if self.controller.knows(worker) {
                    self.decide(Event::FromWorker {
                        worker,
                        session,
                        message,
                        facts: Facts::default(),
                    });
                }
            }
            Packet::Down { worker, envelope } => {
                if let Some(receiver) = self.workers.get_mut(&worker) {
                    receiver.receive(*envelope, now);
                    self.after(worker);
                }
            }
            Packet::Closed {
                worker,
                connection,
                by_host,
            } => {
                // a connection that was replaced says nothing about the one that replaced it
                if self.connections.get(&worker) == Some(&connection) {
                    self.connections.remove(&worker);
                    self.decide(Event::WorkerDisconnected { worker, by_host });
                }
            }
            Packet::Lost { worker, connection } => {
                if let Some(loser) = self.workers.get_mut(&worker) {
                    loser.disconnected(connection, now);
                }
            }
        }
    }

    /// The steps that wait for a person.
    fn questions(&self) -> Vec<(JobId, StepKey)> {
        let jobs = self.controller.world.jobs.values();
        let asked = |job: &Job| {
            let steps = job.steps.iter().filter(|step| step.state == StepState::Awaiting);
            steps.map(|step| (job.id, step.key.clone())).collect::<Vec<_>>()
        };
        jobs.flat_map(asked).collect()
    }

    /// From here on everything goes well: then every job must end and every worker fall silent.
    pub(crate) fn end_well(&mut self) {
        self.calm = true;
        self.cuts.clear();
        self.set_wall(0);
        let by = self.now + END_WITHIN_MS;
        let mut events = 0;
        while self.now < by && events < END_EVENTS {
            for worker in self.workers.values() {
                worker.disk.set_trouble(crate::disk::Trouble::None);
            }
            events += self.run_until(self.now + 120_000);
            if self.began.is_none() {
                continue;
            }
            self.decide(Event::PauseDispatch(false));
            for worker in self.workers.keys().copied().collect::<Vec<_>>() {
                let wanted = Wanted::Active;
                self.decide(Event::WorkerWanted { worker, wanted });
            }
            let world = &self.controller.world;
            if world.jobs.is_empty() && self.workers.values().all(SimWorker::is_quiet) {
                return;
            }
            let parked = world.jobs.values().filter(|job| job.state == JobState::Parked);
            for job in parked.map(|job| job.id).collect::<Vec<_>>() {
                self.decide(Event::ResumeJob(job));
            }
            // a question that was put while the wall clock was ahead has long to wait for its time-out
            for (job, step) in self.questions() {
                self.answer_step(job, step, Answer::Approve);
            }
        }
        let now = self.controller_now();
        let world = &self.controller.world;
        let explain = |job: &Job| why::explain(world, job, now.mono).summary;
        let stuck: Vec<String> = world.jobs.values().map(explain).collect();
        let loud = self.workers.values().filter(|worker| !worker.is_quiet());
        let known = |id: &WorkerId| {
            let row = world.workers.get(id);
            row.map(|row| (row.state, row.wanted, row.live, row.session))
        };
        let loud: Vec<String> = loud
            .map(|worker| format!("{}, known as {:?}", worker.unrest(), known(&worker.id)))
            .collect();
        panic!(
            "{events} events after the last fault, at {}, these have not ended: {stuck:#?}, and these still talk: {loud:#?}",
            self.now
        );
    }
}

/// The date at a moment of the simulation, off by so many milliseconds.
fn wall(now: u64, offset: i64) -> Timestamp {
    let start = Timestamp::from_second(1_800_000_000).expect("in range");
    start + SignedDuration::from_millis(now as i64 + offset)
}
