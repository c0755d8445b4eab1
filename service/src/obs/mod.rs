//! What a process says of itself: log lines and metrics.

pub mod log;
pub mod metrics;
