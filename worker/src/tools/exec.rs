//! The only spawner of child processes.
//!
//! A child gets an argument vector (never a shell string), an empty standard
//! input, its own process group, exactly the environment that it is given, and
//! limits. When the call returns, nothing that the child started is left.
//!
//! Must not: interpret output, or decide what a failure means.

mod guardian;
mod limits;
mod output;
mod processes;
mod result;
mod tree;

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use tokio::{
    process::{Child, Command},
    time::{Instant, MissedTickBehavior, interval_at, sleep_until, timeout},
};

pub(crate) use self::processes::{Process, processes};
pub use self::{
    guardian::Guardian,
    limits::Limits,
    output::Kept,
    result::{End, ExecError, ExecResult},
};
use self::{output::Pump, tree::Tree};
use crate::{
    log::{LogSink, Stream},
    sandbox::{Cage, Caged, Door, Excess, Sandbox, Start},
    steps::Stop,
};

/// From SIGTERM to SIGKILL when a limit ended the child; long enough to flush, too short to hide a hang.
const TERM_GRACE: Duration = Duration::from_secs(2);

/// How long the pipes may stay open after the last process has gone.
const DRAIN: Duration = Duration::from_secs(1);

/// How often memory and processes of a running tree are counted.
const WATCH_EVERY: Duration = Duration::from_secs(1);

/// A shell's exit code for a signal is this and the signal's number.
const SIGNALLED: i32 = 128;

/// Signals that end a program that did not expect them: ILL, ABRT, BUS, FPE, KILL, SEGV, TERM.
const FATAL: [i32; 7] = [4, 6, 7, 8, 9, 11, 15];

/// Bytes of what a cage says when it does not close.
const SAID: usize = 500;

/// Environment of a child, complete: nothing is inherited.
pub type Environment = std::collections::BTreeMap<OsString, OsString>;

/// Where a child's output goes; what is not sent to a file is logged and kept, head and tail.
#[derive(Debug, Default)]
pub enum Output {
    /// Standard output and standard error apart.
    #[default]
    Separate,
    /// Both through one pipe, in their true order, as [`ExecResult::stdout`].
    Merged,
    /// Standard output goes into a file as it is; standard error is kept.
    File(File),
}

/// A program to run once.
#[derive(Debug)]
pub struct Exec {
    argv: Vec<OsString>,
    dir: PathBuf,
    environment: Environment,
    input: Option<File>,
    output: Output,
    limits: Limits,
    cage: Option<Cage>,
}

impl Exec {
    /// A program with its arguments, to run in `dir` with an empty environment.
    pub fn new<A: Into<OsString>>(argv: impl IntoIterator<Item = A>, dir: impl Into<PathBuf>) -> Self {
        Self {
            argv: argv.into_iter().map(Into::into).collect(),
            dir: dir.into(),
            environment: Environment::new(),
            input: None,
            output: Output::default(),
            limits: Limits::default(),
            cage: None,
        }
    }

    /// Sets the whole environment.
    pub fn environment(mut self, environment: Environment) -> Self {
        self.environment = environment;
        self
    }

    /// Sets where output goes.
    pub fn output(mut self, output: Output) -> Self {
        self.output = output;
        self
    }

    /// Sets the limits.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Puts it into a cage; without one it is a program of ours, such as git.
    pub fn cage(mut self, cage: Cage) -> Self {
        self.cage = Some(cage);
        self
    }

    /// Reads standard input from a file instead of nothing; for git's plumbing only.
    pub fn input(mut self, file: File) -> Self {
        self.input = Some(file);
        self
    }

    /// Runs it to its end, or ends it when a limit is reached or `stop` asks for it.
    ///
    /// Dropping the future kills everything that was started.
    pub async fn run(self, log: &LogSink, stop: &Stop) -> Result<ExecResult, ExecError> {
        let started = Instant::now();
        let mut running = self.spawn(log)?;
        let status = running.until_exit(started, stop).await;
        running.clear_up().await;
        running.result(status, started.elapsed())
    }

    fn spawn(self, log: &LogSink) -> Result<Running, ExecError> {
        let program = self.argv.first().ok_or(ExecError::Empty)?;
        let name = program.to_string_lossy().into_owned();
        if !self.dir.is_dir() {
            return Err(ExecError::NoFolder(self.dir));
        }
        let path = self
            .environment
            .get(OsStr::new("PATH"))
            .cloned()
            .unwrap_or_default();
        let file = find_program(program, &path, &self.dir).ok_or_else(|| ExecError::NotFound {
            program: name.clone(),
            path: path.to_string_lossy().into_owned(),
        })?;
        let not_started = |source| ExecError::NotStarted {
            program: name.clone(),
            source,
        };
        let mut caged = self.caged(&file, log)?;
        let mut command = Command::new(&caged.file);
        command
            .arg0(caged.arg0())
            .args(caged.argv.iter().skip(1))
            .current_dir(&self.dir)
            .env_clear()
            .envs(caged.dress(&self.environment))
            .stdin(self.input.map_or_else(Stdio::null, Stdio::from))
            .process_group(0)
            .kill_on_drop(true);
        let limit = self.limits.output;
        let pump = |stream| Pump::new(stream, log.clone(), limit).map_err(not_started);
        let (out, err) = match self.output {
            Output::Separate => {
                let ((out, out_end), (err, err_end)) = (pump(Stream::Out)?, pump(Stream::Err)?);
                command.stdout(out_end).stderr(err_end);
                (out, err)
            }
            Output::Merged => {
                let (out, end) = pump(Stream::Out)?;
                command.stdout(end.try_clone().map_err(not_started)?).stderr(end);
                (out, Pump::closed(Stream::Err, log.clone()))
            }
            Output::File(file) => {
                let (err, end) = pump(Stream::Err)?;
                command.stdout(file).stderr(end);
                (Pump::closed(Stream::Out, log.clone()), err)
            }
        };
        let (group, door) = (caged.group.take(), caged.door.take());
        let tree = Tree::spawn(&mut command, caged.has_own_processes, group);
        let (child, tree) = tree.map_err(not_started)?;
        if self.cage.is_none() {
            self.limits.apply(tree.root());
        }
        Ok(Running {
            child,
            tree,
            out,
            err,
            limits: self.limits,
            end: End::Itself,
            kill_at: None,
            door,
            caged,
        })
    }

    /// The command line that puts the program into its cage, or the program itself.
    fn caged(&self, file: &Path, log: &LogSink) -> Result<Caged, ExecError> {
        let start = Start {
            file,
            argv: &self.argv,
            dir: &self.dir,
            memory: self.limits.memory,
            processes: self.limits.processes,
            log,
        };
        let nothing = || Cage::new(Arc::new(Sandbox::none()));
        Ok(self.cage.clone().unwrap_or_else(nothing).put(&start)?)
    }
}

/// Finds a program as a shell would, but from this search path and folder only.
pub fn find_program(program: &OsStr, path: &OsStr, dir: &Path) -> Option<PathBuf> {
    let asked = Path::new(program);
    if asked.components().count() != 1 || program.as_encoded_bytes().contains(&b'/') {
        let file = dir.join(asked);
        return file.exists().then_some(file);
    }
    std::env::split_paths(path)
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(asked))
        .find(|file| is_executable(file))
}

fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    file.metadata()
        .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

/// A child between its start and the end of everything that it started.
struct Running {
    child: Child,
    tree: Tree,
    out: Pump,
    err: Pump,
    limits: Limits,
    end: End,
    kill_at: Option<Instant>,
    door: Option<Door>,
    caged: Caged,
}

impl Running {
    async fn until_exit(&mut self, started: Instant, stop: &Stop) -> io::Result<ExitStatus> {
        let deadline = started + self.limits.time;
        let mut watch = interval_at(started + WATCH_EVERY, WATCH_EVERY);
        watch.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let ending = self.end != End::Itself;
            let alarm = self.kill_at.unwrap_or(deadline);
            tokio::select! {
                status = self.child.wait() => return status,
                () = self.out.turn(), if self.out.is_open() => {}
                () = self.err.turn(), if self.err.is_open() => {}
                () = pass(&mut self.door) => {}
                () = stop.token.cancelled(), if !ending => self.ask_to_end(End::Stopped, stop.kill_after()),
                () = sleep_until(alarm) => {
                    if ending {
                        self.tree.kill();
                        self.kill_at = Some(Instant::now() + WATCH_EVERY);
                    } else {
                        self.ask_to_end(End::TimedOut, TERM_GRACE);
                    }
                }
                _ = watch.tick(), if !ending => self.keep_small(),
            }
        }
    }

    fn keep_small(&mut self) {
        match self.tree.excess(&self.limits) {
            Some(Excess::Memory) => self.end_now(End::Memory),
            Some(Excess::Processes) => self.end_now(End::Processes),
            None => {}
        }
    }

    fn ask_to_end(&mut self, end: End, grace: Duration) {
        self.end = end;
        self.kill_at = Some(Instant::now() + grace);
        self.tree.terminate();
    }

    fn end_now(&mut self, end: End) {
        self.end = end;
        self.kill_at = Some(Instant::now() + WATCH_EVERY);
        self.tree.kill();
    }

    /// Ends what the child left behind and reads what is still in the pipes.
    async fn clear_up(&mut self) {
        self.tree.root_is_gone();
        self.tree.end_rest(self.kill_at).await;
        if self.end == End::Itself && self.tree.ran_out_of_memory() {
            self.end = End::Memory;
        }
        self.tree.leave_group().await;
        if let Some(door) = self.door.take() {
            door.close();
        }
        let rest = async {
            while self.out.is_open() {
                self.out.turn().await;
            }
            while self.err.is_open() {
                self.err.turn().await;
            }
        };
        let _ = timeout(DRAIN, rest).await;
    }

    fn result(self, status: io::Result<ExitStatus>, took: Duration) -> Result<ExecResult, ExecError> {
        use std::os::unix::process::ExitStatusExt as _;
        let status = status.ok();
        let (exit, signal) = match status.and_then(|status| status.code()) {
            // the cage's own process tells a signal as a shell does
            Some(code) if self.caged.has_own_processes && FATAL.contains(&(code - SIGNALLED)) => {
                (None, Some(code - SIGNALLED))
            }
            code => (code, status.and_then(|status| status.signal())),
        };
        let result = ExecResult {
            exit,
            signal,
            end: self.end,
            took,
            stdout: self.out.finish(),
            stderr: self.err.finish(),
        };
        if !self.caged.has_begun() && result.end == End::Itself {
            let said = [&result.stderr, &result.stdout].map(|kept| kept.tail_text(SAID));
            return Err(ExecError::NotCaged(said.concat().trim().to_owned()));
        }
        Ok(result)
    }
}

/// Lets pass what goes through an open door; waits for ever where there is none.
async fn pass(door: &mut Option<Door>) {
    match door {
        Some(door) => door.turn().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
