//! The broker over real sockets, against its seam alone.

mod hostile;
mod login;
mod public;
mod rights;
mod rules;
mod workers;

use std::{
    collections::HashMap,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use futures::future::BoxFuture;
use protocol::{
    http::tokens::Scope,
    id::{TokenId, WorkerId},
    topic::{Topic, covers},
};
use tokio::{net::TcpStream, sync::mpsc, time::timeout};

use super::{
    packet::{Connect, ConnectCode, Delivery, Packet, PacketId, Publish, Qos, Will},
    wire::{Wire, WireError},
    *,
};
use crate::{authorize::Identity, denials::Denials, transport::Peer};

/// Far more than anything here takes; only a failing test waits that long.
const PATIENCE: Duration = Duration::from_secs(20);

/// A broker with everything around it.
struct Rig {
    broker: Broker,
    events: mpsc::Receiver<BrokerEvent>,
    commands: mpsc::Receiver<CommandIn>,
    logs: mpsc::Receiver<LogIn>,
    summaries: Arc<FixedSummaries>,
}

impl Rig {
    async fn start() -> Self {
        Self::with(BrokerConfig::default()).await
    }

    async fn with(config: BrokerConfig) -> Self {
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self::listening(BrokerConfig { listen, ..config })
            .await
            .expect("starts")
    }

    async fn listening(config: BrokerConfig) -> Result<Self, StartError> {
        let (events_in, events) = mpsc::channel(1000);
        let (commands_in, commands) = mpsc::channel(100);
        let (logs_in, logs) = mpsc::channel(2);
        let summaries = Arc::new(FixedSummaries::default());
        let outlets = Outlets {
            events: events_in,
            commands: commands_in,
            logs: logs_in,
            denials: Denials::default(),
        };
        let auth = Arc::new(Passwords(HashMap::from(
            [Scope::Read, Scope::Run, Scope::Approve, Scope::Admin].map(|scope| (scope, TokenId::new())),
        )));
        let broker = Broker::start(config, auth, summaries.clone(), outlets).await?;
        Ok(Self {
            broker,
            events,
            commands,
            logs,
            summaries,
        })
    }

    async fn connect(&self, connect: Connect) -> (Client, ConnectCode) {
        let mut client = Client::open(self.broker.local_addr()).await;
        client.say(Packet::Connect(Box::new(connect))).await;
        let Packet::ConnAck(code) = client.hear().await else {
            panic!("no CONNACK");
        };
        (client, code)
    }

    /// A client that must be let in.
    async fn enter(&self, connect: Connect) -> Client {
        let (client, code) = self.connect(connect).await;
        assert_eq!(code, ConnectCode::Accepted);
        client
    }

    /// A worker that has logged in and subscribed to its topic.
    async fn worker(&mut self, id: WorkerId) -> Client {
        let mut client = self.enter(worker(id)).await;
        let inbox = Topic::WorkerIn(id).to_string();
        assert_eq!(client.subscribe(&[(&inbox, Qos::One)]).await, [Some(Qos::One)]);
        client
    }

    async fn event(&mut self) -> BrokerEvent {
        soon(self.events.recv()).await.expect("an event")
    }

    async fn command(&mut self) -> CommandIn {
        soon(self.commands.recv()).await.expect("a command")
    }

    /// Returns when what was published before has reached the sessions.
    async fn settle(&self) {
        self.broker.shared.router.settle().await.expect("router lives");
    }

    fn stats(&self) -> BrokerStats {
        self.broker.control().stats()
    }
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("in time")
}

/// Workers know `secret <id>`; each scope has a token whose password is the scope's name.
struct Passwords(HashMap<Scope, TokenId>);

impl Authenticate for Passwords {
    fn authenticate<'a>(
        &'a self,
        presented: Presented<'a>,
        _peer: &'a Peer,
    ) -> BoxFuture<'a, Result<Identity, Refused>> {
        let Presented::Password { username, password } = presented else {
            return Box::pin(std::future::ready(Err(Refused::WrongCredential)));
        };
        let password = String::from_utf8_lossy(password).into_owned();
        let identity = if let Ok(id) = username.parse::<WorkerId>() {
            (password == format!("secret {id}")).then_some(Identity::Worker(id))
        } else {
            password.parse::<Scope>().ok().map(|scope| Identity::Client {
                token: self.0[&scope],
                name: password.clone(),
                scopes: vec![scope],
            })
        };
        let answer = match identity {
            Some(identity) => Ok(identity),
            None if password == "too often" => Err(Refused::TooManyTries),
            None => Err(Refused::WrongCredential),
        };
        Box::pin(std::future::ready(answer))
    }
}

/// Summaries that a test sets, and how often they were asked for.
#[derive(Default)]
struct FixedSummaries {
    all: Mutex<Vec<Summary>>,
    asked: Mutex<Vec<Vec<String>>>,
}

impl FixedSummaries {
    fn set(&self, topic: Topic, payload: &'static str) {
        let payload = Bytes::from_static(payload.as_bytes());
        self.all.lock().expect("sound").push(Summary { topic, payload });
    }
}

impl Summaries for FixedSummaries {
    fn build<'a>(&'a self, filters: &'a [String]) -> BoxFuture<'a, Vec<Summary>> {
        self.asked.lock().expect("sound").push(filters.to_vec());
        let mut all = self.all.lock().expect("sound").clone();
        all.retain(|summary| {
            filters
                .iter()
                .any(|filter| covers(filter, &summary.topic.to_string()))
        });
        Box::pin(std::future::ready(all))
    }
}

fn worker(id: WorkerId) -> Connect {
    Connect {
        client_id: id.to_string(),
        clean_session: true,
        username: Some(id.to_string()),
        password: Some(Bytes::from(format!("secret {id}"))),
        ..Connect::default()
    }
}

fn person(scope: &'static str) -> Connect {
    Connect {
        clean_session: true,
        username: Some("anybody".into()),
        password: Some(Bytes::from_static(scope.as_bytes())),
        ..Connect::default()
    }
}

fn will(topic: &str) -> Will {
    Will {
        topic: topic.into(),
        payload: Bytes::from_static(b"last words"),
    }
}

fn id(number: u16) -> PacketId {
    PacketId::new(number).expect("not 0")
}

fn publish(topic: &str, payload: impl Into<Bytes>, delivery: Delivery) -> Packet {
    Packet::Publish(Publish {
        topic: topic.into(),
        payload: payload.into(),
        delivery,
        retain: false,
        dup: false,
    })
}

/// A client that says exactly what the test wants.
struct Client(Wire<TcpStream>);

impl Client {
    async fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("connects");
        stream.set_nodelay(true).expect("TCP_NODELAY");
        Self(Wire::new(stream))
    }

    async fn say(&mut self, packet: Packet) {
        self.0.send(&packet).await.expect("sends");
    }

    async fn hear(&mut self) -> Packet {
        soon(self.0.receive(1 << 20)).await.expect("a packet")
    }

    async fn message(&mut self) -> Publish {
        match self.hear().await {
            Packet::Publish(publish) => publish,
            other => panic!("{other:?} instead of a message"),
        }
    }

    /// The connection is closed by the broker, without another word.
    async fn closed(&mut self) -> bool {
        matches!(
            soon(self.0.receive(1 << 20)).await,
            Err(WireError::Closed | WireError::Io(_))
        )
    }

    /// Everything that was said before has been handled, and nothing was delivered meanwhile.
    async fn nothing_more(&mut self) {
        self.say(Packet::PingReq).await;
        assert_eq!(self.hear().await, Packet::PingResp);
    }

    async fn subscribe(&mut self, filters: &[(&str, Qos)]) -> Vec<Option<Qos>> {
        let filters = filters
            .iter()
            .map(|(filter, qos)| ((*filter).to_owned(), *qos))
            .collect();
        self.say(Packet::Subscribe { id: id(7), filters }).await;
        match self.hear().await {
            Packet::SubAck { id, granted } if id.get() == 7 => granted,
            other => panic!("{other:?} instead of SUBACK"),
        }
    }

    async fn unsubscribe(&mut self, filter: &str) {
        let filters = vec![filter.to_owned()];
        self.say(Packet::Unsubscribe { id: id(8), filters }).await;
        assert_eq!(self.hear().await, Packet::UnsubAck(id(8)));
    }
}
