//! The connection to the broker. One task owns rumqttc's event loop and only
//! polls it: what comes in is handed on without waiting, and nothing is
//! published from here.

mod backoff;

use std::{
    mem::Discriminant,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use protocol::{
    codec::{self, Envelope},
    id::{JournalId, MessageId, WorkerId},
    message::{Bye, FromWorker, MAX_MESSAGE_BYTES, PROTOCOL_VERSION, Session},
    topic::Topic,
};
use rumqttc::{
    AsyncClient, ConnectReturnCode, ConnectionError, Event, EventLoop, LastWill, MqttOptions, NetworkOptions,
    Outgoing, Packet, QoS, SubscribeReasonCode, TlsConfiguration, Transport,
};
use tokio::{
    sync::{Notify, mpsc, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::{access::Access, telemetry};
use backoff::{Backoff, Ending, Wait};

/// Topic, packet id and fixed header of a publish, generously.
const PACKET_OVERHEAD: usize = 1024;
/// Publishes without a PUBACK, at most.
const IN_FLIGHT: u16 = 32;
/// Requests that wait for the event loop.
const REQUESTS: usize = 64;
/// Messages that wait to be looked at; more are dropped, and said again by the controller.
const INCOMING: usize = 256;
/// A broken connection is noticed within one and a half of these.
const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// After this long without a turn of its loop the link is stuck.
const SILENCE: Duration = Duration::from_secs(60);
/// Seconds until an attempt to connect is given up.
const CONNECT_TIMEOUT_S: u64 = 5;

/// Where and as whom to connect. Never printed: it holds the secret.
#[derive(Clone)]
pub struct Address {
    /// Host of the broker.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// This worker: client id and user name.
    pub worker: WorkerId,
    /// What it proves itself with.
    pub access: Access,
    /// Its journal, for the will.
    pub journal: JournalId,
    /// The start of the journal, for the will.
    pub start: u64,
}

/// The state of the connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Connection {
    /// How many there were in this life, this one included.
    pub number: u64,
    /// Whether it is up.
    pub up: bool,
}

/// What the session task gets from the link.
pub struct LinkEnds {
    /// To publish and subscribe with.
    pub client: AsyncClient,
    /// Payloads from this worker's topic, in order.
    pub messages: mpsc::Receiver<Bytes>,
    /// The state of the connection.
    pub connection: watch::Receiver<Connection>,
    /// Woken when a publish left the queue.
    pub room: Arc<Notify>,
    /// To say that the current connection had its Sync.
    pub synced: Synced,
}

/// The epoch under which the current connection had its Sync; 0 before that.
#[derive(Clone, Debug, Default)]
pub struct Synced(Arc<AtomicU64>);

impl Synced {
    /// The current connection had its Sync.
    pub fn set(&self, epoch: u64) {
        self.0.store(epoch.max(1), Ordering::Relaxed);
    }

    fn take(&self) -> Option<u64> {
        match self.0.swap(0, Ordering::Relaxed) {
            0 => None,
            epoch => Some(epoch),
        }
    }
}

/// By when the link's task must have moved again: a connection says something within its keep-alive, and what
/// waits knows how long.
#[derive(Clone, Debug)]
pub struct Progress {
    began: Instant,
    due_ms: Arc<AtomicU64>,
}

impl Progress {
    fn new() -> Self {
        let progress = Self {
            began: Instant::now(),
            due_ms: Arc::default(),
        };
        progress.moved(Duration::ZERO);
        progress
    }

    /// It moves, and may now wait this long on purpose.
    fn moved(&self, wait: Duration) {
        let due = self.began.elapsed() + wait + SILENCE;
        self.due_ms.store(due.as_millis() as u64, Ordering::Relaxed);
    }

    /// Whether it should have moved by now.
    pub fn is_overdue(&self) -> bool {
        self.began.elapsed().as_millis() as u64 > self.due_ms.load(Ordering::Relaxed)
    }
}

/// The task's state.
pub struct Link {
    events: EventLoop,
    address: Address,
    topic: Topic,
    messages: mpsc::Sender<Bytes>,
    connection: watch::Sender<Connection>,
    room: Arc<Notify>,
    synced: Synced,
    progress: Progress,
    backoff: Backoff,
    /// The last kind of trouble that was told, so that it is not told again at every try.
    told: Option<Discriminant<Wait>>,
}

impl Link {
    /// A link that has not connected yet.
    pub fn new(address: Address) -> (Self, LinkEnds) {
        let mut options = MqttOptions::new(address.worker.to_string(), address.host.clone(), address.port);
        let packet = MAX_MESSAGE_BYTES + PACKET_OVERHEAD;
        match &address.access {
            Access::Secret(secret) => {
                options.set_credentials(address.worker.to_string(), secret);
            }
            Access::Tls(tls) => {
                let config = TlsConfiguration::Rustls(Arc::new(tls.config("mqtt")));
                options.set_transport(Transport::Tls(config));
            }
            Access::Nobody => {}
        }
        options
            .set_clean_session(true)
            .set_keep_alive(KEEP_ALIVE)
            .set_inflight(IN_FLIGHT)
            .set_max_packet_size(packet, packet);
        let (client, mut events) = AsyncClient::new(options, REQUESTS);
        let mut network = NetworkOptions::new();
        network.set_tcp_nodelay(true);
        network.set_connection_timeout(CONNECT_TIMEOUT_S);
        events.set_network_options(network);
        let (messages, messages_out) = mpsc::channel(INCOMING);
        let (connection, connection_out) = watch::channel(Connection::default());
        let (room, synced) = (Arc::new(Notify::new()), Synced::default());
        let ends = LinkEnds {
            client,
            messages: messages_out,
            connection: connection_out,
            room: room.clone(),
            synced: synced.clone(),
        };
        let link = Self {
            events,
            topic: Topic::WorkerIn(address.worker),
            address,
            messages,
            connection,
            room,
            synced,
            progress: Progress::new(),
            backoff: Backoff::default(),
            told: None,
        };
        (link, ends)
    }

    /// Shows whether the task moves.
    pub fn progress(&self) -> Progress {
        self.progress.clone()
    }

    /// Polls until the client disconnects or `stop`, connecting again whenever it must.
    pub async fn run(mut self, stop: CancellationToken) {
        let began = Instant::now();
        while !stop.is_cancelled() {
            if !self.connection.borrow().up {
                self.write_will();
            }
            let event = tokio::select! {
                event = self.events.poll() => event,
                () = stop.cancelled() => return,
            };
            self.progress.moved(Duration::ZERO);
            match event {
                Ok(Event::Outgoing(Outgoing::Disconnect)) => return,
                Ok(event) => self.event(event),
                Err(error) => {
                    let wait = self.ended(&error, began.elapsed());
                    self.progress.moved(wait);
                    tokio::select! {
                        () = tokio::time::sleep(wait) => {}
                        () = stop.cancelled() => return,
                    }
                }
            }
        }
    }

    /// The will speaks for the connection that is about to begin.
    fn write_will(&mut self) {
        let session = Session {
            journal: self.address.journal,
            start: self.address.start,
            connection: self.connection.borrow().number + 1,
        };
        let bye = codec::encode(&Envelope {
            v: PROTOCOL_VERSION,
            id: MessageId::new(),
            epoch: 0,
            session,
            message: FromWorker::Bye(Bye {
                why: "the connection broke".to_owned(),
            }),
        });
        if let Ok(payload) = bye {
            let topic = Topic::WorkerOut(self.address.worker).to_string();
            let will = LastWill::new(topic, payload, QoS::AtLeastOnce, false);
            self.events.mqtt_options.set_last_will(will);
        }
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Incoming(Packet::ConnAck(_)) => {
                self.told = None;
                self.connection.send_modify(|connection| {
                    connection.number += 1;
                    connection.up = true;
                });
            }
            Event::Incoming(Packet::Publish(publish)) => {
                if publish.topic.parse() != Ok(self.topic.clone()) {
                    tracing::warn!(
                        topic = publish.topic,
                        "dropped a message on a topic that is not this worker's"
                    );
                } else if self.messages.try_send(publish.payload).is_err() {
                    tracing::warn!(
                        "dropped a message: {INCOMING} wait already; the controller will say it again"
                    );
                }
            }
            Event::Incoming(Packet::SubAck(ack)) => {
                if ack.return_codes.contains(&SubscribeReasonCode::Failure) {
                    tracing::error!("the broker refused the subscription of this worker to its own topic");
                }
            }
            Event::Outgoing(_) | Event::Incoming(Packet::PubAck(_)) => self.room.notify_one(),
            Event::Incoming(_) => {}
        }
    }

    /// The connection ended or did not come up; answers how long to wait.
    fn ended(&mut self, error: &ConnectionError, now: Duration) -> Duration {
        let was_up = self.connection.borrow().up;
        if was_up {
            self.connection.send_modify(|connection| connection.up = false);
        }
        let ending = match (error, self.synced.take()) {
            (
                ConnectionError::ConnectionRefused(
                    ConnectReturnCode::BadUserNamePassword
                    | ConnectReturnCode::NotAuthorized
                    | ConnectReturnCode::BadClientId,
                ),
                _,
            ) => Ending::Refused,
            (_, Some(epoch)) => Ending::Dropped { epoch },
            (_, None) => Ending::Failed,
        };
        let wait = self.backoff.after(ending, now);
        self.tell(error, wait, was_up);
        let roll: f64 = rand::random();
        match wait {
            Wait::UpTo(longest) => longest.mul_f64(roll),
            Wait::Refused(longest) | Wait::Clash(longest) => longest.mul_f64(0.5 + roll / 2.0),
        }
    }

    /// Each kind of trouble is told once until there is a connection again.
    fn tell(&mut self, error: &ConnectionError, wait: Wait, was_up: bool) {
        let broker = format!("{}:{}", self.address.host, self.address.port);
        let kind = std::mem::discriminant(&wait);
        if self.told == Some(kind) && !was_up {
            tracing::debug!(%error, "still no connection to the broker");
            return;
        }
        if let Some((shown, known)) = self.address.access.clash() {
            telemetry::another_controller(&broker, shown, known);
            self.told = Some(kind);
            return;
        }
        match wait {
            Wait::Clash(_) => telemetry::identity_clash(self.address.worker),
            Wait::Refused(_) => telemetry::login_refused(&broker),
            Wait::UpTo(_) => telemetry::disconnected(&broker, error),
        }
        self.told = Some(kind);
    }
}
