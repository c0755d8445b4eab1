//! What the broker is told by its owner.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

/// Settings of the front door; the default is a broker for one machine.
#[derive(Clone, Debug)]
pub struct BrokerConfig {
    /// Where to listen, on loopback only, as this is without TLS; port 0 asks the kernel.
    pub listen: SocketAddr,
    /// Logged-in connections at most (`limits.mqtt_connections`).
    pub mqtt_connections: usize,
    /// Connections of one address that have not logged in yet, at most.
    pub waiting_per_address: usize,
    /// How long a connection may take to say CONNECT, and we to check its credential.
    pub login_timeout: Duration,
    /// How long a client may take none of the bytes that wait for it.
    pub stall_timeout: Duration,
    /// How often the watchdog sends its probe, and how long it waits for it.
    pub probe_every: Duration,
    /// Packets per second of a worker, acknowledgements excepted; what is over waits in TCP.
    pub worker_rate: f64,
    /// Packets per second of a person or a program.
    pub client_rate: f64,
}

impl Default for BrokerConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 1883)),
            mqtt_connections: 256,
            waiting_per_address: 20,
            login_timeout: Duration::from_secs(5),
            stall_timeout: Duration::from_secs(30),
            probe_every: Duration::from_secs(10),
            // Above what one worker of no-op jobs sends, far below what would hurt.
            worker_rate: 20_000.0,
            // Commands, subscriptions and pings of a person or a program.
            client_rate: 200.0,
        }
    }
}

/// Largest packet before login, in bytes.
pub(super) const MAX_LOGIN_PACKET: usize = 64 * 1024;
/// Largest packet after login, in bytes.
pub(super) const MAX_PACKET: usize = 256 * 1024;
