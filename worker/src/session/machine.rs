//! The pure machine of the worker's side of the fence: what it holds × what
//! happened → what to do. No I/O, no clock, no randomness: they come in as
//! arguments, so that a simulator runs the same code.

use std::collections::BTreeMap;

use protocol::{
    codec::Envelope,
    id::{AttemptId, BootId, JournalId},
    message::{
        Cancel, CancelReason, Drain, FromWorker, Hello, PROTOCOL_VERSION, Progress, Renew, RunningAttempt,
        Session, Sync, ToWorker,
    },
    worker::Load,
};

use super::event::{Effect, Held, Ignored, Input, Introduction};
use crate::{journal::Record, slots::Slots};

/// How long a stopped attempt has when nobody said: 10 s.
const KILL_AFTER_MS: u64 = 10_000;
/// How long children have when the whole process ends: it must be gone within 5 s.
const STOPPING_KILL_AFTER_MS: u64 = 2_000;
/// How often an idle worker says how busy its machine is: 30 s.
const IDLE_RENEW_MS: u64 = 30_000;

/// Who this worker is in this life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// This life of the process.
    pub boot: BootId,
    /// Its journal.
    pub journal: JournalId,
    /// How often that journal was opened.
    pub start: u64,
    /// How many attempts it takes at a time.
    pub slots: u32,
}

/// How far the conversation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// No connection.
    Down,
    /// Connected, no Sync yet.
    Greeting,
    /// The controller knows this session.
    Synced,
}

/// Whether new attempts are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Intake {
    Open,
    Draining,
    Stopping,
}

/// The conversation.
#[derive(Clone, Debug, PartialEq)]
pub struct Machine {
    identity: Identity,
    connection: u64,
    phase: Phase,
    pub(super) intake: Intake,
    epoch: u64,
    pub(super) slots: Slots,
    pub(super) held: BTreeMap<AttemptId, Held>,
    pub(super) load: Load,
}

impl Machine {
    /// A conversation that has not begun, with what the journal remembers.
    pub fn new(identity: Identity, epoch: u64, held: BTreeMap<AttemptId, Held>) -> Self {
        let slots = Slots::new(identity.slots);
        Self {
            identity,
            connection: 0,
            phase: Phase::Down,
            intake: Intake::Open,
            epoch,
            slots,
            held,
            load: Load::default(),
        }
    }

    /// The current session.
    pub fn session(&self) -> Session {
        Session {
            journal: self.identity.journal,
            start: self.identity.start,
            connection: self.connection,
        }
    }

    /// The highest epoch seen.
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Whether the controller has answered this session's Hello.
    pub fn is_synced(&self) -> bool {
        self.phase == Phase::Synced
    }

    /// Whether there is a connection, answered or not.
    pub(super) fn is_connected(&self) -> bool {
        self.phase != Phase::Down
    }

    /// What is held of an attempt.
    pub fn held(&self, attempt: AttemptId) -> Option<&Held> {
        self.held.get(&attempt)
    }

    /// How many attempts are being executed.
    pub fn active(&self) -> u32 {
        self.slots.used()
    }

    /// How often to renew, in milliseconds: a third of the shortest lease.
    pub fn renew_every_ms(&self) -> u64 {
        // whatever runs holds a slot; what was acknowledged long ago need not be looked at
        self.slots
            .holders()
            .filter_map(|attempt| match self.held.get(&attempt)? {
                Held::Running { lease_ms, .. } => Some((lease_ms / 3).max(1_000)),
                _ => None,
            })
            .min()
            .map_or(IDLE_RENEW_MS, |every| every.min(IDLE_RENEW_MS))
    }

    /// Takes one thing that happened, `now_ms` on the monotonic clock.
    pub fn step(&mut self, input: Input, now_ms: u64) -> Vec<Effect> {
        match input {
            Input::Connected(connection) => self.connected(connection),
            Input::Disconnected => {
                self.phase = Phase::Down;
                vec![]
            }
            Input::Received(envelope) => self.received(*envelope),
            Input::AcceptWritten(attempt) => self.accept_written(attempt, now_ms),
            Input::AcceptNotWritten(attempt, why) => self.accept_not_written(attempt, why),
            Input::Ended(result) => self.ended(result),
            Input::ResultWritten(attempt) => self.result_written(attempt),
            Input::Recalled(result) => vec![Effect::Say(FromWorker::Result(result))],
            Input::Uploaded(attempt) => self.uploaded(attempt),
            Input::BlobsGone(attempt, why) => self.blobs_gone(attempt, why),
            Input::Forgotten(attempts) => self.forgotten(&attempts),
            Input::Progress(progress) => self.progress(progress),
            Input::Turn(checkpoint) => self.turn(checkpoint),
            Input::TurnSent(checkpoint) => self.turn_sent(checkpoint),
            Input::HelloDue(introduction) => self.hello(*introduction, now_ms),
            Input::RenewDue(load) => self.renew(load),
            Input::Stopping => self.stopping(),
        }
    }

    fn connected(&mut self, connection: u64) -> Vec<Effect> {
        self.connection = connection;
        self.phase = Phase::Greeting;
        if self.intake == Intake::Draining {
            // the controller says it again if it still wishes so
            self.intake = Intake::Open;
        }
        let mut effects = vec![Effect::Begin(self.session())];
        effects.extend(self.say_checkpoints());
        effects.push(Effect::Greet);
        effects
    }

    fn received(&mut self, envelope: Envelope<ToWorker>) -> Vec<Effect> {
        if envelope.session != self.session() {
            return ignored(Ignored::OtherSession);
        }
        if envelope.epoch < self.epoch {
            return ignored(Ignored::OldEpoch);
        }
        let mut effects = vec![];
        if envelope.epoch > self.epoch {
            self.epoch = envelope.epoch;
            effects.push(Effect::Epoch(self.epoch));
            effects.push(Effect::Write(Record::Epoch(self.epoch)));
        }
        effects.extend(match envelope.message {
            ToWorker::Assign(assign) => self.assign(assign),
            ToWorker::Cancel(cancel) => self.cancel(cancel),
            ToWorker::Lease(_) => vec![],
            ToWorker::Probe(probe) => self.probe(probe.attempt),
            ToWorker::Ack(ack) => self.ack(ack),
            ToWorker::Sync(sync) => self.sync(*sync),
            ToWorker::Drain(drain) => self.drain(drain),
            ToWorker::Signal(_) => ignored(Ignored::Unsupported),
            // the next Hello asks again: one of the two may be another version by then
            ToWorker::Refused(_) if self.is_synced() => ignored(Ignored::NotApplicable),
            ToWorker::Refused(refused) => vec![Effect::Refused(refused.why)],
        });
        effects
    }

    fn sync(&mut self, sync: Sync) -> Vec<Effect> {
        self.phase = Phase::Synced;
        let mut effects = vec![Effect::Synced {
            epoch: self.epoch,
            spread_ms: sync.spread_ms,
            log_bytes: sync.log_bytes,
        }];
        self.checkpoints_told();
        for attempt in sync.stop {
            effects.extend(self.stop_by_sync(attempt));
        }
        for attempt in sync.ack {
            effects.extend(self.settle(attempt));
        }
        for attempt in sync.want_result {
            effects.push(match self.held.get(&attempt) {
                Some(Held::Unsent { result }) => Effect::Say(FromWorker::Result(result.clone())),
                Some(Held::Acked) => Effect::Recall(attempt),
                _ => Effect::Ignored(Ignored::NotApplicable),
            });
        }
        for (attempt, from) in sync.log_from {
            effects.push(Effect::ResumeLog(attempt, from));
        }
        effects
    }

    /// Only what is held can be stopped: an unknown attempt may still come.
    fn stop_by_sync(&mut self, attempt: AttemptId) -> Vec<Effect> {
        let kill_after_ms = match self.held.get(&attempt) {
            None => return ignored(Ignored::NotApplicable),
            Some(Held::Running { cancel_grace_ms, .. }) => *cancel_grace_ms,
            Some(_) => KILL_AFTER_MS,
        };
        self.cancel(Cancel {
            attempt,
            why: CancelReason::Superseded,
            kill_after_ms,
        })
    }

    fn drain(&mut self, drain: Drain) -> Vec<Effect> {
        self.intake = match self.intake {
            Intake::Stopping => Intake::Stopping,
            Intake::Open | Intake::Draining if drain.draining => Intake::Draining,
            Intake::Open | Intake::Draining => Intake::Open,
        };
        vec![]
    }

    fn progress(&mut self, progress: Progress) -> Vec<Effect> {
        if self.is_synced() && matches!(self.held.get(&progress.attempt), Some(Held::Running { .. })) {
            vec![Effect::Say(FromWorker::Progress(progress))]
        } else {
            ignored(Ignored::NotApplicable)
        }
    }

    fn hello(&mut self, introduction: Introduction, now_ms: u64) -> Vec<Effect> {
        self.load = introduction.load;
        if !self.is_connected() {
            return ignored(Ignored::NotApplicable);
        }
        let running = self.held.iter().filter_map(|(&attempt, held)| match held {
            Held::Running {
                since_ms, checkpoint, ..
            } => Some(RunningAttempt {
                attempt,
                for_ms: now_ms.saturating_sub(*since_ms),
                last_seq: checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.seq),
            }),
            Held::Accepting { .. } | Held::Ending { .. } => Some(RunningAttempt {
                attempt,
                for_ms: 0,
                last_seq: 0,
            }),
            Held::Unsent { .. } | Held::Acked | Held::Dead { .. } | Held::Barred => None,
        });
        let unsent = self.held.iter().filter_map(|(&attempt, held)| match held {
            Held::Unsent { result } => Some((attempt, result.outcome)),
            _ => None,
        });
        vec![Effect::Say(FromWorker::Hello(Box::new(Hello {
            boot_id: self.identity.boot,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            protocol_min: PROTOCOL_VERSION,
            protocol_max: PROTOCOL_VERSION,
            labels: introduction.labels,
            slots: self.identity.slots,
            models: introduction.models,
            load: introduction.load,
            running: running.collect(),
            unsent: unsent.collect(),
            highest_epoch: self.epoch,
        })))]
    }

    pub(super) fn renew(&mut self, load: Load) -> Vec<Effect> {
        self.load = load;
        if !self.is_synced() {
            return ignored(Ignored::NotApplicable);
        }
        let alive = |held: &Held| matches!(held, Held::Running { .. } | Held::Ending { .. });
        let attempts = self
            .held
            .iter()
            .filter(|(_, held)| alive(held))
            .map(|(&attempt, _)| attempt)
            .collect();
        vec![Effect::Say(FromWorker::Renew(Renew { attempts, load }))]
    }

    /// Nothing new is taken; what runs is killed and reported as killed.
    fn stopping(&mut self) -> Vec<Effect> {
        self.intake = Intake::Stopping;
        let running = |held: &Held| matches!(held, Held::Running { .. });
        self.held
            .iter()
            .filter(|(_, held)| running(held))
            .map(|(&attempt, _)| Effect::Stop {
                attempt,
                why: CancelReason::User,
                kill_after_ms: STOPPING_KILL_AFTER_MS,
            })
            .collect()
    }
}

pub(super) fn ignored(why: Ignored) -> Vec<Effect> {
    vec![Effect::Ignored(why)]
}
