//! What a person sees on a terminal, what a program reads from a pipe, and what both learn
//! from the exit code.

mod captures;
mod codes;
mod json;
mod live;
mod shell;

use std::process::Output;

use e2e::{Controller, eventually};

/// Waits until the job is in this state.
fn reaches(controller: &Controller, job: u64, state: &str) {
    eventually(&format!("job {job} to be {state}"), || {
        (controller.job(job)["state"] == state).then_some(())
    });
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("text")
}
