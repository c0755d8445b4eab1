//! What `explain` says about exit codes.

use crate::{codes::Explanation, exit::Exit};

/// What is known about an exit code.
pub(super) const fn explanation(exit: Exit) -> Explanation {
    let (meaning, remedy) = match exit {
        Exit::Done => (
            "Done; of a job: it succeeded.",
            "`agentctl diff @last` prints what a job has brought.",
        ),
        Exit::Failed => (
            "The command failed.",
            "`agentctl explain CODE` explains the word in brackets after `error`; `agentctl doctor` checks the rest.",
        ),
        Exit::Usage => (
            "The command line or an input was wrong.",
            "`agentctl --help` lists the commands, and `--help` after one of them what it takes.",
        ),
        Exit::JobFailed => (
            "The job failed.",
            "`agentctl show JOB` says which step and why, `agentctl logs JOB` shows its log, `agentctl retry JOB` tries again.",
        ),
        Exit::NotAuthorised => (
            "There is no token, or it does not reach.",
            "`agentctl login URL` stores one; an admin makes one: `agentctl tokens create NAME --scope run`.",
        ),
        Exit::NotFound => (
            "Nothing has that name or number.",
            "`agentctl ps`, `agentctl workers` and `agentctl workflows` list what there is.",
        ),
        Exit::Unreachable => (
            "The controller does not answer.",
            "`agentctl doctor` tries each part by itself and ends with the command that repairs it.",
        ),
        Exit::TimedOut => (
            "The time given with `--timeout` passed; the job goes on.",
            "`agentctl watch JOB` looks on, `agentctl cancel JOB` stops it.",
        ),
        Exit::WaitsForPerson => (
            "The job waits for a person.",
            "`agentctl why JOB` says for what; `agentctl approve JOB`, `agentctl reject JOB` or `agentctl resume JOB` let it go on.",
        ),
        Exit::Cancelled => (
            "The job was cancelled.",
            "`agentctl retry JOB` runs what is missing, and keeps what succeeded.",
        ),
        Exit::BudgetSpent => (
            "A budget of tokens, money, calls or rounds stopped the job.",
            "`agentctl resume JOB` gives a parked job as much again, `agentctl retry JOB` a failed one.",
        ),
        Exit::Interrupted => (
            "Ctrl-C ended the command; the job goes on.",
            "`agentctl watch JOB` looks on again, `agentctl cancel JOB` stops it.",
        ),
    };
    Explanation { meaning, remedy }
}
