//! What `explain` says about the codes of the API.

use protocol::http::problem::Code;

use crate::codes::Explanation;

/// What is known about a code of the API.
pub(super) fn explanation(code: Code) -> Explanation {
    let entry = EXPLAINED.iter().find(|(explained, _, _)| *explained == code);
    let (_, meaning, remedy) = entry.expect("a test holds this list and the codes together");
    Explanation { meaning, remedy }
}

const EXPLAINED: &[(Code, &str, &str)] = &[
    (
        Code::Unauthenticated,
        "The controller got no token, or one that it does not know.",
        "`agentctl login URL` stores one; on the controller's machine, `admin.token` in its state folder holds the admin's.",
    ),
    (
        Code::Forbidden,
        "The token is known, and its scope does not reach.",
        "An admin makes another one: `agentctl tokens create NAME --scope run`.",
    ),
    (
        Code::NotFound,
        "Nothing has that name or number.",
        "`agentctl ps`, `agentctl workers` and `agentctl workflows` list what there is.",
    ),
    (
        Code::MethodNotAllowed,
        "The address exists, and does not take this kind of request.",
        "Compare the versions of agentctl and agentd with `agentctl doctor`.",
    ),
    (
        Code::InvalidBody,
        "The request's body is no JSON or has another shape.",
        "Compare the versions of agentctl and agentd with `agentctl doctor`.",
    ),
    (
        Code::InvalidField,
        "A field has a value that cannot be.",
        "Mend the field that the message names; `agentctl --help` and `--help` of each command say what they take.",
    ),
    (
        Code::InvalidQuery,
        "A filter has a value that cannot be.",
        "Mend the filter that the message names; `agentctl ps --help` lists those of jobs.",
    ),
    (
        Code::UnknownWorkflow,
        "No workflow has that name.",
        "`agentctl workflows` lists the names.",
    ),
    (
        Code::UnknownSecret,
        "A step of the workflow needs a secret that is not there, or that was sealed by another key.",
        "An admin sets it: `agentctl secrets set NAME`; `agentctl secrets` lists the names.",
    ),
    (
        Code::InvalidWorkflow,
        "The workflow cannot be loaded.",
        "`agentctl workflows validate FILE` names each mistake with its line.",
    ),
    (
        Code::MissingInput,
        "The workflow needs an input that was not given.",
        "Add it with `--input NAME=VALUE`; `agentctl workflows show NAME` lists what it takes.",
    ),
    (
        Code::UnknownModel,
        "A step asks for a model alias that is not configured.",
        "`agentctl status` lists the aliases; add one under `models:` in the controller's configuration.",
    ),
    (
        Code::NoModel,
        "A step needs a model; none is configured, and no worker has found one.",
        "Start Ollama on a worker, or add `providers:` and `models:` to the controller's configuration; `agentctl doctor` checks them.",
    ),
    (
        Code::MissingBlob,
        "The request names bytes that were not uploaded, or have been cleaned up since.",
        "Run the command again: it uploads them anew; `agentctl doctor` shows whether the disk of the controller is full.",
    ),
    (
        Code::IdempotencyMismatch,
        "The same idempotency key came with another request.",
        "Use a new key for a new request; `agentctl ps` shows whether the first one made a job.",
    ),
    (
        Code::Conflict,
        "The thing is not in a state that allows this, such as cancelling a job that has ended.",
        "`agentctl show JOB` says how it is.",
    ),
    (
        Code::PreconditionFailed,
        "The thing has changed since it was looked at, such as the plan that is to be approved.",
        "Look at it again with `agentctl show JOB`, then decide again.",
    ),
    (
        Code::WrongOffset,
        "An upload went on at another byte than the controller holds.",
        "Run the command again; `agentctl doctor` checks the way to the controller.",
    ),
    (
        Code::WrongHash,
        "The uploaded bytes are not those that were announced.",
        "Run the command again; `agentctl doctor` checks the way to the controller.",
    ),
    (
        Code::TooLarge,
        "The request, or the thing in it, is larger than the controller takes.",
        "Send less, or raise the limit in the controller's configuration, which `agentd --print-config` shows.",
    ),
    (
        Code::RateLimited,
        "Too many wrong secrets came from here, or more requests than the controller takes at a time.",
        "Wait as long as the message says; `agentctl login URL` replaces a wrong token.",
    ),
    (
        Code::TooSlow,
        "The request did not come within half a minute.",
        "Run the command again over a better connection; `agentctl doctor` checks it.",
    ),
    (
        Code::InvalidJoinToken,
        "The join token is unknown, used, or older than 15 minutes.",
        "`agentctl workers join-token` makes a new one.",
    ),
    (
        Code::RangeNotSatisfiable,
        "The wanted part lies beyond the end.",
        "Ask for less; `agentctl artifacts JOB` lists the sizes.",
    ),
    (
        Code::Storage,
        "The controller's state folder is full or cannot be written. Nothing that was accepted is lost.",
        "Free some space on the controller; `agentctl status` shows how much there is.",
    ),
    (
        Code::Unavailable,
        "The controller is starting or stopping.",
        "Wait a little and try again; `agentctl status` says when it is ready.",
    ),
    (
        Code::Internal,
        "A defect of agentd.",
        "The controller's log holds the details (`journalctl -u agentd`); please report it with them and with what `agentctl status` says.",
    ),
];
