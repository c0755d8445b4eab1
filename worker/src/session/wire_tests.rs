//! The session over a real socket, against a broker of a few lines that does
//! what a controller would do.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use bytes::BytesMut;
use protocol::{
    codec::{self, Envelope},
    id::{AttemptId, BootId, JobId, MessageId, WorkerId},
    job::{JobLink, StepKey},
    message::{
        Ack, AckVerdict, Assign, FromWorker, Hello, MAX_MESSAGE_BYTES, PROTOCOL_VERSION, Refused, StepResult,
        Sync, ToWorker,
    },
    spec::{Command, StepSpec, Work},
    step::Outcome,
    topic::Topic,
    worker::Load,
};
use rumqttc::{
    ConnAck, Connect, ConnectReturnCode, Packet, PubAck, Publish, QoS, SubAck, SubscribeReasonCode,
};
use service::{clock::SystemClock, tasks::Tasks};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
};
use tokio_util::sync::CancellationToken;

use super::{Identity, Introduction, Machine, Session, SessionParts, spawn};
use crate::{
    attempt::{Attempts, Workshop},
    journal::Journal,
    link::{Address, Link},
    outbox::Outbox,
    steps::StepOutput,
    tools::environment::Toolchains,
    upload::{BlobCache, Controller},
    workspace::{WorkspaceLimits, Workspaces},
};

const EPOCH: u64 = 7;
const LARGEST: usize = MAX_MESSAGE_BYTES + 1024;
/// Nothing here takes longer unless it is broken.
const PATIENCE: Duration = Duration::from_secs(20);

/// One connection, seen from the broker.
struct Peer {
    stream: TcpStream,
    buffer: BytesMut,
    worker: WorkerId,
    session: Option<protocol::message::Session>,
}

impl Peer {
    /// Takes a connection up to its first Hello.
    async fn accept(listener: &TcpListener, worker: WorkerId) -> (Self, Connect, Hello) {
        let (stream, _) = tokio::time::timeout(PATIENCE, listener.accept())
            .await
            .expect("connects")
            .expect("a connection");
        let buffer = BytesMut::new();
        let mut peer = Self {
            stream,
            buffer,
            worker,
            session: None,
        };
        let Packet::Connect(connect) = peer.packet().await else {
            panic!("no CONNECT");
        };
        peer.write(|out| ConnAck::new(ConnectReturnCode::Success, false).write(out))
            .await;
        let Packet::Subscribe(subscribe) = peer.packet().await else {
            panic!("no SUBSCRIBE");
        };
        assert_eq!(subscribe.filters[0].path, Topic::WorkerIn(worker).to_string());
        let granted = SubscribeReasonCode::Success(QoS::AtLeastOnce);
        peer.write(|out| SubAck::new(subscribe.pkid, vec![granted]).write(out))
            .await;
        let FromWorker::Hello(hello) = peer.hear().await else {
            panic!("no Hello");
        };
        (peer, connect, *hello)
    }

    async fn packet(&mut self) -> Packet {
        loop {
            match Packet::read(&mut self.buffer, LARGEST) {
                Ok(packet) => return packet,
                Err(rumqttc::mqttbytes::Error::InsufficientBytes(_)) => {}
                Err(error) => panic!("{error}"),
            }
            let read = tokio::time::timeout(PATIENCE, self.stream.read_buf(&mut self.buffer)).await;
            assert_ne!(
                read.expect("says something").expect("reads"),
                0,
                "the worker hung up"
            );
        }
    }

    async fn write(&mut self, write: impl FnOnce(&mut BytesMut) -> Result<usize, rumqttc::mqttbytes::Error>) {
        let mut out = BytesMut::new();
        write(&mut out).expect("encodes");
        self.stream.write_all(&out).await.expect("writes");
    }

    /// The next message of the worker, acknowledged as MQTT asks for it.
    async fn hear(&mut self) -> FromWorker {
        loop {
            let Packet::Publish(publish) = self.packet().await else {
                continue;
            };
            assert_eq!(publish.topic, Topic::WorkerOut(self.worker).to_string());
            self.write(|out| PubAck::new(publish.pkid).write(out)).await;
            let envelope = codec::decode::<FromWorker>(&publish.payload).expect("readable");
            self.session = Some(envelope.session);
            if !matches!(envelope.message, FromWorker::Renew(_)) {
                return envelope.message;
            }
        }
    }

    /// The next result; a machine that is slow says the Accept before it.
    async fn hear_result(&mut self) -> Box<StepResult> {
        loop {
            match self.hear().await {
                FromWorker::Result(result) => return result,
                FromWorker::Accept(_) => {}
                other => panic!("{other:?} where a Result was expected"),
            }
        }
    }

    async fn say(&mut self, message: impl serde::Serialize) {
        let payload = codec::encode(&Envelope {
            v: PROTOCOL_VERSION,
            id: MessageId::new(),
            epoch: EPOCH,
            session: self.session.expect("a session"),
            message,
        });
        let topic = Topic::WorkerIn(self.worker).to_string();
        let mut publish = Publish::new(topic, QoS::AtLeastOnce, payload.expect("encodes"));
        publish.pkid = 1;
        self.write(|out| publish.write(out)).await;
    }
}

fn assign(attempt: AttemptId) -> ToWorker {
    ToWorker::Assign(Box::new(Assign {
        job: JobLink {
            number: 42,
            id: JobId::new(),
        },
        step: StepKey::top("plan"),
        attempt,
        number: 1,
        spec: Some(StepSpec {
            title: "a job".to_owned(),
            work: Work::Run(Command::Argv(vec![])),
            with: serde_json::Map::new(),
            env: BTreeMap::new(),
            outputs: BTreeMap::new(),
            writes: false,
            workspace: None,
            sandbox: None,
            network: vec![],
            secrets: vec![],
            check_limit: protocol::duration::Millis(1000),
        }),
        secrets: vec![],
        timeout_ms: 60_000,
        lease_ms: 45_000,
        grace_ms: 120_000,
        cancel_grace_ms: 1_000,
        artifacts: vec![],
        checkpoint: None,
        traceparent: None,
    }))
}

/// A worker whose steps succeed at once.
struct Worker {
    id: WorkerId,
    stop: CancellationToken,
    tasks: Tasks,
    _folder: tempfile::TempDir,
}

impl Worker {
    fn start(port: u16) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path();
        for part in ["scratch", "spool", "blobs"] {
            std::fs::create_dir(root.join(part)).expect("made");
        }
        let (id, stop) = (WorkerId::new(), CancellationToken::new());
        let tasks = Tasks::new(stop.clone());
        let clock = SystemClock::shared();
        let (journal, opened, forgotten) =
            Journal::open(root.join("journal"), clock.clone(), &tasks).expect("opens");
        let (link, ends) = Link::new(Address {
            host: "127.0.0.1".to_owned(),
            port,
            worker: id,
            access: crate::access::Access::Secret("agw_secret".to_owned()),
            journal: opened.id,
            start: opened.start,
        });
        let (reports, reports_in) = mpsc::channel(16);
        let (tails, tails_in) = mpsc::channel(16);
        let controller =
            Controller::new("http://127.0.0.1:1", crate::access::Access::Nobody).expect("a client");
        let workspaces = Workspaces::new(
            root,
            WorkspaceLimits::default(),
            Toolchains::of_this_process(),
            Arc::new(crate::sandbox::Sandbox::none()),
        );
        let workshop = Workshop {
            runner: Arc::new(|_| Box::pin(async { StepOutput::ok() })),
            blobs: BlobCache::new(root.join("blobs"), controller.clone()),
            controller,
            workspaces: Arc::new(workspaces.expect("made")),
            providers: vec![],
            mask: crate::log::Mask::default(),
            scratch: root.join("scratch"),
            spools: root.join("spool"),
            clock,
            reports,
            tails,
            log_bytes: AtomicU64::new(1 << 20),
        };
        let identity = Identity {
            boot: BootId::new(),
            journal: opened.id,
            start: opened.start,
            slots: 2,
        };
        let machine = Machine::new(identity, opened.epoch, opened.held);
        let outbox = Outbox::new(ends.client.clone(), id, machine.session(), machine.epoch());
        let (_, introduction) = watch::channel(Introduction::default());
        let session = Session::new(SessionParts {
            machine,
            outbox,
            link: ends,
            journal,
            forgotten,
            attempts: Attempts::new(Arc::new(workshop), tasks.clone()),
            reports: reports_in,
            tails: tails_in,
            controller: "a test".to_owned(),
            introduction,
            load: Box::new(Load::default),
        });
        spawn(&tasks, link, session, &stop);
        Self {
            id,
            stop,
            tasks,
            _folder: folder,
        }
    }
}

async fn listen() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    (listener, port)
}

#[tokio::test]
async fn a_result_survives_a_lost_connection_until_it_is_acknowledged() {
    let (listener, port) = listen().await;
    let worker = Worker::start(port);
    let (mut peer, connect, hello) = Peer::accept(&listener, worker.id).await;
    assert_eq!(connect.client_id, worker.id.to_string());
    assert_eq!((connect.clean_session, connect.keep_alive), (true, 20));
    let login = connect.login.expect("a login");
    assert_eq!(
        (login.username, login.password),
        (worker.id.to_string(), "agw_secret".to_owned())
    );
    let will = connect.last_will.expect("a will");
    assert_eq!(
        (will.topic, will.retain),
        (Topic::WorkerOut(worker.id).to_string(), false)
    );
    assert_eq!((hello.slots, hello.running.len(), hello.unsent.len()), (2, 0, 0));

    peer.say(ToWorker::Sync(Box::default())).await;
    let attempt = AttemptId::new();
    peer.say(assign(attempt)).await;
    assert_eq!(peer.hear_result().await.outcome, Outcome::Ok);
    peer.say(assign(attempt)).await;
    assert_eq!(
        peer.hear_result().await.attempt,
        attempt,
        "answered from the journal"
    );
    let first = peer.session.expect("a session");
    drop(peer);

    let (mut peer, _, hello) = Peer::accept(&listener, worker.id).await;
    let second = peer.session.expect("a session");
    assert_eq!(
        (second.start, second.connection),
        (first.start, first.connection + 1)
    );
    assert_eq!(
        (hello.unsent, hello.highest_epoch),
        (vec![(attempt, Outcome::Ok)], EPOCH)
    );
    assert_eq!(peer.hear_result().await.attempt, attempt, "said again by itself");
    let ack = Ack {
        attempt,
        verdict: AckVerdict::Applied,
    };
    peer.say(ToWorker::Ack(ack)).await;
    let want = Sync {
        want_result: vec![attempt],
        ..Sync::default()
    };
    peer.say(ToWorker::Sync(Box::new(want))).await;
    assert_eq!(
        peer.hear_result().await.attempt,
        attempt,
        "kept after the Ack for a restored controller"
    );

    let (stop, tasks) = (worker.stop.clone(), worker.tasks.clone());
    stop.cancel();
    assert!(matches!(peer.hear().await, FromWorker::Bye(_)));
    assert!(matches!(peer.packet().await, Packet::Disconnect));
    assert_eq!(tasks.drain(PATIENCE).await, service::tasks::Drained::Clean);
    assert_eq!(tasks.failure(), None);
}

#[tokio::test]
async fn broken_bytes_and_unknown_kinds_are_dropped_and_the_worker_goes_on() {
    let (listener, port) = listen().await;
    let worker = Worker::start(port);
    let (mut peer, ..) = Peer::accept(&listener, worker.id).await;
    let topic = Topic::WorkerIn(worker.id).to_string();
    for payload in [&b"\xc1\xff\x00"[..], b"", &[0x93; 3000]] {
        let mut publish = Publish::new(&topic, QoS::AtLeastOnce, payload);
        publish.pkid = 9;
        peer.write(|out| publish.write(out)).await;
    }
    let attempt = AttemptId::new();
    peer.say(assign(attempt)).await;
    assert_eq!(peer.hear_result().await.attempt, attempt);
    worker.stop.cancel();
    worker.tasks.drain(PATIENCE).await;
}

/// What a controller says that knows no field but those without which no version can do, and one
/// that no version has.
#[derive(serde::Serialize)]
#[serde(tag = "kind", content = "body", rename_all = "snake_case")]
enum Lean {
    Sync {
        resume: Vec<AttemptId>,
        mood: &'static str,
    },
    Assign {
        job: JobLink,
        step: StepKey,
        attempt: AttemptId,
        number: u32,
        spec: LeanSpec,
        timeout_ms: u64,
        lease_ms: u64,
        grace_ms: u64,
        cancel_grace_ms: u64,
        mood: &'static str,
    },
    Ack {
        attempt: AttemptId,
        verdict: AckVerdict,
        mood: &'static str,
    },
}

#[derive(serde::Serialize)]
struct LeanSpec {
    title: &'static str,
    work: Work,
    mood: &'static str,
}

fn lean_assign(attempt: AttemptId) -> Lean {
    let mood = "good";
    Lean::Assign {
        job: JobLink {
            number: 7,
            id: JobId::new(),
        },
        step: StepKey::top("run"),
        attempt,
        number: 1,
        spec: LeanSpec {
            title: "a job",
            work: Work::Run(Command::Argv(vec![])),
            mood,
        },
        timeout_ms: 60_000,
        lease_ms: 45_000,
        grace_ms: 120_000,
        cancel_grace_ms: 1_000,
        mood,
    }
}

#[tokio::test]
async fn a_controller_with_fewer_fields_and_others_gets_a_whole_job() {
    let (listener, port) = listen().await;
    let worker = Worker::start(port);
    let (mut peer, _, hello) = Peer::accept(&listener, worker.id).await;
    assert!((hello.protocol_min..=hello.protocol_max).contains(&PROTOCOL_VERSION));
    let mood = "good";
    peer.say(Lean::Sync { resume: vec![], mood }).await;
    let (first, second) = (AttemptId::new(), AttemptId::new());
    for attempt in [first, second] {
        peer.say(lean_assign(attempt)).await;
        let result = peer.hear_result().await;
        assert_eq!((result.attempt, result.outcome), (attempt, Outcome::Ok));
        let verdict = AckVerdict::Applied;
        let ack = Lean::Ack {
            attempt,
            verdict,
            mood,
        };
        if attempt == first {
            peer.say(ack).await;
        }
    }
    drop(peer);
    let (.., hello) = Peer::accept(&listener, worker.id).await;
    assert_eq!(
        hello.unsent,
        vec![(second, Outcome::Ok)],
        "the Ack was understood"
    );
    worker.stop.cancel();
    worker.tasks.drain(PATIENCE).await;
}

#[tokio::test]
async fn a_refused_hello_is_said_again_until_a_sync_comes() {
    let (listener, port) = listen().await;
    let worker = Worker::start(port);
    let (mut peer, ..) = Peer::accept(&listener, worker.id).await;
    let why = "agent-worker 0.1.0 is too old".to_owned();
    peer.say(ToWorker::Refused(Refused { why })).await;
    assert!(matches!(peer.hear().await, FromWorker::Hello(_)), "it asks again");
    peer.say(ToWorker::Sync(Box::default())).await;
    let attempt = AttemptId::new();
    peer.say(assign(attempt)).await;
    assert_eq!(peer.hear_result().await.attempt, attempt);
    worker.stop.cancel();
    worker.tasks.drain(PATIENCE).await;
}
