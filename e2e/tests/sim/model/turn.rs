//! How the model moves: the product's decisions for the controller, its session
//! machine for a worker, and what must hold after each.

use std::{collections::BTreeMap, sync::Arc};

use controller::{
    orchestrator::{Changes, Draft, Effect, Event, Facts, Now, World, decide, timers::Timer, world::Attempt},
    queue,
};
use jiff::Timestamp;
use protocol::{
    codec::Envelope,
    id::{AttemptId, MessageId},
    job::StepKey,
    message::{FromWorker, PROTOCOL_VERSION, StepResult, ToWorker},
    step::{AttemptState, Outcome, StepState},
    usage::Usage,
    worker::{Wanted, WorkerState},
};
use serde_json::Map;
use uuid::Uuid;
use worker::{
    journal::Record,
    session::{Effect as Want, Held, Input, Introduction},
};

use super::{
    Lease,
    state::{Action, Flag, Minted, Packet, Side, State, copy, index_of, is_recorded, worker_id},
};
use crate::Part;

/// The one moment of the model.
const NOW_MS: u64 = 1_000;
/// A deadline that comes when the model says so.
const LATER_MS: u64 = 1 << 40;

impl Lease {
    pub(super) fn apply(&self, state: &mut State, action: Action) {
        match action {
            Action::Deliver(key) => {
                if let Some(packet) = state.net.get(&key).cloned() {
                    self.deliver(state, packet);
                }
            }
            Action::Due => self.fire(state, false),
            Action::Hard => self.fire(state, true),
            Action::Finish(w, attempt) => self.end(state, w, attempt, Outcome::Ok),
            Action::HelloAgain(w) => self.step(state, w, Input::HelloDue(Box::default())),
            Action::Connect(w) => {
                state.faults.reconnects -= 1;
                self.connect(state, w);
            }
            Action::CrashWorker(w) => {
                state.faults.worker_crashes -= 1;
                self.crash(state, w);
                self.connect(state, w);
            }
            Action::CrashController => {
                state.faults.controller_crashes -= 1;
                self.restart(state);
                for w in 0..2 {
                    self.connect(state, w);
                }
            }
            Action::Cancel => {
                state.faults.cancels -= 1;
                let job = state.job();
                self.decide(state, Event::CancelJob(job));
            }
            Action::Remove => {
                state.faults.removals -= 1;
                let (worker, wanted) = (worker_id(1), Wanted::Removed);
                self.decide(state, Event::WorkerWanted { worker, wanted });
                state.removed = true;
            }
        }
    }

    pub(super) fn deliver(&self, state: &mut State, packet: Packet) {
        match packet {
            Packet::Down(w, envelope) => {
                let side = Arc::make_mut(&mut state.sides[w]);
                let mine =
                    envelope.session == side.machine.session() && envelope.epoch >= side.machine.epoch();
                if let (true, ToWorker::Cancel(cancel)) = (mine, &envelope.message)
                    && !side.started.contains(&cancel.attempt)
                {
                    side.fenced.insert(cancel.attempt);
                }
                self.step(state, w, Input::Received(envelope));
            }
            Packet::Up(w, session, message) => self.decide(
                state,
                Event::FromWorker {
                    worker: worker_id(w),
                    session,
                    message,
                    facts: Facts::default(),
                },
            ),
        }
    }

    pub(super) fn connect(&self, state: &mut State, w: usize) {
        if w == 1 && state.removed {
            return;
        }
        let side = Arc::make_mut(&mut state.sides[w]);
        side.connection += 1;
        let connection = side.connection;
        self.step(state, w, Input::Connected(connection));
    }

    /// The process dies and comes back with what its journal holds.
    fn crash(&self, state: &mut State, w: usize) {
        let forgetful = self.without == Some(Part::Journal);
        let side = Arc::make_mut(&mut state.sides[w]);
        let mut held = BTreeMap::new();
        for attempt in side.known() {
            let kept = match side.machine.held(attempt) {
                _ if forgetful => None,
                Some(Held::Running { .. } | Held::Dead { .. }) => Some(Held::Dead {
                    job: state.world.jobs.keys().next().copied().expect("one job"),
                    step: StepKey::top("a"),
                    checkpoint: None,
                }),
                Some(Held::Unsent { result }) => Some(Held::Unsent {
                    result: result.clone(),
                }),
                Some(Held::Acked) => Some(Held::Acked),
                // a bar is written without a sync, and is lost here
                _ => None,
            };
            held.extend(kept.map(|kept| (attempt, kept)));
        }
        let lost = side.finished.keys().filter(|attempt| !held.contains_key(attempt));
        let lost: Vec<AttemptId> = lost.copied().collect();
        let mut anew = Side::new(w, side.start + 1, side.machine.epoch(), held);
        (anew.started, anew.fenced) = (side.started.clone(), side.fenced.clone());
        anew.finished = side.finished.clone();
        state.sides[w] = Arc::new(anew);
        if lost.iter().any(|attempt| !is_recorded(&state.world, *attempt)) {
            state.flag(Flag::GivenUp);
        }
    }

    pub(super) fn end(&self, state: &mut State, w: usize, attempt: AttemptId, outcome: Outcome) {
        let side = Arc::make_mut(&mut state.sides[w]);
        if !side.executing.remove(&attempt) {
            return;
        }
        let result = result_of(state, attempt, outcome);
        self.step(state, w, Input::Ended(result));
    }

    /// The machine takes an input; its disk is as fast as thought.
    pub(super) fn step(&self, state: &mut State, w: usize, input: Input) {
        let side = Arc::make_mut(&mut state.sides[w]);
        for want in side.machine.step(input, 0) {
            match want {
                Want::Greet => self.step(state, w, Input::HelloDue(Box::<Introduction>::default())),
                Want::Say(message) => {
                    let session = state.sides[w].machine.session();
                    state.put(Packet::Up(w, session, Box::new(message)));
                }
                Want::Write(Record::Accepted { attempt, .. }) => {
                    self.step(state, w, Input::AcceptWritten(attempt));
                }
                Want::Write(Record::Result(result)) => {
                    let side = Arc::make_mut(&mut state.sides[w]);
                    side.finished.insert(result.attempt, result.outcome);
                    self.step(state, w, Input::ResultWritten(result.attempt));
                }
                Want::Settled(attempt) if !is_recorded(&state.world, attempt) => state.flag(Flag::GivenUp),
                Want::Start(assign) => {
                    let side = Arc::make_mut(&mut state.sides[w]);
                    let fenced = side.fenced.contains(&assign.attempt);
                    let again = !side.started.insert(assign.attempt);
                    side.executing.insert(assign.attempt);
                    if fenced {
                        state.flag(Flag::BeganFenced);
                    }
                    if again {
                        state.flag(Flag::ExecutedTwice);
                    }
                }
                Want::Stop { attempt, .. } => self.end(state, w, attempt, Outcome::Killed),
                Want::Recall(attempt) => {
                    let outcome = state.sides[w].finished.get(&attempt).copied();
                    let result = outcome.map(|outcome| result_of(state, attempt, outcome));
                    if let Some(result) = result {
                        self.step(state, w, Input::Recalled(result));
                    }
                }
                _ => {}
            }
        }
    }

    /// The deadline of the current attempt, or its hard limit, comes now.
    pub(super) fn fire(&self, state: &mut State, hard: bool) {
        let Some((attempt, _)) = state.current() else {
            return;
        };
        let mut world = copy(&state.world);
        let timer = if hard {
            Timer::Hard(attempt)
        } else {
            Timer::Attempt(attempt)
        };
        // without a timer it never comes
        let set = |(_, known): &(u64, Timer)| *known == timer;
        if !world.timers.iter().any(set) {
            return;
        }
        let steps = world.jobs.values_mut().flat_map(|job| &mut job.steps);
        for known in steps
            .flat_map(|step| &mut step.attempts)
            .filter(|known| known.id == attempt)
        {
            let due = if hard { &mut known.hard_due } else { &mut known.due };
            *due = NOW_MS;
        }
        world.timers.insert((NOW_MS, timer));
        state.world = Arc::new(world);
        self.decide(state, Event::Timers);
    }

    /// A new process of the controller goes on from its tables.
    fn restart(&self, state: &mut State) {
        let mut world = copy(&state.world);
        for worker in world.workers.values_mut() {
            (worker.live, worker.state, worker.closed) = (false, WorkerState::Offline, None);
            worker.warm.clear();
        }
        if self.without == Some(Part::LeasesOnDisk) {
            world.timers.clear();
        }
        state.epoch += 1;
        let net = state
            .net
            .iter()
            .filter(|(_, packet)| matches!(packet, Packet::Down(..)));
        state.net = Arc::new(net.map(|(key, packet)| (*key, packet.clone())).collect());
        check(state, &world);
        state.world = Arc::new(world);
    }

    pub(super) fn decide(&self, state: &mut State, mut event: Event) {
        let mut world = copy(&state.world);
        // whose result it really is
        let by = match &event {
            Event::FromWorker { message, .. } => match &**message {
                FromWorker::Result(result) => Some(result.attempt),
                _ => None,
            },
            _ => None,
        };
        if let Event::FromWorker { worker, message, .. } = &mut event
            && let (Some(Part::Fence), FromWorker::Result(result)) = (self.without, &mut **message)
            && let Some(current) = world
                .step(result.job, &result.step)
                .and_then(|step| step.current())
        {
            (result.attempt, *worker) = (current.id, current.worker);
        }
        if let Event::FromWorker { message, .. } = &event
            && let FromWorker::Hello(hello) = &**message
            && hello.highest_epoch > state.epoch
        {
            state.epoch = hello.highest_epoch + 1;
        }
        let lost = by.is_some_and(|by| is(&state.world, by, AttemptState::Lost));
        let (mut changes, mut effects) = (Changes::default(), vec![]);
        let mut draft = Draft {
            world: &mut world,
            now: Now {
                wall: Timestamp::UNIX_EPOCH,
                mono: NOW_MS,
            },
            entropy: &mut Minted(&mut state.minted),
            changes: &mut changes,
            effects: &mut effects,
        };
        // refused events are part of the model: they must change nothing
        let _ = decide(&mut draft, event);
        queue::dispatch(&mut draft);
        check(state, &world);
        if by.is_some_and(|by| lost && is(&world, by, AttemptState::Succeeded)) {
            state.flag(Flag::Adopted);
        }
        if recorded(&world) > recorded(&state.world) && by.is_none_or(|by| !is_recorded(&world, by)) {
            state.flag(Flag::Superseded);
        }
        still(&mut world, self.without == Some(Part::LeasesOnDisk));
        state.world = Arc::new(world);
        for effect in effects {
            if let Effect::Say {
                worker,
                session,
                message,
            } = effect
                && !matches!(message, ToWorker::Lease(_))
            {
                let envelope = Envelope {
                    v: PROTOCOL_VERSION,
                    id: MessageId::from_uuid(Uuid::nil()),
                    epoch: state.epoch,
                    session,
                    message,
                };
                state.put(Packet::Down(index_of(worker), Box::new(envelope)));
            }
        }
    }
}

fn result_of(state: &State, attempt: AttemptId, outcome: Outcome) -> Box<StepResult> {
    Box::new(StepResult {
        job: state.job(),
        step: StepKey::top("a"),
        attempt,
        outcome,
        error: None,
        exit: None,
        outputs: Map::new(),
        artifacts: vec![],
        usage: Usage::default(),
        model: None,
        workspace: None,
        log_bytes: 0,
        log_sha256: None,
        notes: vec![],
        duration_ms: 0,
        model_ms: 0,
    })
}

/// Compares the world with the one before.
fn check(state: &mut State, world: &World) {
    let before = state.world.clone();
    for (job, was) in world
        .jobs
        .values()
        .filter_map(|job| Some((job, before.jobs.get(&job.id)?)))
    {
        for (step, was) in job.steps.iter().zip(&was.steps) {
            if was.state.is_terminal() && step.state != was.state {
                state.flag(Flag::TwoResults);
            }
            if step.state == StepState::Succeeded {
                state.flag(Flag::Succeeded);
            }
            for (index, (attempt, old)) in step.attempts.iter().zip(&was.attempts).enumerate() {
                let newest = index + 1 == was.attempts.len();
                let closed = !old.state.is_open() && old.state != AttemptState::Lost;
                if attempt.state != old.state && (!newest || closed) {
                    state.flag(Flag::Superseded);
                }
                if attempt.late.is_some() {
                    state.flag(Flag::Late);
                }
            }
            for open in step.attempts.iter().filter(|attempt| attempt.state.is_open()) {
                if !world.timers.contains(&(open.due, Timer::Attempt(open.id))) {
                    state.flag(Flag::NoDeadline);
                }
            }
        }
    }
}

fn attempts_of(world: &World) -> impl Iterator<Item = &Attempt> {
    let steps = world.jobs.values().flat_map(|job| &job.steps);
    steps.flat_map(|step| &step.attempts)
}

fn is(world: &World, id: AttemptId, state: AttemptState) -> bool {
    attempts_of(world).any(|attempt| attempt.id == id && attempt.state == state)
}

fn recorded(world: &World) -> usize {
    attempts_of(world).filter(|attempt| attempt.recorded).count()
}

/// Time stands still: deadlines come when the model says so, and what only time would end has ended.
fn still(world: &mut World, forgetful: bool) {
    let lost = forgetful && world.timers.is_empty();
    world.timers.clear();
    for step in world.jobs.values_mut().flat_map(|job| &mut job.steps) {
        step.excluded.clear();
        step.ready_since = None;
        for attempt in &mut step.attempts {
            attempt.due = LATER_MS;
            if attempt.hard_due != u64::MAX {
                attempt.hard_due = LATER_MS + 1;
            }
            if attempt.state.is_open() && !lost {
                world.timers.insert((attempt.due, Timer::Attempt(attempt.id)));
                if attempt.hard_due != u64::MAX {
                    world.timers.insert((attempt.hard_due, Timer::Hard(attempt.id)));
                }
            }
        }
    }
}
