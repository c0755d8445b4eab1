//! What stands on a screen of 80 and of 140 columns, row by row.

use std::{fs, path::Path, process::Command};

use e2e::{Lab, eventually, held::Held, lab::binary, screen::Screen, terminal::is_painted};

const NARROW: (usize, usize) = (80, 24);
const WIDE: (usize, usize) = (140, 30);

/// The column at which a word of the head begins, and that every row below keeps a blank before it.
fn aligned(rows: &[String], head: &str, column: &str, below: usize) {
    let at = rows
        .iter()
        .position(|row| row.trim_start_matches("> ").trim_start().starts_with(head))
        .unwrap_or_else(|| panic!("{head} in {rows:#?}"));
    let offset = rows[at]
        .find(column)
        .unwrap_or_else(|| panic!("{column} in {rows:#?}"));
    let columns = rows[at][..offset].chars().count();
    for row in rows.iter().skip(at + 1).take(below) {
        let before = columns.checked_sub(1).and_then(|before| row.chars().nth(before));
        assert_eq!(before.unwrap_or(' '), ' ', "{column} in {rows:#?}");
        let first = row.chars().nth(columns).unwrap_or(' ');
        assert_ne!(first, ' ', "{column} in {rows:#?}");
    }
}

#[test]
fn run_and_watch_are_aligned_and_never_wrap() {
    if !Screen::possible() {
        return;
    }
    let lab = Lab::without_sandbox();
    let controller = lab.controller("");
    let _worker = lab.worker(&controller, "one");
    let held = Held::new(&lab, 0);
    let title = "a title that is much longer than any screen is wide ".repeat(4);
    let run = format!("agentctl {}", held.args("run").join(" "))
        .replace("run run", &format!("run --title '{title}' run"));
    let narrow = Screen::start(&controller, NARROW, &run, &[]);
    let rows = narrow.shows(&["job 1 · run", "STEP", "● running"]);
    aligned(&rows, "STEP", "STATE", 1);
    aligned(&rows, "STEP", "WORKER", 1);

    let mut wide = Screen::start(&controller, WIDE, "agentctl watch 1", &[]);
    let rows = wide.shows(&["job 1 · run", "● running", "ELAPSED"]);
    aligned(&rows, "STEP", "STATE", 1);
    aligned(&rows, "STEP", "WORKER", 1);
    let plain = Screen::start(&controller, NARROW, "agentctl watch 1", &[("NO_COLOR", "1")]);
    plain.shows(&["● running"]);
    assert!(!is_painted(&plain.painted()), "{:?}", plain.painted());
    assert!(is_painted(&wide.painted()), "{:?}", wide.painted());
    wide.resize((90, 24));
    wide.shows(&["job 1 · run", "● running"]);

    held.let_go();
    for screen in [&narrow, &wide, &plain] {
        let rows = screen.shows(&[
            "✓ succeeded",
            "job 1 succeeded after",
            "no error",
            "next: agentctl logs 1",
            "ended with 0",
        ]);
        let trees = rows.iter().filter(|row| row.starts_with("STEP")).count();
        assert_eq!(trees, 1, "redrawn in place: {rows:#?}");
    }
}

#[test]
fn top_fits_both_widths_and_leaves_the_terminal_as_it_was() {
    if !Screen::possible() {
        return;
    }
    let lab = Lab::without_sandbox();
    let controller = lab.controller("");
    let _worker = lab.worker(&controller, "one");
    let held = Held::new(&lab, 0);
    held.submit(&controller);
    let line = "echo before; agentctl top";
    let narrow = Screen::start(&controller, NARROW, line, &[]);
    let rows = narrow.shows(&[
        "* jobs (1)",
        "─ workers (1)",
        "> ",
        "one",
        "log of job 1",
        "held",
        "q quit",
    ]);
    aligned(&rows, "JOB", "STATE", 1);
    aligned(&rows, "NAME", "STATE", 1);
    assert!(is_painted(&narrow.painted()));

    let wide = Screen::start(&controller, WIDE, line, &[("NO_COLOR", "1")]);
    let rows = wide.shows(&["log of job 1", "held"]);
    let both = rows
        .iter()
        .any(|row| row.contains("* jobs (1)") && row.contains("─ workers (1)"));
    assert!(both, "side by side: {rows:#?}");
    assert!(!is_painted(&wide.painted()), "{:?}", wide.painted());

    // w explains; c asks, and y cancels
    narrow.press("w");
    narrow.shows(&["job 1 is running"]);
    narrow.press("c");
    narrow.shows(&["cancel job 1? y does"]);
    narrow.press("y");
    narrow.shows(&["job 1 is being cancelled"]);
    narrow.press("q");
    let rows = narrow.shows(&["before", "ended with 0"]);
    assert!(rows.iter().all(|row| !row.contains("jobs (1)")), "{rows:#?}");

    // a signal is no reason to leave the terminal in disorder
    let drawing = eventually("the process that draws", || {
        child_of(&wide.foreground(), "agentctl")
    });
    let ended = Command::new("kill").arg(&drawing).status().expect("kill runs");
    assert!(ended.success());
    let rows = wide.shows(&["before", "ended with 130"]);
    assert!(rows.iter().all(|row| !row.contains("jobs (1)")), "{rows:#?}");
    held.let_go();
}

/// The child of a process with this name.
fn child_of(parent: &str, name: &str) -> Option<String> {
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).ok()?;
    children
        .split_whitespace()
        .find(|child| {
            let path = format!("/proc/{child}/comm");
            fs::read_to_string(Path::new(&path)).is_ok_and(|comm| comm.trim() == name)
        })
        .map(str::to_owned)
}

#[test]
fn without_a_terminal_nothing_is_drawn() {
    let lab = Lab::without_sandbox();
    let controller = lab.controller("");
    let _worker = lab.worker(&controller, "one");
    let line = |line: &str| {
        let folder = binary("agentctl").parent().map(Path::to_owned).expect("a folder");
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new("sh");
        controller
            .known_to(&mut command)
            .args(["-c", line])
            .env("PATH", format!("{}:{path}", folder.display()))
            .output()
            .expect("a shell runs")
    };
    let output =
        line("{ agentctl run run -- true; agentctl watch 1; agentctl ps; agentctl workers; } 2>&1 | cat");
    let text = super::stdout(&output);
    assert!(text.contains("job 1 succeeded"), "{text}");
    assert!(!text.contains('\u{1b}') && !text.contains('\r'), "{text:?}");
    let output = line("agentctl top | cat; agentctl top < /dev/null > /dev/null");
    assert_eq!(output.status.code(), Some(2));
    let said = super::stderr(&output);
    assert!(
        said.contains("error[terminal_needed]") && !said.contains('\u{1b}'),
        "{said:?}"
    );
}
