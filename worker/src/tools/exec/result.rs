//! How a child ended, or why it did not start.

use std::{io, path::PathBuf, time::Duration};

use protocol::step::{ErrorClass, StepError};

use super::Kept;
use crate::sandbox::CageError;

/// Why a child did not start.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// The argument vector is empty.
    #[error("there is no program to run: the argument list is empty")]
    Empty,
    /// No such program.
    #[error("`{program}` is not on this worker (looked in {path})")]
    NotFound {
        /// As it was asked for.
        program: String,
        /// The search path.
        path: String,
    },
    /// The working directory is not there.
    #[error("the folder {0:?} does not exist")]
    NoFolder(PathBuf),
    /// The sandbox refuses.
    #[error(transparent)]
    Refused(#[from] CageError),
    /// The sandbox could not be set up, so that the program never began.
    #[error("the sandbox could not be set up: {0}")]
    NotCaged(String),
    /// The system refused.
    #[error("`{program}` did not start: {source}")]
    NotStarted {
        /// As it was asked for.
        program: String,
        /// What the system said.
        source: io::Error,
    },
}

impl From<ExecError> for StepError {
    fn from(error: ExecError) -> Self {
        let class = match &error {
            ExecError::Empty => ErrorClass::Spec,
            ExecError::NotFound { .. } => ErrorClass::Missing,
            ExecError::NoFolder(_) => ErrorClass::Spec,
            ExecError::Refused(CageError::Folder(_)) | ExecError::NotCaged(_) => ErrorClass::Infra,
            ExecError::Refused(_) => ErrorClass::Missing,
            ExecError::NotStarted { source, .. } => match source.kind() {
                io::ErrorKind::PermissionDenied | io::ErrorKind::InvalidInput => ErrorClass::Spec,
                _ => ErrorClass::Infra,
            },
        };
        let step_error = Self::new(class, error.to_string());
        match error {
            ExecError::NotFound { program, .. } => step_error.hint(format!(
                "install {program}, or send the step to a worker that has it"
            )),
            _ => step_error,
        }
    }
}

/// What ended a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It ended by itself.
    Itself,
    /// Its time limit.
    TimedOut,
    /// The attempt was stopped.
    Stopped,
    /// It and what it started used more memory than allowed.
    Memory,
    /// It started more processes than allowed.
    Processes,
}

/// What became of a child.
#[derive(Debug)]
pub struct ExecResult {
    /// Exit code; `None` after a signal.
    pub exit: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// What ended it.
    pub end: End,
    /// From start to end.
    pub took: Duration,
    /// Standard output; both streams if they were merged; empty if it went to a file.
    pub stdout: Kept,
    /// Standard error; empty if the streams were merged.
    pub stderr: Kept,
}

impl ExecResult {
    /// Whether it ended by itself with exit code 0.
    pub fn success(&self) -> bool {
        self.exit == Some(0) && self.end == End::Itself
    }

    /// Milliseconds from start to end.
    pub fn ms(&self) -> u64 {
        self.took.as_millis() as u64
    }

    /// How it ended, for people: `exited with 3`, `was ended by signal 9`, …
    pub fn ending(&self) -> String {
        let seconds = self.took.as_secs_f32();
        match (self.end, self.exit, self.signal) {
            (End::TimedOut, ..) => format!("was ended by its time limit after {seconds:.1} s"),
            (End::Stopped, ..) => format!("was stopped after {seconds:.1} s"),
            (End::Memory, ..) => "used more memory than allowed and was ended".to_owned(),
            (End::Processes, ..) => "started more processes than allowed and was ended".to_owned(),
            (End::Itself, Some(code), _) => format!("exited with {code}"),
            (End::Itself, None, Some(signal)) => format!("was ended by signal {signal}"),
            (End::Itself, None, None) => "ended in an unknown way".to_owned(),
        }
    }
}
