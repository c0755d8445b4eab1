//! Formats, colour and pipes.

use std::process::Stdio;

use serde_json::Value;

use crate::{
    agentctl,
    fake::{Fake, World},
    job, stderr, stdout,
};

fn one_job() -> Fake {
    Fake::start(World {
        job: job("failed", "failed"),
        patch: b"diff --git a/\xff b/\xff\n+x\r\n".to_vec(),
        ..World::default()
    })
}

#[test]
fn every_format_is_what_it_says() {
    let fake = one_job();
    let printed = |args: &[&str]| {
        let output = agentctl(&fake, args).output().expect("runs");
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        stdout(&output)
    };
    let json: Value = serde_json::from_str(&printed(&["ps", "-o", "json"])).expect("JSON");
    assert_eq!(json["schema_version"], 1);
    assert_eq!(json["next_cursor"], "abc");
    assert_eq!(json["items"][0]["created_at"], "2026-11-24T04:00:00Z");
    let line = printed(&["ps", "-o", "jsonl"]);
    let one: Value = serde_json::from_str(line.trim_end()).expect("one line");
    assert_eq!(one["schema_version"], 1);
    assert!(printed(&["ps", "-o", "yaml"]).starts_with("schema_version: 1\n"));
    assert_eq!(
        printed(&["ps", "-o", "id"]),
        "01934f2a-0000-7000-8000-000000000042\n"
    );
    let table = printed(&["ps"]);
    assert!(
        table.contains("failed  count words"),
        "harmless and aligned: {table}"
    );
    assert!(!table.contains('\u{1b}'), "no colour in a pipe");
    let one: Value = serde_json::from_str(&printed(&["show", "42", "-o", "json"])).expect("JSON");
    assert_eq!(one["steps"][0]["key"], "only");
    let one: Value = serde_json::from_str(&printed(&["workflows", "-o", "json"])).expect("JSON");
    assert_eq!(one["items"][0]["name"], "implement");
}

#[test]
fn colour_can_be_forced() {
    let fake = one_job();
    let mut command = agentctl(&fake, &["ps"]);
    let output = command.env("CLICOLOR_FORCE", "1").output().expect("runs");
    assert!(stdout(&output).contains("\u{1b}[31mfailed\u{1b}[0m"));
}

#[test]
fn a_patch_is_printed_byte_for_byte() {
    let fake = one_job();
    let output = agentctl(&fake, &["diff", "42"]).output().expect("runs");
    assert_eq!(output.stdout, b"diff --git a/\xff b/\xff\n+x\r\n");
    assert!(output.stderr.is_empty());
    let empty = Fake::start(World {
        job: job("succeeded", "succeeded"),
        ..World::default()
    });
    let output = agentctl(&empty, &["diff", "42"]).output().expect("runs");
    assert_eq!((output.status.code(), output.stdout.len()), (Some(0), 0));
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let fake = Fake::start(World {
        patch: vec![b'x'; 4 << 20],
        ..World::default()
    });
    let mut child = agentctl(&fake, &["diff", "42"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("ends");
    assert_eq!(stderr(&output), "");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn the_token_travels_as_a_bearer() {
    let fake = one_job();
    agentctl(&fake, &["show", "42"]).output().expect("runs");
    let asked = fake.asked();
    assert!(asked[0].contains("authorization=Bearer secret"), "{asked:?}");
}
