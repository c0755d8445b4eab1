//! Rule 14, the handshake: which attempts of a worker go on, which stop, and
//! which results are wanted.

use std::collections::BTreeSet;

use protocol::{
    id::{AttemptId, JobId, WorkerId},
    job::StepKey,
    message::{Hello, PROTOCOL_VERSION, Session, Sync, ToWorker},
    step::AttemptState,
    worker::WorkerState,
};

use super::{
    attempt::{Touch, may_reopen},
    draft::Draft,
    event::{Facts, Refusal},
};

/// From this many workers on, their first Renew is spread over time.
const SPREAD_FROM: usize = 20;
/// Over how long.
const SPREAD_MS: u64 = 5_000;
/// The longest version of a program that is kept or said, in characters.
const VERSION_CHARS: usize = 40;

/// Why this controller has no words in common with a worker, if so.
fn misfit(hello: &Hello) -> Option<String> {
    let (lowest, highest) = (hello.protocol_min, hello.protocol_max);
    if (lowest..=highest).contains(&PROTOCOL_VERSION) {
        return None;
    }
    let way_out = if highest < PROTOCOL_VERSION {
        "install the agent-worker that comes with this agentd"
    } else {
        "upgrade agentd first, or install the agent-worker that comes with it"
    };
    Some(format!(
        "agent-worker {} speaks messages of version {lowest} to {highest}, agentd {} those of version \
         {PROTOCOL_VERSION}: it gets no work; {way_out}",
        version(hello),
        env!("CARGO_PKG_VERSION")
    ))
}

/// Of the worker's program, as much of it as a version is long.
fn version(hello: &Hello) -> String {
    hello.version.chars().take(VERSION_CHARS).collect()
}

impl Draft<'_> {
    /// Rule 14. A repeated Hello of the current session only repeats the Sync.
    pub(super) fn hello(
        &mut self,
        id: WorkerId,
        session: Session,
        hello: Hello,
        facts: &Facts,
    ) -> Result<(), Refusal> {
        let worker = self.known(id)?;
        let synced = worker.live && worker.session == Some(session);
        let newer = worker.session.is_none_or(|stored| session.is_newer_than(&stored));
        if !synced && !newer {
            return Err(Refusal::StaleSession);
        }
        if let Some(why) = misfit(&hello) {
            self.refuse(id, session, why);
            return Ok(());
        }
        let mut sync = Sync {
            spread_ms: if self.world.workers.len() > SPREAD_FROM {
                SPREAD_MS
            } else {
                0
            },
            log_bytes: self.world.limits.log_bytes,
            ..Sync::default()
        };
        let mut say_again = vec![];
        if !synced {
            let same_boot = worker.boot == Some(hello.boot_id);
            self.adopt_session(id, session, &hello);
            let listed: BTreeSet<AttemptId> = hello
                .running
                .iter()
                .map(|running| running.attempt)
                .chain(hello.unsent.iter().map(|(attempt, _)| *attempt))
                .collect();
            say_again = self.settle_unlisted(id, &listed, same_boot);
        }
        for running in &hello.running {
            let goes_on = if synced {
                self.goes_on(id, running.attempt)
            } else {
                self.touch(id, running.attempt) == Touch::Renewed
            };
            let list = if goes_on { &mut sync.resume } else { &mut sync.stop };
            list.push(running.attempt);
        }
        for &(attempt, _) in &hello.unsent {
            let recorded = match self.world.place_of(attempt) {
                Some((job, key)) => self.is_recorded(job, &key, attempt),
                None => facts.recorded.contains(&attempt),
            };
            let list = if recorded {
                &mut sync.ack
            } else {
                &mut sync.want_result
            };
            list.push(attempt);
        }
        self.say(id, ToWorker::Sync(Box::new(sync)));
        for (job, key) in say_again {
            let due = self.now.mono + self.world.limits.offer_ms;
            self.set_due(job, &key, due);
            self.say_assign(job, &key);
        }
        Ok(())
    }

    fn adopt_session(&mut self, id: WorkerId, session: Session, hello: &Hello) {
        let wall = self.now.wall;
        self.changes.workers.insert(id);
        let worker = self.world.workers.get_mut(&id).expect("found by the caller");
        worker.session = Some(session);
        worker.live = true;
        worker.boot = Some(hello.boot_id);
        worker.labels = hello.labels.clone();
        worker.slots = hello.slots.clamp(1, 1024);
        worker.models.clone_from(&hello.models);
        worker.version = version(hello);
        worker.load = hello.load;
        worker.last_seen_at = Some(wall);
        worker.closed = None;
        self.set_worker_state(id, WorkerState::Online);
    }

    /// Open attempts of this worker that its Hello does not list: an offer of the same boot is still
    /// on its way (and returned, to be said again), a cancel has ended, anything else is lost.
    fn settle_unlisted(
        &mut self,
        worker: WorkerId,
        listed: &BTreeSet<AttemptId>,
        same_boot: bool,
    ) -> Vec<(JobId, StepKey)> {
        let mut offered = vec![];
        for (job, key, attempt, state) in self.open_attempts_of(worker) {
            if listed.contains(&attempt) {
                continue;
            }
            match state {
                AttemptState::Offered if same_boot => offered.push((job, key)),
                AttemptState::Cancelling => self.cancelling_due(job, &key),
                _ => {
                    self.lose(job, &key, "its worker started anew and no longer has it");
                    self.settle(job);
                }
            }
        }
        offered
    }

    /// All open attempts of a worker.
    pub(super) fn open_attempts_of(
        &self,
        worker: WorkerId,
    ) -> Vec<(JobId, StepKey, AttemptId, AttemptState)> {
        let steps = self
            .world
            .jobs
            .values()
            .flat_map(|job| job.steps.iter().map(move |step| (job, step)));
        steps
            .filter_map(|(job, step)| {
                let current = step.current()?;
                let open = current.worker == worker && current.state.is_open();
                open.then(|| (job.id, step.key.clone(), current.id, current.state))
            })
            .collect()
    }

    fn goes_on(&self, worker: WorkerId, attempt: AttemptId) -> bool {
        let Some((job, key)) = self.world.place_of(attempt) else {
            return false;
        };
        self.world.step(job, &key).is_some_and(|step| {
            let current = step
                .current()
                .filter(|current| current.id == attempt && current.worker == worker);
            current.is_some_and(|current| match current.state {
                AttemptState::Offered | AttemptState::Running | AttemptState::Suspect => {
                    !step.state.is_terminal()
                }
                AttemptState::Lost => may_reopen(step),
                _ => false,
            })
        })
    }

    fn is_recorded(&self, job: JobId, key: &StepKey, attempt: AttemptId) -> bool {
        let step = self.world.step(job, key);
        step.is_some_and(|step| {
            step.attempts
                .iter()
                .any(|known| known.id == attempt && known.recorded)
        })
    }
}
