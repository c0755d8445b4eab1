//! More than the system can take: floods of output, readers that never read, storms of
//! requests. Memory stays bounded, what is left out is marked, everything else goes on.
//!
//! `make test` runs a short form; `AGENTD_OVERLOAD=100` (`make overload`) the whole,
//! smaller numbers that many percent of it.

mod output;
mod readers;
mod storm;

use std::{fs, io::Write as _, process::Child};

use e2e::Controller;

/// The most that `agentd` may ever hold in memory, in kB: 80 MB.
const CONTROLLER_KB: u64 = 80_000;
/// The most that `agent-worker` may ever hold, in kB: 64 MB.
const WORKER_KB: u64 = 64_000;

/// How much of something: in the short form, and in the whole one.
fn size(short: u64, whole: u64) -> u64 {
    let percent = std::env::var("AGENTD_OVERLOAD").ok();
    let percent: Option<u64> = percent.map(|text| text.parse().expect("AGENTD_OVERLOAD is a percentage"));
    percent.map_or(short, |percent| (whole * percent / 100).max(short))
}

/// Says a figure to the terminal itself, whether the test fails or not.
fn say(figure: &str) {
    let _ = writeln!(std::io::stderr(), "overload: {figure}");
}

/// The most that a process has ever held in memory, in kB, must be within `limit`.
fn held_at_most(name: &str, process: &Child, limit: u64) {
    let status = fs::read_to_string(format!("/proc/{}/status", process.id())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    let peak: u64 = peak.expect("the kernel tells the peak");
    say(&format!("{name} held at most {:.1} MB", peak as f64 / 1000.0));
    assert!(peak <= limit, "{name} held {peak} kB, more than {limit} kB");
}

/// Submits a shell script as a job and answers its number.
fn submit(controller: &Controller, script: &str) -> u64 {
    let submitted = controller.ctl(&["submit", "run", "--", "/bin/sh", "-c", script]);
    assert!(submitted.status.success(), "{submitted:?}");
    let text = String::from_utf8_lossy(&submitted.stdout);
    let number = text.split_whitespace().find_map(|word| word.parse().ok());
    number.unwrap_or_else(|| panic!("no number in {text:?}"))
}
