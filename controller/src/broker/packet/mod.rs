//! MQTT 3.1.1 on the wire, strictly: what is not valid is an error, never a
//! guess, and never a panic.
//!
//! Both directions are here, because the watchdog and the tests are clients.
//! This module knows bytes and nothing else: no sockets, no rules of ours.

mod decode;
mod encode;
#[cfg(test)]
mod tests;

use std::num::NonZeroU16;

use bytes::Bytes;

pub(super) use decode::{DecodeError, decode};
pub(super) use encode::encode;

/// The identifier of a packet that wants an answer.
pub(super) type PacketId = NonZeroU16;

/// Quality of service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Qos {
    /// Sent once, perhaps lost.
    Zero = 0,
    /// Sent until acknowledged.
    One = 1,
    /// Sent with a handshake of two steps.
    Two = 2,
}

/// One control packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Packet {
    /// Client: let me in.
    Connect(Box<Connect>),
    /// Server: you are in, or not. A session of an earlier connection is never present.
    ConnAck(ConnectCode),
    /// Either: a message.
    Publish(Publish),
    /// Either: a QoS 1 message arrived.
    PubAck(PacketId),
    /// Either: a QoS 2 message arrived.
    PubRec(PacketId),
    /// Either: the arrival was noted.
    PubRel(PacketId),
    /// Either: and that, too.
    PubComp(PacketId),
    /// Client: send me what these filters match.
    Subscribe {
        /// Its identifier.
        id: PacketId,
        /// Filter and wished-for quality, at least one.
        filters: Vec<(String, Qos)>,
    },
    /// Server: one code per filter.
    SubAck {
        /// Of the SUBSCRIBE.
        id: PacketId,
        /// The granted quality, or `None` for a refusal.
        granted: Vec<Option<Qos>>,
    },
    /// Client: no more of these.
    Unsubscribe {
        /// Its identifier.
        id: PacketId,
        /// At least one.
        filters: Vec<String>,
    },
    /// Server: done.
    UnsubAck(PacketId),
    /// Client: are you there?
    PingReq,
    /// Server: yes.
    PingResp,
    /// Client: I am going, forget my will.
    Disconnect,
}

/// The first packet of a client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Connect {
    /// May be empty.
    pub(super) client_id: String,
    /// Whether the client wants no earlier session.
    pub(super) clean_session: bool,
    /// Seconds; 0 switches the check off.
    pub(super) keep_alive_s: u16,
    /// What to publish when the client dies.
    pub(super) will: Option<Will>,
    /// Who it says it is.
    pub(super) username: Option<String>,
    /// The secret.
    pub(super) password: Option<Bytes>,
}

/// See [`Connect::will`]; its quality is of no interest, because only we consume wills.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Will {
    /// Where to.
    pub(super) topic: String,
    /// What.
    pub(super) payload: Bytes,
}

/// The answer to a CONNECT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ConnectCode {
    /// Welcome.
    Accepted = 0,
    /// Another version of MQTT.
    BadProtocolVersion = 1,
    /// The client id is not allowed.
    IdentifierRejected = 2,
    /// Not now.
    ServerUnavailable = 3,
    /// Wrong user name or password.
    BadCredentials = 4,
    /// No credential at all.
    NotAuthorized = 5,
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Publish {
    /// Where to; never empty, no wildcards.
    pub(super) topic: String,
    /// What.
    pub(super) payload: Bytes,
    /// Quality with the identifier that belongs to it.
    pub(super) delivery: Delivery,
    /// Whether it is (to be) kept for later subscribers.
    pub(super) retain: bool,
    /// Whether it was sent before.
    pub(super) dup: bool,
}

/// How a message travels: only QoS 1 and 2 have an identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Delivery {
    /// QoS 0.
    Zero,
    /// QoS 1.
    One(PacketId),
    /// QoS 2.
    Two(PacketId),
}
