//! Finished turns of agents: written down, said once the controller can read them,
//! and said again on every connection before the Hello, so that the controller
//! knows the last one of an attempt before it may give the attempt up.

use protocol::message::{Checkpoint, FromWorker};

use super::{
    event::{Effect, Held, Ignored},
    machine::{Machine, ignored},
};
use crate::journal::Record;

impl Machine {
    /// A turn is finished: the next life of this process knows it.
    pub(super) fn turn(&self, checkpoint: Box<Checkpoint>) -> Vec<Effect> {
        match self.held.get(&checkpoint.attempt) {
            Some(Held::Running { .. }) => vec![Effect::Write(Record::Checkpoint(checkpoint))],
            _ => ignored(Ignored::NotApplicable),
        }
    }

    /// What the checkpoint names is where every worker can fetch it.
    pub(super) fn turn_sent(&mut self, sent: Box<Checkpoint>) -> Vec<Effect> {
        let connected = self.is_connected();
        let Some(Held::Running { checkpoint, .. }) = self.held.get_mut(&sent.attempt) else {
            return ignored(Ignored::NotApplicable);
        };
        *checkpoint = Some(sent.clone());
        if connected {
            vec![Effect::Say(FromWorker::Checkpoint(*sent))]
        } else {
            vec![]
        }
    }

    /// What a new connection begins with. The turns of a dead attempt may have stayed on this
    /// machine: they go up meanwhile.
    pub(super) fn say_checkpoints(&self) -> Vec<Effect> {
        let mut effects = vec![];
        for (&attempt, held) in &self.held {
            let checkpoint = match held {
                Held::Running { checkpoint, .. } => checkpoint,
                Held::Dead { checkpoint, .. } => {
                    effects.extend(checkpoint.as_ref().map(|checkpoint| Effect::Upload {
                        attempt,
                        missing: vec![checkpoint.transcript.sha256],
                    }));
                    checkpoint
                }
                Held::Accepting { .. }
                | Held::Ending { .. }
                | Held::Unsent { .. }
                | Held::Acked
                | Held::Barred => continue,
            };
            let said = checkpoint.as_ref();
            effects.extend(said.map(|it| Effect::Say(FromWorker::Checkpoint((**it).clone()))));
        }
        effects
    }

    /// The controller has answered: dead attempts are over for it.
    pub(super) fn checkpoints_told(&mut self) {
        for held in self.held.values_mut() {
            if let Held::Dead { checkpoint, .. } = held {
                *checkpoint = None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use protocol::{
        artifact::{BlobRef, Sha256},
        codec::Envelope,
        id::{AttemptId, BootId, JobId, JournalId, MessageId},
        message::{PROTOCOL_VERSION, Sync, ToWorker},
        usage::Usage,
    };
    use uuid::Uuid;

    use super::*;
    use crate::session::{Identity, Input};

    const RUNNING: AttemptId = AttemptId::from_uuid(Uuid::from_u128(1));
    const DEAD: AttemptId = AttemptId::from_uuid(Uuid::from_u128(2));

    fn checkpoint(attempt: AttemptId, seq: u64) -> Box<Checkpoint> {
        Box::new(Checkpoint {
            attempt,
            seq,
            transcript: BlobRef {
                sha256: Sha256([seq as u8; 32]),
                size: 7,
            },
            workspace: None,
            usage: Usage::default(),
        })
    }

    /// A machine that runs one attempt and remembers one of a dead life.
    fn machine() -> Machine {
        let identity = Identity {
            boot: BootId::from_uuid(Uuid::from_u128(3)),
            journal: JournalId::from_uuid(Uuid::from_u128(4)),
            start: 2,
            slots: 2,
        };
        let running = Held::Running {
            since_ms: 0,
            lease_ms: 45_000,
            cancel_grace_ms: 1_000,
            checkpoint: None,
        };
        let dead = Held::Dead {
            job: JobId::from_uuid(Uuid::from_u128(5)),
            step: "plan".parse().expect("a key"),
            checkpoint: Some(checkpoint(DEAD, 4)),
        };
        Machine::new(identity, 1, BTreeMap::from([(RUNNING, running), (DEAD, dead)]))
    }

    fn sync(machine: &mut Machine) {
        let envelope = Envelope {
            v: PROTOCOL_VERSION,
            id: MessageId::from_uuid(Uuid::from_u128(6)),
            epoch: machine.epoch(),
            session: machine.session(),
            message: ToWorker::Sync(Box::<Sync>::default()),
        };
        machine.step(Input::Received(Box::new(envelope)), 0);
    }

    /// The numbers of the checkpoints that are said.
    fn said(effects: &[Effect]) -> Vec<u64> {
        let said = effects.iter().filter_map(|effect| match effect {
            Effect::Say(FromWorker::Checkpoint(checkpoint)) => Some(checkpoint.seq),
            _ => None,
        });
        said.collect()
    }

    #[test]
    fn a_turn_is_written_down_at_once_and_said_when_the_controller_can_read_it() {
        let mut machine = machine();
        machine.step(Input::Connected(1), 0);
        sync(&mut machine);
        let turn = checkpoint(RUNNING, 1);
        let effects = machine.step(Input::Turn(turn.clone()), 0);
        assert_eq!(effects, [Effect::Write(Record::Checkpoint(turn.clone()))]);
        assert_eq!(said(&machine.step(Input::TurnSent(turn.clone()), 0)), [1]);
        machine.step(Input::Connected(2), 0);
        assert_eq!(
            said(&machine.step(Input::TurnSent(turn), 0)),
            [1],
            "before the Sync, too"
        );
        let of_another = checkpoint(AttemptId::from_uuid(Uuid::from_u128(9)), 1);
        for input in [Input::Turn(of_another.clone()), Input::TurnSent(of_another)] {
            assert_eq!(machine.step(input, 0), [Effect::Ignored(Ignored::NotApplicable)]);
        }
    }

    #[test]
    fn a_connection_begins_with_the_last_turns_and_the_hello_comes_after_them() {
        let mut machine = machine();
        machine.step(Input::TurnSent(checkpoint(RUNNING, 1)), 0);
        machine.step(Input::TurnSent(checkpoint(RUNNING, 2)), 0);
        let effects = machine.step(Input::Connected(1), 0);
        assert_eq!(said(&effects), [2, 4]);
        assert_eq!(effects.last(), Some(&Effect::Greet));
        let upload = Effect::Upload {
            attempt: DEAD,
            missing: vec![Sha256([4; 32])],
        };
        assert!(effects.contains(&upload), "{effects:?}");
        sync(&mut machine);
        assert_eq!(
            said(&machine.step(Input::Connected(2), 0)),
            [2],
            "the dead one was told"
        );
        let hello = machine.step(Input::HelloDue(Box::default()), 0);
        let [Effect::Say(FromWorker::Hello(hello))] = hello.as_slice() else {
            panic!("{hello:?}");
        };
        assert_eq!(
            (hello.running[0].attempt, hello.running[0].last_seq),
            (RUNNING, 2)
        );
    }
}
