//! What `explain` says about the reasons for which an attempt of a step fails.

use protocol::step::ErrorClass;

use crate::codes::Explanation;

/// What is known about a reason.
pub(super) const fn explanation(class: ErrorClass) -> Explanation {
    let (meaning, remedy) = match class {
        ErrorClass::Exit => (
            "A command exited with another code than 0, or was ended by a signal.",
            "`agentctl logs JOB STEP` shows what it printed; `agentctl retry JOB` runs it again.",
        ),
        ErrorClass::Check => (
            "A check found failures.",
            "`agentctl show JOB` names them, `agentctl logs JOB STEP` shows the whole output.",
        ),
        ErrorClass::ModelOutput => (
            "The answer of a model could not be used, also after it was asked to mend it.",
            "`agentctl logs JOB STEP` shows the answer; a larger model helps most often: `agentctl status` lists the aliases.",
        ),
        ErrorClass::RateLimited => (
            "A provider asked to come back later, and the step had no attempts left.",
            "Wait, then `agentctl retry JOB`; a second candidate under `models:` takes over by itself.",
        ),
        ErrorClass::Quota => (
            "What was paid for at a provider is used up.",
            "Add credit there or another candidate under `models:`, then `agentctl retry JOB`.",
        ),
        ErrorClass::Provider => (
            "A provider of models was not reachable, or broke off.",
            "`agentctl doctor` checks the providers; then `agentctl retry JOB`.",
        ),
        ErrorClass::Auth => (
            "A provider refused the key.",
            "Mend its `api_key`, `api_key_env` or `api_key_file` in the configuration, restart, then `agentctl retry JOB`.",
        ),
        ErrorClass::BadRequest => (
            "A provider refused the request as wrong, such as an unknown model.",
            "`agentctl logs JOB STEP` shows its words; mend the entry under `models:`, then `agentctl retry JOB`.",
        ),
        ErrorClass::TooLong => (
            "The prompt does not fit into the window of the model.",
            "Choose a model with a larger `window` under `models:`, or a smaller task; then `agentctl retry JOB`.",
        ),
        ErrorClass::Replay => (
            "A recorded conversation does not fit the request: the step would have asked something else.",
            "`agentctl logs JOB STEP` shows the difference; record it anew.",
        ),
        ErrorClass::Budget => (
            "A limit of calls, rounds, tokens or money was reached.",
            "`agentctl resume JOB` gives a parked job as much again, `agentctl retry JOB` a failed one.",
        ),
        ErrorClass::Timeout => (
            "A time limit passed: of the step, the job, or of the person who was asked.",
            "Raise `timeout:` in the workflow if it is too short; `agentctl retry JOB` tries again.",
        ),
        ErrorClass::Workspace => (
            "The repository could not be cloned, checked out, committed or bundled.",
            "`agentctl logs JOB STEP` shows what git said; `agentctl doctor` checks git and the disk.",
        ),
        ErrorClass::Spec => (
            "The definition of the step cannot work, such as a condition that names what does not exist.",
            "`agentctl workflows validate FILE` checks it; put it right with `agentctl workflows put FILE`.",
        ),
        ErrorClass::Infra => (
            "The machine of a worker was at fault, or the worker was lost; another one may do better.",
            "`agentctl workers` shows who is there, `agentctl why JOB` what the job waits for, `agentctl resume JOB` lets a parked one go on.",
        ),
        ErrorClass::Killed => (
            "Somebody or something ended the process, such as the kernel when memory ran out.",
            "`agentctl logs JOB STEP` shows its last words; `agentctl retry JOB` tries again.",
        ),
        ErrorClass::Missing => (
            "A tool, runtime or model that the step needs is not on the worker.",
            "Install what the message names there and restart agent-worker; `agentctl workers` shows the labels, then `agentctl retry JOB`.",
        ),
        ErrorClass::Rejected => (
            "A person refused it.",
            "`agentctl show JOB` says who and why; `agentctl retry JOB` asks again.",
        ),
    };
    Explanation { meaning, remedy }
}
