//! End-to-end tests: the real binaries on free ports with temporary folders,
//! against a scripted model server that speaks real HTTP.
//!
//! Never part of the product. Nothing here sleeps to hide a race: tests wait on
//! conditions with [`eventually`].

pub mod answers;
pub mod chance;
pub mod damage;
pub mod fixture;
pub mod held;
pub mod hostile;
pub mod http;
pub mod jobs;
pub mod lab;
pub mod llama;
pub mod model;
pub mod namespace;
pub mod repo;
pub mod screen;
pub mod terminal;

use std::{
    io::Write as _,
    time::{Duration, Instant},
};

pub use chance::Chance;
pub use lab::{Controller, Lab, Worker, machine_has_a_sandbox};

/// How long a test waits for something that must happen.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// Asks until there is an answer; panics with `what` when patience is over.
pub fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(begun.elapsed() < PATIENCE, "waited {PATIENCE:?} for {what}");
        std::thread::sleep(Duration::from_millis(25));
    }
}

/// Says what is not tested here and why, to the terminal itself: what a test prints in
/// the usual way is only shown when it fails.
pub fn skip(why: &str) {
    let _ = writeln!(std::io::stderr(), "SKIP: {why}");
}
