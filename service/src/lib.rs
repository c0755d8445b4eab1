//! The shell of a long-lived process: configuration, logging, metrics,
//! shutdown, tasks, clock, secrets, TLS, the state folder, its last room and systemd.
//!
//! Knows nothing of jobs, workers or topics, and depends on nothing of ours.

pub mod ballast;
pub mod clock;
pub mod config;
pub mod mask;
pub mod obs;
pub mod secret;
pub mod shutdown;
pub mod state_dir;
pub mod supervisor;
pub mod tasks;
pub mod tls;
