//! A worker with a valid credential that says what nobody understands, and one whose
//! credential nobody knows any more.

use std::fs;

use e2e::{Controller, Lab, PATIENCE, Worker, eventually};
use protocol::{
    codec::{Envelope, decode, encode},
    http::join::WorkerCredential,
    id::{BootId, JournalId, MessageId},
    label::Labels,
    message::{FromWorker, Hello, PROTOCOL_VERSION, Session, ToWorker},
    topic::Topic,
    worker::Load,
};
use rumqttc::{Client, Connection, Event, MqttOptions, Packet, QoS};
use serde_json::{Value, json};

use super::UnderWay;

/// Logs in to the broker in the worker's place.
fn impersonate(controller: &Controller, credential: &WorkerCredential) -> (Client, Connection) {
    let (host, port) = controller.mqtt().rsplit_once(':').expect("host:port");
    let port = port.parse().expect("a port");
    let mut options = MqttOptions::new(credential.id.to_string(), host, port);
    options.set_credentials(
        credential.id.to_string(),
        credential.secret.as_deref().unwrap_or_default(),
    );
    options.set_max_packet_size(128 * 1024, 128 * 1024);
    Client::new(options, 32)
}

fn credential(worker: &Worker) -> WorkerCredential {
    let file = fs::read(worker.state.join("credential.json")).expect("the credential");
    serde_json::from_slice(&file).expect("a credential")
}

fn envelope<M>(v: u32, message: M) -> Envelope<M> {
    let session = Session {
        journal: JournalId::new(),
        start: 1,
        connection: 1,
    };
    Envelope {
        v,
        id: MessageId::new(),
        epoch: 0,
        session,
        message,
    }
}

fn hello() -> FromWorker {
    FromWorker::Hello(Box::new(Hello {
        boot_id: BootId::new(),
        version: "0.1.0".to_owned(),
        protocol_min: PROTOCOL_VERSION,
        protocol_max: PROTOCOL_VERSION,
        labels: Labels::default(),
        slots: 1,
        models: vec![],
        load: Load::default(),
        running: vec![],
        unsent: vec![],
        highest_epoch: 0,
    }))
}

/// What cannot be read, and what the controller's log says about it.
fn unreadable() -> Vec<(Vec<u8>, &'static str)> {
    let whole = encode(&envelope(PROTOCOL_VERSION, hello())).expect("small");
    let dance: Value = json!({"kind": "dance", "body": {"steps": 3}});
    let unknown = encode(&envelope(PROTOCOL_VERSION, dance)).expect("small");
    let other = encode(&envelope(99, hello())).expect("small");
    vec![
        (vec![], "message cannot be read"),
        (vec![0xc1, 0xff, 0x00], "message cannot be read"),
        (vec![0x91; 60_000], "message cannot be read"),
        (b"{\"kind\": \"hello\"}".to_vec(), "message cannot be read"),
        (whole[..whole.len() / 2].to_vec(), "message cannot be read"),
        (unknown, "unknown variant `dance`"),
        (other, "message of version 99"),
    ]
}

#[test]
fn broken_and_unknown_messages_are_named_and_the_connection_goes_on() {
    let lab = Lab::without_sandbox();
    let controller = lab.controller("");
    let mut one = lab.worker(&controller, "one");
    assert!(controller.ctl(&["workers", "pause", "one"]).status.success());
    let _two = lab.worker(&controller, "two");
    let job = UnderWay::begin(&lab, &controller);
    one.kill();

    let credential = credential(&one);
    let (client, mut connection) = impersonate(&controller, &credential);
    let inbox = Topic::WorkerIn(credential.id).to_string();
    client.subscribe(inbox, QoS::AtLeastOnce).expect("room");
    let outbox = Topic::WorkerOut(credential.id).to_string();
    let say = |payload: Vec<u8>| client.publish(outbox.clone(), QoS::AtLeastOnce, false, payload);
    let cases = unreadable();
    for (payload, _) in &cases {
        say(payload.clone()).expect("room");
    }
    say(encode(&envelope(PROTOCOL_VERSION, hello())).expect("small")).expect("room");

    // one and the same connection takes all of it, and answers what can be read
    let (mut taken, mut synced) = (0, false);
    while taken < cases.len() + 1 || !synced {
        let event = connection
            .recv_timeout(PATIENCE)
            .expect("the broker says something");
        match event.expect("the connection holds") {
            Event::Incoming(Packet::PubAck(_)) => taken += 1,
            Event::Incoming(Packet::Publish(publish)) => {
                let said = decode::<ToWorker>(&publish.payload).expect("readable");
                synced |= matches!(said.message, ToWorker::Sync(_));
            }
            _ => {}
        }
    }
    let log = controller.log();
    let id = credential.id;
    for (_, part) in &cases {
        assert!(log.contains(part), "{part:?} in the log");
    }
    let named = format!("worker {id} says what cannot be read: ");
    assert_eq!(log.matches(&named).count(), cases.len(), "each is told once");
    job.ends_well(&controller);
}

#[test]
fn a_worker_that_was_removed_while_it_was_away_is_told_to_join_again() {
    let lab = Lab::without_sandbox();
    let controller = lab.controller("");
    let mut one = lab.worker(&controller, "one");
    one.kill();
    assert!(controller.ctl(&["workers", "remove", "one"]).status.success());
    one.start();
    let sentence = "refuses this worker's credential: it was removed, or the controller is another one; \
                    join again with `agent-worker join TOKEN --force`";
    eventually("the sentence", || one.log().contains(sentence).then_some(()));
    let log = one.log();
    assert!(log.contains(controller.mqtt()), "names the controller: {log}");
    assert!(!log.contains("panicked"), "{log}");
    assert_eq!(controller.json(&["workers", "-o", "json"])["items"], json!([]));
}
