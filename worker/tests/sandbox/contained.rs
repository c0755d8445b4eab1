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

use super::{Yard, fenced::Fence, run, skip};

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

/// Most processes that the bomb below can make, whatever holds it: a tree of ten generations.
const BOMB: u32 = 512;

/// A bomb that is no danger if nothing holds it: it makes [`BOMB`] processes, which live for
/// some seconds, and stands in a group of the test's own besides.
#[tokio::test]
async fn a_fork_bomb_is_contained() {
    for yard in Yard::each().await {
        let fence = Fence::of(BOMB + 64);
        if fence.is_none() && !yard.sandbox.controllers().contains(&"pids") {
            return skip("a fork bomb is thrown only where a control group holds it");
        }
        let word = format!("2{}", rand_digits() % 10_000);
        let bomb = format!(
            "b() {{ sleep 30.{word} & if [ $1 -gt 0 ]; then b $(($1-1)) & b $(($1-1)) & fi; wait; }}; b 7"
        );
        let mut limits = Limits::default().time(Duration::from_secs(60));
        limits.processes = 60;
        let began = Instant::now();
        let result = run(yard.exec(&["bash", "-c", &bomb]).limits(limits)).await;
        let took = began.elapsed();
        let refusals = fence.as_ref().map(Fence::refusals).unwrap_or_default();
        say(&format!(
            "{}: the bomb ended as {:?} after {took:.1?}; the fence of the test: {}",
            yard.sandbox,
            result.end,
            refusals.trim()
        ));
        assert_eq!(result.end, End::Processes, "{}: {result:?}", yard.sandbox);
        assert_eq!(processes_with(&format!("30.{word}")), 0, "{}", yard.sandbox);
        assert!(yard.sh("echo healthy").await.success());
    }
}

#[tokio::test]
async fn much_output_is_cut_and_costs_no_memory() {
    for yard in Yard::each().await {
        let before = resident_kib();
        let began = Instant::now();
        let result = run(yard
            .exec(&["head", "-c", "10000000000", "/dev/zero"])
            .limits(Limits::default().time(Duration::from_secs(3))))
        .await;
        let (took, grown) = (began.elapsed(), resident_kib().saturating_sub(before));
        say(&format!(
            "{}: 10 GB of output {} in {took:.1?}, {grown} KiB more memory",
            yard.sandbox,
            result.ending()
        ));
        assert!(result.stdout.bytes().len() < 32 << 20);
        // the other tests of this process have their share in it
        assert!(grown < 256 << 10, "{grown} KiB");
        // it never ends by itself: three seconds, the grace of two, and what a busy machine adds
        assert!(took < Duration::from_secs(30), "{took:?}");
        assert!(yard.sh("echo healthy").await.success());
    }
}

#[tokio::test]
async fn a_group_of_the_kernel_holds_what_a_command_starts() {
    let Some(yard) = Yard::strong().await else { return };
    if yard.sandbox.controllers().is_empty() {
        return skip(yard.sandbox.uncounted().unwrap_or_default());
    }
    let result = yard.sh("cat /proc/self/cgroup").await;
    let said = result.stdout.text();
    // in a namespace of its own the tool sees its group as the top
    assert!(said.contains("0::/\n"), "{said}");
    let mut limits = Limits::default().time(Duration::from_secs(20));
    limits.memory = 64 << 20;
    if yard.sandbox.controllers().contains(&"memory") {
        // each has less than a process may have, all together more
        let hog = "a = bytearray(30 << 20); import time; time.sleep(15)";
        let script = format!("for i in 1 2 3 4; do python3 -c '{hog}' & done; wait");
        let result = run(yard.exec(&["bash", "-c", &script]).limits(limits)).await;
        assert_eq!(result.end, End::Memory, "{result:?}");
    }
}

/// This process's memory.
fn resident_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("a file");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.expect("a number")
}

#[expect(clippy::print_stderr, reason = "a figure for people")]
fn say(line: &str) {
    eprintln!("{line}");
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
