//! Bytes to packets.

use bytes::{Buf, Bytes, BytesMut};

use super::{Connect, ConnectCode, Delivery, Packet, PacketId, Publish, Qos, Will};

/// Why bytes are not a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::broker) enum DecodeError {
    /// The packet announces more bytes than are allowed.
    #[error("a packet of {0} bytes is over the limit")]
    TooLarge(usize),
    /// A CONNECT of another version of MQTT.
    #[error("MQTT protocol level {0} is not spoken here, only 3.1.1 (level 4)")]
    ProtocolVersion(u8),
    /// Against the specification.
    #[error("malformed packet: {0}")]
    Malformed(&'static str),
}

use DecodeError::Malformed;

/// Takes the next packet from the head of `buffer`; `None` if it is not all there yet.
/// `limit` bounds the whole packet, in bytes, as soon as its length is known.
pub(in crate::broker) fn decode(buffer: &mut BytesMut, limit: usize) -> Result<Option<Packet>, DecodeError> {
    let Some(first) = buffer.first().copied() else {
        return Ok(None);
    };
    check_first_byte(first)?;
    let Some((remaining, header)) = remaining_length(buffer)? else {
        return Ok(None);
    };
    let total = header + remaining;
    if total > limit {
        return Err(DecodeError::TooLarge(total));
    }
    if buffer.len() < total {
        return Ok(None);
    }
    let mut body = Body(buffer.split_to(total).freeze().split_off(header));
    let packet = packet(first, &mut body)?;
    body.end()?;
    Ok(Some(packet))
}

/// A stream that is no MQTT at all shows itself here, before it can make us wait for more.
fn check_first_byte(first: u8) -> Result<(), DecodeError> {
    let (kind, flags) = (first >> 4, first & 0x0f);
    match (kind, flags) {
        (0 | 15, _) => Err(Malformed("unknown packet type")),
        (3, _) | (6 | 8 | 10, 0b0010) | (1 | 2 | 4 | 5 | 7 | 9 | 11..=14, 0) => Ok(()),
        _ => Err(Malformed("reserved flags of the fixed header")),
    }
}

/// The length after the fixed header, and the length of that header.
fn remaining_length(buffer: &[u8]) -> Result<Option<(usize, usize)>, DecodeError> {
    let mut length = 0;
    for index in 0..4 {
        let Some(byte) = buffer.get(1 + index) else {
            return Ok(None);
        };
        length |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Ok(Some((length, 2 + index)));
        }
    }
    Err(Malformed("remaining length of more than four bytes"))
}

fn packet(first: u8, body: &mut Body) -> Result<Packet, DecodeError> {
    Ok(match first >> 4 {
        1 => Packet::Connect(Box::new(connect(body)?)),
        2 => connack(body)?,
        3 => Packet::Publish(publish(first & 0x0f, body)?),
        4 => Packet::PubAck(body.id()?),
        5 => Packet::PubRec(body.id()?),
        6 => Packet::PubRel(body.id()?),
        7 => Packet::PubComp(body.id()?),
        8 => subscribe(body)?,
        9 => suback(body)?,
        10 => unsubscribe(body)?,
        11 => Packet::UnsubAck(body.id()?),
        12 => Packet::PingReq,
        13 => Packet::PingResp,
        14 => Packet::Disconnect,
        _ => return Err(Malformed("unknown packet type")),
    })
}

fn connect(body: &mut Body) -> Result<Connect, DecodeError> {
    let name = body.binary()?;
    if !matches!(name.as_ref(), b"MQTT" | b"MQIsdp") {
        return Err(Malformed("protocol name"));
    }
    let level = body.byte()?;
    if level != 4 || name.as_ref() != b"MQTT" {
        // What follows is laid out differently in other versions: leave it unread.
        return Err(DecodeError::ProtocolVersion(level));
    }
    let flags = body.byte()?;
    let has = |bit: u8| flags & (1 << bit) != 0;
    if has(0) {
        return Err(Malformed("reserved connect flag"));
    }
    let keep_alive_s = body.u16()?;
    let client_id = body.text()?;
    let will_qos = flags >> 3 & 0b11;
    let will = if has(2) {
        qos(will_qos)?;
        let topic = topic_name(body)?;
        Some(Will {
            topic,
            payload: body.binary()?,
        })
    } else if will_qos != 0 || has(5) {
        return Err(Malformed("will flags without a will"));
    } else {
        None
    };
    if has(6) && !has(7) {
        return Err(Malformed("password without user name"));
    }
    Ok(Connect {
        client_id,
        clean_session: has(1),
        keep_alive_s,
        will,
        username: if has(7) { Some(body.text()?) } else { None },
        password: if has(6) { Some(body.binary()?) } else { None },
    })
}

fn connack(body: &mut Body) -> Result<Packet, DecodeError> {
    if body.byte()? > 1 {
        return Err(Malformed("connack flags"));
    }
    Ok(Packet::ConnAck(match body.byte()? {
        0 => ConnectCode::Accepted,
        1 => ConnectCode::BadProtocolVersion,
        2 => ConnectCode::IdentifierRejected,
        3 => ConnectCode::ServerUnavailable,
        4 => ConnectCode::BadCredentials,
        5 => ConnectCode::NotAuthorized,
        _ => return Err(Malformed("connack code")),
    }))
}

fn publish(flags: u8, body: &mut Body) -> Result<Publish, DecodeError> {
    let dup = flags & 0b1000 != 0;
    let topic = topic_name(body)?;
    let delivery = match qos(flags >> 1 & 0b11)? {
        Qos::Zero if dup => return Err(Malformed("DUP at QoS 0")),
        Qos::Zero => Delivery::Zero,
        Qos::One => Delivery::One(body.id()?),
        Qos::Two => Delivery::Two(body.id()?),
    };
    Ok(Publish {
        topic,
        payload: body.rest(),
        delivery,
        retain: flags & 1 != 0,
        dup,
    })
}

fn subscribe(body: &mut Body) -> Result<Packet, DecodeError> {
    let id = body.id()?;
    let mut filters = Vec::new();
    while !body.is_empty() {
        let filter = body.text()?;
        filters.push((filter, qos(body.byte()?)?));
    }
    if filters.is_empty() {
        return Err(Malformed("SUBSCRIBE without a filter"));
    }
    Ok(Packet::Subscribe { id, filters })
}

fn suback(body: &mut Body) -> Result<Packet, DecodeError> {
    let id = body.id()?;
    let mut granted = Vec::new();
    while !body.is_empty() {
        granted.push(match body.byte()? {
            0x80 => None,
            code => Some(qos(code)?),
        });
    }
    Ok(Packet::SubAck { id, granted })
}

fn unsubscribe(body: &mut Body) -> Result<Packet, DecodeError> {
    let id = body.id()?;
    let mut filters = Vec::new();
    while !body.is_empty() {
        filters.push(body.text()?);
    }
    if filters.is_empty() {
        return Err(Malformed("UNSUBSCRIBE without a filter"));
    }
    Ok(Packet::Unsubscribe { id, filters })
}

fn qos(number: u8) -> Result<Qos, DecodeError> {
    match number {
        0 => Ok(Qos::Zero),
        1 => Ok(Qos::One),
        2 => Ok(Qos::Two),
        _ => Err(Malformed("quality of service")),
    }
}

fn topic_name(body: &mut Body) -> Result<String, DecodeError> {
    let topic = body.text()?;
    if topic.is_empty() || topic.contains(['+', '#']) {
        return Err(Malformed("topic name"));
    }
    Ok(topic)
}

/// What follows the fixed header; every read is checked against its end.
struct Body(Bytes);

impl Body {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn byte(&mut self) -> Result<u8, DecodeError> {
        self.0.try_get_u8().map_err(|_| Malformed("packet ends early"))
    }

    fn u16(&mut self) -> Result<u16, DecodeError> {
        self.0.try_get_u16().map_err(|_| Malformed("packet ends early"))
    }

    fn id(&mut self) -> Result<PacketId, DecodeError> {
        PacketId::new(self.u16()?).ok_or(Malformed("packet identifier 0"))
    }

    fn binary(&mut self) -> Result<Bytes, DecodeError> {
        let length = usize::from(self.u16()?);
        if length > self.0.len() {
            return Err(Malformed("packet ends early"));
        }
        Ok(self.0.split_to(length))
    }

    fn text(&mut self) -> Result<String, DecodeError> {
        let text = String::from_utf8(self.binary()?.into()).map_err(|_| Malformed("text is not UTF-8"))?;
        if text.contains('\0') {
            return Err(Malformed("text with U+0000"));
        }
        Ok(text)
    }

    fn rest(&mut self) -> Bytes {
        self.0.split_off(0)
    }

    fn end(&self) -> Result<(), DecodeError> {
        if self.is_empty() {
            Ok(())
        } else {
            Err(Malformed("bytes after the end of the packet"))
        }
    }
}
