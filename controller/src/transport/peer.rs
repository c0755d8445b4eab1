//! The other end of a connection.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use service::tls::Fingerprint;

use super::Connection;

/// How a connection came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Without encryption, from this machine.
    Plain,
    /// Over TLS.
    Tls {
        /// The certificate that the client has proved to be its own. Our authority signed it;
        /// whether it still opens anything, a table says.
        certificate: Option<Fingerprint>,
    },
}

/// Who is there, as far as the connection itself says so.
#[derive(Clone, Debug)]
pub struct Peer {
    /// From where.
    pub ip: IpAddr,
    /// How.
    pub transport: Transport,
    /// The connection itself, where it can be cut from outside.
    pub connection: Option<Arc<Connection>>,
}

impl Peer {
    /// At the other end of a plain connection.
    pub const fn plain(ip: IpAddr) -> Self {
        Self {
            ip,
            transport: Transport::Plain,
            connection: None,
        }
    }

    /// Whoever comes without an address: our own tests of routes.
    pub const fn local() -> Self {
        Self::plain(IpAddr::V4(Ipv4Addr::LOCALHOST))
    }

    /// The certificate that it has shown.
    pub const fn certificate(&self) -> Option<Fingerprint> {
        match self.transport {
            Transport::Tls { certificate } => certificate,
            Transport::Plain => None,
        }
    }

    /// Whether what is said cannot be overheard.
    pub const fn is_encrypted(&self) -> bool {
        matches!(self.transport, Transport::Tls { .. })
    }
}
