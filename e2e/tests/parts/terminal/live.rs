//! `agentctl run` on a terminal, in a pipe, and left with Ctrl-C.

use std::process::{Command, Stdio};

use e2e::{
    Lab, eventually,
    held::Held,
    lab::binary,
    terminal::{CTRL_C, Terminal, frames, is_painted, plain},
};

use super::{reaches, stderr, stdout};

#[test]
fn a_terminal_shows_a_live_tree_and_ends_with_three_lines() {
    let lab = Lab::without_sandbox();
    let controller = lab.controller("");
    let _worker = lab.worker(&controller, "one");
    let held = Held::new(&lab, 0);
    let terminal = Terminal::start(&controller, &held.line("run"), &[]);
    terminal.shows("● running");
    held.let_go();
    let (code, written) = terminal.end();
    assert_eq!(code, Some(0), "{written}");

    let drawn = frames(&written);
    assert!(drawn.len() > 1, "redrawn: {written:?}");
    assert!(written.contains("\u{1b}[J"), "in place: {written:?}");
    let has_rows = |frame: &String, rows: [&str; 3]| rows.iter().all(|row| frame.contains(row));
    assert!(
        drawn
            .iter()
            .any(|frame| has_rows(frame, ["job 1 · run", "STEP ", "● running"])),
        "{drawn:#?}"
    );
    let last = drawn.last().expect("a frame");
    assert!(has_rows(last, ["succeeded", "✓ succeeded", "one"]), "{last}");
    assert!(is_painted(&written), "{written:?}");
    let (hidden, shown) = (written.rfind("\u{1b}[?25l"), written.rfind("\u{1b}[?25h"));
    assert!(
        hidden.is_some() && hidden < shown,
        "the cursor is back: {written:?}"
    );
    let after = plain(&written);
    let tail: Vec<&str> = after.lines().rev().take(3).collect();
    assert!(tail[2].starts_with("job 1 succeeded after"), "{tail:?}");
    assert_eq!(tail[1], "no error");
    assert_eq!(tail[0], "next: agentctl logs 1");
    assert!(
        drawn
            .iter()
            .flat_map(|frame| frame.lines())
            .all(|line| line.chars().count() <= 100),
        "nothing wraps: {drawn:#?}"
    );
}

#[test]
fn no_color_keeps_the_live_tree_and_a_dumb_terminal_gets_lines() {
    let lab = Lab::without_sandbox();
    let controller = lab.controller("");
    let _worker = lab.worker(&controller, "one");
    let line = "agentctl run run -- /bin/sh -c 'sleep 0.3; exit 7'";

    let (code, written) = Terminal::start(&controller, line, &[("NO_COLOR", "1")]).end();
    assert_eq!(code, Some(3), "{written}");
    assert!(!is_painted(&written), "{written:?}");
    assert!(!frames(&written).is_empty(), "still live: {written:?}");
    assert!(written.contains("first error: "), "{written}");

    let (code, written) = Terminal::start(&controller, line, &[("TERM", "dumb")]).end();
    assert_eq!(code, Some(3), "{written}");
    assert!(!written.contains('\u{1b}'), "{written:?}");
    assert!(written.contains("job 2 running"), "{written:?}");
}

#[test]
fn a_pipe_gets_one_line_a_change_although_a_terminal_looks_on() {
    let lab = Lab::without_sandbox();
    let controller = lab.controller("");
    let _worker = lab.worker(&controller, "one");
    let line = "agentctl run run -- /bin/sh -c 'echo x; exit 7' | cat";
    let (code, written) = Terminal::start(&controller, line, &[]).end();
    assert_eq!(code, Some(0), "cat's own");
    assert!(!written.contains('\u{1b}'), "{written:?}");
    let lines: Vec<&str> = written.lines().collect();
    let changes: Vec<String> = lines.iter().filter_map(|line| change(line)).collect();
    let expected = [
        "job 1 queued",
        "run ready",
        "run offered on one",
        "job 1 running",
        "run running on one",
        "run failed on one: ",
        "job 1 failed: ",
    ];
    let mut seen = changes.iter();
    for part in expected {
        assert!(
            seen.any(|line| line.starts_with(part)),
            "{part:?} in {changes:#?}"
        );
    }
    let mut once = changes.clone();
    once.dedup();
    assert_eq!(once, changes, "each change once");
    assert_eq!(
        lines.len(),
        changes.len() + 3,
        "and the three last lines: {lines:#?}"
    );
    let tail = &lines[changes.len()..];
    assert!(tail[0].starts_with("job 1 failed after"), "{tail:?}");
    assert!(tail[1].starts_with("first error: run: "), "{tail:?}");
    assert_eq!(tail[2], "next: agentctl logs 1 run");
}

/// What changed, if the line begins with a time.
fn change(line: &str) -> Option<String> {
    let (at, what) = line.split_once(' ')?;
    (at.len() == 20 && at.ends_with('Z')).then(|| what.to_owned())
}

#[test]
fn the_result_is_data_and_the_talk_is_not() {
    let lab = Lab::without_sandbox();
    let controller = lab.controller("");
    let _worker = lab.worker(&controller, "one");
    let failed = ["run", "run", "--", "/bin/sh", "-c", "exit 7"];

    // how the job ended is what `run` was asked for: all of it is on stdout
    let output = controller.ctl(&failed);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(stdout(&output).contains("first error: run: "), "{output:?}");
    assert_eq!(stderr(&output), "");

    // unless the job itself was asked for: then the rest is talk
    let output = controller.ctl(&[&["-o", "json"], &failed[..]].concat());
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let job: serde_json::Value = serde_json::from_slice(&output.stdout).expect("the job alone");
    assert_eq!(job["state"], "failed", "{job}");
    assert!(stderr(&output).contains("first error: run: "), "{output:?}");

    let output = controller.ctl(&[&["--progress", "quiet"], &failed[..]].concat());
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert_eq!((stdout(&output), stderr(&output)), Default::default());
}

#[test]
fn ctrl_c_detaches_and_the_job_goes_on() {
    let lab = Lab::without_sandbox();
    let controller = lab.controller("");
    let _worker = lab.worker(&controller, "one");
    let held = Held::new(&lab, 0);
    let mut terminal = Terminal::start(&controller, &held.line("run"), &[]);
    terminal.shows("● running");
    terminal.press(CTRL_C);
    let (code, written) = terminal.end();
    assert_eq!(code, Some(130), "{written}");
    let written = plain(&written);
    assert!(written.contains("Ctrl-C again cancels the job"), "{written}");
    assert!(written.contains("job 1 is running after"), "{written}");
    assert!(
        written.contains("detached: job 1 goes on; `agentctl watch 1`"),
        "{written}"
    );

    assert_eq!(controller.job(1)["state"], "running");
    let mut back = Command::new(binary("agentctl"));
    let back = controller.known_to(&mut back).args(["watch", "1"]);
    let back = back.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    let back = back.expect("agentctl starts");
    held.let_go();
    let back = back.wait_with_output().expect("it ends");
    assert_eq!(back.status.code(), Some(0), "{back:?}");
    assert!(stdout(&back).contains("job 1 succeeded after"), "{back:?}");
}

#[test]
fn ctrl_c_twice_cancels_the_job() {
    let lab = Lab::without_sandbox();
    let controller = lab.controller("");
    let _worker = lab.worker(&controller, "one");
    let held = Held::new(&lab, 0);
    let mut terminal = Terminal::start(&controller, &held.line("run"), &[]);
    terminal.shows("● running");
    terminal.press(CTRL_C);
    terminal.shows("Ctrl-C again cancels the job");
    terminal.press(CTRL_C);
    let (code, written) = terminal.end();
    assert_eq!(code, Some(9), "{written}");
    assert!(plain(&written).contains("job 1 cancelled after"), "{written}");
    reaches(&controller, 1, "cancelled");
    eventually("its process to be gone", || {
        let job = controller.job(1);
        (job["steps"][0]["state"] == "cancelled").then_some(())
    });
}
