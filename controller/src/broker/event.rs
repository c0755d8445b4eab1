//! What the broker tells the rest of the controller.

use std::net::IpAddr;

use bytes::Bytes;
use protocol::{
    codec::Envelope,
    id::WorkerId,
    message::{FromWorker, LogTail},
};
use tokio::sync::mpsc;

use crate::{authorize::Identity, denials::Denials};

/// About workers, in the order in which it happened to each of them.
#[derive(Clone, Debug, PartialEq)]
pub enum BrokerEvent {
    /// A worker has logged in.
    WorkerConnected {
        /// Who.
        worker: WorkerId,
        /// Counts up over all connections since the broker's start.
        connection: u64,
    },
    /// A worker's connection has ended. When another one took its place, that
    /// one's `WorkerConnected` may in rare cases come first: compare `connection`.
    WorkerDisconnected {
        /// Who.
        worker: WorkerId,
        /// Which connection.
        connection: u64,
        /// How.
        end: ConnectionEnd,
    },
    /// A worker says something on its own topic.
    Message {
        /// Whose credential the connection has.
        worker: WorkerId,
        /// Which connection.
        connection: u64,
        /// What.
        envelope: Box<Envelope<FromWorker>>,
    },
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionEnd {
    /// The client said DISCONNECT.
    Goodbye,
    /// The client's host closed it: FIN or RST.
    ClosedByHost,
    /// Nothing came in time, or the network gave up.
    Silent,
    /// The client did not take what waited for it.
    Stalled,
    /// The client sent what is not MQTT 3.1.1.
    ProtocolError,
    /// The same credential connected with the same client id again.
    Replaced,
    /// We closed it: its worker was removed or its token revoked.
    Kicked,
    /// The broker stops.
    Stopping,
}

impl ConnectionEnd {
    /// Whether the other host itself ended the connection: its process is gone or said so.
    pub const fn by_host(self) -> bool {
        matches!(self, Self::Goodbye | Self::ClosedByHost)
    }

    /// Whether the client died, as far as a will is concerned.
    pub(super) const fn is_death(self) -> bool {
        matches!(
            self,
            Self::ClosedByHost | Self::Silent | Self::Stalled | Self::ProtocolError
        )
    }
}

/// What a person or a program says to the controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandIn {
    /// Who, with the scopes that decide what of it is allowed.
    pub identity: Identity,
    /// From where, for audit.
    pub peer: IpAddr,
    /// On which topic.
    pub topic: CommandTopic,
    /// What, not looked at yet.
    pub payload: Bytes,
}

/// The topics that clients may publish to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandTopic {
    /// `agentd/command`.
    Command,
    /// `homeassistant/status`: its birth and will.
    HomeAssistantStatus,
}

/// A piece of a live log; any may be missing.
#[derive(Clone, Debug, PartialEq)]
pub struct LogIn {
    /// Whose credential the connection has.
    pub worker: WorkerId,
    /// What.
    pub envelope: Envelope<LogTail>,
}

/// Where the broker puts what comes in; all bounded by whoever made them.
#[derive(Clone, Debug)]
pub struct Outlets {
    /// About workers. When it is full, their connections wait.
    pub events: mpsc::Sender<BrokerEvent>,
    /// Commands. When it is full, their connections wait.
    pub commands: mpsc::Sender<CommandIn>,
    /// Live logs. When it is full, pieces are dropped and counted.
    pub logs: mpsc::Sender<LogIn>,
    /// What was refused, for the audit log.
    pub denials: Denials,
}
