//! One group of commands: decided one after another, written together, and
//! answered only when that is on disk.

use std::sync::Arc;

use protocol::{
    artifact::Sha256,
    event::Event as CommittedEvent,
    id::{AttemptId, JobId},
    job::StepKey,
    message::{FromWorker, StepResult},
    worker::Wanted,
};

use crate::{
    orchestrator::{self, Changes, Draft, Effect, Event, Facts, Now, Refusal, World},
    queue,
    state::{StateError, artifacts, attempts, jobs, load, meta, views, workers},
};

use super::{
    Command, EngineError, NewWorker, Reply, Settled, SubmitKey, Submitted, core::Core, foreign, observe,
};
use crate::orchestrator::world::Job;

/// One group in the making.
pub(super) struct Group {
    now: Now,
    changes: Changes,
    effects: Vec<Effect>,
    settled: Vec<Settled>,
    begun: bool,
    /// Jobs that were brought back from the tables for one decision.
    fetched: Vec<JobId>,
    failure: Option<Arc<StateError>>,
}

impl Group {
    pub(super) fn new(now: Now) -> Self {
        Self {
            now,
            changes: Changes::default(),
            effects: vec![],
            settled: vec![],
            begun: false,
            fetched: vec![],
            failure: None,
        }
    }

    /// Whether a write has failed, so that the group must end.
    pub(super) const fn has_failed(&self) -> bool {
        self.failure.is_some()
    }

    /// Decides one command.
    pub(super) fn take(&mut self, core: &mut Core, command: Command) {
        let outcome = match command {
            Command::Decide(event, reply) => {
                let decided = self.look_up_and_decide(core, event);
                match reply {
                    Some(reply) => self.reply_when_settled(reply, decided, |(), _| {}),
                    None => decided.map(|_| ()),
                }
            }
            Command::Submit(job, key, reply) => {
                let submitted = self.submit(core, *job, key);
                self.reply_when_settled(reply, submitted, |submitted, world| {
                    let made = world.jobs.get(&submitted.id).filter(|_| !submitted.existed);
                    submitted.view = made.map(|job| Box::new(views::of(job)));
                })
            }
            Command::Join(worker, reply) => {
                let joined = self.join(core, *worker);
                self.reply_when_settled(reply, joined, |_, _| {})
            }
            Command::Write(write) => self.begin(core).and_then(|()| {
                let (settled, written) = write(core.store.connection(), &core.world);
                self.settled.push(settled);
                written
            }),
            Command::Inspect(look) => {
                look(&core.world, self.now);
                Ok(())
            }
        };
        if let Err(error) = outcome {
            self.failure = Some(Arc::new(error));
        }
    }

    fn begin(&mut self, core: &Core) -> Result<(), StateError> {
        if !self.begun {
            core.store.begin()?;
            self.begun = true;
        }
        Ok(())
    }

    fn decide(&mut self, core: &mut Core, event: Event) -> Result<(), Refusal> {
        let mut draft = Draft {
            world: &mut core.world,
            now: self.now,
            entropy: &mut core.entropy,
            changes: &mut self.changes,
            effects: &mut self.effects,
        };
        orchestrator::decide(&mut draft, event)
    }

    fn look_up_and_decide(
        &mut self,
        core: &mut Core,
        mut event: Event,
    ) -> Result<Result<(), EngineError>, StateError> {
        self.look_up(core, &mut event)?;
        let said = match &event {
            Event::FromWorker { worker, message, .. } => Some((*worker, message.kind())),
            _ => None,
        };
        foreign::note(core, &event)?;
        let decided = self.decide(core, event);
        if let (Err(refusal), Some((worker, kind))) = (&decided, said) {
            let name = core
                .world
                .workers
                .get(&worker)
                .map_or("a removed worker", |worker| worker.name.as_str());
            core.telemetry.message_ignored(name, kind, refusal);
        }
        Ok(decided.map_err(EngineError::from))
    }

    /// Answers when the group is on disk, or has failed: also whoever made it fail. What was committed
    /// may complete the answer.
    fn reply_when_settled<T: Send + 'static>(
        &mut self,
        reply: Reply<T>,
        outcome: Result<Result<T, EngineError>, StateError>,
        complete: fn(&mut T, &World),
    ) -> Result<(), StateError> {
        let (mut answer, outcome) = match outcome {
            Ok(answer) => (answer, Ok(())),
            // the failure of the group takes its place
            Err(error) => (Err(EngineError::Gone), Err(error)),
        };
        self.settled.push(Box::new(move |world, failure| {
            match (&mut answer, failure) {
                (_, Some(error)) => answer = Err(EngineError::State(error.clone())),
                (Ok(value), None) => complete(value, world),
                (Err(_), None) => {}
            }
            // a caller that gave up does not want the answer
            let _ = reply.send(answer);
        }));
        outcome
    }

    /// Brings what the event names from the tables into reach of the decision.
    fn look_up(&mut self, core: &mut Core, event: &mut Event) -> Result<(), StateError> {
        if let Event::Salvage {
            job,
            step,
            attempt,
            facts,
        } = event
        {
            if !core.world.jobs.contains_key(job) {
                self.fetch(core, *job)?;
            }
            self.begin(core)?;
            *facts = facts_of_late(core, *job, step, *attempt, self.now)?;
            return Ok(());
        }
        match event {
            Event::CancelJob(job)
            | Event::RetryJob(job)
            | Event::ResumeJob(job)
            | Event::DecideStep { job, .. }
                if !core.world.jobs.contains_key(job) =>
            {
                self.fetch(core, *job)?;
            }
            Event::FromWorker { message, facts, .. } => match &**message {
                FromWorker::Hello(hello) => {
                    self.jump_epoch(core, hello.highest_epoch)?;
                    for (attempt, _) in &hello.unsent {
                        if !core.world.attempts.contains_key(attempt)
                            && attempts::is_recorded(core.store.connection(), *attempt)?
                        {
                            facts.recorded.insert(*attempt);
                        }
                    }
                }
                FromWorker::Result(result) => {
                    self.begin(core)?;
                    *facts = facts_of(core, result, self.now)?;
                    self.fetch_of_late(core, result.attempt, facts)?;
                }
                _ => {}
            },
            _ => {}
        }
        Ok(())
    }

    /// Brings a job that has ended back into the world, for one decision.
    fn fetch(&mut self, core: &mut Core, job: JobId) -> Result<(), StateError> {
        let limits = core.world.limits;
        if let Some(found) = load::job(core.store.connection(), job, &limits, self.now)? {
            core.world.adopt_job(found);
            self.fetched.push(job);
        }
        Ok(())
    }

    /// The first result of an attempt whose job has ended: it is kept with the attempt, and charged.
    fn fetch_of_late(
        &mut self,
        core: &mut Core,
        attempt: AttemptId,
        facts: &Facts,
    ) -> Result<(), StateError> {
        if core.world.attempts.contains_key(&attempt) || facts.recorded.contains(&attempt) {
            return Ok(());
        }
        match attempts::owner(core.store.connection(), attempt)? {
            Some(owner) => self.fetch(core, owner.job),
            None => Ok(()),
        }
    }

    /// A worker has seen a higher epoch: a restored backup, or a clock that started in 1970.
    fn jump_epoch(&mut self, core: &mut Core, seen: u64) -> Result<(), StateError> {
        if seen <= core.epoch {
            return Ok(());
        }
        self.begin(core)?;
        let epoch = seen.saturating_add(1);
        meta::set(core.store.connection(), meta::EPOCH, &epoch.to_string())?;
        core.epoch = epoch;
        tracing::warn!(
            epoch,
            "a worker has seen a higher epoch: this start continues above it"
        );
        Ok(())
    }

    fn submit(
        &mut self,
        core: &mut Core,
        mut job: Job,
        key: Option<SubmitKey>,
    ) -> Result<Result<Submitted, EngineError>, StateError> {
        if let Some(key) = &key {
            self.begin(core)?;
            if let Some(earlier) = jobs::earlier_submit(core.store.connection(), key.token, &key.key)? {
                let answer = if earlier.body_sha256 == key.body_sha256 {
                    let view = views::number(core.store.connection(), earlier.job)?;
                    let number = view.or_else(|| core.world.jobs.get(&earlier.job).map(|job| job.number));
                    Ok(Submitted {
                        id: earlier.job,
                        number: number.unwrap_or(0),
                        existed: true,
                        view: None,
                    })
                } else {
                    Err(EngineError::IdempotencyMismatch)
                };
                return Ok(answer);
            }
        }
        if !core.has_room() {
            return Ok(Err(EngineError::Full));
        }
        job.number = core.store.take_number();
        job.created_at = self.now.wall;
        let submitted = Submitted {
            id: job.id,
            number: job.number,
            existed: false,
            view: None,
        };
        let decided = self.decide(core, Event::Submit(Box::new(job)));
        if let (Ok(()), Some(key)) = (&decided, key) {
            let now_ms = self.now.wall.as_millisecond();
            let connection = core.store.connection();
            jobs::remember_submit(
                connection,
                key.token,
                &key.key,
                &key.body_sha256,
                submitted.id,
                now_ms,
            )?;
        }
        Ok(decided.map(|()| submitted).map_err(EngineError::from))
    }

    fn join(&mut self, core: &mut Core, new: NewWorker) -> Result<Result<String, EngineError>, StateError> {
        self.begin(core)?;
        let NewWorker {
            join_sha256,
            secret_sha256,
            mut worker,
        } = new;
        let connection = core.store.connection();
        if !workers::use_join_token(connection, &join_sha256, worker.id, self.now.wall)? {
            return Ok(Err(EngineError::JoinToken));
        }
        worker.name = workers::free_name(connection, &worker.name)?;
        worker.joined_at = self.now.wall;
        workers::insert(connection, &worker, &secret_sha256)?;
        let name = worker.name.clone();
        let decided = self.decide(core, Event::WorkerJoined(Box::new(worker)));
        Ok(decided.map(|()| name).map_err(EngineError::from))
    }

    /// Deadlines that have passed, then everything that can be offered.
    pub(super) fn pass_time(&mut self, core: &mut Core) {
        if self.has_failed() {
            return;
        }
        // only a draft can refuse, and timers never do
        let _ = self.decide(core, Event::Timers);
        let mut draft = Draft {
            world: &mut core.world,
            now: self.now,
            entropy: &mut core.entropy,
            changes: &mut self.changes,
            effects: &mut self.effects,
        };
        queue::dispatch(&mut draft);
    }

    /// Writes, tells everybody who waits, and lets the effects out.
    pub(super) fn commit(mut self, core: &mut Core) -> Result<Vec<CommittedEvent>, Arc<StateError>> {
        let written = match self.failure.take() {
            Some(error) => Err(error),
            None => self.write(core).map_err(Arc::new),
        };
        let (effects, events) = match written {
            Ok(written) => written,
            Err(error) => {
                for settled in self.settled {
                    settled(&core.world, Some(&error));
                }
                return Err(error);
            }
        };
        // whoever waits here is told before workers are: what those do then takes the processors
        for settled in self.settled {
            settled(&core.world, None);
        }
        for effect in effects {
            match effect {
                Effect::Say {
                    worker,
                    session,
                    message,
                } => core.outlet.say(worker, session, core.epoch, message),
                Effect::Kick(worker) => core.outlet.kick(worker),
            }
        }
        observe::observe(&core.telemetry, &core.world, &self.changes, &events, self.now);
        core.world.forget_ended(&self.changes.ended);
        core.world.forget_ended(&self.fetched);
        for id in &self.changes.workers {
            if core
                .world
                .workers
                .get(id)
                .is_some_and(|worker| worker.wanted == Wanted::Removed)
            {
                core.world.workers.remove(id);
            }
        }
        Ok(events)
    }

    fn write(&mut self, core: &mut Core) -> Result<(Vec<Effect>, Vec<CommittedEvent>), StateError> {
        if !self.begun && self.changes.is_empty() {
            return Ok((std::mem::take(&mut self.effects), vec![]));
        }
        self.begin(core)?;
        let effects = std::mem::take(&mut self.effects);
        let committed = core.store.commit(&core.world, &self.changes, effects, self.now)?;
        Ok(committed.into_parts())
    }
}

/// The kept result of an attempt that the tables do not know otherwise, and which blobs of a late
/// outcome are not here.
fn facts_of_late(
    core: &Core,
    job: JobId,
    step: &StepKey,
    attempt: AttemptId,
    now: Now,
) -> Result<Facts, StateError> {
    let kept = attempts::late_outcome(core.store.connection(), attempt)?;
    let of_step = core.world.step(job, step).and_then(|step| {
        let known = step.attempts.iter().find(|known| known.id == attempt);
        known.and_then(|known| known.late.as_deref())
    });
    let missing = match of_step.or(kept.as_ref()) {
        Some(late) => missing_of(core, late, now)?,
        None => vec![],
    };
    Ok(Facts {
        missing,
        kept: kept.map(Box::new),
        ..Facts::default()
    })
}

/// Which blobs a result names that are not here, and whether it was recorded before.
fn facts_of(core: &Core, result: &StepResult, now: Now) -> Result<Facts, StateError> {
    let mut facts = Facts {
        missing: missing_of(core, result, now)?,
        ..Facts::default()
    };
    // of the attempt's own job, whatever was said
    if let Some((job, step)) = core.world.place_of(result.attempt) {
        let connection = core.store.connection();
        facts.artifact_bytes = artifacts::bytes_with(connection, job, &step, &result.artifacts)?;
    }
    if !core.world.attempts.contains_key(&result.attempt)
        && attempts::is_recorded(core.store.connection(), result.attempt)?
    {
        facts.recorded.insert(result.attempt);
    }
    Ok(facts)
}

/// Which blobs a result names that are not here; the others stay until it is written down.
fn missing_of(core: &Core, result: &StepResult, now: Now) -> Result<Vec<Sha256>, StateError> {
    let connection = core.store.connection();
    let mut missing = vec![];
    let bundle = result
        .workspace
        .as_ref()
        .and_then(|workspace| workspace.bundle)
        .map(|blob| blob.sha256);
    for sha256 in result
        .artifacts
        .iter()
        .map(|artifact| artifact.sha256)
        .chain(bundle)
    {
        if !artifacts::claim_blob(connection, &sha256, now.wall)? && !missing.contains(&sha256) {
            missing.push(sha256);
        }
    }
    Ok(missing)
}
