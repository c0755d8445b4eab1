//! Workers: both ways past the router, presence, kick.

use protocol::{
    codec::{Envelope, encode},
    id::{AttemptId, JournalId, MessageId},
    message::{Bye, Drain, FromWorker, LogTail, PROTOCOL_VERSION, Renew, Session, ToWorker},
};

use super::*;

fn envelope<M>(message: M) -> Envelope<M> {
    Envelope {
        v: PROTOCOL_VERSION,
        id: MessageId::new(),
        epoch: 3,
        session: Session {
            journal: JournalId::new(),
            start: 1,
            connection: 1,
        },
        message,
    }
}

fn drain() -> Envelope<ToWorker> {
    envelope(ToWorker::Drain(Drain { draining: true }))
}

pub(super) fn bye() -> Envelope<FromWorker> {
    envelope(FromWorker::Bye(Bye { why: "test".into() }))
}

pub(super) fn packed(envelope: &Envelope<FromWorker>) -> Bytes {
    encode(envelope).expect("encodes").into()
}

#[tokio::test]
async fn messages_go_both_ways_and_presence_is_told() {
    let mut rig = Rig::start().await;
    let id = WorkerId::new();
    let link = rig.broker.link();
    assert!(matches!(
        link.send(id, &drain()),
        Err(LinkError::NotSent(NotSent::Offline))
    ));
    let mut worker = rig.worker(id).await;
    let BrokerEvent::WorkerConnected {
        worker: who,
        connection,
    } = rig.event().await
    else {
        panic!("presence comes first");
    };
    assert_eq!(who, id);
    assert!(link.is_connected(id));

    let out = Topic::WorkerOut(id).to_string();
    let said = envelope(FromWorker::Renew(Renew {
        attempts: vec![AttemptId::new()],
        ..Renew::default()
    }));
    worker
        .say(publish(&out, packed(&said), Delivery::One(super::id(4))))
        .await;
    assert_eq!(worker.hear().await, Packet::PubAck(super::id(4)));
    let message = BrokerEvent::Message {
        worker: id,
        connection,
        envelope: Box::new(said),
    };
    assert_eq!(rig.event().await, message);

    for n in 1..=3 {
        let sent = drain();
        link.send(id, &sent).expect("online");
        let heard = worker.message().await;
        assert_eq!(heard.topic, Topic::WorkerIn(id).to_string());
        assert_eq!(heard.delivery, Delivery::One(super::id(n)));
        assert!(!heard.retain);
        let heard: Envelope<ToWorker> = protocol::codec::decode(&heard.payload).expect("decodes");
        assert_eq!(heard, sent);
    }

    worker
        .say(publish(&out, "no MessagePack", Delivery::One(super::id(5))))
        .await;
    assert_eq!(worker.hear().await, Packet::PubAck(super::id(5)));
    assert_eq!(rig.stats().unreadable_messages, 1);

    drop(worker);
    let gone = BrokerEvent::WorkerDisconnected {
        worker: id,
        connection,
        end: ConnectionEnd::ClosedByHost,
    };
    assert_eq!(rig.event().await, gone);
    assert!(ConnectionEnd::ClosedByHost.by_host() && !ConnectionEnd::Silent.by_host());
    assert!(matches!(
        link.send(id, &drain()),
        Err(LinkError::NotSent(NotSent::Offline))
    ));
}

#[tokio::test]
async fn a_second_login_replaces_the_first_and_is_told_after_its_end() {
    let mut rig = Rig::start().await;
    let id = WorkerId::new();
    let with_will = || Connect {
        will: Some(Will {
            topic: Topic::WorkerOut(id).to_string(),
            payload: packed(&bye()),
        }),
        ..worker(id)
    };
    let mut first = rig.enter(with_will()).await;
    let second = rig.enter(with_will()).await;
    assert!(first.closed().await);
    drop(second);
    let mut told = Vec::new();
    for _ in 0..5 {
        told.push(match rig.event().await {
            BrokerEvent::WorkerConnected { connection, .. } => format!("{connection} in"),
            BrokerEvent::WorkerDisconnected { connection, end, .. } => format!("{connection} out {end:?}"),
            BrokerEvent::Message { connection, .. } => format!("{connection} will"),
        });
    }
    let (a, b) = (told[0].replace(" in", ""), told[2].replace(" in", ""));
    let expected = [
        format!("{a} in"),
        format!("{a} out Replaced"),
        format!("{b} in"),
        format!("{b} will"),
        format!("{b} out ClosedByHost"),
    ];
    assert_eq!(told, expected);
}

#[tokio::test]
async fn a_removed_worker_is_closed_at_once() {
    let mut rig = Rig::start().await;
    let (id, other) = (WorkerId::new(), WorkerId::new());
    let mut worker = rig.worker(id).await;
    let mut stays = rig.worker(other).await;
    let control = rig.broker.control();
    assert!(control.kick_worker(id));
    assert!(worker.closed().await);
    assert!(!control.kick_worker(id));
    let ends = async {
        loop {
            if let BrokerEvent::WorkerDisconnected { end, .. } = rig.event().await {
                return end;
            }
        }
    };
    assert_eq!(ends.await, ConnectionEnd::Kicked);
    stays.nothing_more().await;
    assert_eq!(rig.stats().workers, 1);
}

#[tokio::test]
async fn live_logs_are_lossy_and_an_unsubscribed_worker_hears_nothing() {
    let mut rig = Rig::start().await;
    let id = WorkerId::new();
    let mut worker = rig.worker(id).await;
    let tail = envelope(LogTail {
        attempt: AttemptId::new(),
        offset: 0,
        text: "hello\n".into(),
    });
    let packed = Bytes::from(encode(&tail).expect("encodes"));
    let log = Topic::WorkerLog(id).to_string();
    for _ in 0..5 {
        worker.say(publish(&log, packed.clone(), Delivery::Zero)).await;
    }
    worker.nothing_more().await;
    assert_eq!(soon(rig.logs.recv()).await.expect("a piece").envelope, tail);
    assert_eq!(
        rig.stats().dropped_messages,
        3,
        "two fit into the channel of this test"
    );

    worker.unsubscribe(&Topic::WorkerIn(id).to_string()).await;
    rig.broker.link().send(id, &drain()).expect("online");
    worker.nothing_more().await;
}

#[tokio::test]
async fn a_worker_that_takes_nothing_fills_its_queue_and_no_other() {
    let mut rig = Rig::start().await;
    let (id, other) = (WorkerId::new(), WorkerId::new());
    let _mute = rig.worker(id).await;
    let mut well = rig.worker(other).await;
    let link = rig.broker.link();
    // Nobody acknowledges: the window and then the queue fill up.
    let full = async {
        loop {
            match link.send(id, &drain()) {
                Ok(()) => tokio::task::yield_now().await,
                Err(error) => return error,
            }
        }
    };
    assert!(matches!(soon(full).await, LinkError::NotSent(NotSent::Full)));
    link.send(other, &drain()).expect("online");
    well.message().await;
}

#[tokio::test]
async fn rumqttc_speaks_with_us() {
    let mut rig = Rig::start().await;
    let id = WorkerId::new();
    let address = rig.broker.local_addr();
    let mut options = rumqttc::MqttOptions::new(id.to_string(), address.ip().to_string(), address.port());
    options.set_credentials(id.to_string(), format!("secret {id}"));
    options.set_keep_alive(Duration::from_secs(20));
    options.set_max_packet_size(256 * 1024, 256 * 1024);
    let (client, mut events) = rumqttc::AsyncClient::new(options, 10);
    let inbox = Topic::WorkerIn(id).to_string();
    client
        .subscribe(inbox, rumqttc::QoS::AtLeastOnce)
        .await
        .expect("asks");
    let said = bye();
    let out = Topic::WorkerOut(id).to_string();
    let sent = client.publish(out, rumqttc::QoS::AtLeastOnce, false, packed(&said).to_vec());
    sent.await.expect("asks");
    let link = rig.broker.link();
    let mut heard = Vec::new();
    while heard.len() < 4 {
        let event = soon(events.poll()).await.expect("connected");
        if let rumqttc::Event::Incoming(packet) = event {
            if matches!(packet, rumqttc::Packet::SubAck(_)) {
                link.send(id, &drain()).expect("online");
            }
            heard.push(packet);
        }
    }
    assert!(matches!(heard[0], rumqttc::Packet::ConnAck(_)));
    for wanted in ["SubAck", "PubAck", "Publish"] {
        assert!(
            heard
                .iter()
                .any(|packet| format!("{packet:?}").starts_with(wanted)),
            "{wanted}"
        );
    }
    assert!(matches!(rig.event().await, BrokerEvent::WorkerConnected { .. }));
    assert!(matches!(rig.event().await, BrokerEvent::Message { envelope, .. } if *envelope == said));
    client.disconnect().await.expect("asks");
    while events.poll().await.is_ok() {}
    let end = rig.event().await;
    assert!(
        matches!(
            end,
            BrokerEvent::WorkerDisconnected {
                end: ConnectionEnd::Goodbye,
                ..
            }
        ),
        "{end:?}"
    );
}
