//! A worker as the walk sees it: what it holds, and how it answers.

use std::collections::{BTreeMap, BTreeSet};

use protocol::{
    id::{AttemptId, BootId, JobId},
    job::StepKey,
    message::{FromWorker, Hello, Progress, Reject, RejectReason, RunningAttempt, Session, ToWorker},
    step::Outcome,
};
use serde_json::json;
use uuid::Uuid;

use crate::orchestrator::tests::sim::{Seeded, accept, hello, renew, result_of, session};

/// What a worker executes.
type Work = (AttemptId, JobId, StepKey);

pub(super) struct Actor {
    pub(super) session: Session,
    pub(super) connected: bool,
    boot: BootId,
    slots: u32,
    fast: bool,
    pub(super) running: Vec<Work>,
    unsent: BTreeMap<AttemptId, FromWorker>,
    /// Attempts that it will never begin (again).
    known: BTreeSet<AttemptId>,
}

impl Actor {
    pub(super) fn new(random: &mut Seeded, slots: u32, fast: bool) -> Self {
        Self {
            session: session(1, 0),
            connected: false,
            boot: boot(random),
            slots,
            fast,
            running: vec![],
            unsent: BTreeMap::new(),
            known: BTreeSet::new(),
        }
    }

    /// A new connection, perhaps of a new process, which has lost what it ran.
    pub(super) fn connect(&mut self, random: &mut Seeded, anew: bool) {
        self.connected = true;
        self.session.connection += 1;
        if anew {
            self.session.start += 1;
            self.boot = boot(random);
            self.running.clear();
        }
    }

    pub(super) fn hello(&self) -> FromWorker {
        let mut says: Hello = hello(self.slots);
        says.boot_id = self.boot;
        if self.fast {
            says.labels.insert("disk", "fast");
        }
        let model = json!({"provider": "here", "model": "m", "window": 8192, "loaded": true});
        says.models.push(serde_json::from_value(model).expect("a model"));
        says.running = self
            .running
            .iter()
            .map(|(attempt, ..)| RunningAttempt {
                attempt: *attempt,
                for_ms: 0,
                last_seq: 0,
            })
            .collect();
        says.unsent = self
            .unsent
            .keys()
            .map(|attempt| (*attempt, Outcome::Ok))
            .collect();
        FromWorker::Hello(Box::new(says))
    }

    /// What it answers to a message of its session.
    pub(super) fn receive(&mut self, random: &mut Seeded, message: ToWorker) -> Vec<FromWorker> {
        match message {
            ToWorker::Assign(assign) => {
                let attempt = assign.attempt;
                if let Some(result) = self.unsent.get(&attempt) {
                    return vec![result.clone()];
                }
                if self.running.iter().any(|(running, ..)| *running == attempt) {
                    return vec![accept(attempt)];
                }
                match random.below(20) {
                    0 => vec![],
                    1 => vec![reject(attempt)],
                    _ if !self.known.insert(attempt) => vec![reject(attempt)],
                    _ => {
                        self.running.push((attempt, assign.job.id, assign.step));
                        vec![accept(attempt)]
                    }
                }
            }
            ToWorker::Cancel(cancel) => {
                self.known.insert(cancel.attempt);
                let place = self
                    .running
                    .iter()
                    .position(|(running, ..)| *running == cancel.attempt);
                match place {
                    Some(index) => {
                        let outcome = if random.below(4) == 0 { "ok" } else { "killed" };
                        vec![self.end(random, index, &json!({"outcome": outcome}))]
                    }
                    None if random.below(2) == 0 => vec![reject(cancel.attempt)],
                    None => vec![],
                }
            }
            ToWorker::Ack(ack) => {
                self.unsent.remove(&ack.attempt);
                vec![]
            }
            ToWorker::Sync(sync) => {
                self.running.retain(|(running, ..)| !sync.stop.contains(running));
                self.unsent.retain(|attempt, _| !sync.ack.contains(attempt));
                let wanted = sync.want_result.iter();
                wanted
                    .filter_map(|attempt| self.unsent.get(attempt).cloned())
                    .collect()
            }
            ToWorker::Probe(probe) => {
                let runs = self.running.iter().any(|(running, ..)| *running == probe.attempt);
                runs.then(|| renew(probe.attempt)).into_iter().collect()
            }
            ToWorker::Lease(_) | ToWorker::Drain(_) | ToWorker::Signal(_) => vec![],
        }
    }

    /// Something that it runs makes progress or ends.
    pub(super) fn work(&mut self, random: &mut Seeded) -> Option<FromWorker> {
        let bound = self.running.len().max(1) as u64;
        let index = random.below(bound) as usize;
        let (attempt, ..) = self.running.get(index)?;
        Some(match random.below(12) {
            0 | 1 => renew(*attempt),
            2 => FromWorker::Progress(Progress {
                attempt: *attempt,
                seq: random.below(9),
                fraction: None,
                note: "busy".to_owned(),
                usage: serde_json::from_value(used(random)).expect("usage"),
                model: None,
            }),
            3 => self.end(random, index, &json!({"outcome": "killed"})),
            4 => self.end(random, index, &json!({"outcome": "timed_out"})),
            5 | 6 => {
                let class = ["exit", "exit", "infra", "spec"][random.below(4) as usize];
                let error = json!({"class": class, "message": "no"});
                self.end(random, index, &json!({"outcome": "failed", "error": error}))
            }
            _ => self.end(random, index, &json!({})),
        })
    }

    /// All that it runs ends well.
    pub(super) fn finish(&mut self, random: &mut Seeded) -> Vec<FromWorker> {
        while !self.running.is_empty() {
            self.end(random, 0, &json!({}));
        }
        self.unsent.values().cloned().collect()
    }

    fn end(&mut self, random: &mut Seeded, index: usize, fields: &serde_json::Value) -> FromWorker {
        let (attempt, job, step) = self.running.remove(index);
        let mut fields = fields.clone();
        fields["usage"] = used(random);
        fields["outputs"] = json!({"by": attempt});
        let result = result_of(job, step.as_str(), attempt, fields);
        self.unsent.insert(attempt, result.clone());
        result
    }
}

fn used(random: &mut Seeded) -> serde_json::Value {
    json!({"input_tokens": random.below(8), "output_tokens": random.below(3), "calls": 1})
}

fn boot(random: &mut Seeded) -> BootId {
    BootId::from_uuid(Uuid::from_u64_pair(5, random.next()))
}

fn reject(attempt: AttemptId) -> FromWorker {
    FromWorker::Reject(Reject {
        attempt,
        why: RejectReason::Busy,
        detail: String::new(),
        retry_after_ms: 0,
    })
}
