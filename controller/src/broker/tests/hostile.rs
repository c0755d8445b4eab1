//! Any bytes, at any time: the broker stays usable and its watchdog content.

use rand::{Rng, RngExt, SeedableRng, rngs::StdRng};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::Instant,
};

use super::{
    workers::{bye, packed},
    *,
};

/// The worker whose credential is used.
fn attacker() -> WorkerId {
    WorkerId::from_uuid(uuid::Uuid::from_u128(20_261_117))
}

/// Valid packets to be spoilt.
fn seeds() -> Vec<bytes::BytesMut> {
    let filters = vec![("agentd/#".to_owned(), Qos::One), ("#".to_owned(), Qos::Two)];
    let names = vec!["agentd/#".to_owned()];
    let (out, packed) = (Topic::WorkerOut(attacker()).to_string(), packed(&bye()));
    [
        Packet::Connect(Box::new(Connect {
            will: Some(will("agentd/command")),
            ..person("run")
        })),
        publish("agentd/command", "{}", Delivery::One(id(3))),
        publish("homeassistant/status", "online", Delivery::Two(id(4))),
        publish(&out, packed.clone(), Delivery::One(id(7))),
        publish(&out.replace("/out", "/log"), packed, Delivery::Zero),
        Packet::Subscribe { id: id(5), filters },
        Packet::Unsubscribe {
            id: id(6),
            filters: names,
        },
        Packet::PubAck(id(1)),
        Packet::PubRel(id(4)),
        Packet::PingReq,
        Packet::Disconnect,
    ]
    .iter()
    .map(|packet| {
        let mut out = bytes::BytesMut::new();
        packet::encode(packet, &mut out);
        out
    })
    .collect()
}

/// The first packets of a person and of a worker.
fn logins() -> [bytes::BytesMut; 2] {
    let person = Connect {
        will: Some(will("agentd/command")),
        ..person("run")
    };
    [person, worker(attacker())].map(|connect| {
        let mut out = bytes::BytesMut::new();
        packet::encode(&Packet::Connect(Box::new(connect)), &mut out);
        out
    })
}

/// Random bytes, or a few packets with some of their bytes changed, cut or doubled.
fn spoilt(random: &mut StdRng, seeds: &[bytes::BytesMut]) -> Vec<u8> {
    if random.random_bool(0.2) {
        let mut bytes = vec![0; random.random_range(1..200)];
        random.fill_bytes(&mut bytes);
        return bytes;
    }
    let mut bytes = Vec::new();
    for _ in 0..random.random_range(1..5) {
        bytes.extend_from_slice(&seeds[random.random_range(0..seeds.len())]);
    }
    for _ in 0..random.random_range(0..4) {
        let at = random.random_range(0..bytes.len());
        match random.random_range(0..3) {
            0 => bytes[at] = random.random(),
            1 => bytes.truncate(at + 1),
            _ => bytes.insert(at, random.random()),
        }
    }
    bytes
}

async fn attack(address: SocketAddr, bytes: &[u8]) {
    let mut socket = TcpStream::connect(address).await.expect("connects");
    // The broker may close at the first bad byte.
    let _ = socket.write_all(bytes).await;
    let _ = socket.shutdown().await;
    let mut answer = Vec::new();
    let _ = soon(socket.read_to_end(&mut answer)).await;
}

/// How long the broker is attacked: `AGENTD_FUZZ` seconds, else so many connections.
fn enough(begun: Instant, connections: u64) -> bool {
    match std::env::var("AGENTD_FUZZ").map(|text| text.parse().expect("AGENTD_FUZZ in seconds")) {
        Ok(seconds) => begun.elapsed() >= Duration::from_secs(seconds),
        Err(_) => connections >= 4000,
    }
}

/// A seed that is said, so that a failure can be had again.
fn seed() -> u64 {
    let given = std::env::var("AGENTD_SEED").ok();
    given.map_or(20_261_117, |text| text.parse().expect("AGENTD_SEED is a number"))
}

/// Resident memory of this process, in MiB.
fn memory_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kib.expect("a size") / 1024
}

/// Whether a reader hears what is published, within what is far too long for a broker that works.
async fn is_alive(rig: &Rig, bystander: &mut Client) {
    let publisher = rig.broker.publisher();
    let payload = Bytes::from_static(b"still here");
    publisher
        .publish(&Topic::Events, payload, false)
        .await
        .expect("lives");
    assert_eq!(bystander.message().await.payload, "still here");
}

#[tokio::test]
async fn no_bytes_harm_the_broker() {
    let mut rig = Rig::with(BrokerConfig {
        probe_every: Duration::from_millis(500),
        ..BrokerConfig::default()
    })
    .await;
    let address = rig.broker.local_addr();
    let mut bystander = rig.enter(person("read")).await;
    bystander.subscribe(&[("agentd/events", Qos::Zero)]).await;
    let (seeds, seed) = (seeds(), seed());
    let logins = logins();
    let mut random = StdRng::seed_from_u64(seed);
    let (begun, mut connections, mut settled) = (Instant::now(), 0, 0);
    while !enough(begun, connections) {
        let mut bytes = spoilt(&mut random, &seeds);
        // a third before any login, the others after that of a person or a worker
        if let Some(login) = logins.get(connections as usize % 3) {
            bytes.splice(0..0, login.iter().copied());
        }
        attack(address, &bytes).await;
        while rig.commands.try_recv().is_ok() || rig.events.try_recv().is_ok() || rig.logs.try_recv().is_ok()
        {
        }
        connections += 1;
        if connections % 200 == 0 {
            is_alive(&rig, &mut bystander).await;
        }
        if connections == 2000 {
            settled = memory_mib();
        }
    }
    is_alive(&rig, &mut bystander).await;
    let mut worker = rig.worker(WorkerId::new()).await;
    worker.nothing_more().await;
    let (stats, memory) = (rig.stats(), memory_mib());
    eprintln!(
        "seed {seed}: {connections} connections in {:?}, {} with a login, {} ended for what they sent; {settled} MiB \
         after the first 2000, {memory} MiB at the end",
        begun.elapsed(),
        stats.logins,
        stats.protocol_errors
    );
    assert!(stats.protocol_errors > connections / 30, "{stats:?}");
    assert!(stats.logins > connections / 3, "{stats:?}");
    assert!(
        connections < 2000 || memory < settled + 32,
        "memory grows: {settled} MiB, then {memory} MiB"
    );
    let failure = timeout(Duration::from_millis(1200), rig.broker.failure());
    assert!(failure.await.is_err(), "two more probes came back");
    soon(rig.broker.stop()).await;
}

#[tokio::test]
async fn a_flood_is_slowed_down_and_not_dropped() {
    let mut rig = Rig::with(BrokerConfig {
        client_rate: 50.0,
        ..BrokerConfig::default()
    })
    .await;
    let mut client = rig.enter(person("run")).await;
    let started = Instant::now();
    for n in 1..=100 {
        client
            .say(publish("agentd/command", "{}", Delivery::One(id(n))))
            .await;
        rig.command().await;
    }
    for n in 1..=100 {
        assert_eq!(client.hear().await, Packet::PubAck(id(n)));
    }
    // Fifty are free, fifty more take a second.
    assert!(
        started.elapsed() >= Duration::from_millis(800),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test]
async fn a_reader_pays_nothing_for_its_acknowledgements() {
    let rig = Rig::with(BrokerConfig {
        client_rate: 3.0,
        ..BrokerConfig::default()
    })
    .await;
    let mut reader = rig.enter(person("read")).await;
    reader.subscribe(&[("agentd/events", Qos::One)]).await;
    let publisher = rig.broker.publisher();
    // At three a second the window alone would take half a minute to open again, twice.
    for _ in 0..300 {
        let payload = Bytes::from_static(b"x");
        publisher
            .publish(&Topic::Events, payload, false)
            .await
            .expect("lives");
        let Delivery::One(id) = reader.message().await.delivery else {
            panic!("not at QoS 1");
        };
        reader.say(Packet::PubAck(id)).await;
    }
}

#[tokio::test]
async fn an_engine_that_is_behind_holds_its_worker_back_and_can_still_kick_it() {
    let mut rig = Rig::start().await;
    let worker_id = WorkerId::new();
    let mut worker = rig.worker(worker_id).await;
    let out = Topic::WorkerOut(worker_id).to_string();
    let packed = packed(&bye());
    // One more than the engine's channel holds, beside the worker's login.
    for n in 1..=1000 {
        worker
            .say(publish(&out, packed.clone(), Delivery::One(id(n))))
            .await;
    }
    for n in 1..=999 {
        assert_eq!(worker.hear().await, Packet::PubAck(id(n)));
    }
    let mut reader = rig.enter(person("read")).await;
    reader.nothing_more().await;
    assert!(rig.broker.control().kick_worker(worker_id));
    let mut ends = 0;
    while ends == 0 {
        if let BrokerEvent::WorkerDisconnected { end, .. } = rig.event().await {
            assert_eq!(end, ConnectionEnd::Kicked);
            ends += 1;
        }
    }
    assert!(worker.closed().await);
}

#[tokio::test]
async fn the_watchdog_barks_when_nobody_answers() {
    let rig = Rig::with(BrokerConfig {
        probe_every: Duration::from_millis(100),
        ..BrokerConfig::default()
    })
    .await;
    // A listener that accepts, and says nothing.
    let mute = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .expect("binds");
    let address = mute.local_addr().expect("bound");
    let stop = tokio_util::sync::CancellationToken::new();
    let (echo, asked) = Echo::new();
    let answered = watchdog::run(Arc::clone(&rig.broker.shared), address, asked, stop);
    let (answered, came_back) = tokio::join!(soon(answered), soon(echo.comes_back()));
    assert!(!answered);
    assert!(!came_back, "silence is no answer");
}

#[tokio::test]
async fn an_echo_comes_back_at_once() {
    let rig = Rig::with(BrokerConfig {
        // its own probes have no part in this
        probe_every: Duration::from_secs(3600),
        ..BrokerConfig::default()
    })
    .await;
    for _ in 0..3 {
        assert!(soon(rig.broker.echo().comes_back()).await);
    }
}
