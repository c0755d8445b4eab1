//! Packets to bytes.

use bytes::{BufMut, BytesMut};

use super::{Connect, Delivery, Packet, PacketId, Publish};

/// Appends a packet to `out`. Texts and binaries are under 64 KiB each and the
/// whole under 256 MiB: ours come from our own limits, a client's were decoded.
pub(in crate::broker) fn encode(packet: &Packet, out: &mut BytesMut) {
    match packet {
        Packet::Connect(connect) => encode_connect(connect, out),
        Packet::ConnAck(code) => out.put_slice(&[0x20, 2, 0, *code as u8]),
        Packet::Publish(publish) => encode_publish(publish, out),
        Packet::PubAck(id) => short(0x40, *id, out),
        Packet::PubRec(id) => short(0x50, *id, out),
        Packet::PubRel(id) => short(0x62, *id, out),
        Packet::PubComp(id) => short(0x70, *id, out),
        Packet::Subscribe { id, filters } => {
            let length = 2 + filters.iter().map(|(filter, _)| 3 + filter.len()).sum::<usize>();
            header(0x82, length, out);
            out.put_u16(id.get());
            for (filter, qos) in filters {
                binary(filter.as_bytes(), out);
                out.put_u8(*qos as u8);
            }
        }
        Packet::SubAck { id, granted } => {
            header(0x90, 2 + granted.len(), out);
            out.put_u16(id.get());
            out.extend(granted.iter().map(|qos| qos.map_or(0x80, |qos| qos as u8)));
        }
        Packet::Unsubscribe { id, filters } => {
            let length = 2 + filters.iter().map(|filter| 2 + filter.len()).sum::<usize>();
            header(0xa2, length, out);
            out.put_u16(id.get());
            for filter in filters {
                binary(filter.as_bytes(), out);
            }
        }
        Packet::UnsubAck(id) => short(0xb0, *id, out),
        Packet::PingReq => out.put_slice(&[0xc0, 0]),
        Packet::PingResp => out.put_slice(&[0xd0, 0]),
        Packet::Disconnect => out.put_slice(&[0xe0, 0]),
    }
}

fn encode_connect(connect: &Connect, out: &mut BytesMut) {
    let Connect {
        client_id,
        will,
        username,
        password,
        ..
    } = connect;
    let mut flags = u8::from(connect.clean_session) << 1;
    let mut length = 10 + 2 + client_id.len();
    if let Some(will) = will {
        flags |= 1 << 2;
        length += 4 + will.topic.len() + will.payload.len();
    }
    if let Some(username) = username {
        flags |= 1 << 7;
        length += 2 + username.len();
    }
    if let Some(password) = password {
        flags |= 1 << 6;
        length += 2 + password.len();
    }
    header(0x10, length, out);
    binary(b"MQTT", out);
    out.put_slice(&[4, flags]);
    out.put_u16(connect.keep_alive_s);
    binary(client_id.as_bytes(), out);
    if let Some(will) = will {
        binary(will.topic.as_bytes(), out);
        binary(&will.payload, out);
    }
    if let Some(username) = username {
        binary(username.as_bytes(), out);
    }
    if let Some(password) = password {
        binary(password, out);
    }
}

fn encode_publish(publish: &Publish, out: &mut BytesMut) {
    let (qos, id) = match publish.delivery {
        Delivery::Zero => (0, None),
        Delivery::One(id) => (1, Some(id)),
        Delivery::Two(id) => (2, Some(id)),
    };
    let first = 0x30 | u8::from(publish.dup) << 3 | qos << 1 | u8::from(publish.retain);
    let id_length = if id.is_some() { 2 } else { 0 };
    header(
        first,
        2 + publish.topic.len() + id_length + publish.payload.len(),
        out,
    );
    binary(publish.topic.as_bytes(), out);
    if let Some(id) = id {
        out.put_u16(id.get());
    }
    out.put_slice(&publish.payload);
}

fn short(first: u8, id: PacketId, out: &mut BytesMut) {
    out.put_slice(&[first, 2]);
    out.put_u16(id.get());
}

fn header(first: u8, mut length: usize, out: &mut BytesMut) {
    out.put_u8(first);
    loop {
        let byte = (length & 0x7f) as u8;
        length >>= 7;
        if length == 0 {
            out.put_u8(byte);
            return;
        }
        out.put_u8(byte | 0x80);
    }
}

fn binary(bytes: &[u8], out: &mut BytesMut) {
    out.put_u16(bytes.len() as u16);
    out.put_slice(bytes);
}
