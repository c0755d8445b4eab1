//! One machine's part of agentd: takes attempts over MQTT, runs agents, models
//! and tools in workspaces, and never gives up a finished result.

pub mod access;
pub mod agents;
pub mod app;
pub mod attempt;
pub mod cli;
pub mod config;
pub mod credential;
pub mod discovery;
pub mod folder;
pub mod inventory;
pub mod join;
pub mod journal;
pub mod leftovers;
pub mod link;
pub mod llm;
pub mod log;
pub mod outbox;
pub mod pulse;
pub mod renewal;
pub mod sandbox;
pub mod session;
pub mod slots;
pub mod steps;
pub mod telemetry;
#[cfg(test)]
mod testing;
pub mod tools;
pub mod upload;
pub mod workspace;
