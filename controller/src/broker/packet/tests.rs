use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

use super::*;

const LIMIT: usize = 1 << 18;

fn wire(packet: &Packet) -> BytesMut {
    let mut out = BytesMut::new();
    encode(packet, &mut out);
    out
}

fn id() -> impl Strategy<Value = PacketId> {
    (1..=u16::MAX).prop_map(|n| PacketId::new(n).expect("not 0"))
}

fn qos() -> impl Strategy<Value = Qos> {
    prop_oneof![Just(Qos::Zero), Just(Qos::One), Just(Qos::Two)]
}

fn payload() -> impl Strategy<Value = Bytes> {
    proptest::collection::vec(any::<u8>(), 0..300).prop_map(Bytes::from)
}

fn connect() -> impl Strategy<Value = Packet> {
    let will = proptest::option::of(("[a-z/]{1,20}", payload()));
    let login = proptest::option::of(("[a-zä]{0,20}", proptest::option::of(payload())));
    ("[a-zé0-9]{0,40}", any::<bool>(), any::<u16>(), will, login).prop_map(
        |(client_id, clean_session, keep_alive_s, will, login)| {
            let (username, password) = login.map_or((None, None), |(name, word)| (Some(name), word));
            Packet::Connect(Box::new(Connect {
                client_id,
                clean_session,
                keep_alive_s,
                will: will.map(|(topic, payload)| Will { topic, payload }),
                username,
                password,
            }))
        },
    )
}

fn publish() -> impl Strategy<Value = Packet> {
    let delivery = prop_oneof![
        Just(Delivery::Zero),
        id().prop_map(Delivery::One),
        id().prop_map(Delivery::Two),
    ];
    ("[a-zä/]{1,30}", payload(), delivery, any::<bool>(), any::<bool>()).prop_map(
        |(topic, payload, delivery, retain, dup)| {
            let dup = dup && delivery != Delivery::Zero;
            Packet::Publish(Publish {
                topic,
                payload,
                delivery,
                retain,
                dup,
            })
        },
    )
}

fn any_packet() -> impl Strategy<Value = Packet> {
    let filters = proptest::collection::vec(("[a-z/+#]{0,20}", qos()), 1..5);
    let names = proptest::collection::vec("[a-z/+#]{0,20}", 1..5);
    let granted = proptest::collection::vec(proptest::option::of(qos()), 0..5);
    prop_oneof![
        connect(),
        publish(),
        id().prop_map(Packet::PubAck),
        id().prop_map(Packet::PubRec),
        id().prop_map(Packet::PubRel),
        id().prop_map(Packet::PubComp),
        (id(), filters).prop_map(|(id, filters)| Packet::Subscribe { id, filters }),
        (id(), granted).prop_map(|(id, granted)| Packet::SubAck { id, granted }),
        (id(), names).prop_map(|(id, filters)| Packet::Unsubscribe { id, filters }),
        id().prop_map(Packet::UnsubAck),
        Just(Packet::PingReq),
        Just(Packet::PingResp),
        Just(Packet::Disconnect),
        Just(Packet::ConnAck(ConnectCode::BadCredentials)),
    ]
}

proptest! {
    #[test]
    fn packets_round_trip_and_a_part_of_one_waits_for_more(packet in any_packet(), cut in any::<prop::sample::Index>()) {
        let whole = wire(&packet);
        let mut part = BytesMut::from(&whole[..cut.index(whole.len())]);
        prop_assert_eq!(decode(&mut part, LIMIT), Ok(None));
        let mut two = whole.clone();
        two.extend_from_slice(&whole);
        prop_assert_eq!(decode(&mut two, LIMIT), Ok(Some(packet.clone())));
        prop_assert_eq!(decode(&mut two, LIMIT), Ok(Some(packet)));
        prop_assert!(two.is_empty());
    }

    #[test]
    fn no_bytes_make_the_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut buffer = BytesMut::from(&bytes[..]);
        while let Ok(Some(_)) = decode(&mut buffer, LIMIT) {}
    }

    #[test]
    fn no_change_of_a_valid_packet_makes_the_decoder_panic(
        packet in any_packet(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut bytes = wire(&packet);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        while let Ok(Some(_)) = decode(&mut bytes, LIMIT) {}
    }
}

const REFUSED: &[(&[u8], DecodeError)] = &[
    (
        &[0x30, 0xff, 0xff, 0xff, 0xff],
        DecodeError::Malformed("remaining length of more than four bytes"),
    ),
    (
        &[0x30, 0xff, 0xff, 0x7f],
        DecodeError::TooLarge((1 << 21) - 1 + 4),
    ),
    (&[0x00, 0], DecodeError::Malformed("unknown packet type")),
    (&[0xf0, 0], DecodeError::Malformed("unknown packet type")),
    (
        &[0xc1, 0],
        DecodeError::Malformed("reserved flags of the fixed header"),
    ),
    (
        &[0x80, 2, 0, 1],
        DecodeError::Malformed("reserved flags of the fixed header"),
    ),
    (
        &[0xc0, 1, 0],
        DecodeError::Malformed("bytes after the end of the packet"),
    ),
    (&[0x40, 2, 0, 0], DecodeError::Malformed("packet identifier 0")),
    (&[0x40, 1, 0], DecodeError::Malformed("packet ends early")),
    (
        &[0x82, 2, 0, 1],
        DecodeError::Malformed("SUBSCRIBE without a filter"),
    ),
    (
        &[0x82, 6, 0, 1, 0, 1, b'a', 3],
        DecodeError::Malformed("quality of service"),
    ),
    (
        &[0xa2, 2, 0, 1],
        DecodeError::Malformed("UNSUBSCRIBE without a filter"),
    ),
    (
        &[0x36, 5, 0, 1, b'a', 0, 1],
        DecodeError::Malformed("quality of service"),
    ),
    (&[0x38, 3, 0, 1, b'a'], DecodeError::Malformed("DUP at QoS 0")),
    (&[0x30, 3, 0, 1, b'#'], DecodeError::Malformed("topic name")),
    (&[0x30, 2, 0, 0], DecodeError::Malformed("topic name")),
    (&[0x30, 3, 0, 1, 0], DecodeError::Malformed("text with U+0000")),
    (
        &[0x30, 3, 0, 1, 0xff],
        DecodeError::Malformed("text is not UTF-8"),
    ),
    (
        &[0x30, 3, 0, 9, b'a'],
        DecodeError::Malformed("packet ends early"),
    ),
    (
        b"\x10\x0c\x00\x04HTTP\x04\x02\x00\x00\x00\x00",
        DecodeError::Malformed("protocol name"),
    ),
    (
        b"\x10\x0d\x00\x04MQTT\x05\x02\x00\x00\x00\x00\x00",
        DecodeError::ProtocolVersion(5),
    ),
    (
        b"\x10\x0e\x00\x06MQIsdp\x03\x02\x00\x00\x00\x00",
        DecodeError::ProtocolVersion(3),
    ),
    (
        b"\x10\x0c\x00\x04MQTT\x04\x03\x00\x00\x00\x00",
        DecodeError::Malformed("reserved connect flag"),
    ),
    (
        b"\x10\x0c\x00\x04MQTT\x04\x22\x00\x00\x00\x00",
        DecodeError::Malformed("will flags without a will"),
    ),
    (
        b"\x10\x0e\x00\x04MQTT\x04\x42\x00\x00\x00\x00\x00\x00",
        DecodeError::Malformed("password without user name"),
    ),
    (
        b"GET / HTTP/1.1\r\n",
        DecodeError::Malformed("reserved flags of the fixed header"),
    ),
];

#[test]
fn what_is_not_mqtt_3_1_1_is_refused_with_its_reason() {
    for (bytes, error) in REFUSED {
        assert_eq!(
            decode(&mut BytesMut::from(*bytes), LIMIT),
            Err(*error),
            "{bytes:?}"
        );
    }
}
