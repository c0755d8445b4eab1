//! The MQTT broker: our own front door, and rumqttd's router behind it.
//!
//! No client ever reaches the router: every connection ends in a session of
//! ours, which speaks MQTT 3.1.1 strictly, checks each topic and filter, and owns
//! wills, packet identifiers and acknowledgements. Messages of workers do not
//! even pass the router: they go straight to the engine's channel, and the
//! engine's straight into the session of that worker.
//!
//! The broker knows nobody above it: what comes in goes into the channels of
//! [`Outlets`], credentials are checked by an [`Authenticate`], retained
//! summaries are built by a [`Summaries`]. It remembers nothing over a restart,
//! and nothing rests on its deliveries: MQTT is a doorbell.
//!
//! ```text
//! front ── login ── session ─┬─ incoming ──▶ Outlets (engine, commands, logs)
//!  (listener)  (CONNECT)     │      └──────▶ router ──▶ sessions of readers
//!                            └─ outgoing ◀── registry (queues of workers), router
//! ```

mod acl;
mod config;
mod event;
mod front;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod incoming;
mod interest;
mod link;
mod login;
mod outgoing;
mod packet;
mod rate;
mod registry;
mod router;
mod running;
mod session;
mod stats;
#[cfg(test)]
mod tests;
mod topics;
mod watchdog;
mod wire;

pub use config::BrokerConfig;
pub use event::{BrokerEvent, CommandIn, CommandTopic, ConnectionEnd, LogIn, Outlets};
pub use link::{LinkError, WorkerLink};
pub use login::{Authenticate, Presented, Refused};
pub use registry::NotSent;
pub use router::RouterGone;
pub use running::{Broker, BrokerControl, BrokerFailure, StartError};
pub use stats::BrokerStats;
pub use topics::{MAX_PUBLIC_PAYLOAD, NoSummaries, PublishError, Publisher, Summaries, Summary};
pub use watchdog::Echo;
