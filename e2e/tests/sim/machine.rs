//! The worker's side: the product's session machine, outbox and journal over a
//! simulated disk, and attempts that only pretend to work.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use protocol::{
    artifact::Sha256,
    codec::Envelope,
    id::{AttemptId, BootId, WorkerId},
    label::Labels,
    message::{Bye, FromWorker, Session, ToWorker},
    model::ReachableModel,
    worker::Load,
};
use service::clock::SharedClock;
use tokio::sync::mpsc;
use worker::{
    journal::{Record, Writer},
    outbox::Queue,
    session::{Effect, Held, Identity, Input, Introduction, Machine},
};

use crate::{
    disk::SimDisk,
    execution::{Execution, Now},
    random::Random,
};

/// The first and the longest wait between two Hellos, as in the session's task.
const FIRST_HELLO_MS: u64 = 2_000;
const LONGEST_HELLO_MS: u64 = 30_000;
/// How long an orderly stop takes at most.
const STOP_MS: u64 = 4_000;
/// How often an idle worker says that it is there. The product says it more often; here that would be
/// half of all that happens.
const IDLE_RENEW_MS: u64 = 240_000;
const NEVER: u64 = u64::MAX;

/// One life of the process.
struct Life {
    machine: Machine,
    queue: Queue,
    journal: Writer<SimDisk>,
    forgotten: mpsc::Receiver<Vec<AttemptId>>,
    executing: BTreeMap<AttemptId, Execution>,
    /// Records that wait for the disk, since when.
    writing: Vec<(u64, Record)>,
    /// What the machine will be told, and when.
    pending: Vec<(u64, Input)>,
    up: bool,
    connection: u64,
    /// The broker's number of the connection, which no other life shares.
    line: u64,
    hello: Option<(u64, u64)>,
    renew_at: u64,
    dial_at: u64,
    ends_at: u64,
    began: u64,
}

impl Life {
    fn renew_every_ms(&self) -> u64 {
        match self.machine.active() {
            0 => IDLE_RENEW_MS,
            _ => self.machine.renew_every_ms(),
        }
    }
}

/// A machine with a worker.
pub(crate) struct SimWorker {
    pub(crate) id: WorkerId,
    pub(crate) fast: bool,
    slots: u32,
    pub(crate) disk: SimDisk,
    clock: SharedClock,
    life: Option<Life>,
    start_at: u64,
    random: Random,
    /// What goes out now.
    pub(crate) said: Vec<(Session, FromWorker)>,
    /// Results that it considers delivered.
    pub(crate) settled: Vec<AttemptId>,
    /// Blobs that it has uploaded.
    pub(crate) uploads: Vec<Sha256>,
    /// Finished results that it no longer has.
    pub(crate) given_up: Vec<AttemptId>,
    started: BTreeSet<AttemptId>,
    fenced: BTreeSet<AttemptId>,
    finished: BTreeSet<AttemptId>,
}

impl SimWorker {
    pub(crate) fn new(id: WorkerId, fast: bool, slots: u32, clock: SharedClock, random: Random) -> Self {
        Self {
            id,
            fast,
            slots,
            disk: SimDisk::default(),
            clock,
            life: None,
            start_at: 0,
            random,
            said: vec![],
            settled: vec![],
            uploads: vec![],
            given_up: vec![],
            started: BTreeSet::new(),
            fenced: BTreeSet::new(),
            finished: BTreeSet::new(),
        }
    }

    /// Whether nothing is left to do or to say.
    pub(crate) fn is_quiet(&self) -> bool {
        let quiet = |life: &Life| {
            life.queue.is_empty()
                && life.executing.is_empty()
                && life.pending.is_empty()
                && life.writing.is_empty()
                && life.machine.is_synced()
                && life.machine.active() == 0
        };
        self.life.as_ref().is_some_and(quiet)
    }

    /// What it still has to do, for the report of a failure.
    pub(crate) fn unrest(&self) -> String {
        let Some(life) = &self.life else {
            return format!("{} is down until {}", self.id, self.start_at);
        };
        format!(
            "{}: up {}, in {:?}, synced {}, active {}, nothing to say {}, next {:?}, executes {:?}, waits for {:?}, writes {:?}",
            self.id,
            life.up,
            life.machine.session(),
            life.machine.is_synced(),
            life.machine.active(),
            life.queue.is_empty(),
            life.queue.next(NEVER - LONGEST_HELLO_MS),
            life.executing.keys(),
            life.pending,
            life.writing
        )
    }

    pub(crate) fn connection(&self) -> Option<u64> {
        self.life.as_ref().filter(|life| life.up).map(|life| life.line)
    }

    /// Whether it wants a connection now.
    pub(crate) fn dials(&self, now: u64) -> bool {
        let dials = |life: &Life| !life.up && life.dial_at <= now;
        self.life.as_ref().is_some_and(dials)
    }

    /// When it has something to do by itself.
    pub(crate) fn wake_at(&self) -> u64 {
        let Some(life) = &self.life else {
            return self.start_at;
        };
        let mut at = life.renew_at.min(life.ends_at);
        let times = life.writing.iter().map(|(at, _)| *at);
        let times = times.chain(life.pending.iter().map(|(at, _)| *at));
        let times = times.chain(life.executing.values().map(Execution::wake_at));
        let times = times.chain(life.hello.map(|(at, _)| at));
        for time in times {
            at = at.min(time);
        }
        if life.up {
            at = at.min(life.queue.due_at_ms().unwrap_or(NEVER));
        } else {
            at = at.min(life.dial_at);
        }
        at
    }

    /// Does what is due.
    pub(crate) fn wake(&mut self, now: Now) {
        if self.life.is_none() {
            if self.start_at <= now.ms {
                self.start(now);
            }
            return;
        }
        self.write(now);
        self.tell(now);
        self.execute(now);
        let Some(life) = &mut self.life else { return };
        if life.hello.is_some_and(|(at, _)| at <= now.ms) {
            self.say_hello(now);
        }
        let Some(life) = &mut self.life else { return };
        if life.renew_at <= now.ms {
            let every = life.renew_every_ms();
            life.renew_at = now.ms + every * 4 / 5 + self.random.below(1 + every * 2 / 5);
            self.take(Input::RenewDue(Load::default()), now);
        }
        self.flush(now.ms);
        if self.life.as_ref().is_some_and(|life| life.ends_at <= now.ms) {
            self.die(now.ms, false);
        }
    }

    fn start(&mut self, now: Now) {
        let (forgotten, forgotten_ids) = mpsc::channel(4);
        let path = PathBuf::from("journal");
        let Ok((journal, opened)) = Writer::open(self.disk.clone(), path, self.clock.clone(), forgotten)
        else {
            // its supervisor starts it again
            self.start_at = now.ms + 5_000;
            return;
        };
        let kept = |held: Option<&Held>| matches!(held, Some(Held::Unsent { .. } | Held::Acked));
        let gone = self.finished.iter().filter(|id| !kept(opened.held.get(id)));
        self.given_up.extend(gone);
        let identity = Identity {
            boot: BootId::from_uuid(self.random.uuid(5)),
            journal: opened.id,
            start: opened.start,
            slots: self.slots,
        };
        self.life = Some(Life {
            machine: Machine::new(identity, opened.epoch, opened.held),
            queue: Queue::default(),
            journal,
            forgotten: forgotten_ids,
            executing: BTreeMap::new(),
            writing: vec![],
            pending: vec![],
            up: false,
            connection: 0,
            line: 0,
            hello: None,
            renew_at: now.ms + 30_000,
            dial_at: now.ms,
            ends_at: NEVER,
            began: now.ms,
        });
    }

    /// The process or the whole machine dies.
    pub(crate) fn die(&mut self, now: u64, power: bool) {
        self.life = None;
        if power {
            let mut random = self.random.clone();
            let keep = random.draw();
            self.disk.lose_power(|bound| keep % bound);
        }
        self.start_at = now + self.random.below(20_000);
    }

    /// The process is asked to end.
    pub(crate) fn stop(&mut self, now: Now) {
        let Some(life) = &mut self.life else { return };
        if life.ends_at == NEVER {
            life.ends_at = now.ms + self.random.below(STOP_MS);
            self.take(Input::Stopping, now);
            let bye = FromWorker::Bye(Bye {
                why: "stopped".to_owned(),
            });
            if let Some(life) = &mut self.life {
                life.queue.push(bye, now.ms);
            }
            self.flush(now.ms);
        }
    }

    /// The broker has taken a connection.
    pub(crate) fn connected(&mut self, line: u64, now: Now) {
        let Some(life) = &mut self.life else { return };
        (life.up, life.line) = (true, line);
        life.connection += 1;
        let connection = life.connection;
        self.take(Input::Connected(connection), now);
        self.flush(now.ms);
    }

    /// It notices that its connection is gone.
    pub(crate) fn disconnected(&mut self, line: u64, now: Now) {
        let Some(life) = &mut self.life else { return };
        if life.up && life.line == line {
            life.up = false;
            life.hello = None;
            life.dial_at = now.ms + self.random.below(5_000);
            self.take(Input::Disconnected, now);
        }
    }

    pub(crate) fn dial_later(&mut self, now: u64) {
        if let Some(life) = &mut self.life {
            life.dial_at = now + 1_000;
        }
    }

    pub(crate) fn receive(&mut self, envelope: Envelope<ToWorker>, now: Now) {
        let Some(life) = &self.life else { return };
        let heard = envelope.session == life.machine.session() && envelope.epoch >= life.machine.epoch();
        if let (true, true, ToWorker::Cancel(cancel)) = (heard, life.up, &envelope.message)
            && !self.started.contains(&cancel.attempt)
        {
            self.fenced.insert(cancel.attempt);
        }
        if life.up {
            self.take(Input::Received(Box::new(envelope)), now);
            self.flush(now.ms);
        }
    }

    fn take(&mut self, input: Input, now: Now) {
        let Some(life) = &mut self.life else { return };
        let effects = life.machine.step(input, now.ms - life.began);
        for effect in effects {
            self.carry_out(effect, now);
        }
        if let Some(life) = &mut self.life {
            life.renew_at = life.renew_at.min(now.ms + life.renew_every_ms());
        }
    }

    /// As the session's task does it.
    fn carry_out(&mut self, effect: Effect, now: Now) {
        let soon = now.ms + self.random.below(if now.calm { 5 } else { 40 });
        let Some(life) = &mut self.life else { return };
        match effect {
            Effect::Begin(_) => life.queue.rewind(),
            Effect::Greet => {
                life.hello = Some((now.ms, FIRST_HELLO_MS));
                self.say_hello(now);
            }
            Effect::Synced { spread_ms, .. } => {
                life.hello = None;
                life.renew_at = now.ms + self.random.below(spread_ms);
            }
            Effect::Say(message) => life.queue.push(message, now.ms),
            Effect::Settled(attempt) => {
                life.queue.settle(attempt);
                self.settled.push(attempt);
            }
            Effect::Write(record) => life.writing.push((soon, record)),
            Effect::Start(assign) => {
                let attempt = assign.attempt;
                assert!(
                    !self.fenced.contains(&attempt),
                    "{attempt} began after its Cancel"
                );
                assert!(self.started.insert(attempt), "{attempt} was executed twice");
                let execution = Execution::new(*assign, now, &mut self.random);
                life.executing.insert(attempt, execution);
            }
            Effect::Stop {
                attempt,
                why,
                kill_after_ms,
            } => {
                if let Some(execution) = life.executing.get_mut(&attempt) {
                    execution.stop(why, now.ms + self.random.below(kill_after_ms + 500));
                }
            }
            Effect::Recall(attempt) => {
                if let Ok(Some(result)) = life.journal.recall(attempt) {
                    life.pending.push((soon, Input::Recalled(result)));
                }
            }
            Effect::Upload { attempt, missing } => {
                let input = if self.random.one_in(5) {
                    Input::BlobsGone(attempt, "somebody has removed them".to_owned())
                } else {
                    self.uploads.extend(missing);
                    Input::Uploaded(attempt)
                };
                life.pending.push((soon, input));
            }
            Effect::Epoch(_) | Effect::ResumeLog(..) | Effect::Refused(_) | Effect::Ignored(_) => {}
        }
    }

    fn say_hello(&mut self, now: Now) {
        if let Some(Life {
            hello: Some((at, wait)),
            ..
        }) = &mut self.life
        {
            *at = now.ms + *wait * 4 / 5 + self.random.below(*wait * 2 / 5);
            *wait = (2 * *wait).min(LONGEST_HELLO_MS);
        }
        let mut labels = Labels::default();
        if self.fast {
            labels.insert("disk", "fast");
        }
        let models = vec![ReachableModel {
            provider: "here".to_owned(),
            model: "m".to_owned(),
            loaded: true,
            window: Some(8_192),
        }];
        let load = Load::default();
        let introduction = Introduction { labels, models, load };
        self.take(Input::HelloDue(Box::new(introduction)), now);
    }

    /// One sync for all that waits, as the journal's thread does it.
    fn write(&mut self, now: Now) {
        let soon = now.ms + self.random.below(if now.calm { 2 } else { 20 });
        let Some(life) = &mut self.life else { return };
        if life.writing.iter().all(|(at, _)| *at > now.ms) {
            return;
        }
        let records: Vec<Record> = life.writing.drain(..).map(|(_, record)| record).collect();
        let outcome = life.journal.keep(&records);
        for record in records {
            let input = match (record, &outcome) {
                (Record::Accepted { attempt, .. }, Ok(())) => Input::AcceptWritten(attempt),
                (Record::Accepted { attempt, .. }, Err(error)) => {
                    Input::AcceptNotWritten(attempt, error.to_string())
                }
                (Record::Result(result), _) => {
                    if outcome.is_ok() {
                        self.finished.insert(result.attempt);
                    }
                    Input::ResultWritten(result.attempt)
                }
                _ => continue,
            };
            life.pending.push((soon, input));
        }
        while let Ok(gone) = life.forgotten.try_recv() {
            life.pending.push((soon, Input::Forgotten(gone)));
        }
    }

    fn tell(&mut self, now: Now) {
        let Some(life) = &mut self.life else { return };
        let due: Vec<Input> = life
            .pending
            .extract_if(.., |(at, _)| *at <= now.ms)
            .map(|(_, input)| input)
            .collect();
        for input in due {
            self.take(input, now);
        }
    }

    fn execute(&mut self, now: Now) {
        let Some(life) = &mut self.life else { return };
        let due = life
            .executing
            .iter_mut()
            .filter(|(_, work)| work.wake_at() <= now.ms);
        let due: Vec<AttemptId> = due.map(|(attempt, _)| *attempt).collect();
        for attempt in due {
            let Some(life) = &mut self.life else { return };
            let work = life.executing.get_mut(&attempt).expect("listed above");
            if let Some(progress) = work.progress(now, &mut self.random) {
                self.take(Input::Progress(progress), now);
                continue;
            }
            let work = life.executing.remove(&attempt).expect("listed above");
            let (result, uploads) = work.end(now, &mut self.random);
            self.uploads.extend(uploads);
            self.take(Input::Ended(result), now);
        }
    }

    fn flush(&mut self, now: u64) {
        let Some(life) = &mut self.life else { return };
        while life.up {
            let Some(message) = life.queue.next(now) else {
                return;
            };
            self.said.push((life.machine.session(), message.clone()));
            life.queue.sent(now);
        }
    }
}
