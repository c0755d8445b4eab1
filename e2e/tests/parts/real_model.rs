//! Jobs with a real model: llama.cpp's server with SmolLM2, over two adapters. Such a
//! small model seldom gets anything right, so that these tests hold what must be true
//! whatever it says.

use std::time::{Duration, Instant};

use e2e::{
    Controller, Lab, eventually,
    llama::LlamaServer,
    repo::{SAMPLES, git},
};
use serde_json::Value;

/// The model's window in tokens.
const WINDOW: u32 = 4096;
/// Most tokens of an answer: about a second of one core.
const SHORT: u32 = 48;
/// An answer of a minute, which a cancel cuts off.
const LONG: u32 = 2048;

fn lab_with_repo() -> (Lab, std::path::PathBuf) {
    let lab = Lab::new();
    let repo = lab.path("repo");
    SAMPLES[0].create(&repo);
    std::fs::write(repo.join("README.md"), "Adds two numbers.\n").expect("writable");
    git(&repo, &["add", "-A"]);
    git(&repo, &["commit", "-q", "-m", "say what it is"]);
    (lab, repo)
}

fn submit(controller: &Controller, repo: &std::path::Path, words: &[&str]) {
    let args = [&["submit", "--repo", "."], words].concat();
    let output = controller.ctl_in(repo, &args);
    assert!(output.status.success(), "{args:?}: {output:?}");
}

/// The sum of one figure over all attempts of a job.
fn sum(job: &Value, figure: &str) -> u64 {
    let steps = job["steps"].as_array().expect("steps");
    let attempts = steps
        .iter()
        .flat_map(|step| step["attempts"].as_array().expect("attempts"));
    attempts
        .map(|attempt| attempt["usage"][figure].as_u64().unwrap_or(0))
        .sum()
}

/// What holds for every ended job: its state and exit code agree, a failure has its
/// reason and a class that a model may cause, and all that was used is counted.
fn is_truthful(job: &Value, exit: Option<i32>) {
    let state = job["state"].as_str().expect("a state");
    match (state, exit) {
        ("succeeded", Some(0)) => {}
        ("failed", Some(3)) => {
            let steps = job["steps"].as_array().expect("steps");
            let failed = steps
                .iter()
                .rfind(|step| step["state"] == "failed")
                .unwrap_or_else(|| panic!("no failed step: {job}"));
            let error = &failed["error"];
            let class = error["class"].as_str().expect("a class");
            assert!(
                [
                    "model_output",
                    "too_long",
                    "no_progress",
                    "verification",
                    "failure"
                ]
                .contains(&class),
                "{class}: {job}"
            );
            let message = error["message"].as_str().expect("a message");
            assert!(
                message.split_whitespace().count() >= 4,
                "{message:?} helps nobody"
            );
            let reason = job["reason"].as_str().expect("a reason");
            let key = failed["key"].as_str().expect("a key");
            assert!(reason.contains(key), "{reason:?} does not name {key}");
        }
        other => panic!("{other:?}: {job}"),
    }
    for figure in ["input_tokens", "output_tokens", "calls"] {
        let counted = job["usage"][figure].as_u64().expect("a figure");
        assert!(counted > 0, "{figure}: {job}");
        assert_eq!(counted, sum(job, figure), "{figure}: {job}");
    }
}

#[expect(clippy::print_stderr, reason = "figures for whoever runs it with --nocapture")]
fn say(text: &str) {
    eprintln!("{text}");
}

fn every_workflow_ends_truthfully(adapter: &str) {
    let Some(server) = LlamaServer::start() else {
        return;
    };
    let (lab, repo) = lab_with_repo();
    let controller = lab.controller(&server.config(adapter, WINDOW, SHORT));
    let _one = lab.worker(&controller, "one");
    let begun = Instant::now();
    submit(&controller, &repo, &["ask", "what does add.sh do?"]);
    submit(&controller, &repo, &["review"]);
    submit(&controller, &repo, &["implement", "make the failing test pass"]);
    for number in 1..=3 {
        let ended = controller.ctl(&["wait", &number.to_string(), "--timeout", "900s"]);
        let job = controller.job(number);
        say(&format!(
            "{adapter}: job {number} {} after {:.1?}: {} | usage {}",
            job["state"],
            begun.elapsed(),
            job["reason"],
            job["usage"]
        ));
        is_truthful(&job, ended.status.code());
    }
    eventually("the server to have nothing left to do", || {
        (server.busy_slots() == 0).then_some(())
    });
    assert!(!controller.log().contains("panicked"));
}

/// Cancels the job and waits until the server has left its request; users are promised
/// two seconds, the bound of a test is generous.
fn a_cancel_frees_the_slot(server: &LlamaServer, controller: &Controller, what: &str) {
    let cancelled = controller.ctl(&["cancel", "1"]);
    assert!(cancelled.status.success(), "{cancelled:?}");
    let begun = Instant::now();
    eventually("the server to let go", || server.has_let_go().then_some(()));
    let took = begun.elapsed();
    let within = if took <= Duration::from_secs(2) {
        "within"
    } else {
        "NOT within"
    };
    say(&format!(
        "{what}: the slot was free {took:.2?} after the cancel was said ({within} 2 s)"
    ));
    assert_eq!(server.busy_slots(), 0);
    eventually("the job to be cancelled", || {
        (controller.job(1)["state"] == "cancelled").then_some(())
    });
    let job = controller.job(1);
    assert_eq!(job["usage"]["calls"], sum(&job, "calls"), "{job}");
}

fn a_cancel_while_it_writes(adapter: &str) {
    let Some(server) = LlamaServer::start() else {
        return;
    };
    let (lab, repo) = lab_with_repo();
    let controller = lab.controller(&server.config(adapter, WINDOW, LONG));
    let _one = lab.worker(&controller, "one");
    let task = "tell the history of this script at length";
    submit(&controller, &repo, &["ask", task]);
    eventually("the model to write", || {
        (server.writing_slots() > 0).then_some(())
    });
    a_cancel_frees_the_slot(&server, &controller, &format!("{adapter}, writing"));
}

fn a_cancel_while_it_reads(adapter: &str) {
    let Some(server) = LlamaServer::start() else {
        return;
    };
    let (lab, repo) = lab_with_repo();
    let controller = lab.controller(&server.config(adapter, WINDOW, LONG));
    let _one = lab.worker(&controller, "one");
    // seconds of reading
    let task = "tell the history of this script at length and ".repeat(80);
    submit(&controller, &repo, &["ask", &task]);
    eventually("the model to read", || (server.reading_slots() > 0).then_some(()));
    a_cancel_frees_the_slot(&server, &controller, &format!("{adapter}, reading"));
}

#[test]
fn a_real_model_over_openai_never_breaks_a_job() {
    every_workflow_ends_truthfully("openai");
}

#[test]
fn a_real_model_over_anthropic_never_breaks_a_job() {
    every_workflow_ends_truthfully("anthropic");
}

#[test]
fn a_cancel_frees_the_slot_of_a_real_server_over_openai() {
    a_cancel_while_it_writes("openai");
}

#[test]
fn a_cancel_frees_the_slot_of_a_real_server_over_anthropic() {
    a_cancel_while_it_writes("anthropic");
}

#[test]
fn a_cancel_frees_the_slot_that_reads_a_prompt_over_openai() {
    a_cancel_while_it_reads("openai");
}

#[test]
fn a_cancel_frees_the_slot_that_reads_a_prompt_over_anthropic() {
    a_cancel_while_it_reads("anthropic");
}
