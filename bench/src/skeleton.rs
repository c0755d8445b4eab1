//! The least program of agentd's shape: HTTP → durable row → MQTT → worker → durable
//! row. It keeps no promise of agentd's, and so shows what the parts themselves cost.
//!
//! The broker is our own front door, so that the floor is measured with nothing but
//! this repository.

use std::{
    path::Path,
    sync::{Arc, mpsc as blocking},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use controller::{
    authorize::Identity,
    broker::{
        Authenticate, Broker, BrokerConfig, BrokerEvent, NoSummaries, Outlets, Presented, Refused, WorkerLink,
    },
    denials::Denials,
    transport::Peer,
};
use futures::future::BoxFuture;
use protocol::{
    codec::{self, Envelope},
    id::{AttemptId, JournalId, MessageId, WorkerId},
    message::{FromWorker, PROTOCOL_VERSION, Probe, Renew, Session, ToWorker},
    topic::Topic,
    worker::Load,
};
use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, NetworkOptions, Packet, QoS};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    runtime::Runtime,
    sync::{Semaphore, mpsc, oneshot},
};
use uuid::Uuid;

use crate::{figures::Samples, floor::open_table};

/// Slots of the worker, as in the jobs that are measured.
const SLOTS: usize = 4;
/// Rows in one transaction, at most.
const GROUP: usize = 512;
const QUEUE: usize = 4096;
const PATIENCE: Duration = Duration::from_secs(30);

/// Lets everybody in as the worker that it says it is.
struct OpenDoor;

impl Authenticate for OpenDoor {
    fn authenticate<'a>(
        &'a self,
        presented: Presented<'a>,
        _: &'a Peer,
    ) -> BoxFuture<'a, Result<Identity, Refused>> {
        Box::pin(async move {
            let Presented::Password { username, .. } = presented else {
                return Err(Refused::WrongCredential);
            };
            let id = username.parse().map_err(|_| Refused::WrongCredential)?;
            Ok(Identity::Worker(id))
        })
    }
}

/// The broker, with one worker that has subscribed.
struct Door {
    broker: Broker,
    heard: mpsc::Receiver<BrokerEvent>,
    worker: WorkerId,
    client: AsyncClient,
    events: EventLoop,
}

impl Door {
    async fn open() -> anyhow::Result<Self> {
        let (events, heard) = mpsc::channel(QUEUE);
        let (commands, _) = mpsc::channel(1);
        let (logs, _) = mpsc::channel(1);
        let config = BrokerConfig {
            listen: ([127, 0, 0, 1], 0).into(),
            worker_rate: f64::from(u32::MAX),
            ..BrokerConfig::default()
        };
        let outlets = Outlets {
            events,
            commands,
            logs,
            denials: Denials::default(),
        };
        let broker = Broker::start(config, Arc::new(OpenDoor), Arc::new(NoSummaries), outlets).await?;
        let worker = WorkerId::new();
        let address = broker.local_addr();
        let mut options = MqttOptions::new(worker.to_string(), address.ip().to_string(), address.port());
        options
            .set_credentials(worker.to_string(), "x")
            .set_inflight(100)
            .set_max_packet_size(1 << 18, 1 << 18);
        let (client, mut events) = AsyncClient::new(options, QUEUE);
        let mut network = NetworkOptions::new();
        network.set_tcp_nodelay(true);
        events.set_network_options(network);
        client
            .subscribe(Topic::WorkerIn(worker).to_string(), QoS::AtLeastOnce)
            .await?;
        loop {
            if let Event::Incoming(Packet::SubAck(_)) = events.poll().await? {
                break;
            }
        }
        Ok(Self {
            broker,
            heard,
            worker,
            client,
            events,
        })
    }
}

fn envelope<M>(message: M) -> Envelope<M> {
    Envelope {
        v: PROTOCOL_VERSION,
        id: MessageId::new(),
        epoch: 1,
        session: Session {
            journal: JournalId::from_uuid(Uuid::nil()),
            start: 1,
            connection: 1,
        },
        message,
    }
}

fn offer(row: u128) -> Envelope<ToWorker> {
    envelope(ToWorker::Probe(Probe {
        attempt: AttemptId::from_uuid(Uuid::from_u128(row)),
    }))
}

fn finished(attempt: AttemptId) -> anyhow::Result<Vec<u8>> {
    Ok(codec::encode(&envelope(FromWorker::Renew(Renew {
        attempts: vec![attempt],
        load: Load::default(),
    })))?)
}

fn row_of(event: &BrokerEvent) -> Option<u128> {
    let BrokerEvent::Message { envelope, .. } = event else {
        return None;
    };
    let FromWorker::Renew(renew) = &envelope.message else {
        return None;
    };
    Some(renew.attempts.first()?.uuid().as_u128())
}

/// From a message to a worker to its answer, at QoS 1 through the front door.
pub fn request_response(runtime: &Runtime) -> anyhow::Result<Samples> {
    runtime.block_on(async {
        let mut door = Door::open().await?;
        let link = door.broker.link();
        let echo = tokio::spawn(answer(door.client.clone(), door.events, door.worker, None));
        let mut durations = vec![];
        for number in 0..2000 {
            let begun = Instant::now();
            link.send(door.worker, &offer(number))?;
            let wait = async {
                while let Some(event) = door.heard.recv().await {
                    if row_of(&event) == Some(number) {
                        break;
                    }
                }
            };
            tokio::time::timeout(PATIENCE, wait).await.context("no answer")?;
            durations.push(begun.elapsed());
        }
        echo.abort();
        door.broker.stop().await;
        Ok(Samples::new(durations))
    })
}

/// What the skeleton's worker does for a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Nothing.
    Nothing,
    /// Starts `/bin/true` and waits for it.
    True,
}

/// The worker: answers each message, after the work if there is some.
async fn answer(
    client: AsyncClient,
    mut events: EventLoop,
    worker: WorkerId,
    work: Option<(Work, mpsc::Sender<(u128, Instant)>)>,
) -> anyhow::Result<()> {
    let slots = Arc::new(Semaphore::new(SLOTS));
    let topic = Topic::WorkerOut(worker).to_string();
    loop {
        let Event::Incoming(Packet::Publish(publish)) = events.poll().await? else {
            continue;
        };
        let Ok(said) = codec::decode::<ToWorker>(&publish.payload) else {
            continue;
        };
        let ToWorker::Probe(probe) = said.message else {
            continue;
        };
        let (client, topic, slots, work) = (client.clone(), topic.clone(), slots.clone(), work.clone());
        tokio::spawn(async move {
            let _slot = slots.acquire_owned().await?;
            if let Some((work, started)) = work {
                let row = probe.attempt.uuid().as_u128();
                started.send((row, Instant::now())).await?;
                if work == Work::True {
                    tokio::process::Command::new("/bin/true").status().await?;
                }
            }
            client
                .publish(topic, QoS::AtLeastOnce, false, finished(probe.attempt)?)
                .await?;
            anyhow::Ok(())
        });
    }
}

enum Write {
    Insert(oneshot::Sender<u128>),
    Finish(u128),
}

/// A running skeleton.
pub struct Skeleton {
    broker: Broker,
    address: std::net::SocketAddr,
    tasks: Vec<tokio::task::JoinHandle<()>>,
    /// When each row reached its worker.
    pub started: mpsc::Receiver<(u128, Instant)>,
    /// Rows whose end is on disk.
    pub finished: mpsc::Receiver<u128>,
}

impl Skeleton {
    /// Starts one with its table in `folder`.
    pub async fn start(folder: &Path, work: Work) -> anyhow::Result<Self> {
        let mut door = Door::open().await?;
        let (writes, inbox) = blocking::sync_channel(QUEUE);
        let (finished_sender, finished) = mpsc::channel(1 << 16);
        let (started_sender, started) = mpsc::channel(1 << 16);
        let (link, worker, table) = (door.broker.link(), door.worker, open_table(folder)?);
        std::thread::spawn(move || write(&table, &inbox, &link, worker, &finished_sender));
        let worker_task = tokio::spawn(async move {
            // it ends with the broker
            let _ = answer(door.client, door.events, worker, Some((work, started_sender))).await;
        });
        let results = writes.clone();
        let results_task = tokio::spawn(async move {
            while let Some(event) = door.heard.recv().await {
                if let Some(row) = row_of(&event) {
                    let _ = results.send(Write::Finish(row));
                }
            }
        });
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let http_task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, writes.clone()));
            }
        });
        Ok(Self {
            broker: door.broker,
            address,
            tasks: vec![worker_task, results_task, http_task],
            started,
            finished,
        })
    }

    /// `host:port` of its HTTP.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Ends it.
    pub async fn stop(self) {
        for task in self.tasks {
            task.abort();
        }
        self.broker.stop().await;
    }
}

/// One transaction for everything that waits, as agentd does it.
fn write(
    table: &rusqlite::Connection,
    inbox: &blocking::Receiver<Write>,
    link: &WorkerLink,
    worker: WorkerId,
    finished: &mpsc::Sender<u128>,
) {
    while let Ok(first) = inbox.recv() {
        let mut answers = vec![];
        let mut ends = vec![];
        let group = std::iter::once(first).chain(inbox.try_iter().take(GROUP - 1));
        table.execute_batch("BEGIN IMMEDIATE").expect("a transaction");
        for write in group {
            match write {
                Write::Insert(answer) => {
                    let mut insert = table
                        .prepare_cached("INSERT INTO jobs(state, payload) VALUES ('queued', ?1)")
                        .expect("the table exists");
                    let row = insert.insert([[42_u8; 200]]).expect("a row");
                    answers.push((answer, u128::from(row.unsigned_abs())));
                }
                Write::Finish(row) => {
                    let mut update = table
                        .prepare_cached("UPDATE jobs SET state = 'done' WHERE id = ?1")
                        .expect("the table exists");
                    update
                        .execute([i64::try_from(row).unwrap_or_default()])
                        .expect("a row");
                    ends.push(row);
                }
            }
        }
        table.execute_batch("COMMIT").expect("a commit");
        for (answer, row) in answers {
            // its queue has a bound: the worker takes what is there first
            while link.send(worker, &offer(row)).is_err() {
                std::thread::sleep(Duration::from_micros(100));
            }
            let _ = answer.send(row);
        }
        for row in ends {
            let _ = finished.blocking_send(row);
        }
    }
}

/// Enough HTTP for a client that sends one small request at a time.
async fn serve(mut stream: TcpStream, writes: blocking::SyncSender<Write>) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let mut bytes = vec![0; 8192];
    loop {
        let mut length = 0;
        while !is_whole(&bytes[..length]) {
            match stream.read(&mut bytes[length..]).await? {
                0 => return Ok(()),
                more => length += more,
            }
        }
        let (answer, row) = oneshot::channel();
        writes.send(Write::Insert(answer))?;
        let body = format!("{{\"number\":{}}}", row.await?);
        let head = format!("HTTP/1.1 201 Created\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.write_all((head + &body).as_bytes()).await?;
    }
}

fn is_whole(request: &[u8]) -> bool {
    let Some(end) = request.windows(4).position(|window| window == b"\r\n\r\n") else {
        return false;
    };
    let head = String::from_utf8_lossy(&request[..end]).to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length: usize = length.and_then(|value| value.trim().parse().ok()).unwrap_or(0);
    request.len() >= end + 4 + length
}
