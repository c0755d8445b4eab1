//! `run`, `watch`, `wait` and `logs -f` against streams that break.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use serde_json::json;

use crate::{
    agentctl, event,
    fake::{After, Fake, World},
    job, stderr, stdout,
};

fn states() -> [String; 4] {
    [
        event(1, "job_created", None, &json!({"state": "queued"})),
        event(
            2,
            "step_state",
            Some("only"),
            &json!({"from": "offered", "state": "running", "worker": "pi-1", "number": 1}),
        ),
        event(
            3,
            "step_state",
            Some("only"),
            &json!({"from": "running", "state": "succeeded", "worker": "pi-1", "number": 1}),
        ),
        event(
            4,
            "job_state",
            None,
            &json!({"from": "running", "state": "succeeded"}),
        ),
    ]
}

/// A job whose event stream breaks in the middle.
fn breaking() -> Fake {
    let [created, running, succeeded, done] = states();
    let cut = succeeded[..20].to_owned();
    Fake::start(World {
        job: job("running", "running"),
        job_after: Some(job("succeeded", "succeeded")),
        streams: [
            (vec![created, ": beat\n\n".into(), running, cut], After::Breaks),
            (vec![succeeded, done], After::Ends),
        ]
        .into(),
        log: "2026-11-24T04:00:01Z out one\n2026-11-24T04:00:02Z err two\u{1b}[2J\n".into(),
        log_breaks_at: Some(35),
        ..World::default()
    })
}

#[test]
fn a_pipe_gets_each_change_once_although_the_stream_breaks() {
    let fake = breaking();
    let output = agentctl(&fake, &["run", "run", "--", "wc", "-w"])
        .output()
        .expect("runs");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = stdout(&output).replace(&fake.address.to_string(), "HOST");
    insta::assert_snapshot!(text, @r"
    2026-11-24T04:00:01Z job 42 queued
    2026-11-24T04:00:01Z only running on pi-1
    2026-11-24T04:00:01Z only succeeded on pi-1
    2026-11-24T04:00:01Z job 42 succeeded
    job 42 succeeded after 59s
    no error
    next: agentctl logs 42
    ");
    let asked = fake.asked();
    assert!(
        asked.iter().any(|line| line.contains("last-event-id=2")),
        "{asked:?}"
    );
    assert_eq!(
        fake.world.lock().expect("unpoisoned").submitted["inputs"],
        json!({"command": ["wc", "-w"]})
    );
}

#[test]
fn machines_get_events_and_the_job() {
    let fake = breaking();
    let output = agentctl(&fake, &["watch", "42", "--progress", "json"])
        .output()
        .expect("runs");
    let lines: Vec<serde_json::Value> = stdout(&output)
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(lines.len(), 5);
    assert_eq!(lines[4]["state"], "succeeded");
    assert!(lines.iter().all(|line| line["schema_version"] == 1));

    let fake = breaking();
    let output = agentctl(&fake, &["watch", "42", "-o", "json"])
        .output()
        .expect("runs");
    let job: serde_json::Value = serde_json::from_slice(&output.stdout).expect("only the job on stdout");
    assert_eq!(job["number"], 42);
    assert!(
        stderr(&output).contains("only succeeded"),
        "progress is talk then"
    );
}

#[test]
fn an_ended_job_gives_its_exit_code_at_once() {
    for (state, step, code) in [
        ("succeeded", "succeeded", 0),
        ("failed", "failed", 3),
        ("cancelled", "cancelled", 9),
        ("parked", "parked", 8),
        ("waiting", "awaiting", 8),
    ] {
        let fake = Fake::start(World {
            job: job(state, step),
            ..World::default()
        });
        for verb in ["wait", "watch"] {
            let output = agentctl(&fake, &[verb, "42"]).output().expect("runs");
            assert_eq!(
                output.status.code(),
                Some(code),
                "{verb} {state}: {}",
                stderr(&output)
            );
        }
        assert!(
            !fake.asked().iter().any(|line| line.contains("events")),
            "nothing to look on at"
        );
    }
}

fn endless() -> Fake {
    let [created, running, ..] = states();
    Fake::start(World {
        job: job("running", "running"),
        streams: [(vec![created, running], After::Stays)].into(),
        ..World::default()
    })
}

#[test]
fn a_timeout_ends_the_waiting_and_not_the_job() {
    let fake = endless();
    let output = agentctl(&fake, &["wait", "42", "--timeout", "200ms"])
        .output()
        .expect("runs");
    assert_eq!(output.status.code(), Some(7));
    insta::assert_snapshot!(stderr(&output).lines().skip(3).collect::<Vec<_>>().join("\n"), @r"
    error[timeout_passed]: job 42 has not ended within 200ms
      hint:  it goes on: `agentctl watch 42`, or `agentctl cancel 42`
    ");
}

/// Starts a watch and waits until it shows something.
fn watching(fake: &Fake) -> (Child, impl Iterator<Item = String> + use<>) {
    let mut child = agentctl(fake, &["watch", "42"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    let mut lines = lines(child.stdout.take().expect("a pipe"));
    assert!(
        lines.any(|line| line.contains("only running")),
        "the stream is open"
    );
    (child, lines)
}

fn lines(pipe: impl std::io::Read) -> impl Iterator<Item = String> {
    BufReader::new(pipe).lines().map(|line| line.expect("UTF-8"))
}

fn interrupt(child: &Child) {
    let status = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .expect("kill runs");
    assert!(status.success());
}

#[test]
fn one_ctrl_c_leaves_and_says_how_to_come_back() {
    let fake = endless();
    let (child, mut lines) = watching(&fake);
    interrupt(&child);
    assert!(lines.any(|line| line == "next: agentctl watch 42"));
    let output = child.wait_with_output().expect("ends");
    assert_eq!(output.status.code(), Some(130));
    insta::assert_snapshot!(stderr(&output), @r"
    leaving; Ctrl-C again cancels the job
    detached: job 42 goes on; `agentctl watch 42` comes back to it
    ");
    assert!(!fake.asked().contains(&"POST cancel".to_owned()));
}

#[test]
fn two_ctrl_c_cancel_the_job() {
    let fake = endless();
    let (mut child, mut shown) = watching(&fake);
    interrupt(&child);
    let mut talk = lines(child.stderr.take().expect("a pipe"));
    assert!(
        talk.any(|line| line.contains("Ctrl-C again")),
        "the first was noticed"
    );
    interrupt(&child);
    assert!(shown.any(|line| line == "next: agentctl retry 42"));
    let output = child.wait_with_output().expect("ends");
    assert_eq!(output.status.code(), Some(9), "the job is cancelled");
    assert!(fake.asked().contains(&"POST cancel".to_owned()));
}

#[test]
fn a_log_goes_on_where_its_connection_broke() {
    let fake = breaking();
    let output = agentctl(&fake, &["logs", "-f", "42"]).output().expect("runs");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(stdout(&output), "only one\nonly two\n");
    let logs: Vec<String> = fake
        .asked()
        .into_iter()
        .filter(|line| line.contains("GET log"))
        .collect();
    assert_eq!(
        logs,
        [
            "GET log only attempt=1 offset=0",
            "GET log only attempt=1 offset=29"
        ]
    );

    let output = agentctl(&fake, &["logs", "-t", "42", "only"])
        .output()
        .expect("runs");
    let expected = "2026-11-24T04:00:01Z out one\n2026-11-24T04:00:02Z err two\n";
    assert_eq!(stdout(&output), expected);
}
