//! What the process says with its exit code.

use std::process::{ExitCode, Termination};

use protocol::{
    http::jobs::JobView,
    job::JobState,
    step::{ErrorClass, StepState},
};

/// The exit codes that scripts rely on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done.
    Done = 0,
    /// The command failed.
    Failed = 1,
    /// The command line or an input was wrong.
    Usage = 2,
    /// The job failed.
    JobFailed = 3,
    /// No credential, or one that does not reach.
    NotAuthorised = 4,
    /// Nothing has that name.
    NotFound = 5,
    /// The controller does not answer.
    Unreachable = 6,
    /// `--timeout` passed.
    TimedOut = 7,
    /// The job waits for a person.
    WaitsForPerson = 8,
    /// The job was cancelled.
    Cancelled = 9,
    /// A budget stopped the job.
    BudgetSpent = 10,
    /// Ctrl-C.
    Interrupted = 130,
}

impl Exit {
    /// Every exit code.
    pub(crate) const ALL: &'static [Self] = &[
        Self::Done,
        Self::Failed,
        Self::Usage,
        Self::JobFailed,
        Self::NotAuthorised,
        Self::NotFound,
        Self::Unreachable,
        Self::TimedOut,
        Self::WaitsForPerson,
        Self::Cancelled,
        Self::BudgetSpent,
        Self::Interrupted,
    ];

    /// What a job that does not go on by itself says; `None` while it does.
    pub(crate) fn of_job(job: &JobView) -> Option<Self> {
        let any = |state| job.steps.iter().any(|step| step.state == state);
        // a step that will be tried again goes on without anybody
        let awaits = any(StepState::Awaiting) && !any(StepState::RetryWait);
        match job.state {
            JobState::Succeeded => Some(Self::Done),
            JobState::Failed | JobState::Parked if job.budget_spent => Some(Self::BudgetSpent),
            JobState::Failed => Some(Self::JobFailed),
            JobState::Cancelled => Some(Self::Cancelled),
            JobState::Parked if calls_spent(job) => Some(Self::BudgetSpent),
            JobState::Parked => Some(Self::WaitsForPerson),
            JobState::Waiting if awaits => Some(Self::WaitsForPerson),
            JobState::Queued | JobState::Running | JobState::Waiting | JobState::Cancelling => None,
        }
    }
}

/// The model calls of a step have a budget of their own; the retries of a lost worker do not count here.
fn calls_spent(job: &JobView) -> bool {
    job.steps.iter().any(|step| {
        !step.state.is_terminal()
            && step
                .error
                .as_ref()
                .is_some_and(|error| error.class == ErrorClass::Budget)
    })
}

impl Termination for Exit {
    fn report(self) -> ExitCode {
        ExitCode::from(self as u8)
    }
}
