//! What connected workers cost a controller, and how fast they come back.
//!
//! The many workers are the product's own links, all in this process: each with a
//! credential of its own, a connection of its own and the real handshake.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use protocol::{
    codec::{self, Envelope},
    http::{
        join::{JoinToken, JoinWorker, WorkerCredential},
        workers::JoinTokenCreated,
    },
    id::{BootId, JournalId, MessageId, WorkerId},
    label::Labels,
    message::{FromWorker, Hello, PROTOCOL_VERSION, Session, ToWorker},
    topic::Topic,
    worker::Load,
};
use rumqttc::QoS;
use tokio::{runtime::Runtime, sync::mpsc};
use tokio_util::sync::CancellationToken;
use worker::{
    access::Access,
    link::{Address, Link, LinkEnds},
};

use crate::{
    figures::{Figure, Goal, Report},
    house::{House, Process},
};

/// So many are connected at a time.
const MANY: usize = 1000;
/// So many come back at the same moment.
const RETURNING: usize = 100;
/// So many are processes whose writing is watched.
const PROCESSES: usize = 10;
/// How long the processor time of doing nothing is watched.
const WATCHED: Duration = Duration::from_secs(30);
/// How long the bytes are watched that are written meanwhile.
const WRITING_WATCHED: Duration = Duration::from_secs(60);
/// How long all handshakes may take.
const PATIENCE: Duration = Duration::from_secs(120);
const MIB: f64 = 1024.0 * 1024.0;
const DAY: f64 = 86_400.0;

/// All of it.
pub fn measure(runtime: &Runtime, report: &mut Report) -> anyhow::Result<()> {
    report.group("many workers");
    many(runtime, report)?;
    bytes_written(report)
}

fn many(runtime: &Runtime, report: &mut Report) -> anyhow::Result<()> {
    let house = House::open()?;
    let empty = house.controller.resident()?;
    let mut credentials = vec![];
    for number in 0..MANY {
        credentials.push(join(&house, &format!("w{number}"))?);
    }
    let mut fleet = Fleet::new(runtime, credentials);
    let begun = Instant::now();
    fleet.connect(MANY)?;
    let took = begun.elapsed();
    report.add(Figure::new(
        "1000 workers at once until all are synced",
        took.as_secs_f64() * 1e3,
        "ms",
    ));
    // what only the handshakes needed is over by then
    thread::sleep(Duration::from_secs(2));
    let before = house.controller.processor()?;
    thread::sleep(WATCHED);
    let used = house.controller.processor()?.saturating_sub(before);
    let share = used.as_secs_f64() / WATCHED.as_secs_f64() * 100.0;
    let resident = house.controller.resident()?;
    report.add(
        Figure::new(
            "processor of agentd, 1000 idle workers, 30 s",
            share,
            "% of a core",
        )
        .goal(Goal::AtMost(3.0)),
    );
    report
        .add(Figure::new("RSS of agentd, 1000 idle workers", resident / MIB, "MiB").goal(Goal::AtMost(90.0)));
    let each = (resident - empty) / 1000.0 / MANY as f64;
    report.add(Figure::new("RSS of agentd, a connected worker", each, "kB").goal(Goal::AtMost(60.0)));

    fleet.disconnect(RETURNING);
    let begun = Instant::now();
    fleet.connect(RETURNING)?;
    let took = begun.elapsed();
    report.add(Figure::new(
        "100 of them come back at once, until all are synced",
        took.as_secs_f64() * 1e3,
        "ms",
    ));
    Ok(())
}

fn bytes_written(report: &mut Report) -> anyhow::Result<()> {
    let house = House::open()?;
    let mut processes = vec![];
    for number in 0..PROCESSES {
        processes.push(house.start_worker(&format!("w{number}"))?);
    }
    let written = || -> anyhow::Result<f64> {
        let workers = processes.iter().map(Process::written);
        Ok(house.controller.written()? + workers.sum::<anyhow::Result<f64>>()?)
    };
    let before = (house.controller.written()?, written()?);
    thread::sleep(WRITING_WATCHED);
    let a_day = |bytes: f64| bytes / 1e6 * DAY / WRITING_WATCHED.as_secs_f64();
    let controller = a_day(house.controller.written()? - before.0);
    let all = a_day(written()? - before.1);
    report.add(Figure::new(
        "written by agentd, idle, 10 workers, by 60 s",
        controller,
        "MB a day",
    ));
    report.add(
        Figure::new("written by agentd and 10 idle workers, by 60 s", all, "MB a day")
            .goal(Goal::AtMost(50.0)),
    );
    Ok(())
}

/// What a worker gets that joins.
fn join(house: &House, name: &str) -> anyhow::Result<WorkerCredential> {
    let mut http = house.http()?;
    let (status, body) = http.call("POST", "/v1/workers/join-tokens", "{}")?;
    ensure!(status < 300, "no join token: {}", String::from_utf8_lossy(&body));
    let created: JoinTokenCreated = serde_json::from_slice(&body)?;
    let wish = JoinWorker {
        token: JoinToken::decode(&created.token)?.proof(),
        name: name.to_owned(),
        labels: Labels::default(),
        slots: 2,
        public_key: None,
    };
    let (status, body) = http.call("POST", "/v1/workers/join", &serde_json::to_string(&wish)?)?;
    ensure!(status < 300, "cannot join: {}", String::from_utf8_lossy(&body));
    Ok(serde_json::from_slice(&body)?)
}

/// Workers of this process: the first so many are connected.
struct Fleet<'a> {
    runtime: &'a Runtime,
    away: Vec<WorkerCredential>,
    here: Vec<(WorkerCredential, CancellationToken)>,
}

impl<'a> Fleet<'a> {
    fn new(runtime: &'a Runtime, away: Vec<WorkerCredential>) -> Self {
        Self {
            runtime,
            away,
            here: vec![],
        }
    }

    /// Connects so many more at once and waits until each has had its Sync.
    fn connect(&mut self, count: usize) -> anyhow::Result<()> {
        let (synced, mut came) = mpsc::channel(count);
        for credential in self.away.drain(..count) {
            let stop = CancellationToken::new();
            let task = stay(credential.clone(), stop.clone(), synced.clone());
            self.runtime.spawn(async move {
                // one that fails is missed below
                let _ = task.await;
            });
            self.here.push((credential, stop));
        }
        drop(synced);
        self.runtime.block_on(async {
            for number in 0..count {
                let next = tokio::time::timeout(PATIENCE, came.recv()).await;
                let worker = next.ok().flatten();
                worker.with_context(|| format!("only {number} of {count} workers were synced"))?;
            }
            Ok(())
        })
    }

    fn disconnect(&mut self, count: usize) {
        for (credential, stop) in self.here.drain(..count) {
            stop.cancel();
            self.away.push(credential);
        }
    }
}

impl Drop for Fleet<'_> {
    fn drop(&mut self) {
        self.disconnect(self.here.len());
    }
}

/// Keeps a worker connected until `stop`; says so after each handshake.
async fn stay(
    credential: WorkerCredential,
    stop: CancellationToken,
    synced: mpsc::Sender<WorkerId>,
) -> anyhow::Result<()> {
    let (host, port) = credential.mqtt_address.rsplit_once(':').context("no port")?;
    let journal = JournalId::new();
    let (link, mut ends) = Link::new(Address {
        host: host.to_owned(),
        port: port.parse()?,
        worker: credential.id,
        access: credential.secret.clone().map_or(Access::Nobody, Access::Secret),
        journal,
        start: 1,
    });
    let polling = tokio::spawn(link.run(stop));
    while ends.connection.changed().await.is_ok() {
        let connection = *ends.connection.borrow_and_update();
        if connection.up {
            let session = Session {
                journal,
                start: 1,
                connection: connection.number,
            };
            shake_hands(credential.id, session, &mut ends).await?;
            synced.send(credential.id).await?;
        }
    }
    polling.await?;
    Ok(())
}

async fn shake_hands(worker: WorkerId, session: Session, ends: &mut LinkEnds) -> anyhow::Result<()> {
    let (from, to) = (Topic::WorkerIn(worker), Topic::WorkerOut(worker));
    ends.client.subscribe(from.to_string(), QoS::AtLeastOnce).await?;
    let hello = codec::encode(&Envelope {
        v: PROTOCOL_VERSION,
        id: MessageId::new(),
        epoch: 0,
        session,
        message: FromWorker::Hello(Box::new(Hello {
            boot_id: BootId::new(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            protocol_min: PROTOCOL_VERSION,
            protocol_max: PROTOCOL_VERSION,
            labels: Labels::default(),
            slots: 2,
            models: vec![],
            load: Load::default(),
            running: vec![],
            unsent: vec![],
            highest_epoch: 0,
        })),
    })?;
    ends.client
        .publish(to.to_string(), QoS::AtLeastOnce, false, hello)
        .await?;
    loop {
        let said = ends.messages.recv().await.context("the link has ended")?;
        let said = codec::decode::<ToWorker>(&said)?;
        if matches!(said.message, ToWorker::Sync(_)) {
            ends.synced.set(said.epoch);
            return Ok(());
        }
    }
}
