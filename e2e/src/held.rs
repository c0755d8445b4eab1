//! A job whose command goes on until the test lets it go.

use std::{fs, path::PathBuf};

use crate::{Controller, Lab, eventually};

/// The command, and the file that it waits for.
pub struct Held {
    script: PathBuf,
    gate: PathBuf,
}

impl Held {
    /// Ends with this exit code once it is let go.
    pub fn new(lab: &Lab, code: i32) -> Self {
        let (script, gate) = (lab.path("held.sh"), lab.path("gate"));
        let text = format!(
            "echo held\nwhile [ ! -e '{}' ]; do sleep 0.05; done\necho let go\nexit {code}\n",
            gate.display()
        );
        fs::write(&script, text).expect("writable");
        Self { script, gate }
    }

    /// The arguments of `agentctl VERB` for a job that runs it.
    pub fn args<'a>(&'a self, verb: &'a str) -> [&'a str; 5] {
        let script = self.script.to_str().expect("text");
        [verb, "run", "--", "/bin/sh", script]
    }

    /// The same for a shell.
    pub fn line(&self, verb: &str) -> String {
        format!("exec agentctl {}", self.args(verb).join(" "))
    }

    /// Submits it and waits until it runs.
    pub fn submit(&self, controller: &Controller) -> u64 {
        let output = controller.ctl(&self.args("submit"));
        let number = String::from_utf8_lossy(&output.stdout).trim().parse();
        let number = number.unwrap_or_else(|_| panic!("{output:?}"));
        eventually("the held command to run", || {
            self.is_running(controller, number).then_some(())
        });
        number
    }

    /// Whether its step is running.
    pub fn is_running(&self, controller: &Controller, job: u64) -> bool {
        controller.job(job)["steps"][0]["state"] == "running"
    }

    /// Lets it go.
    pub fn let_go(&self) {
        fs::write(&self.gate, "").expect("writable");
    }
}
