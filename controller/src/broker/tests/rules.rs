//! What the logged-in may do, and what becomes of wills.

use super::*;

#[tokio::test]
async fn each_filter_has_its_own_answer_and_a_denial_closes_nothing() {
    let rig = Rig::start().await;
    let mut reader = rig.enter(person("read")).await;
    let wanted = [
        ("agentd/#", Qos::Two),
        ("#", Qos::Zero),
        ("agentd/status", Qos::Zero),
        ("$share/group/agentd/#", Qos::One),
        ("agentd-worker/v1/+/in", Qos::One),
        ("agentd/ü", Qos::One),
        ("a+", Qos::Zero),
        (watchdog::PROBE_TOPIC, Qos::Zero),
        ("homeassistant/status", Qos::One),
    ];
    let (one, zero) = (Some(Qos::One), Some(Qos::Zero));
    let granted = [one, None, zero, None, None, None, None, None, one];
    assert_eq!(reader.subscribe(&wanted).await, granted);
    assert_eq!(rig.stats().denied_subscriptions, 6);
    reader.nothing_more().await;
}

#[tokio::test]
async fn a_denied_message_is_acknowledged_dropped_and_counted() {
    let mut rig = Rig::start().await;
    let own = WorkerId::new();
    let mut listener = rig.enter(person("admin")).await;
    listener
        .subscribe(&[("agentd/#", Qos::Zero), ("homeassistant/#", Qos::Zero)])
        .await;
    let mut worker = rig.worker(own).await;
    let mut reader = rig.enter(person("read")).await;
    let topics = [
        Topic::WorkerOut(WorkerId::new()).to_string(),
        Topic::WorkerIn(own).to_string(),
        "agentd/status".into(),
        "agentd/command".into(),
        "homeassistant/status".into(),
        "ä/b".into(),
        "$SYS/x".into(),
        "a/b/c/d/e/f/g/h/i".into(),
    ];
    for client in [&mut worker, &mut reader] {
        for topic in &topics {
            client.say(publish(topic, "x", Delivery::Zero)).await;
            client.say(publish(topic, "x", Delivery::One(id(5)))).await;
            assert_eq!(client.hear().await, Packet::PubAck(id(5)), "{topic}");
        }
        client.nothing_more().await;
    }
    assert_eq!(rig.stats().denied_publishes, 32);
    listener.nothing_more().await;
    assert!(rig.commands.try_recv().is_err());
    assert!(matches!(rig.event().await, BrokerEvent::WorkerConnected { .. }));
    assert!(rig.events.try_recv().is_err());
}

#[tokio::test]
async fn a_command_comes_with_its_sender_and_is_shown_to_nobody_else() {
    let mut rig = Rig::start().await;
    let mut listener = rig.enter(person("admin")).await;
    listener.subscribe(&[("agentd/#", Qos::Zero)]).await;
    for scope in ["run", "approve", "admin"] {
        let mut client = rig.enter(person(scope)).await;
        let mut said = Publish {
            topic: "agentd/command".into(),
            payload: Bytes::from_static(b"{}"),
            delivery: Delivery::One(id(9)),
            retain: true,
            dup: false,
        };
        client.say(Packet::Publish(said.clone())).await;
        assert_eq!(client.hear().await, Packet::PubAck(id(9)));
        let command = rig.command().await;
        assert_eq!(command.topic, CommandTopic::Command);
        assert_eq!(command.payload, "{}");
        assert!(command.peer.is_loopback());
        assert!(command.identity.to_string().contains(scope));

        // At QoS 2 a repeat before the release is the same message.
        said.delivery = Delivery::Two(id(10));
        client.say(Packet::Publish(said.clone())).await;
        assert_eq!(client.hear().await, Packet::PubRec(id(10)));
        said.dup = true;
        client.say(Packet::Publish(said)).await;
        assert_eq!(client.hear().await, Packet::PubRec(id(10)));
        client.say(Packet::PubRel(id(10))).await;
        assert_eq!(client.hear().await, Packet::PubComp(id(10)));
        rig.command().await;
        assert!(rig.commands.try_recv().is_err());
    }
    listener.nothing_more().await;
}

#[tokio::test]
async fn home_assistants_birth_reaches_the_controller_and_readers_but_is_not_kept() {
    let mut rig = Rig::start().await;
    let mut reader = rig.enter(person("read")).await;
    reader.subscribe(&[("homeassistant/#", Qos::Zero)]).await;
    let mut client = rig.enter(person("run")).await;
    let birth = Publish {
        topic: "homeassistant/status".into(),
        payload: Bytes::from_static(b"online"),
        delivery: Delivery::Zero,
        retain: true,
        dup: false,
    };
    client.say(Packet::Publish(birth)).await;
    assert_eq!(rig.command().await.topic, CommandTopic::HomeAssistantStatus);
    assert_eq!(reader.message().await.payload, "online");
    let mut late = rig.enter(person("read")).await;
    late.subscribe(&[("homeassistant/#", Qos::Zero)]).await;
    rig.settle().await;
    late.nothing_more().await;
}

#[tokio::test]
async fn a_will_is_said_at_a_death_and_only_then() {
    let mut rig = Rig::start().await;
    let with_will = |topic| Connect {
        client_id: "bridge".into(),
        will: Some(will(topic)),
        ..person("run")
    };
    drop(rig.enter(with_will("agentd/command")).await);
    assert_eq!(rig.command().await.payload, "last words");

    let mut polite = rig.enter(with_will("agentd/command")).await;
    polite.say(Packet::Disconnect).await;
    assert!(polite.closed().await);

    let mut replaced = rig.enter(with_will("agentd/command")).await;
    let mut outside = rig.enter(with_will("agentd/status")).await;
    assert!(replaced.closed().await);
    outside.nothing_more().await;
    assert_eq!(rig.stats().dropped_wills, 1);
    drop(outside);

    let mut rude = rig.enter(with_will("agentd/command")).await;
    rude.say(Packet::PingResp).await;
    assert_eq!(rig.command().await.payload, "last words");
    assert!(rig.commands.try_recv().is_err());
}

#[tokio::test]
async fn silence_is_a_death_unless_the_client_asked_for_no_keep_alive() {
    let mut rig = Rig::start().await;
    let with_keep_alive = |keep_alive_s| Connect {
        keep_alive_s,
        will: Some(will("agentd/command")),
        ..person("run")
    };
    let mut forever = rig.enter(with_keep_alive(0)).await;
    let mut quiet = rig.enter(with_keep_alive(1)).await;
    assert!(quiet.closed().await);
    assert_eq!(rig.command().await.payload, "last words");
    forever.nothing_more().await;
    assert!(rig.commands.try_recv().is_err());
}
