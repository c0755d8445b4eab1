//! A worker that is played by hand: it joins by HTTP, and says over MQTT what the test wants.

use std::{collections::VecDeque, time::Instant};

use e2e::{Controller, PATIENCE};
use protocol::{
    codec::{Envelope, decode, encode},
    http::join::{JoinToken, WorkerCredential},
    id::{BootId, JournalId, MessageId, WorkerId},
    label::Labels,
    message::{Assign, FromWorker, Hello, PROTOCOL_VERSION, Session, Sync, ToWorker},
    topic::Topic,
    worker::Load,
};
use rumqttc::{Client, Connection, Event, MqttOptions, Packet, QoS, SubscribeReasonCode};
use serde::de::DeserializeOwned;
use serde_json::json;

/// Joins a worker that has no process, on plain loopback.
pub(crate) fn join(controller: &Controller, name: &str) -> WorkerCredential {
    let printed = controller.ctl(&["workers", "join-token"]);
    let line = String::from_utf8(printed.stdout).expect("text");
    let token = JoinToken::decode(line.split_whitespace().last().expect("a token")).expect("a token");
    let wish = json!({"token": token.proof(), "name": name, "labels": {}, "slots": 1});
    let answer = controller.request("POST", "/v1/workers/join", wish.to_string().as_bytes());
    assert_eq!(answer.status, 201, "{answer:?}");
    serde_json::from_str(&answer.body).expect("a credential")
}

/// What a client logs in with: client id, user name, password.
pub(crate) fn options(controller: &Controller, client: &str, user: &str, password: &str) -> MqttOptions {
    let (host, port) = controller.mqtt().rsplit_once(':').expect("host:port");
    let mut options = MqttOptions::new(client, host, port.parse().expect("a port"));
    options.set_credentials(user, password);
    options.set_max_packet_size(128 * 1024, 128 * 1024);
    options
}

/// One connection, polled by the test.
pub(crate) struct Mqtt {
    client: Client,
    connection: Connection,
    heard: VecDeque<(String, Vec<u8>)>,
}

impl Mqtt {
    /// Connects; the broker's own words when it refuses.
    pub(crate) fn enter(options: MqttOptions) -> Result<Self, String> {
        let (client, connection) = Client::new(options, 64);
        let mut made = Self {
            client,
            connection,
            heard: VecDeque::new(),
        };
        made.until(|packet| matches!(packet, Packet::ConnAck(_)).then_some(()))?;
        Ok(made)
    }

    /// Whether the filter was granted.
    pub(crate) fn subscribe(&mut self, filter: &str) -> bool {
        self.client.subscribe(filter, QoS::AtLeastOnce).expect("room");
        self.must(|packet| match packet {
            Packet::SubAck(ack) => Some(ack.return_codes != [SubscribeReasonCode::Failure]),
            _ => None,
        })
    }

    /// Publishes, and waits until the broker has taken it.
    pub(crate) fn publish(&mut self, topic: &str, retain: bool, payload: Vec<u8>) {
        let sent = self.client.publish(topic, QoS::AtLeastOnce, retain, payload);
        sent.expect("room");
        self.must(|packet| matches!(packet, Packet::PubAck(_)).then_some(()));
    }

    /// The next message that came: topic and payload.
    pub(crate) fn hear(&mut self) -> (String, Vec<u8>) {
        loop {
            if let Some(heard) = self.heard.pop_front() {
                return heard;
            }
            // a message is kept as it passes
            self.must(|packet| matches!(packet, Packet::Publish(_)).then_some(()));
        }
    }

    fn must<T>(&mut self, wanted: impl Fn(&Packet) -> Option<T>) -> T {
        self.until(wanted).expect("the connection holds")
    }

    fn until<T>(&mut self, wanted: impl Fn(&Packet) -> Option<T>) -> Result<T, String> {
        let begun = Instant::now();
        loop {
            // its pings go on also when nothing else comes
            let event = self.connection.recv_timeout(PATIENCE);
            let event = event.expect("the broker says something");
            assert!(begun.elapsed() < PATIENCE, "what was waited for did not come");
            let Event::Incoming(packet) = event.map_err(|error| error.to_string())? else {
                continue;
            };
            if let Packet::Publish(publish) = &packet {
                let heard = (publish.topic.clone(), publish.payload.to_vec());
                self.heard.push_back(heard);
            }
            if let Some(found) = wanted(&packet) {
                return Ok(found);
            }
        }
    }
}

/// The worker itself, logged in.
pub(crate) struct ByHand {
    pub(crate) credential: WorkerCredential,
    pub(crate) mqtt: Mqtt,
    session: Session,
}

impl ByHand {
    /// Joins, logs in, and says hello.
    pub(crate) fn start(controller: &Controller, name: &str) -> Self {
        let mut made = Self::enter(controller, name);
        made.hello_with(|_| {});
        made
    }

    /// Joins and logs in.
    pub(crate) fn enter(controller: &Controller, name: &str) -> Self {
        let credential = join(controller, name);
        let id = credential.id.to_string();
        let secret = credential.secret.clone().expect("on loopback");
        let mqtt = Mqtt::enter(options(controller, &id, &id, &secret)).expect("let in");
        let session = Session {
            journal: JournalId::new(),
            start: 1,
            connection: 1,
        };
        let mut made = Self {
            credential,
            mqtt,
            session,
        };
        assert!(made.mqtt.subscribe(&Topic::WorkerIn(made.id()).to_string()));
        made
    }

    /// Says hello, in a session that is newer than the one before, and waits for the answer.
    pub(crate) fn hello_with(&mut self, change: impl FnOnce(&mut Hello)) -> Sync {
        let mut hello = hello();
        change(&mut hello);
        self.greet(FromWorker::Hello(Box::new(hello)));
        self.until(|message| match message {
            ToWorker::Sync(sync) => Some(*sync),
            _ => None,
        })
    }

    /// Says a hello of any shape, in a session that is newer than the one before.
    pub(crate) fn greet(&mut self, hello: impl serde::Serialize) {
        self.session.connection += 1;
        self.say(hello);
    }

    /// Its id.
    pub(crate) fn id(&self) -> WorkerId {
        self.credential.id
    }

    /// Its secret.
    pub(crate) fn secret(&self) -> &str {
        self.credential.secret.as_deref().expect("on loopback")
    }

    /// A message as it goes over the wire.
    pub(crate) fn packed<M: serde::Serialize>(&self, message: M) -> Vec<u8> {
        let envelope = Envelope {
            v: PROTOCOL_VERSION,
            id: MessageId::new(),
            epoch: 0,
            session: self.session,
            message,
        };
        encode(&envelope).expect("small")
    }

    /// Says something where it may.
    pub(crate) fn say(&mut self, message: impl serde::Serialize) {
        let (topic, bytes) = (Topic::WorkerOut(self.id()).to_string(), self.packed(message));
        self.mqtt.publish(&topic, false, bytes);
    }

    /// Waits for what is wanted of it.
    pub(crate) fn until<T>(&mut self, wanted: impl Fn(ToWorker) -> Option<T>) -> T {
        loop {
            let (_, payload) = self.mqtt.hear();
            if let Some(found) = wanted(message(&payload)) {
                return found;
            }
        }
    }

    /// Waits for an attempt.
    pub(crate) fn assigned(&mut self) -> Assign {
        self.until(|message| match message {
            ToWorker::Assign(assign) => Some(*assign),
            _ => None,
        })
    }
}

fn message<M: DeserializeOwned>(payload: &[u8]) -> M {
    decode::<M>(payload).expect("readable").message
}

fn hello() -> Hello {
    Hello {
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
    }
}
