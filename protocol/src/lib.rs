//! What two agentd processes must agree on, and nothing else: ids, states,
//! MQTT topics and messages, HTTP types, workflow types.
//!
//! No I/O, no clock, no business logic: a type here means the same in the
//! controller, the worker and the command line.

pub mod approval;
pub mod artifact;
pub mod codec;
pub mod documents;
pub mod duration;
pub mod event;
pub mod guard;
pub mod http;
pub mod id;
pub mod job;
pub mod label;
pub mod message;
pub mod model;
pub mod provider;
pub mod public;
pub mod sandbox;
pub mod schema;
pub mod secret;
pub mod spec;
pub mod step;
pub mod text;
pub mod topic;
pub mod usage;
pub mod worker;
