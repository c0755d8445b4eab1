//! What a person sees on a terminal, what a program reads from a pipe, and what both learn
//! from the exit code.

mod codes;
mod json;
mod live;

use std::{fs, path::PathBuf, process::Output};

use e2e::{Controller, Lab, eventually};

/// A command that waits until the test lets it go, and then ends with an exit code.
struct Held {
    script: PathBuf,
    gate: PathBuf,
}

impl Held {
    fn new(lab: &Lab, code: i32) -> Self {
        let (script, gate) = (lab.path("held.sh"), lab.path("gate"));
        let text = format!(
            "echo held\nwhile [ ! -e '{}' ]; do sleep 0.05; done\necho let go\nexit {code}\n",
            gate.display()
        );
        fs::write(&script, text).expect("writable");
        Self { script, gate }
    }

    /// `agentctl VERB` of a job that runs it.
    fn line(&self, verb: &str) -> String {
        format!("exec agentctl {verb} run -- /bin/sh {}", self.script.display())
    }

    /// The arguments of the same.
    fn args<'a>(&'a self, verb: &'a str) -> [&'a str; 5] {
        let script = self.script.to_str().expect("text");
        [verb, "run", "--", "/bin/sh", script]
    }

    fn let_go(&self) {
        fs::write(&self.gate, "").expect("writable");
    }
}

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
