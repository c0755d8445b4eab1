//! What is wrong is said in a clear sentence with the right code, and nothing is lost by it.

mod full_disk;
mod providers;
mod requests;
mod start;
mod worker_messages;

use std::process::Output;

use e2e::{Controller, Lab, Worker, eventually, held::Held};

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

/// A job that is under way when the bad input comes.
struct UnderWay {
    held: Held,
    /// Its number.
    number: u64,
}

impl UnderWay {
    fn begin(lab: &Lab, controller: &Controller) -> Self {
        let held = Held::new(lab, 0);
        let number = held.submit(controller);
        Self { held, number }
    }

    /// Asserts that it is still under way, in its first attempt, and then ends well.
    fn ends_well(&self, controller: &Controller) {
        let number = self.number;
        eventually("the job to be under way still", || {
            self.held.is_running(controller, number).then_some(())
        });
        self.held.let_go();
        self.ended_well(controller);
    }

    /// Asserts that it ends well after it was let go.
    fn ended_well(&self, controller: &Controller) {
        let number = self.number;
        let ended = controller.ctl(&["wait", &number.to_string()]);
        let job = controller.job(number);
        assert_eq!(ended.status.code(), Some(0), "{job}");
        let attempts = job["steps"][0]["attempts"].as_array().map(Vec::len);
        assert_eq!(attempts, Some(1), "nothing was done twice: {job}");
    }
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
