//! Any bytes, at any time: the broker stays usable and its watchdog content.

use rand::{Rng, RngExt, SeedableRng, rngs::StdRng};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

/// Valid packets to be spoilt.
fn seeds() -> Vec<bytes::BytesMut> {
    let filters = vec![("agentd/#".to_owned(), Qos::One), ("#".to_owned(), Qos::Two)];
    let names = vec!["agentd/#".to_owned()];
    [
        Packet::Connect(Box::new(Connect {
            will: Some(will("agentd/command")),
            ..person("run")
        })),
        publish("agentd/command", "{}", Delivery::One(id(3))),
        publish("homeassistant/status", "online", Delivery::Two(id(4))),
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
    let seeds = seeds();
    let mut random = StdRng::seed_from_u64(20_261_117);
    for round in 0..3000 {
        let mut bytes = spoilt(&mut random, &seeds);
        if round % 3 != 0 {
            // Most of them after a login.
            bytes.splice(0..0, seeds[0].iter().copied());
        }
        attack(address, &bytes).await;
        while rig.commands.try_recv().is_ok() {}
    }
    let publisher = rig.broker.publisher();
    let payload = Bytes::from_static(b"still here");
    publisher
        .publish(&Topic::Events, payload, false)
        .await
        .expect("lives");
    assert_eq!(bystander.message().await.payload, "still here");
    let mut worker = rig.worker(WorkerId::new()).await;
    worker.nothing_more().await;
    assert!(rig.stats().protocol_errors > 100, "{:?}", rig.stats());
    assert!(rig.stats().logins > 1000, "{:?}", rig.stats());
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
    let started = tokio::time::Instant::now();
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
    let bye = protocol::codec::Envelope {
        v: protocol::message::PROTOCOL_VERSION,
        id: protocol::id::MessageId::new(),
        epoch: 0,
        session: protocol::message::Session {
            journal: protocol::id::JournalId::new(),
            start: 1,
            connection: 1,
        },
        message: protocol::message::FromWorker::Bye(protocol::message::Bye { why: "x".into() }),
    };
    let packed = Bytes::from(protocol::codec::encode(&bye).expect("encodes"));
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
    let answered = watchdog::run(Arc::clone(&rig.broker.shared), address, stop);
    assert!(!soon(answered).await);
}
