//! The processes of the demonstration. They end with it, whatever happens.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use futures::future::select_all;
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    process::{Child, Command},
    time::timeout,
};

use crate::{codes::Code, error::CliError};

/// How long a process may take to end when it is asked to.
const PATIENCE: Duration = Duration::from_secs(15);
/// Lines of a log that are quoted.
const QUOTED: usize = 12;

/// What was started and has not been stopped.
#[derive(Default)]
pub(super) struct Processes {
    running: Vec<Process>,
}

struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

/// Where the programs are: beside this one.
pub(super) fn program(name: &str) -> Result<PathBuf, CliError> {
    let own = std::env::current_exe()?;
    let path = own.with_file_name(name);
    if path.is_file() {
        return Ok(path);
    }
    let sentence = format!(
        "{name} is not beside agentctl in {}",
        own.parent().unwrap_or(&own).display()
    );
    Err(CliError::new(Code::DemoFailed, sentence).hint("build all three: `make demo`"))
}

impl Processes {
    /// Starts one; what it says goes to a log file in `logs`.
    pub(super) fn start(
        &mut self,
        name: &str,
        program: &Path,
        args: &[&str],
        logs: &Path,
    ) -> Result<(), CliError> {
        let log = logs.join(format!("{name}.log"));
        let start = || -> io::Result<Child> {
            let file = File::create(&log)?;
            Command::new(program)
                .args(args)
                // the demo has to run everywhere, and runs nothing but its own sample; it says at which level
                .env("AGENT_WORKER_SANDBOX__ALLOW", "strong,basic,none")
                .stdin(Stdio::null())
                .stdout(file.try_clone()?)
                .stderr(file)
                // Ctrl-C is for us alone: we stop the others in their order
                .process_group(0)
                .kill_on_drop(true)
                .spawn()
        };
        let child = start().map_err(|error| CliError::file(program, "start", &error))?;
        self.running.push(Process {
            name: name.to_owned(),
            child,
            log,
        });
        Ok(())
    }

    /// Waits until one of them ends, which none should.
    pub(super) async fn unexpected_end(&mut self) -> CliError {
        let waits = self.running.iter_mut().map(|process| {
            Box::pin(async {
                let status = process.child.wait().await;
                (&process.name, &process.log, status)
            })
        });
        let ((name, log, status), _, _) = select_all(waits).await;
        let how = status.map_or_else(|error| error.to_string(), |status| status.to_string());
        CliError::new(Code::DemoFailed, format!("{name} ended ({how})")).cause(tail(log))
    }

    /// Asks all of them to end, last started first, and makes sure that they do.
    pub(super) async fn stop(mut self) {
        while let Some(mut process) = self.running.pop() {
            let pid = process.child.id().and_then(|id| Pid::from_raw(id as i32));
            if let Some(pid) = pid {
                // one that has ended meanwhile is what we want
                let _ = kill_process(pid, Signal::TERM);
            }
            if timeout(PATIENCE, process.child.wait()).await.is_err() {
                let _ = process.child.kill().await;
            }
        }
    }
}

/// The end of a log.
fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(QUOTED)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_end_is_noticed_and_the_rest_is_stopped() {
        let logs = tempfile::tempdir().expect("a folder");
        let mut processes = Processes::default();
        let shell = Path::new("/bin/sh");
        processes
            .start("lasting", shell, &["-c", "sleep 600"], logs.path())
            .expect("starts");
        processes
            .start("short", shell, &["-c", "echo out of luck; exit 3"], logs.path())
            .expect("starts");
        let error = processes.unexpected_end().await;
        insta::assert_snapshot!(error.render(crate::output::style::Style::PLAIN), @r"
        error[demo_failed]: short ended (exit status: 3)
          cause: out of luck
          hint:  `agentctl explain demo_failed` says what to do
        ");
        let pid = processes.running[0].child.id().expect("runs") as i32;
        processes.stop().await;
        let pid = Pid::from_raw(pid).expect("a pid");
        assert!(rustix::process::test_kill_process(pid).is_err(), "it has ended");
    }
}
