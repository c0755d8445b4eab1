//! Walks the machine: every order of messages that a lossy, duplicating,
//! reordering network can make, against the promises of the fence.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use protocol::{
    codec::Envelope,
    id::{AttemptId, BootId, JobId, JournalId, MessageId},
    job::JobLink,
    message::{
        Ack, AckVerdict, Assign, Cancel, CancelReason, Drain, FromWorker, PROTOCOL_VERSION, Probe,
        RejectReason, Session, StepResult, Sync, ToWorker,
    },
    step::Outcome,
    usage::Usage,
    worker::Load,
};
use uuid::Uuid;

use super::{Effect, Held, Identity, Ignored, Input, Machine};
use crate::journal::Record;

const EPOCH: u64 = 5;

fn attempt(number: u128) -> AttemptId {
    AttemptId::from_uuid(Uuid::from_u128(number))
}

fn identity() -> Identity {
    Identity {
        boot: BootId::from_uuid(Uuid::from_u128(1)),
        journal: JournalId::from_uuid(Uuid::from_u128(2)),
        start: 1,
        slots: 2,
    }
}

fn connected() -> Machine {
    let mut machine = Machine::new(identity(), EPOCH, BTreeMap::new());
    machine.step(Input::Connected(1), 0);
    machine
}

fn job() -> JobLink {
    JobLink {
        number: 42,
        id: JobId::from_uuid(Uuid::from_u128(3)),
    }
}

fn assign(number: u128) -> ToWorker {
    ToWorker::Assign(Box::new(Assign {
        job: job(),
        step: "plan".parse().expect("a key"),
        attempt: attempt(number),
        number: 1,
        spec: None,
        secrets: vec![],
        timeout_ms: 60_000,
        lease_ms: 45_000,
        grace_ms: 120_000,
        cancel_grace_ms: 3_000,
        artifacts: vec![],
        checkpoint: None,
        traceparent: None,
    }))
}

fn cancel(number: u128) -> ToWorker {
    ToWorker::Cancel(Cancel {
        attempt: attempt(number),
        why: CancelReason::User,
        kill_after_ms: 1_000,
    })
}

fn ack(number: u128, verdict: AckVerdict) -> ToWorker {
    let attempt = attempt(number);
    ToWorker::Ack(Ack { attempt, verdict })
}

fn result(number: u128, outcome: Outcome) -> Box<StepResult> {
    Box::new(StepResult {
        job: job().id,
        step: "plan".parse().expect("a key"),
        attempt: attempt(number),
        outcome,
        error: None,
        exit: None,
        outputs: serde_json::Map::new(),
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

fn from_controller(session: Session, epoch: u64, message: ToWorker) -> Input {
    Input::Received(Box::new(Envelope {
        v: PROTOCOL_VERSION,
        id: MessageId::from_uuid(Uuid::from_u128(9)),
        epoch,
        session,
        message,
    }))
}

/// Delivers a message of the current session and epoch.
fn hear(machine: &mut Machine, message: ToWorker) -> Vec<Effect> {
    let input = from_controller(machine.session(), machine.epoch(), message);
    machine.step(input, 10)
}

fn says(effects: &[Effect], wanted: impl Fn(&FromWorker) -> bool) -> bool {
    effects
        .iter()
        .any(|effect| matches!(effect, Effect::Say(message) if wanted(message)))
}

fn starts(effects: &[Effect]) -> bool {
    effects.iter().any(|effect| matches!(effect, Effect::Start(_)))
}

/// Runs an attempt up to its start.
fn start(machine: &mut Machine, number: u128) {
    hear(machine, assign(number));
    assert!(starts(&machine.step(Input::AcceptWritten(attempt(number)), 10)));
}

/// Runs an attempt up to its result on disk.
fn finish(machine: &mut Machine, number: u128) {
    start(machine, number);
    machine.step(Input::Ended(result(number, Outcome::Ok)), 20);
    let effects = machine.step(Input::ResultWritten(attempt(number)), 20);
    assert!(says(&effects, |message| matches!(message, FromWorker::Result(_))));
}

#[test]
fn an_acceptance_is_on_disk_before_it_is_said_and_a_result_before_it_is_told() {
    let mut machine = connected();
    let effects = hear(&mut machine, assign(1));
    assert!(matches!(
        effects.as_slice(),
        [Effect::Write(Record::Accepted { .. })]
    ));
    let effects = machine.step(Input::AcceptWritten(attempt(1)), 10);
    assert!(starts(&effects) && says(&effects, |m| matches!(m, FromWorker::Accept(_))));
    let effects = machine.step(Input::Ended(result(1, Outcome::Ok)), 20);
    assert!(matches!(effects.as_slice(), [Effect::Write(Record::Result(_))]));
    let effects = machine.step(Input::ResultWritten(attempt(1)), 20);
    assert!(says(&effects, |m| matches!(m, FromWorker::Result(_))));
}

#[test]
fn a_known_attempt_is_answered_and_never_executed_anew() {
    let mut machine = connected();
    start(&mut machine, 1);
    let again = hear(&mut machine, assign(1));
    assert!(!starts(&again) && says(&again, |m| matches!(m, FromWorker::Accept(_))));
    let mut machine = connected();
    finish(&mut machine, 1);
    let again = hear(&mut machine, assign(1));
    assert!(says(&again, |m| matches!(m, FromWorker::Result(_))));
    hear(&mut machine, ack(1, AckVerdict::Applied));
    assert_eq!(hear(&mut machine, assign(1)), [Effect::Recall(attempt(1))]);
}

#[test]
fn an_attempt_of_a_dead_life_is_reported_as_killed_when_it_is_asked_for() {
    let dead = Held::Dead {
        job: job().id,
        step: "plan".parse().expect("a key"),
        checkpoint: None,
    };
    let mut machine = Machine::new(identity(), EPOCH, BTreeMap::from([(attempt(1), dead)]));
    machine.step(Input::Connected(1), 0);
    let hello = machine.step(Input::HelloDue(Box::default()), 5);
    assert!(says(
        &hello,
        |m| matches!(m, FromWorker::Hello(h) if h.running.is_empty() && h.unsent.is_empty())
    ));
    let effects = hear(&mut machine, assign(1));
    let [Effect::Write(Record::Result(result))] = effects.as_slice() else {
        panic!("{effects:?}");
    };
    assert_eq!(result.outcome, Outcome::Killed);
}

#[test]
fn a_cancel_that_overtakes_its_assign_means_never_start() {
    let mut machine = connected();
    let effects = hear(&mut machine, cancel(1));
    assert!(matches!(
        effects.as_slice(),
        [Effect::Write(Record::Barred { .. })]
    ));
    let effects = hear(&mut machine, assign(1));
    assert!(matches!(effects.as_slice(), [Effect::Write(Record::Result(r))] if r.outcome == Outcome::Killed));
    assert!(
        machine
            .step(Input::AcceptWritten(attempt(1)), 10)
            .iter()
            .all(|e| matches!(e, Effect::Ignored(_)))
    );
    // between the Assign and the disk
    hear(&mut machine, assign(2));
    assert_eq!(hear(&mut machine, cancel(2)), []);
    let effects = machine.step(Input::AcceptWritten(attempt(2)), 10);
    assert!(matches!(effects.as_slice(), [Effect::Write(Record::Result(r))] if r.outcome == Outcome::Killed));
}

#[test]
fn other_sessions_and_older_epochs_are_ignored_before_anything_is_read() {
    let mut machine = connected();
    let mut other = machine.session();
    other.connection = 9;
    let effects = machine.step(from_controller(other, EPOCH, assign(1)), 10);
    assert_eq!(effects, [Effect::Ignored(Ignored::OtherSession)]);
    let current = machine.session();
    let effects = machine.step(from_controller(current, EPOCH - 1, cancel(1)), 10);
    assert_eq!(effects, [Effect::Ignored(Ignored::OldEpoch)]);
    assert_eq!(machine.held(attempt(1)), None);
    let effects = machine.step(from_controller(current, EPOCH + 1, assign(1)), 10);
    assert_eq!(effects[0], Effect::Epoch(EPOCH + 1));
    assert_eq!(effects[1], Effect::Write(Record::Epoch(EPOCH + 1)));
}

#[test]
fn a_full_or_draining_or_stopping_worker_is_busy() {
    let busy = |effects: &[Effect]| {
        says(
            effects,
            |m| matches!(m, FromWorker::Reject(r) if r.why == RejectReason::Busy),
        )
    };
    let mut machine = connected();
    start(&mut machine, 1);
    start(&mut machine, 2);
    assert!(busy(&hear(&mut machine, assign(3))));
    finish(&mut connected(), 1);
    let mut machine = connected();
    hear(&mut machine, ToWorker::Drain(Drain { draining: true }));
    assert!(busy(&hear(&mut machine, assign(1))));
    hear(&mut machine, ToWorker::Drain(Drain { draining: false }));
    start(&mut machine, 1);
    let effects = machine.step(Input::Stopping, 30);
    assert!(matches!(effects.as_slice(), [Effect::Stop { .. }]));
    assert!(busy(&hear(&mut machine, assign(2))));
}

#[test]
fn an_unwritable_journal_refuses_the_attempt_and_frees_its_slot() {
    let mut machine = connected();
    hear(&mut machine, assign(1));
    let effects = machine.step(Input::AcceptNotWritten(attempt(1), "disk full".into()), 10);
    assert!(says(
        &effects,
        |m| matches!(m, FromWorker::Reject(r) if r.why == RejectReason::Disk)
    ));
    assert_eq!((machine.active(), machine.held(attempt(1))), (0, None));
}

#[test]
fn a_hello_names_what_runs_and_what_is_unsent_and_a_sync_settles_it() {
    let mut machine = connected();
    start(&mut machine, 1);
    finish(&mut machine, 2);
    assert_eq!(
        machine.step(Input::RenewDue(Load::default()), 20),
        [Effect::Ignored(Ignored::NotApplicable)],
        "nothing is renewed before the Sync"
    );
    machine.step(Input::Disconnected, 20);
    machine.step(Input::Connected(2), 30);
    let effects = machine.step(Input::HelloDue(Box::default()), 40);
    let hello = effects.iter().find_map(|effect| match effect {
        Effect::Say(FromWorker::Hello(hello)) => Some(hello),
        _ => None,
    });
    let hello = hello.expect("a Hello");
    assert_eq!(
        (hello.running[0].attempt, hello.running[0].for_ms),
        (attempt(1), 30)
    );
    assert_eq!(hello.unsent, [(attempt(2), Outcome::Ok)]);
    assert_eq!(hello.highest_epoch, EPOCH);
    let sync = Sync {
        stop: vec![attempt(1), attempt(7)],
        ack: vec![attempt(2)],
        ..Sync::default()
    };
    let effects = hear(&mut machine, ToWorker::Sync(Box::new(sync)));
    assert!(machine.is_synced());
    assert!(effects.contains(&Effect::Settled(attempt(2))));
    assert!(effects.contains(&Effect::Stop {
        attempt: attempt(1),
        why: CancelReason::Superseded,
        kill_after_ms: 3_000
    }));
    assert_eq!(
        machine.held(attempt(7)),
        None,
        "an unknown attempt may still come"
    );
    let probe = ToWorker::Probe(Probe { attempt: attempt(1) });
    let effects = hear(&mut machine, probe);
    assert!(says(
        &effects,
        |m| matches!(m, FromWorker::Renew(r) if r.attempts == [attempt(1)])
    ));
}

#[test]
fn missing_blobs_go_up_again_or_turn_the_result_into_a_failure() {
    let mut machine = connected();
    finish(&mut machine, 1);
    let effects = hear(&mut machine, ack(1, AckVerdict::Missing(vec![])));
    assert!(matches!(effects.as_slice(), [Effect::Upload { .. }]));
    let effects = machine.step(Input::Uploaded(attempt(1)), 30);
    assert!(says(
        &effects,
        |m| matches!(m, FromWorker::Result(r) if r.outcome == Outcome::Ok)
    ));
    machine.step(Input::BlobsGone(attempt(1), "gone".into()), 30);
    let effects = machine.step(Input::ResultWritten(attempt(1)), 30);
    assert!(says(
        &effects,
        |m| matches!(m, FromWorker::Result(r) if r.outcome == Outcome::Failed)
    ));
}

/// One thing that a network, a disk or a step may do at any moment.
#[derive(Clone, Copy, Debug)]
enum Move {
    Assign(u128),
    Cancel(u128),
    Ack(u128),
    Missing(u128),
    Probe(u128),
    Sync { stop: u128, ack: u128, want: u128 },
    Drain(bool),
    AcceptWritten(u128),
    AcceptFailed(u128),
    End(u128),
    ResultWritten(u128),
    Reconnect,
    Hello,
    Renew,
    Restart,
}

fn moves() -> impl Strategy<Value = Move> {
    let id = 1_u128..4;
    prop_oneof![
        4 => id.clone().prop_map(Move::Assign),
        2 => id.clone().prop_map(Move::Cancel),
        3 => id.clone().prop_map(Move::Ack),
        1 => id.clone().prop_map(Move::Missing),
        1 => id.clone().prop_map(Move::Probe),
        2 => (0_u128..4, 0_u128..4, 0_u128..4).prop_map(|(stop, ack, want)| Move::Sync { stop, ack, want }),
        1 => any::<bool>().prop_map(Move::Drain),
        4 => id.clone().prop_map(Move::AcceptWritten),
        1 => id.clone().prop_map(Move::AcceptFailed),
        4 => id.clone().prop_map(Move::End),
        4 => id.prop_map(Move::ResultWritten),
        1 => Just(Move::Reconnect),
        1 => Just(Move::Hello),
        1 => Just(Move::Renew),
        1 => Just(Move::Restart),
    ]
}

/// What the world outside the machine looks like.
struct World {
    machine: Machine,
    connection: u64,
    /// What is on disk.
    disk: BTreeMap<AttemptId, Held>,
    /// What waits for the disk.
    writing: Vec<Record>,
    started: BTreeSet<AttemptId>,
    running: BTreeSet<AttemptId>,
    /// Results on disk that the controller has not acknowledged.
    owed: BTreeSet<AttemptId>,
}

impl World {
    fn take(&mut self, input: Input) -> Result<(), TestCaseError> {
        for effect in self.machine.step(input, 100) {
            match effect {
                Effect::Start(assign) => {
                    let held = self.disk.get(&assign.attempt);
                    prop_assert!(
                        matches!(held, Some(Held::Dead { .. })),
                        "started before it was on disk"
                    );
                    prop_assert!(self.started.insert(assign.attempt), "executed twice");
                    self.running.insert(assign.attempt);
                }
                Effect::Say(FromWorker::Accept(accept)) => {
                    prop_assert!(
                        self.disk.contains_key(&accept.attempt),
                        "said before it was on disk"
                    );
                }
                Effect::Say(FromWorker::Result(result)) => {
                    let held = self.disk.get(&result.attempt);
                    prop_assert!(
                        matches!(held, Some(Held::Unsent { .. } | Held::Acked)),
                        "told too early"
                    );
                }
                Effect::Write(record) => self.write(record),
                Effect::Settled(attempt) => {
                    self.owed.remove(&attempt);
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn write(&mut self, record: Record) {
        match record {
            Record::Acked { attempt } => {
                self.disk.insert(attempt, Held::Acked);
            }
            Record::Barred { attempt } => {
                self.disk.insert(attempt, Held::Barred);
            }
            record => self.writing.push(record),
        }
    }

    fn hear(&mut self, message: ToWorker) -> Result<(), TestCaseError> {
        let input = from_controller(self.machine.session(), EPOCH, message);
        self.take(input)
    }

    /// Lets the disk finish what it writes for this attempt, if there is something.
    fn written(&mut self, number: u128, ended: bool, fails: bool) -> Result<(), TestCaseError> {
        let wanted = attempt(number);
        let position = self.writing.iter().position(|record| match record {
            Record::Accepted { attempt, .. } => !ended && *attempt == wanted,
            Record::Result(result) => ended && result.attempt == wanted,
            _ => false,
        });
        let Some(position) = position else {
            return Ok(());
        };
        match self.writing.remove(position) {
            Record::Accepted { .. } if fails => self.take(Input::AcceptNotWritten(wanted, "full".into())),
            Record::Accepted { attempt, job, step } => {
                self.disk.insert(
                    attempt,
                    Held::Dead {
                        job,
                        step,
                        checkpoint: None,
                    },
                );
                self.take(Input::AcceptWritten(attempt))
            }
            Record::Result(result) => {
                self.disk.insert(wanted, Held::Unsent { result });
                self.owed.insert(wanted);
                self.take(Input::ResultWritten(wanted))
            }
            _ => Ok(()),
        }
    }

    fn restart(&mut self) {
        self.writing.clear();
        self.running.clear();
        self.machine = Machine::new(identity(), EPOCH, self.disk.clone());
        self.connection = 0;
    }

    fn play(&mut self, step: Move) -> Result<(), TestCaseError> {
        let ids = |number: u128| (number != 0).then(|| attempt(number)).into_iter().collect();
        match step {
            Move::Assign(number) => self.hear(assign(number)),
            Move::Cancel(number) => self.hear(cancel(number)),
            Move::Ack(number) => self.hear(ack(number, AckVerdict::Applied)),
            Move::Missing(number) => self.hear(ack(number, AckVerdict::Missing(vec![]))),
            Move::Probe(number) => self.hear(ToWorker::Probe(Probe {
                attempt: attempt(number),
            })),
            Move::Sync { stop, ack, want } => self.hear(ToWorker::Sync(Box::new(Sync {
                stop: ids(stop),
                ack: ids(ack),
                want_result: ids(want),
                ..Sync::default()
            }))),
            Move::Drain(draining) => self.hear(ToWorker::Drain(Drain { draining })),
            Move::AcceptWritten(number) => self.written(number, false, false),
            Move::AcceptFailed(number) => self.written(number, false, true),
            Move::End(number) if self.running.remove(&attempt(number)) => {
                self.take(Input::Ended(result(number, Outcome::Ok)))
            }
            Move::End(_) => Ok(()),
            Move::ResultWritten(number) => self.written(number, true, false),
            Move::Reconnect => {
                self.connection += 1;
                self.take(Input::Disconnected)?;
                self.take(Input::Connected(self.connection))
            }
            Move::Hello => self.hello(),
            Move::Renew => self.take(Input::RenewDue(Load::default())),
            Move::Restart => {
                self.restart();
                self.play(Move::Reconnect)
            }
        }
    }

    /// Everything that is owed is named to the controller, and nothing else.
    fn hello(&mut self) -> Result<(), TestCaseError> {
        let effects = self.machine.step(Input::HelloDue(Box::default()), 100);
        let unsent = effects.iter().find_map(|effect| match effect {
            Effect::Say(FromWorker::Hello(hello)) => Some(hello.unsent.iter().map(|(id, _)| *id).collect()),
            _ => None,
        });
        let rewriting: BTreeSet<_> = self
            .writing
            .iter()
            .filter_map(|record| match record {
                Record::Result(result) => Some(result.attempt),
                _ => None,
            })
            .collect();
        let owed: BTreeSet<_> = self.owed.difference(&rewriting).copied().collect();
        prop_assert_eq!(unsent.unwrap_or_else(BTreeSet::new), owed);
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_order_of_events_executes_twice_or_drops_a_result(steps in proptest::collection::vec(moves(), 1..60)) {
        let mut world = World {
            machine: connected(),
            connection: 1,
            disk: BTreeMap::new(),
            writing: vec![],
            started: BTreeSet::new(),
            running: BTreeSet::new(),
            owed: BTreeSet::new(),
        };
        for step in steps {
            world.play(step)?;
            prop_assert!(world.machine.active() <= 2, "more attempts than slots");
            for attempt in &world.owed {
                let held = world.machine.held(*attempt);
                prop_assert!(matches!(held, Some(Held::Unsent { .. } | Held::Ending { .. })), "a result was dropped");
            }
        }
        world.hello()?;
    }
}

#[test]
fn a_result_that_is_said_again_ends_with_its_ack_even_if_the_journal_forgot_it() {
    let mut machine = connected();
    start(&mut machine, 1);
    machine.step(Input::Ended(result(1, Outcome::Ok)), 10);
    machine.step(Input::ResultWritten(attempt(1)), 10);
    hear(&mut machine, ack(1, AckVerdict::Applied));
    let again = hear(&mut machine, assign(1));
    assert_eq!(again, [Effect::Recall(attempt(1))]);
    machine.step(Input::Forgotten(vec![attempt(1)]), 10);
    machine.step(Input::Recalled(result(1, Outcome::Ok)), 10);
    let effects = hear(&mut machine, ack(1, AckVerdict::Applied));
    assert_eq!(effects, [Effect::Settled(attempt(1))]);
}
