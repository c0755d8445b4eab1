//! The controller: holds the truth about every job in SQLite, embeds an MQTT
//! broker, serves the HTTP API and the dashboard.

pub mod announce;
pub mod api;
pub mod app;
pub mod artifact;
pub mod authorize;
pub mod backup;
pub mod broker;
pub mod certificates;
pub mod cli;
pub mod config;
pub mod credentials;
pub mod dashboard;
pub mod denials;
pub mod dispatch;
pub mod engine;
pub mod first_start;
pub mod hidden;
pub mod inbound;
pub mod keep;
pub mod lapse;
pub mod orchestrator;
pub mod plausible;
pub mod public;
pub mod pulse;
pub mod queue;
pub mod removal;
pub mod retention;
pub mod seal;
pub mod state;
pub mod telemetry;
pub mod transport;
pub mod workflow;
