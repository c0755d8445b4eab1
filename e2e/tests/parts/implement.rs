//! The main job: a task in words becomes a verified patch.

use std::{fs, process::Command};

use e2e::{
    Controller, Lab,
    model::{Reply, Role, ScriptedModel},
    repo::{SAMPLES, Sample, git, has},
};
use serde_json::json;

/// What a good model says about a sample.
pub(super) fn good_answers(sample: &'static Sample) -> impl Fn(Role, usize) -> Reply + Send + Sync {
    move |role, _| {
        Reply::Text(match role {
            Role::Architect => plan(sample),
            Role::Codegen => format!("{}\n```\n{}```\n", sample.path, sample.mended),
            Role::Review => approval(),
        })
    }
}

fn plan(sample: &Sample) -> String {
    let files = json!([{"path": sample.path, "action": "modify"}]);
    let item = json!({"id": "1", "title": "mend it", "files": files, "detail": "correct the mistake"});
    json!({"summary": "Correct the mistake that the test shows.", "items": [item]}).to_string()
}

fn approval() -> String {
    json!({"decision": "approve", "findings": [], "plan_items": [{"id": "1", "done": true, "evidence": "diff"}]})
        .to_string()
}

/// Runs the whole job and proves the patch on a fresh clone.
fn mends(sample: &'static Sample, dialect: &str) {
    if !has(sample.needs) {
        e2e::skip(&format!("{}: {} is not installed", sample.name, sample.needs));
        return;
    }
    let lab = Lab::new();
    let repo = lab.path("repo");
    sample.create(&repo);
    let model = ScriptedModel::start(good_answers(sample));
    let controller = lab.controller(&model.config(dialect, "whole_file"));
    let _one = lab.worker(&controller, "one");
    let _two = lab.worker(&controller, "two");

    let run = controller.ctl_in(&repo, &["run", "--repo", ".", "make the failing test pass"]);
    let said = String::from_utf8_lossy(&run.stderr);
    assert_eq!(
        run.status.code(),
        Some(0),
        "{}: {said}\n{}",
        sample.name,
        controller.job(1)
    );

    let job = controller.job(1);
    let worker_of = |key: &str| {
        let steps = job["steps"].as_array().expect("steps");
        steps
            .iter()
            .find(|step| step["key"] == key)
            .map(|step| step["worker"].clone())
    };
    assert_ne!(worker_of("verify"), worker_of("cycle#1/edit"), "{job}");
    assert_eq!(job["usage"]["calls"], 3, "{job}");

    let patch = controller.ctl(&["diff", "1"]).stdout;
    let fresh = lab.path("fresh");
    git(
        &lab.path(""),
        &[
            "clone",
            "-q",
            repo.to_str().expect("text"),
            fresh.to_str().expect("text"),
        ],
    );
    fs::write(lab.path("patch"), patch).expect("writable");
    git(&fresh, &["apply", lab.path("patch").to_str().expect("text")]);
    let (program, args) = sample.test.split_first().expect("a command");
    let tested = Command::new(program)
        .args(args)
        .current_dir(&fresh)
        .output()
        .expect("starts");
    assert!(tested.status.success(), "{}: {tested:?}", sample.name);
    assert_eq!(
        git(&repo, &["status", "--porcelain"]),
        "",
        "the caller's repository is untouched"
    );
    tells_all(&controller, sample);
}

/// The report as one page: what was planned, changed, measured and thought, by whom, for how much.
fn tells_all(controller: &Controller, sample: &Sample) {
    let page = controller.ctl(&["report", "1", "--html"]);
    assert_eq!(page.status.code(), Some(0), "{page:?}");
    let page = String::from_utf8(page.stdout).expect("UTF-8");
    for part in [
        "<h2>Plan <small>plan</small></h2>",
        "Correct the mistake that the test shows.",
        "<h2>Checks <small>verify</small></h2>",
        "<h2>Verdict <small>cycle#1/review</small></h2>",
        "approved, no finding",
        "cycle#1/edit",
        "3 calls",
        "<h2>Diff</h2>",
        &format!("+++ b/{}", sample.path),
        "<summary>cycle#1/edit</summary>",
        "default-src",
    ] {
        assert!(page.contains(part), "{part} in {page}");
    }
    for part in ["<script", "http://", "https://", " src=", " href="] {
        assert!(!page.contains(part), "{part} in {page}");
    }
}

#[test]
fn a_shell_repository_is_mended_over_openai() {
    mends(&SAMPLES[0], "openai");
}

#[test]
fn a_make_repository_is_mended_over_anthropic() {
    mends(&SAMPLES[1], "anthropic");
}

#[test]
fn a_rust_repository_is_mended_over_ollama() {
    mends(&SAMPLES[2], "ollama");
}

#[test]
fn a_wrong_edit_is_found_by_the_checks_and_mended_in_the_next_round() {
    let sample = &SAMPLES[0];
    let lab = Lab::new();
    let repo = lab.path("repo");
    sample.create(&repo);
    let model = ScriptedModel::start(move |role, before| match (role, before) {
        (Role::Codegen, 0) => Reply::Text(format!(
            "{}\n```\n#!/bin/sh\necho $(($1 * $2))\n```\n",
            sample.path
        )),
        _ => good_answers(sample)(role, before),
    });
    let controller = lab.controller(&model.config("openai", "whole_file"));
    let _one = lab.worker(&controller, "one");
    let run = controller.ctl_in(&repo, &["run", "--repo", ".", "make the failing test pass"]);
    assert_eq!(run.status.code(), Some(0), "{}", controller.job(1));
    let job = controller.job(1);
    let states: Vec<(String, String)> = job["steps"]
        .as_array()
        .expect("steps")
        .iter()
        .map(|step| (step["key"].to_string(), step["state"].to_string()))
        .collect();
    let state_of = |key: &str| {
        states
            .iter()
            .find(|(known, _)| known.contains(key))
            .map(|(_, state)| state.as_str())
    };
    assert_eq!(state_of("cycle#1/check"), Some("\"failed\""), "{states:?}");
    assert_eq!(state_of("cycle#2/check"), Some("\"succeeded\""), "{states:?}");
}

#[test]
fn a_model_that_refuses_the_key_ends_the_job_with_that_reason() {
    let sample = &SAMPLES[0];
    let lab = Lab::new();
    let repo = lab.path("repo");
    sample.create(&repo);
    let model = ScriptedModel::start(|_, _| Reply::Status(401, None));
    let controller = lab.controller(&model.config("openai", "whole_file"));
    let _one = lab.worker(&controller, "one");
    let run = controller.ctl_in(&repo, &["run", "--repo", ".", "make the failing test pass"]);
    assert_eq!(run.status.code(), Some(3), "{}", controller.job(1));
    let job = controller.job(1);
    assert!(
        job["reason"]
            .as_str()
            .is_some_and(|reason| reason.contains("401")),
        "{job}"
    );
}
