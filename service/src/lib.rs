//! The shell of a long-lived process: configuration, logging, metrics,
//! shutdown, tasks, clock, secrets, TLS and the state folder.
//!
//! Knows nothing of jobs, workers or topics, and depends on nothing of ours.

pub mod clock;
pub mod config;
pub mod mask;
pub mod obs;
pub mod secret;
pub mod shutdown;
pub mod state_dir;
pub mod tasks;
pub mod tls;
