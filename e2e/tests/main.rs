//! The real binaries together, seen from where a person stands.

#[path = "parts/commands.rs"]
mod commands;
#[path = "parts/implement.rs"]
mod implement;
#[path = "parts/recovery.rs"]
mod recovery;
