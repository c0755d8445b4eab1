//! The fence: what an attempt's own messages do to it. An attempt is executed
//! at most once here, and its result is kept until it is acknowledged.

use protocol::{
    id::{AttemptId, JobId},
    job::StepKey,
    message::{Accept, Ack, AckVerdict, Assign, Cancel, FromWorker, Reject, RejectReason, StepResult},
    step::{ErrorClass, Outcome, StepError},
    usage::Usage,
};
use serde_json::Map;

use super::{
    event::{Effect, Held, Ignored},
    machine::{Intake, Machine, ignored},
};
use crate::{journal::Record, slots::Seat};

/// When a busy worker wants to be asked again: 5 s.
const BUSY_RETRY_MS: u64 = 5_000;
/// When a worker that cannot write its journal wants to be asked again: 30 s.
const DISK_RETRY_MS: u64 = 30_000;

impl Machine {
    /// A known attempt is answered from what is held and never executed anew.
    pub(super) fn assign(&mut self, assign: Box<Assign>) -> Vec<Effect> {
        let attempt = assign.attempt;
        match self.held.get(&attempt) {
            None => self.offer(assign),
            Some(Held::Accepting { .. }) => ignored(Ignored::NotApplicable),
            Some(Held::Running { .. } | Held::Ending { .. }) => {
                vec![Effect::Say(FromWorker::Accept(Accept { attempt }))]
            }
            Some(Held::Unsent { result }) => vec![Effect::Say(FromWorker::Result(result.clone()))],
            Some(Held::Acked) => vec![Effect::Recall(attempt)],
            Some(Held::Dead { .. }) => {
                let why = "the worker's process died while it executed this attempt";
                self.ended(killed(assign.job.id, assign.step, attempt, why))
            }
            Some(Held::Barred) => {
                let why = "cancelled before it started";
                self.ended(killed(assign.job.id, assign.step, attempt, why))
            }
        }
    }

    fn offer(&mut self, assign: Box<Assign>) -> Vec<Effect> {
        let attempt = assign.attempt;
        let refusal = match self.intake {
            Intake::Stopping => Some("the worker is stopping"),
            Intake::Draining => Some("the worker is draining"),
            Intake::Open if self.slots.take(attempt) == Seat::NoneFree => Some("no slot is free"),
            Intake::Open => None,
        };
        if let Some(detail) = refusal {
            return vec![Effect::Say(FromWorker::Reject(Reject {
                attempt,
                why: RejectReason::Busy,
                detail: detail.to_owned(),
                retry_after_ms: BUSY_RETRY_MS,
            }))];
        }
        let record = Record::Accepted {
            attempt,
            job: assign.job.id,
            step: assign.step.clone(),
        };
        let cancelled = None;
        self.held.insert(attempt, Held::Accepting { assign, cancelled });
        vec![Effect::Write(record)]
    }

    pub(super) fn accept_written(&mut self, attempt: AttemptId, now_ms: u64) -> Vec<Effect> {
        let Some(Held::Accepting { .. }) = self.held.get(&attempt) else {
            return ignored(Ignored::NotApplicable);
        };
        let Some(Held::Accepting { assign, cancelled }) = self.held.remove(&attempt) else {
            return ignored(Ignored::NotApplicable);
        };
        if cancelled.is_some() {
            let result = killed(assign.job.id, assign.step, attempt, "cancelled before it started");
            return self.write_result(result);
        }
        let running = Held::Running {
            since_ms: now_ms,
            lease_ms: assign.lease_ms,
            cancel_grace_ms: assign.cancel_grace_ms,
            checkpoint: None,
        };
        self.held.insert(attempt, running);
        vec![
            Effect::Start(assign),
            Effect::Say(FromWorker::Accept(Accept { attempt })),
        ]
    }

    pub(super) fn accept_not_written(&mut self, attempt: AttemptId, why: String) -> Vec<Effect> {
        if !matches!(self.held.get(&attempt), Some(Held::Accepting { .. })) {
            return ignored(Ignored::NotApplicable);
        }
        self.held.remove(&attempt);
        self.slots.free(attempt);
        vec![Effect::Say(FromWorker::Reject(Reject {
            attempt,
            why: RejectReason::Disk,
            detail: why,
            retry_after_ms: DISK_RETRY_MS,
        }))]
    }

    pub(super) fn cancel(&mut self, cancel: Cancel) -> Vec<Effect> {
        let attempt = cancel.attempt;
        match self.held.get_mut(&attempt) {
            None => {
                self.held.insert(attempt, Held::Barred);
                vec![Effect::Write(Record::Barred { attempt })]
            }
            Some(Held::Accepting { cancelled, .. }) => {
                cancelled.get_or_insert(cancel);
                vec![]
            }
            Some(Held::Running { .. }) => vec![Effect::Stop {
                attempt,
                why: cancel.why,
                kill_after_ms: cancel.kill_after_ms,
            }],
            Some(Held::Unsent { result }) => vec![Effect::Say(FromWorker::Result(result.clone()))],
            Some(Held::Dead { job, step, .. }) => {
                let why = "the worker's process died while it executed this attempt";
                let result = killed(*job, step.clone(), attempt, why);
                self.ended(result)
            }
            Some(Held::Ending { .. } | Held::Acked | Held::Barred) => ignored(Ignored::NotApplicable),
        }
    }

    pub(super) fn probe(&mut self, attempt: AttemptId) -> Vec<Effect> {
        match self.held.get(&attempt) {
            Some(Held::Accepting { .. } | Held::Running { .. } | Held::Ending { .. }) => {
                self.renew(self.load)
            }
            Some(Held::Unsent { result }) => vec![Effect::Say(FromWorker::Result(result.clone()))],
            Some(Held::Acked) => vec![Effect::Recall(attempt)],
            Some(Held::Dead { .. } | Held::Barred) | None => ignored(Ignored::NotApplicable),
        }
    }

    pub(super) fn ack(&mut self, ack: Ack) -> Vec<Effect> {
        let attempt = ack.attempt;
        match (ack.verdict, self.held.get(&attempt)) {
            (AckVerdict::Applied | AckVerdict::Superseded, _) => self.settle(attempt),
            (AckVerdict::Missing(missing), Some(Held::Unsent { .. } | Held::Acked)) => {
                vec![Effect::Upload { attempt, missing }]
            }
            (AckVerdict::Missing(_), _) => ignored(Ignored::NotApplicable),
        }
    }

    /// The controller has the result on disk.
    pub(super) fn settle(&mut self, attempt: AttemptId) -> Vec<Effect> {
        match self.held.get(&attempt) {
            Some(Held::Unsent { .. }) => {
                self.held.insert(attempt, Held::Acked);
                vec![Effect::Settled(attempt), Effect::Write(Record::Acked { attempt })]
            }
            // one that was read again may still be said when the journal forgets its attempt
            Some(Held::Acked) | None => vec![Effect::Settled(attempt)],
            Some(_) => ignored(Ignored::NotApplicable),
        }
    }

    /// A result goes to the journal before anybody hears of it.
    pub(super) fn ended(&mut self, result: Box<StepResult>) -> Vec<Effect> {
        match self.held.get(&result.attempt) {
            Some(Held::Running { .. } | Held::Dead { .. } | Held::Barred) => self.write_result(result),
            Some(Held::Accepting { .. } | Held::Ending { .. } | Held::Unsent { .. } | Held::Acked) | None => {
                ignored(Ignored::NotApplicable)
            }
        }
    }

    pub(super) fn write_result(&mut self, result: Box<StepResult>) -> Vec<Effect> {
        let attempt = result.attempt;
        let record = Record::Result(result.clone());
        self.held.insert(attempt, Held::Ending { result });
        vec![Effect::Write(record)]
    }

    pub(super) fn result_written(&mut self, attempt: AttemptId) -> Vec<Effect> {
        let Some(Held::Ending { result }) = self.held.get(&attempt) else {
            return ignored(Ignored::NotApplicable);
        };
        let result = result.clone();
        self.slots.free(attempt);
        let say = Effect::Say(FromWorker::Result(result.clone()));
        self.held.insert(attempt, Held::Unsent { result });
        vec![say]
    }

    pub(super) fn uploaded(&mut self, attempt: AttemptId) -> Vec<Effect> {
        match self.held.get(&attempt) {
            Some(Held::Unsent { result }) => vec![Effect::Say(FromWorker::Result(result.clone()))],
            Some(Held::Acked) => vec![Effect::Recall(attempt)],
            _ => ignored(Ignored::NotApplicable),
        }
    }

    /// Without its blobs a result can never be applied: another attempt is the way out.
    pub(super) fn blobs_gone(&mut self, attempt: AttemptId, why: String) -> Vec<Effect> {
        let Some(Held::Unsent { result }) = self.held.get(&attempt) else {
            return ignored(Ignored::NotApplicable);
        };
        let mut result = result.clone();
        result.outcome = Outcome::Failed;
        result.error = Some(StepError::new(ErrorClass::Infra, why));
        result.artifacts.clear();
        result.workspace = None;
        self.write_result(result)
    }

    pub(super) fn forgotten(&mut self, attempts: &[AttemptId]) -> Vec<Effect> {
        for attempt in attempts {
            if matches!(self.held.get(attempt), Some(Held::Acked | Held::Barred)) {
                self.held.remove(attempt);
            }
        }
        vec![]
    }
}

/// The result of an attempt that never ran to its end.
fn killed(job: JobId, step: StepKey, attempt: AttemptId, why: &str) -> Box<StepResult> {
    Box::new(StepResult {
        job,
        step,
        attempt,
        outcome: Outcome::Killed,
        error: Some(StepError::new(ErrorClass::Killed, why)),
        exit: None,
        outputs: Map::new(),
        artifacts: vec![],
        usage: Usage::default(),
        model: None,
        workspace: None,
        log_bytes: 0,
        log_sha256: None,
        notes: vec![],
        duration_ms: 0,
        model_ms: 0,
    })
}
