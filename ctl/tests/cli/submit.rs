//! Submitting: repositories, retries, and what is refused before anything is sent.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use serde_json::json;

use crate::{
    agentctl,
    fake::{Fake, World},
    job, stderr, stdout,
};

fn git(folder: &Path, args: &[&str]) {
    let status = Command::new("git")
        .current_dir(folder)
        .args(["-c", "user.name=t", "-c", "user.email=t@localhost"])
        .args(args)
        .stdout(Stdio::null())
        .status()
        .expect("git runs");
    assert!(status.success(), "git {args:?}");
}

fn repository() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    git(folder.path(), &["init", "--quiet", "--initial-branch=main", "."]);
    std::fs::write(folder.path().join("a.txt"), "one\n".repeat(1000)).expect("written");
    git(folder.path(), &["add", "--all"]);
    git(folder.path(), &["commit", "--quiet", "-m", "start"]);
    folder
}

#[test]
fn a_repository_is_uploaded_although_the_connection_breaks() {
    let folder = repository();
    std::fs::write(folder.path().join("b.txt"), "new").expect("written");
    let fake = Fake::start(World {
        job: job("queued", "ready"),
        breaks: 2,
        ..World::default()
    });
    let output = agentctl(
        &fake,
        &["submit", "make it pass", "--title", "t", "--max-cost", "1.5"],
    )
    .current_dir(folder.path())
    .output()
    .expect("runs");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(stdout(&output), "42\n", "only the number");
    assert_eq!(
        stderr(&output),
        "note: not included: 1 uncommitted change (b.txt); --dirty sends them along\n"
    );
    let world = fake.world.lock().expect("unpoisoned");
    assert_eq!(world.submitted["workflow"], "implement");
    assert_eq!(world.submitted["inputs"], json!({"task": "make it pass"}));
    assert_eq!(world.submitted["budget"], json!({"usd": 1.5}));
    let repo = &world.submitted["repo"];
    assert_eq!(
        (&repo["branch"], &repo["size"]),
        (&json!("main"), &json!(world.blob.len()))
    );
    let file = folder.path().join("arrived.bundle");
    std::fs::write(&file, &world.blob).expect("written");
    git(folder.path(), &["bundle", "verify", "--quiet", "arrived.bundle"]);
}

#[test]
fn a_lost_answer_is_asked_for_again_under_the_same_key() {
    let fake = Fake::start(World {
        job: job("queued", "ready"),
        breaks: 1,
        ..World::default()
    });
    let output = agentctl(&fake, &["submit", "run", "--", "true"])
        .output()
        .expect("runs");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let keys: Vec<String> = fake
        .asked()
        .into_iter()
        .filter(|line| line.starts_with("POST"))
        .collect();
    assert_eq!(keys.len(), 2);
    assert_eq!(keys[0], keys[1]);
}

#[test]
fn what_cannot_work_is_refused_before_it_is_sent() {
    let fake = Fake::start(World::default());
    let folder = tempfile::tempdir().expect("a folder");
    let said = |args: &[&str]| {
        let output = agentctl(&fake, args)
            .current_dir(folder.path())
            .output()
            .expect("runs");
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", stderr(&output));
        stderr(&output).replace(
            folder
                .path()
                .canonicalize()
                .expect("there")
                .to_str()
                .expect("UTF-8"),
            "FOLDER",
        )
    };
    insta::assert_snapshot!(said(&["run"]), @r#"
    error[invalid_argument]: a task or a workflow is missing
      hint:  say what should be done: `agentctl run "make the failing test pass"`
    "#);
    insta::assert_snapshot!(said(&["run", " "]), @r#"
    error[missing_input]: the workflow implement needs the input "task", and it is missing or empty
      hint:  say it: `agentctl run implement "…"`
    "#);
    insta::assert_snapshot!(said(&["run", "implement"]), @r#"
    error[missing_input]: the workflow implement needs the input "task", and it is missing or empty
      hint:  say it: `agentctl run implement "…"`
    "#);
    insta::assert_snapshot!(said(&["run", "imploment", "a task"]), @r#"
    error[unknown_workflow]: no workflow is named "imploment"
      hint:  did you mean `implement`?
    "#);
    insta::assert_snapshot!(said(&["run", "a task"]), @r"
    error[not_a_repository]: FOLDER is not inside a git repository
      hint:  name one with `--repo PATH|URL`, or make one: `git init && git add -A && git commit -m start`
    ");
    assert!(
        !fake
            .asked()
            .iter()
            .any(|line| line.starts_with("POST") || line.starts_with("PATCH"))
    );
}
