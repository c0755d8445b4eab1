//! Faults on the real binaries: killed, stopped, cut off, without power, without room.
//!
//! Clients write down what they were told; in the end that is compared with what the
//! database, the blobs and the side effects of commands hold. `make test` runs a short
//! form; `AGENTD_CHAOS=100` (`make chaos`) the whole, smaller numbers that many percent
//! of it. `AGENTD_SEED` repeats the faults of a run, as far as real processes repeat.

mod cable;
mod clocks;
mod disk;
mod forged;
mod frozen;
mod history;
mod idle;
mod kills;
mod network;
mod orphans;
mod power;
mod proxy;
mod room;
mod scene;
mod stops;
mod storm;
mod strace;
mod syncs;
mod verdict;

use std::{
    io::Write as _,
    time::{Duration, Instant},
};

use e2e::{Controller, http};

/// How often to do something: in the short form, and in the whole one.
fn size(short: u64, whole: u64) -> u64 {
    let percent = std::env::var("AGENTD_CHAOS").ok();
    let percent: Option<u64> = percent.map(|text| text.parse().expect("AGENTD_CHAOS is a percentage"));
    percent.map_or(short, |percent| (whole * percent / 100).max(short))
}

/// The seed of `AGENTD_SEED`, else a new one.
fn seed() -> u64 {
    let given = std::env::var("AGENTD_SEED").ok();
    let given = given.map(|text| text.parse().expect("AGENTD_SEED is a number"));
    given.unwrap_or_else(|| uuid::Uuid::new_v4().as_u64_pair().0)
}

/// SHA-256 as the API writes it.
fn hash(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    let digest = sha2::Sha256::digest(bytes);
    protocol::artifact::Sha256(digest.into()).to_string()
}

/// Says a figure to the terminal itself, whether the test fails or not.
fn say(figure: &str) {
    let _ = writeln!(std::io::stderr(), "chaos: {figure}");
}

/// Starts the controller and measures how long it takes until it answers.
fn start(controller: &mut Controller) -> Duration {
    controller.spawn();
    let began = Instant::now();
    let headers = http::bearer(&controller.token());
    loop {
        let second = Duration::from_secs(1);
        let answer = http::try_request(controller.http(), "GET", "/v1/status", &headers, b"", second);
        if answer.is_ok_and(|answer| answer.status == 200) {
            return began.elapsed();
        }
        let ended = controller.process().try_wait().expect("a child");
        assert_eq!(ended, None, "agentd ended by itself: {}", controller.log());
        assert!(
            began.elapsed() < Duration::from_secs(30),
            "agentd does not answer"
        );
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The middle and the largest of some times.
fn spread(times: &mut [Duration]) -> String {
    times.sort_unstable();
    let (middle, most) = (times[times.len() / 2], times[times.len() - 1]);
    format!("p50 {} ms, max {} ms", middle.as_millis(), most.as_millis())
}
