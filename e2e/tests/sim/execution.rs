//! An attempt that only pretends to work: it takes its time, says how far it is,
//! and ends in one of the ways in which attempts end.

use protocol::{
    artifact::{ArtifactRef, Sha256},
    message::{Assign, CancelReason, Progress, StepResult},
    step::{ErrorClass, Outcome, StepError},
    usage::Usage,
};
use serde_json::{Map, json};

use crate::random::Random;

/// The moment, and whether everything goes well from here on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    pub(crate) ms: u64,
    pub(crate) calm: bool,
}

pub(crate) struct Execution {
    assign: Assign,
    ends_at: u64,
    limit_at: u64,
    stop: Option<(CancelReason, u64)>,
    progress_at: u64,
    said: u64,
    usage: Usage,
}

impl Execution {
    pub(crate) fn new(assign: Assign, now: Now, random: &mut Random) -> Self {
        let longest = [10, 5_000, 60_000, 60_000, 400_000, 1_500_000];
        let longest = if now.calm {
            Some(20_000)
        } else {
            random.pick(&longest)
        };
        let takes = random.below(longest.unwrap_or(1));
        Self {
            ends_at: now.ms + takes,
            limit_at: now.ms.saturating_add(assign.timeout_ms),
            stop: None,
            progress_at: now.ms + 1_000 + random.below(takes + 1),
            said: 0,
            usage: Usage::default(),
            assign,
        }
    }

    pub(crate) fn wake_at(&self) -> u64 {
        let stop = self.stop.map_or(u64::MAX, |(_, at)| at);
        self.end_at().min(stop).min(self.progress_at)
    }

    fn end_at(&self) -> u64 {
        self.ends_at.min(self.limit_at)
    }

    /// It is told to stop, and will have stopped then.
    pub(crate) fn stop(&mut self, why: CancelReason, at: u64) {
        if self.stop.is_none() {
            self.stop = Some((why, at));
        }
    }

    /// How far it is, if it has not ended.
    pub(crate) fn progress(&mut self, now: Now, random: &mut Random) -> Option<Progress> {
        let stopped = self.stop.is_some_and(|(_, at)| at <= now.ms);
        if stopped || self.end_at() <= now.ms {
            return None;
        }
        self.said += 1;
        self.progress_at = now.ms + 20_000 + random.below(100_000);
        self.work(random);
        Some(Progress {
            attempt: self.assign.attempt,
            seq: self.said,
            fraction: None,
            note: "busy".to_owned(),
            usage: self.usage,
            model: None,
        })
    }

    fn work(&mut self, random: &mut Random) {
        self.usage += Usage {
            input_tokens: random.below(5),
            output_tokens: random.below(3),
            calls: 1,
            ..Usage::default()
        };
    }

    /// Its result, and what it uploaded before.
    pub(crate) fn end(mut self, now: Now, random: &mut Random) -> (Box<StepResult>, Vec<Sha256>) {
        self.work(random);
        let (outcome, class) = self.outcome(now, random);
        let mut artifacts = vec![];
        let mut uploads = vec![];
        if outcome == Outcome::Ok && random.one_in(6) {
            let mut bytes = [0; 32];
            bytes[..16].copy_from_slice(self.assign.attempt.uuid().as_bytes());
            let sha256 = Sha256(bytes);
            let name = "report".to_owned();
            artifacts.push(ArtifactRef {
                name,
                sha256,
                size: 1,
            });
            if !random.one_in(3) {
                uploads.push(sha256);
            }
        }
        let mut outputs = Map::new();
        outputs.insert("by".to_owned(), json!(self.assign.attempt));
        let result = StepResult {
            job: self.assign.job.id,
            step: self.assign.step,
            attempt: self.assign.attempt,
            outcome,
            error: class.map(|class| StepError::new(class, "no")),
            exit: None,
            outputs,
            artifacts,
            usage: self.usage,
            model: None,
            workspace: None,
            log_bytes: 0,
            log_sha256: None,
            notes: vec![],
            duration_ms: 0,
            model_ms: 0,
        };
        (Box::new(result), uploads)
    }

    fn outcome(&self, now: Now, random: &mut Random) -> (Outcome, Option<ErrorClass>) {
        if self.stop.is_some_and(|(_, at)| at <= now.ms) {
            return match random.below(4) {
                0 => (Outcome::Ok, None),
                1 => (Outcome::TimedOut, Some(ErrorClass::Timeout)),
                _ => (Outcome::Killed, Some(ErrorClass::Killed)),
            };
        }
        if self.limit_at <= now.ms {
            return (Outcome::TimedOut, Some(ErrorClass::Timeout));
        }
        if now.calm {
            return (Outcome::Ok, None);
        }
        match random.below(12) {
            0 => (Outcome::Killed, Some(ErrorClass::Killed)),
            1 => (Outcome::Failed, Some(ErrorClass::Infra)),
            2 => (Outcome::Failed, Some(ErrorClass::Spec)),
            3 | 4 => (Outcome::Failed, Some(ErrorClass::Exit)),
            _ => (Outcome::Ok, None),
        }
    }
}
