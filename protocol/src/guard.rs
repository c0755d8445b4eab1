//! Guards: each condition that can keep a job or one of its steps waiting.
//!
//! `agentctl why` names the unmet one, so that programs need not read sentences.

use crate::job::text_enum;

text_enum! {
    /// What must change before a job, a step or a worker goes on. Those of workers stand in the order in
    /// which they are checked, so that the later one is the nearer miss.
    Guard {
        /// A person stopped dispatch as a whole.
        DispatchPaused = "dispatch_paused",
        /// The concurrency group of the job has no place left.
        GroupFull = "group_full",
        /// The job's token or money budget is spent.
        BudgetSpent = "budget_spent",
        /// The job was stopped until a person decides.
        JobParked = "job_parked",
        /// Steps before it have not ended.
        Needs = "needs",
        /// A closing step begins when all others have ended.
        OtherSteps = "other_steps",
        /// A timer runs before the next attempt.
        RetryTime = "retry_time",
        /// A person has to approve or reject.
        Decision = "decision",
        /// A worker was offered the step and has not said yes or no.
        Acceptance = "acceptance",
        /// A worker executes it.
        Result = "result",
        /// The worker that executes it has fallen silent.
        SilentWorker = "silent_worker",
        /// The steps inside the block decide.
        InnerSteps = "inner_steps",
        /// It is being stopped.
        Stop = "stop",
        /// The step was stopped until a person decides.
        StepParked = "step_parked",
        /// No worker has joined.
        NoWorker = "no_worker",
        /// The worker has no connection.
        WorkerOffline = "worker_offline",
        /// The worker did not react.
        WorkerSuspect = "worker_suspect",
        /// A person paused the worker.
        WorkerPaused = "worker_paused",
        /// The worker is being drained.
        WorkerDraining = "worker_draining",
        /// The worker lacks labels.
        Labels = "labels",
        /// The worker protects its machine less than the step asks for.
        Sandbox = "sandbox",
        /// The worker reaches no model for the step.
        Model = "model",
        /// The step must not share a worker with an earlier one.
        NotWith = "not_with",
        /// The worker refused or failed the step a moment ago.
        Excluded = "excluded",
        /// All slots of the worker are in use.
        Slots = "slots",
        /// Nothing is missing.
        Nothing = "nothing",
    }
}
