//! What `explain` says about the guards that `why` names.

use protocol::guard::Guard;

use crate::codes::Explanation;

/// What is known about a guard.
#[expect(clippy::too_many_lines, reason = "one arm for each guard, nothing else")]
pub(super) const fn explanation(guard: Guard) -> Explanation {
    let (meaning, remedy) = match guard {
        Guard::DispatchPaused => (
            "A person stopped dispatch as a whole: what runs goes on, nothing new begins.",
            "Publish `{\"do\": \"resume\"}` to the MQTT topic `agentd/command`; `agentctl status` says whether it is paused.",
        ),
        Guard::GroupFull => (
            "The workflow lets only so many jobs of its concurrency group run at once.",
            "Wait, or end one of those: `agentctl cancel JOB`.",
        ),
        Guard::BudgetSpent => (
            "The token or money budget of the job is spent.",
            "`agentctl resume JOB` gives it as much again.",
        ),
        Guard::JobParked => (
            "The job was stopped until a person decides; nothing is lost.",
            "`agentctl resume JOB` lets it go on, `agentctl cancel JOB` ends it.",
        ),
        Guard::Needs => (
            "The step begins when the steps that it needs have ended.",
            "`agentctl why JOB` says what those wait for.",
        ),
        Guard::OtherSteps => (
            "A step of `finally` begins when all others have ended.",
            "`agentctl why JOB` says what those wait for.",
        ),
        Guard::RetryTime => (
            "The last attempt failed, and a timer runs before the next one.",
            "Wait; `agentctl show JOB` says what went wrong, `agentctl cancel JOB` stops it.",
        ),
        Guard::Decision => (
            "A person has to decide.",
            "`agentctl approve JOB` shows what it is about and asks; `agentctl reject JOB` refuses.",
        ),
        Guard::Acceptance => (
            "A worker was offered the step a moment ago and has not answered.",
            "Wait a few seconds; `agentctl workers` shows whether it is online.",
        ),
        Guard::Result => (
            "A worker executes the step.",
            "`agentctl logs -f JOB STEP` shows what it does.",
        ),
        Guard::SilentWorker => (
            "The worker that executes the step has not been heard for longer than its lease.",
            "Wait: it may come back, otherwise another attempt begins. `agentctl workers` shows what is known of it.",
        ),
        Guard::InnerSteps => (
            "The steps inside the block or loop decide.",
            "`agentctl why JOB` says what those wait for.",
        ),
        Guard::Stop => (
            "The step is being stopped.",
            "Wait until its worker says so, or its time for that is over: `agentctl watch JOB`.",
        ),
        Guard::StepParked => (
            "The step was stopped until a person decides.",
            "`agentctl resume JOB` tries it again, `agentctl cancel JOB` ends the job.",
        ),
        Guard::NoWorker => (
            "No worker has joined.",
            "`agentctl workers join-token` prints the line that joins one.",
        ),
        Guard::WorkerOffline => (
            "The worker has no connection to the controller.",
            "Start it on its machine with `agent-worker`; `agentctl workers remove NAME` forgets one that is gone.",
        ),
        Guard::WorkerSuspect => (
            "The worker was silent for a while, or took none of the offers made to it.",
            "It is asked again with its next word; `agentctl workers` says when it was heard last.",
        ),
        Guard::WorkerPaused => (
            "A person paused the worker.",
            "`agentctl workers resume NAME` lets it take steps again.",
        ),
        Guard::WorkerDraining => (
            "The worker finishes what it has and takes nothing new.",
            "`agentctl workers resume NAME` lets it take steps again.",
        ),
        Guard::Labels => (
            "The worker lacks a label that the step requires.",
            "Install what a label `tool` names, or set the label under `labels:` in the worker's configuration, and restart it; `agentctl workers` shows them.",
        ),
        Guard::Sandbox => (
            "The worker protects its machine less than the step asks for, or may run no tools at all.",
            "Install bubblewrap there and restart agent-worker; `agentctl doctor` says more.",
        ),
        Guard::Model => (
            "The worker reaches no model for the step.",
            "Start Ollama there, or add `providers:` and `models:` to the controller's configuration; `agentctl doctor` checks them.",
        ),
        Guard::NotWith => (
            "The workflow keeps the step from the worker that ran an earlier one, as long as another can take it.",
            "Wait for the other one, or let a further worker join: `agentctl workers join-token`.",
        ),
        Guard::Excluded => (
            "The worker refused the step or failed it by its own fault less than a minute ago.",
            "Wait; `agentctl show JOB` says what went wrong.",
        ),
        Guard::Slots => (
            "The worker executes as many attempts as it takes at once.",
            "Wait, raise `slots:` in its configuration, or let another one join: `agentctl workers join-token`.",
        ),
        Guard::Nothing => (
            "Nothing is missing: the step is about to be offered.",
            "`agentctl watch JOB` shows it begin.",
        ),
    };
    Explanation { meaning, remedy }
}
