//! Tasks and threads by name, with one owner that joins them and a rule for their end.
//!
//! The only place that spawns (but for the watcher of signals). A task gets its way to stop from its caller (the
//! token of [`Tasks::stop`] or a child of it); one that must not end and does,
//! or that panics, stops the process in order.

use std::{
    collections::BTreeMap,
    error::Error,
    fmt,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, error, warn};

/// What the end of a task means before a stop was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnExit {
    /// Nothing works without it: stop the process, whatever the result.
    StopProcess,
    /// It may end; an error is logged.
    Log,
}

/// Why the process stops although nobody asked for it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{task} {why}")]
pub struct TaskFailure {
    /// The task's name.
    pub task: &'static str,
    /// Such as `ended` or `failed: …`.
    pub why: String,
}

/// How a drain ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Drained {
    /// All tasks ended.
    Clean,
    /// These were still running when the time was over.
    Late(Vec<&'static str>),
}

/// Owns all tasks of a process; clones are handles to the same owner.
#[derive(Clone)]
pub struct Tasks(Arc<Owner>);

struct Owner {
    tracker: TaskTracker,
    stop: CancellationToken,
    record: Mutex<Record>,
}

#[derive(Default)]
struct Record {
    next: u64,
    running: BTreeMap<u64, &'static str>,
    failure: Option<TaskFailure>,
}

impl Tasks {
    /// An owner without tasks; `stop` is what asks everything to stop.
    pub fn new(stop: CancellationToken) -> Self {
        Self(Arc::new(Owner {
            tracker: TaskTracker::new(),
            stop,
            record: Mutex::default(),
        }))
    }

    /// The token that asks everything to stop.
    pub fn stop(&self) -> &CancellationToken {
        &self.0.stop
    }

    /// Starts a task.
    pub fn spawn<F>(&self, name: &'static str, on_exit: OnExit, task: F)
    where
        F: Future + Send + 'static,
        F::Output: TaskResult,
    {
        let guard = self.begin(name, on_exit);
        self.0
            .tracker
            .spawn(async move { guard.end(task.await.failure()) });
    }

    /// Starts a thread that blocks or computes; it must end by itself when it is asked to stop.
    pub fn spawn_thread<F, R>(&self, name: &'static str, on_exit: OnExit, task: F) -> std::io::Result<()>
    where
        F: FnOnce() -> R + Send + 'static,
        R: TaskResult,
    {
        let guard = self.begin(name, on_exit);
        let tracked = self.0.tracker.token();
        std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            let _tracked = tracked;
            guard.end(task().failure());
        })?;
        Ok(())
    }

    /// What went wrong first, if the stop came from within.
    pub fn failure(&self) -> Option<TaskFailure> {
        self.0.record().failure.clone()
    }

    /// How many run.
    pub fn running(&self) -> usize {
        self.0.record().running.len()
    }

    /// Asks everything to stop and joins it, at most for `limit`.
    pub async fn drain(&self, limit: Duration) -> Drained {
        self.0.stop.cancel();
        self.0.tracker.close();
        match tokio::time::timeout(limit, self.0.tracker.wait()).await {
            Ok(()) => Drained::Clean,
            Err(_) => Drained::Late(self.0.record().running.values().copied().collect()),
        }
    }

    fn begin(&self, name: &'static str, on_exit: OnExit) -> Guard {
        let mut record = self.0.record();
        let number = record.next;
        record.next += 1;
        record.running.insert(number, name);
        Guard {
            owner: Arc::clone(&self.0),
            number,
            name,
            on_exit,
            ended: false,
        }
    }
}

impl Owner {
    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes the first failure and asks everything to stop.
    fn fail(&self, task: &'static str, why: String) {
        error!(task, "{task} {why}: stopping the process");
        self.record().failure.get_or_insert(TaskFailure { task, why });
        self.stop.cancel();
    }
}

/// Lives as long as its task and notices also a panic.
struct Guard {
    owner: Arc<Owner>,
    number: u64,
    name: &'static str,
    on_exit: OnExit,
    ended: bool,
}

impl Guard {
    fn end(mut self, failure: Option<String>) {
        self.ended = true;
        let name = self.name;
        let stopping = self.owner.stop.is_cancelled();
        match (failure, self.on_exit) {
            (Some(why), OnExit::StopProcess) if !stopping => {
                self.owner.fail(name, format!("failed: {why}"));
            }
            (None, OnExit::StopProcess) if !stopping => self.owner.fail(name, "ended".to_owned()),
            (Some(why), _) => warn!(task = name, "{name} failed: {why}"),
            (None, _) => debug!(task = name, "{name} ended"),
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.owner.record().running.remove(&self.number);
        if !self.ended && std::thread::panicking() {
            self.owner.fail(self.name, "panicked".to_owned());
        }
    }
}

/// What a task may return.
pub trait TaskResult {
    /// The error with its causes, if it failed.
    fn failure(self) -> Option<String>;
}

impl TaskResult for () {
    fn failure(self) -> Option<String> {
        None
    }
}

impl<E: Into<Box<dyn Error + Send + Sync>>> TaskResult for Result<(), E> {
    fn failure(self) -> Option<String> {
        self.err().map(|error| Chain(&*error.into()).to_string())
    }
}

/// An error and its causes on one line.
struct Chain<'a>(&'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

/// Makes a panic in any thread, ours or a library's, end the process after it was logged: half a
/// daemon is worse than none, and its supervisor starts it again. For `main` only.
pub fn end_process_on_panic() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let payload = panic.payload();
        let words = payload
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("(no text)");
        let thread = std::thread::current();
        let thread = thread.name().unwrap_or("unnamed");
        error!(place, thread, "panic in thread {thread} at {place}: {words}");
        std::process::abort();
    }));
}

#[cfg(test)]
mod tests;
