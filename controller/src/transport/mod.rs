//! What HTTP and MQTT share of a connection: who is at its other end, TLS, and the
//! bounds on those who have not said who they are.
//!
//! Knows certificates by their fingerprint and nothing of whom they belong to.

mod bounded;
mod connections;
mod handshake;
mod listener;
mod peer;
mod waiting;

pub use self::{
    bounded::{Bounded, Placed, Places},
    connections::{Connection, Connections},
    handshake::{Acceptor, HandshakeError},
    listener::{Cuttable, PlainListener, TlsListener},
    peer::{Peer, Transport},
    waiting::{Ticket, Waiting},
};
