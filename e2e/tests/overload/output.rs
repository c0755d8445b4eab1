//! Steps that print more than anybody wants to read.

use std::fs;

use e2e::{Controller, Lab};

use crate::{CONTROLLER_KB, WORKER_KB, held_at_most, say, size, submit};

/// What is kept of a log: 16 MiB, and the marks of what was cut.
const LOG_BYTES: usize = (16 << 20) + (64 << 10);

/// The whole log of a job's only step.
fn log_of(controller: &Controller, job: u64) -> String {
    let job = controller.job(job);
    let attempt = &job["steps"][0]["attempts"][0]["id"];
    let attempt = attempt.as_str().unwrap_or_else(|| panic!("no attempt: {job}"));
    fs::read_to_string(controller.state.join(format!("logs/{attempt}.log"))).expect("a log")
}

fn succeeds(controller: &Controller, job: u64) {
    let ended = controller.ctl(&["wait", &job.to_string(), "--timeout", "5m"]);
    assert_eq!(ended.status.code(), Some(0), "{}", controller.job(job));
}

/// A log that begins and ends as the step did, has a mark where something is missing,
/// and is no larger than a log may be.
fn is_kept(what: &str, log: &str, first: &str, last: &str) {
    let words = |line: Option<&str>| line.unwrap_or_default().chars().take(200).collect::<String>();
    let (begin, end) = (words(log.lines().next()), words(log.lines().last()));
    say(&format!("{what}: {} bytes of its log are kept", log.len()));
    assert!(begin.ends_with(first), "{what} begins with {begin:?}");
    assert!(end.ends_with(last), "{what} ends with {end:?}");
    assert!(log.len() <= LOG_BYTES, "{what}: {} bytes", log.len());
}

fn is_marked(log: &str) -> bool {
    log.contains("left out of the log here") || log.contains("bytes were cut here")
}

#[test]
fn a_flood_of_output_costs_little_memory_and_other_jobs_go_on() {
    let lab = Lab::new();
    let mut controller = lab.controller("");
    let mut worker = lab.worker(&controller, "one");
    let bytes = size(50_000_000, 1_000_000_000);
    let line = "a line of a flood, with its number left out".repeat(2);
    let flood = submit(
        &controller,
        &format!("echo first; yes '{line}' | head -c {bytes}; echo; echo last"),
    );

    // both slots print; small jobs take their turns between
    let long = size(10_000_000, 100_000_000);
    let one_line = submit(
        &controller,
        &format!("echo first; head -c {long} /dev/zero | tr '\\0' x; echo; echo last"),
    );
    let lines = size(200_000, 3_000_000);
    let many = submit(&controller, &format!("echo first; seq 1 {lines}; echo last"));
    for _ in 0..3 {
        let small = submit(&controller, "echo small");
        succeeds(&controller, small);
    }
    succeeds(&controller, one_line);
    succeeds(&controller, many);
    succeeds(&controller, flood);

    let log = log_of(&controller, flood);
    is_kept(&format!("{bytes} bytes"), &log, " out first", " out last");
    assert!(is_marked(&log), "nothing says that something is missing");
    let log = log_of(&controller, one_line);
    is_kept(
        &format!("a line of {long} bytes"),
        &log,
        " out first",
        " out last",
    );
    assert!(
        log.contains("bytes more in this line]"),
        "nothing says that the line was longer"
    );
    let log = log_of(&controller, many);
    is_kept(&format!("{lines} lines"), &log, " out first", " out last");
    assert!(is_marked(&log) || log.lines().count() as u64 >= lines + 2);

    held_at_most("agentd", controller.process(), CONTROLLER_KB);
    held_at_most("agent-worker", worker.process(), WORKER_KB);
}
