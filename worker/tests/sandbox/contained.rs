//! What tools do with processes, time and output ends with them.

use std::{
    fs,
    time::{Duration, Instant},
};

use protocol::message::CancelReason;
use worker::{
    log::LogSink,
    steps::Stop,
    tools::exec::{End, Limits},
};

use super::{Yard, run};

/// Processes of this machine whose command line holds the word.
fn processes_with(word: &str) -> usize {
    let own = std::process::id().to_string();
    let entries = fs::read_dir("/proc").expect("a folder").flatten();
    entries
        .filter(|entry| entry.file_name().to_str() != Some(&own))
        .filter(|entry| {
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains(word)
        })
        .count()
}

#[tokio::test]
async fn a_daemon_that_leaves_its_group_ends_with_its_command() {
    for yard in Yard::each().await {
        let word = format!("3{}", rand_digits());
        let script = format!("setsid -f sleep {word}; (setsid sleep {word} &) ; sleep 0.1");
        let result = yard.sh(&script).await;
        assert!(result.success(), "{}: {}", yard.sandbox, result.stderr.text());
        assert_eq!(processes_with(&word), 0, "{}", yard.sandbox);
    }
}

#[tokio::test]
async fn a_child_that_ignores_sigterm_is_gone_after_the_grace() {
    for yard in Yard::each().await {
        let word = format!("4{}", rand_digits());
        let stop = Stop::default();
        let exec = yard.exec(&[
            "sh",
            "-c",
            &format!("trap '' TERM; echo up; while :; do sleep {word}; done"),
        ]);
        let grace = Duration::from_millis(500);
        let ended = async {
            while processes_with(&word) == 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            let asked = Instant::now();
            stop.request(CancelReason::User, grace);
            asked
        };
        let ended = async {
            tokio::time::timeout(Duration::from_secs(30), ended)
                .await
                .expect("it began")
        };
        let log = LogSink::discard();
        let (result, asked) = tokio::join!(exec.run(&log, &stop), ended);
        let result = result.expect("it started");
        assert_eq!(result.end, End::Stopped, "{}", yard.sandbox);
        assert!(
            asked.elapsed() < grace + Duration::from_secs(2),
            "{:?}",
            asked.elapsed()
        );
        assert_eq!(processes_with(&word), 0, "{}", yard.sandbox);
    }
}

#[tokio::test]
async fn a_polite_program_gets_to_clean_up() {
    for yard in Yard::each().await {
        let stop = Stop::default();
        let script = "trap 'echo cleaned; exit 7' TERM; touch up; while :; do sleep 0.05; done";
        let exec = yard.exec(&["bash", "-c", script]);
        let up = yard.tree().join("up");
        let ended = async {
            while !up.exists() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            stop.request(CancelReason::User, Duration::from_secs(20));
        };
        let log = LogSink::discard();
        let (result, ()) = tokio::join!(exec.run(&log, &stop), ended);
        let result = result.expect("it started");
        assert_eq!(
            (result.exit, result.stdout.text().as_str()),
            (Some(7), "cleaned\n"),
            "{}",
            yard.sandbox
        );
        let _ = fs::remove_file(up);
    }
}

#[tokio::test]
async fn much_output_is_cut_and_costs_no_memory() {
    let Some(yard) = Yard::strong().await else { return };
    let result = run(yard
        .exec(&["head", "-c", "10000000000", "/dev/zero"])
        .limits(Limits::default().time(Duration::from_secs(3))))
    .await;
    assert!(result.stdout.bytes().len() < 32 << 20);
    assert!(yard.sh("echo healthy").await.success());
}

#[tokio::test]
async fn a_signal_is_told_from_an_exit_code() {
    for yard in Yard::each().await {
        let result = yard.sh("kill -9 $$").await;
        assert_eq!((result.exit, result.signal), (None, Some(9)), "{}", yard.sandbox);
        let result = yard.sh("echo out; echo err >&2; exit 3").await;
        assert_eq!((result.exit, result.signal), (Some(3), None), "{}", yard.sandbox);
        assert_eq!(
            (result.stdout.text().as_str(), result.stderr.text().as_str()),
            ("out\n", "err\n")
        );
    }
}

/// A number that nobody else sleeps for.
fn rand_digits() -> u32 {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    100_000 + std::process::id() % 90_000 * 10 + NEXT.fetch_add(1, Ordering::Relaxed) % 10
}
