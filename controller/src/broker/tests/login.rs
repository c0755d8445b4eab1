//! Who is let in, and with which answer.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

#[tokio::test]
async fn each_refusal_has_its_code() {
    let rig = Rig::start().await;
    let id = WorkerId::new();
    let wrong = Connect {
        password: Some(Bytes::from_static(b"guess")),
        ..worker(id)
    };
    let often = Connect {
        password: Some(Bytes::from_static(b"too often")),
        ..person("read")
    };
    let nobody = Connect {
        username: None,
        password: None,
        ..person("read")
    };
    let other_id = Connect {
        client_id: WorkerId::new().to_string(),
        ..worker(id)
    };
    let nameless_session = Connect {
        clean_session: false,
        ..person("read")
    };
    let long_name = Connect {
        client_id: "x".repeat(257),
        ..person("read")
    };
    let unicode = Connect {
        client_id: "Küche/+#$".into(),
        clean_session: false,
        ..person("read")
    };
    let watchdog = Connect {
        username: Some(watchdog::PROBE_USER.into()),
        ..person("guess")
    };
    let table = [
        (worker(id), ConnectCode::Accepted),
        (person("read"), ConnectCode::Accepted),
        (unicode, ConnectCode::Accepted),
        (wrong, ConnectCode::BadCredentials),
        (person("guess"), ConnectCode::BadCredentials),
        (watchdog, ConnectCode::BadCredentials),
        (often, ConnectCode::ServerUnavailable),
        (nobody, ConnectCode::NotAuthorized),
        (other_id, ConnectCode::IdentifierRejected),
        (nameless_session, ConnectCode::IdentifierRejected),
        (long_name, ConnectCode::IdentifierRejected),
    ];
    for (connect, expected) in table {
        let said = format!("{connect:?}");
        let (mut client, code) = rig.connect(connect).await;
        assert_eq!(code, expected, "{said}");
        if code != ConnectCode::Accepted {
            assert!(client.closed().await, "{said}");
        }
    }
    assert_eq!(rig.stats().refused_logins, 8);
}

#[tokio::test]
async fn mqtt_5_is_refused_by_name_and_anything_else_in_silence() {
    let rig = Rig::start().await;
    let mut socket = TcpStream::connect(rig.broker.local_addr())
        .await
        .expect("connects");
    let mqtt_5 = b"\x10\x10\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x03abc";
    socket.write_all(mqtt_5).await.expect("writes");
    let mut answer = Vec::new();
    soon(socket.read_to_end(&mut answer)).await.expect("reads");
    assert_eq!(answer, [0x20, 2, 0, 1]);

    for packet in [
        Packet::PingReq,
        publish("agentd/command", "x", Delivery::Zero),
        Packet::ConnAck(ConnectCode::Accepted),
    ] {
        let mut client = Client::open(rig.broker.local_addr()).await;
        client.say(packet).await;
        assert!(client.closed().await);
    }
}

#[tokio::test]
async fn who_says_nothing_is_closed_and_an_address_holds_few_such_places() {
    let rig = Rig::with(BrokerConfig {
        login_timeout: Duration::from_secs(1),
        waiting_per_address: 3,
        ..BrokerConfig::default()
    })
    .await;
    let mut silent = Vec::new();
    for _ in 0..3 {
        silent.push(Client::open(rig.broker.local_addr()).await);
    }
    let mut turned_away = Client::open(rig.broker.local_addr()).await;
    assert!(turned_away.closed().await);
    for client in &mut silent {
        assert!(client.closed().await);
    }
    rig.enter(person("read")).await;
    assert!(rig.stats().turned_away >= 1);
}

#[tokio::test]
async fn a_full_house_says_so_and_a_takeover_still_fits() {
    let rig = Rig::with(BrokerConfig {
        mqtt_connections: 2,
        ..BrokerConfig::default()
    })
    .await;
    let named = || Connect {
        client_id: "kitchen".into(),
        ..person("read")
    };
    let mut first = rig.enter(named()).await;
    let _second = rig.enter(person("read")).await;
    let (_, code) = rig.connect(person("read")).await;
    assert_eq!(code, ConnectCode::ServerUnavailable);
    let mut third = rig.enter(named()).await;
    assert!(first.closed().await);
    third.nothing_more().await;
    assert_eq!(rig.stats().connections, 2);
}

#[tokio::test]
async fn a_client_id_belongs_to_one_credential() {
    let rig = Rig::start().await;
    let named = |scope| Connect {
        client_id: "kitchen".into(),
        ..person(scope)
    };
    let mut reader = rig.enter(named("read")).await;
    let mut runner = rig.enter(named("run")).await;
    reader.nothing_more().await;
    runner.nothing_more().await;
    assert_eq!(rig.broker.control().kick_token(TokenId::new()), 0);
    reader.nothing_more().await;
}

#[tokio::test]
async fn large_packets_are_for_those_who_are_logged_in() {
    let rig = Rig::start().await;
    let mut client = Client::open(rig.broker.local_addr()).await;
    let large = Connect {
        will: Some(Will {
            topic: "agentd/command".into(),
            payload: Bytes::from(vec![b'x'; 65_000]),
        }),
        client_id: "y".repeat(1000),
        ..person("run")
    };
    client.say(Packet::Connect(Box::new(large))).await;
    assert!(client.closed().await, "over 64 KiB before login");

    let mut client = rig.enter(person("read")).await;
    let send = |bytes: usize| publish("some/where", vec![0; bytes], Delivery::One(id(1)));
    client.say(send(250_000)).await;
    assert_eq!(client.hear().await, Packet::PubAck(id(1)));
    client.say(send(262_144)).await;
    assert!(client.closed().await, "over 256 KiB");
}

#[tokio::test]
async fn an_address_that_cannot_be_used_is_named() {
    let at = |listen| {
        Rig::listening(BrokerConfig {
            listen,
            ..BrokerConfig::default()
        })
    };
    let open = at(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))).await;
    assert!(matches!(open.err(), Some(StartError::NotLoopback(_))));
    let first = Rig::start().await;
    let taken = at(first.broker.local_addr())
        .await
        .err()
        .expect("the address is taken");
    assert!(taken.to_string().contains(&first.broker.local_addr().to_string()));
}

#[tokio::test]
async fn what_comes_together_with_the_login_is_not_left_lying() {
    let rig = Rig::start().await;
    let mut client = Client::open(rig.broker.local_addr()).await;
    let output = &mut client.0.output;
    output.push(&Packet::Connect(Box::new(person("read"))));
    output.push(&Packet::PingReq);
    output.flush().await.expect("sends");
    assert_eq!(client.hear().await, Packet::ConnAck(ConnectCode::Accepted));
    assert_eq!(client.hear().await, Packet::PingResp);
}
