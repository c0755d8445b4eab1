//! What is wrong is said in a clear sentence with the right code, and nothing is lost by it.

mod requests;
mod start;

use std::process::Output;

use e2e::{Controller, Worker, eventually};

/// What a program said on standard error.
fn said(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!text.contains("panicked"), "{text}");
    text
}

/// Asserts the exit code and every part of the sentence.
#[track_caller]
fn refused(output: &Output, code: i32, parts: &[&str]) {
    let text = said(output);
    assert_eq!(output.status.code(), Some(code), "{text}");
    for part in parts {
        assert!(text.contains(part), "{part:?} is missing in: {text}");
    }
}

/// A job that was accepted before whatever happens next.
fn accepted_before(controller: &Controller) -> u64 {
    let output = controller.ctl(&["submit", "run", "-o", "id", "--", "/bin/true"]);
    assert!(output.status.success(), "{output:?}");
    let jobs = controller.json(&["ps", "-o", "json"]);
    let number = jobs["items"][0]["number"].as_u64();
    number.unwrap_or_else(|| panic!("no job: {jobs}"))
}

/// Asserts that an accepted job ends well.
fn ends_well(controller: &Controller, job: u64) {
    let ended = controller.ctl(&["wait", &job.to_string()]);
    assert_eq!(ended.status.code(), Some(0), "{}", controller.job(job));
}

/// Asserts that the worker is online.
fn is_online(controller: &Controller, worker: &Worker) {
    eventually(&format!("worker {} to be online", worker.name), || {
        let workers = controller.json(&["workers", "-o", "json"]);
        let items = workers["items"].as_array()?.clone();
        let found = items.iter().find(|found| found["name"] == worker.name.as_str())?;
        (found["state"] == "online").then_some(())
    });
}
