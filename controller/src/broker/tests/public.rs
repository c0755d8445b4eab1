//! Public topics: readers, what they find, and the end.

use super::*;

async fn reader(rig: &Rig, filter: &str, qos: Qos) -> Client {
    let mut client = rig.enter(person("read")).await;
    assert_eq!(client.subscribe(&[(filter, qos)]).await, [Some(qos)]);
    client
}

#[tokio::test]
async fn a_late_reader_finds_the_state_as_of_now() {
    let rig = Rig::start().await;
    rig.summaries.set(Topic::Status, "running");
    rig.summaries.set(Topic::JobsOpen, "2 jobs");
    let publisher = rig.broker.publisher();
    let old = Bytes::from_static(b"old");
    publisher.publish(&Topic::Status, old, true).await.expect("lives");

    let mut client = reader(&rig, "agentd/+", Qos::Zero).await;
    let found = client.message().await;
    assert_eq!((found.topic.as_str(), found.retain), ("agentd/status", true));
    assert_eq!(found.payload, "running", "fresh, not what was there");
    rig.settle().await;
    client.nothing_more().await;
    assert_eq!(*rig.summaries.asked.lock().expect("sound"), [["agentd/+"]]);

    client.unsubscribe("agentd/+").await;
    let news = Bytes::from_static(b"news");
    publisher
        .publish(&Topic::Status, news, true)
        .await
        .expect("lives");
    rig.settle().await;
    client.nothing_more().await;

    // only after the unsubscribe: an old subscription would see the renewed summary as it is published
    let granted = client.subscribe(&[("agentd/+", Qos::Zero)]).await;
    assert_eq!(granted, [Some(Qos::Zero)]);
    assert!(client.message().await.retain, "a new subscription finds it again");
}

#[tokio::test]
async fn readers_are_known_by_topic() {
    let rig = Rig::start().await;
    let publisher = rig.broker.publisher();
    let mut changes = publisher.reader_changes();
    assert!(!publisher.has_readers(&Topic::Events));
    let mut client = reader(&rig, "agentd/events", Qos::Zero).await;
    soon(changes.changed()).await.expect("lives");
    assert!(publisher.has_readers(&Topic::Events));
    assert!(!publisher.has_readers(&Topic::Jobs));
    let event = Bytes::from_static(b"1");
    publisher
        .publish(&Topic::Events, event, false)
        .await
        .expect("lives");
    let heard = client.message().await;
    assert!(heard.payload == "1" && !heard.retain);
    drop(client);
    soon(changes.wait_for(|_| !publisher.has_readers(&Topic::Events)))
        .await
        .expect("lives");

    let worker = Topic::WorkerIn(WorkerId::new());
    let refused = publisher.publish(&worker, Bytes::new(), false).await;
    assert_eq!(refused, Err(PublishError::Private(worker)));
    let large = Bytes::from(vec![0; MAX_PUBLIC_PAYLOAD + 1]);
    let refused = publisher.publish_lossy(&Topic::Log, large);
    assert_eq!(refused, Err(PublishError::TooLarge(MAX_PUBLIC_PAYLOAD + 1)));
}

#[tokio::test]
async fn who_has_subscribed_hears_what_is_published_next() {
    let rig = Rig::start().await;
    let router = &rig.broker.shared.router;
    let [noise, news] = [Topic::Log, Topic::Events].map(|topic| topic.to_string());
    for round in 0..2000_u32 {
        let mut link = router.open().await.expect("lives");
        // the router takes all that waits on a link at once: with these it would take the news, too early
        for _ in 0..round % 16 {
            let payload = Bytes::from_static(b"noise");
            router
                .publish(noise.clone(), payload, false)
                .await
                .expect("lives");
        }
        link.subscribe(news.clone()).await.expect("lives");
        let payload = Bytes::copy_from_slice(&round.to_be_bytes());
        router
            .publish(news.clone(), payload.clone(), false)
            .await
            .expect("lives");
        assert_eq!(soon(link.next()).await.expect("lives").payload, payload);
        link.close().await.expect("lives");
    }
}

/// A payload whose copies can be counted.
struct Counted(Arc<[u8; 8]>);

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        self.0.as_slice()
    }
}

#[tokio::test]
async fn a_week_of_probes_leaves_nothing_behind() {
    let rig = Rig::start().await;
    let router = &rig.broker.shared.router;
    let (alive, topic) = (Arc::new([0; 8]), watchdog::PROBE_TOPIC);
    for _ in 0..5000 {
        let payload = Bytes::from_owner(Counted(alive.clone()));
        router
            .publish(topic.to_owned(), payload, false)
            .await
            .expect("lives");
    }
    router.settle().await.expect("lives");
    let kept = Arc::strong_count(&alive) - 1;
    assert!(kept < 100, "{kept} probes are kept");
}

#[tokio::test]
async fn quality_1_is_acknowledged_in_any_order() {
    let rig = Rig::start().await;
    let publisher = rig.broker.publisher();
    let mut client = reader(&rig, "agentd/#", Qos::One).await;
    // Three windows of 100, acknowledged backwards.
    for round in 0..3_u8 {
        let mut ids = Vec::new();
        for n in 0..100_u8 {
            let payload = Bytes::copy_from_slice(&[round, n]);
            publisher
                .publish(&Topic::Events, payload, false)
                .await
                .expect("lives");
        }
        for n in 0..100_u8 {
            let heard = client.message().await;
            assert_eq!(heard.payload.as_ref(), [round, n]);
            let Delivery::One(id) = heard.delivery else {
                panic!("not at QoS 1");
            };
            ids.push(id);
        }
        for id in ids.into_iter().rev() {
            client.say(Packet::PubAck(id)).await;
        }
    }
    client.nothing_more().await;
}

#[tokio::test]
async fn a_slow_reader_stalls_nobody_and_goes_on_where_it_can() {
    let rig = Rig::start().await;
    let publisher = rig.broker.publisher();
    let mut slow = reader(&rig, "agentd/#", Qos::Zero).await;
    let mut quick = reader(&rig, "agentd/events", Qos::Zero).await;
    // More than socket buffers, links and the router's backlog hold together.
    let messages = 600_u32;
    for n in 0..messages {
        let mut payload = vec![0; 60_000];
        payload[..4].copy_from_slice(&n.to_be_bytes());
        publisher
            .publish(&Topic::Events, payload.into(), false)
            .await
            .expect("lives");
        assert_eq!(quick.message().await.payload[..4], n.to_be_bytes());
    }
    // What comes while it is far behind is not kept for it, whatever is the last of these.
    let later = async {
        loop {
            let after = Bytes::from_static(b"after");
            publisher
                .publish(&Topic::Jobs, after, false)
                .await
                .expect("lives");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let read = async {
        let mut last = None;
        loop {
            let payload = slow.message().await.payload;
            if payload == "after" {
                return last;
            }
            let n = u32::from_be_bytes(payload[..4].try_into().expect("four bytes"));
            assert!(last.is_none_or(|last| last < n), "in order, whatever is missing");
            last = Some(n);
        }
    };
    tokio::select! {
        last = read => assert!(last.is_some(), "it has heard what fitted"),
        () = later => unreachable!("publishes for ever"),
    }
}

#[tokio::test]
async fn who_reads_nothing_at_all_is_closed() {
    let rig = Rig::with(BrokerConfig {
        stall_timeout: Duration::from_millis(300),
        ..BrokerConfig::default()
    })
    .await;
    let publisher = rig.broker.publisher();
    let _deaf = reader(&rig, "agentd/#", Qos::Zero).await;
    let mut changes = publisher.reader_changes();
    let flood = async {
        while publisher.has_readers(&Topic::Events) {
            let payload = Bytes::from(vec![0; 200_000]);
            publisher
                .publish(&Topic::Events, payload, false)
                .await
                .expect("lives");
            tokio::task::yield_now().await;
        }
    };
    soon(flood).await;
    assert!(changes.has_changed().expect("lives"));
    changes.mark_unchanged();
}

#[tokio::test]
async fn an_orderly_stop_says_so_to_readers_and_closes_all() {
    let mut rig = Rig::start().await;
    let mut client = reader(&rig, "agentd/status", Qos::One).await;
    let id = WorkerId::new();
    let mut worker = rig.worker(id).await;
    let publisher = rig.broker.publisher();
    let offline = Bytes::from_static(b"offline");
    publisher
        .publish(&Topic::Status, offline, true)
        .await
        .expect("lives");
    let address = rig.broker.local_addr();
    soon(rig.broker.stop()).await;
    let mut heard = 0;
    while let Ok(packet) = soon(client.0.receive(1 << 20)).await {
        let Packet::Publish(publish) = packet else {
            panic!("{packet:?} at the end");
        };
        assert_eq!(publish.payload, "offline");
        heard += 1;
    }
    // Twice when it was retained just as the subscription was served.
    assert!((1..=2).contains(&heard), "{heard}");
    assert!(worker.closed().await);
    assert!(TcpStream::connect(address).await.is_err());
    assert!(
        publisher
            .publish(&Topic::Status, Bytes::new(), true)
            .await
            .is_err()
    );
    let mut ends = Vec::new();
    while let Some(event) = rig.events.recv().await {
        ends.push(event);
    }
    assert!(
        matches!(
            ends.last(),
            Some(BrokerEvent::WorkerDisconnected {
                end: ConnectionEnd::Stopping,
                ..
            })
        ),
        "{ends:?}"
    );
}
