//! A world without a network or a clock: what happens is decided at once, what
//! is said is kept, and what must always hold is asserted after every event.

use std::{collections::BTreeSet, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use protocol::{
    id::{AttemptId, BootId, JobId, JournalId, WorkerId},
    job::{JobState, StepKey},
    label::Labels,
    message::{AckVerdict, FromWorker, Hello, PROTOCOL_VERSION, Session, StepResult, ToWorker},
    step::{AttemptState, StepState},
    usage::Usage,
    worker::{Load, Wanted, WorkerState},
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    orchestrator::{
        Changes, Draft, Effect, Entropy, Event, Facts, Now, Refusal, World, decide,
        timers::Timer,
        world::{Attempt, Job, Step, Worker},
    },
    queue,
    workflow::{load::load, model::Workflow, prompts::Prompts},
};

/// A small generator whose whole future follows from its seed.
pub(crate) struct Seeded(pub(crate) u64);

impl Seeded {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

impl Entropy for Seeded {
    fn attempt_id(&mut self) -> AttemptId {
        AttemptId::from_uuid(Uuid::from_u64_pair(self.next(), self.next()))
    }

    fn unit(&mut self) -> f64 {
        self.below(1000) as f64 / 1000.0
    }
}

pub(crate) struct Sim {
    pub(crate) world: World,
    pub(crate) now: Now,
    pub(crate) entropy: Seeded,
    /// All that was changed since it was last taken.
    pub(crate) changes: Changes,
    /// What the last event made the controller say.
    pub(crate) effects: Vec<Effect>,
    numbers: u64,
}

impl Sim {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            world: World::default(),
            now: Now {
                wall: Timestamp::from_second(1_800_000_000).expect("in range"),
                mono: 1_000,
            },
            entropy: Seeded(seed),
            changes: Changes::default(),
            effects: vec![],
            numbers: 0,
        }
    }

    fn draft(&mut self) -> Draft<'_> {
        Draft {
            world: &mut self.world,
            now: self.now,
            entropy: &mut self.entropy,
            changes: &mut self.changes,
            effects: &mut self.effects,
        }
    }

    /// One event and what can be dispatched after it, as the engine does it.
    pub(crate) fn decide(&mut self, event: Event) -> Result<(), Refusal> {
        self.effects.clear();
        let decided = decide(&mut self.draft(), event);
        decide(&mut self.draft(), Event::Timers).expect("timers are never refused");
        queue::dispatch(&mut self.draft());
        self.check();
        decided
    }

    pub(crate) fn pass(&mut self, ms: u64) {
        self.now.mono += ms;
        self.now.wall += SignedDuration::from_millis(ms as i64);
        self.decide(Event::Timers).expect("timers are never refused");
    }

    /// A worker that has joined and not said Hello yet.
    pub(crate) fn joined(&mut self, name: &str, slots: u32) -> WorkerId {
        let worker = Worker {
            id: WorkerId::from_uuid(Uuid::from_u64_pair(1, self.entropy.next())),
            name: name.to_owned(),
            state: WorkerState::Offline,
            wanted: Wanted::Active,
            labels: Labels::default(),
            slots,
            used: 0,
            models: vec![],
            version: String::new(),
            load: Load::default(),
            joined_at: self.now.wall,
            last_seen_at: None,
            session: None,
            live: false,
            boot: None,
            closed: None,
            warm: std::collections::VecDeque::new(),
        };
        let id = worker.id;
        self.decide(Event::WorkerJoined(Box::new(worker))).expect("joins");
        id
    }

    pub(crate) fn online(&mut self, name: &str, slots: u32) -> WorkerId {
        let id = self.joined(name, slots);
        self.hello(id, session(1, 1), hello(slots)).expect("heard");
        id
    }

    pub(crate) fn hello(&mut self, worker: WorkerId, session: Session, hello: Hello) -> Result<(), Refusal> {
        self.message(
            worker,
            session,
            FromWorker::Hello(Box::new(hello)),
            Facts::default(),
        )
    }

    pub(crate) fn message(
        &mut self,
        worker: WorkerId,
        session: Session,
        message: FromWorker,
        facts: Facts,
    ) -> Result<(), Refusal> {
        self.decide(Event::FromWorker {
            worker,
            session,
            message: Box::new(message),
            facts,
        })
    }

    /// A message in the worker's current session.
    pub(crate) fn from(&mut self, worker: WorkerId, message: FromWorker) -> Result<(), Refusal> {
        let current = self.world.workers.get(&worker).and_then(|worker| worker.session);
        self.message(
            worker,
            current.unwrap_or(session(1, 1)),
            message,
            Facts::default(),
        )
    }

    pub(crate) fn new_job(&mut self, yaml: &str, inputs: Value) -> Job {
        let workflow = load(yaml, &Prompts::builtin()).unwrap_or_else(|errors| panic!("{errors:#?}"));
        self.job_of(workflow, inputs)
    }

    pub(crate) fn job_of(&mut self, workflow: Workflow, inputs: Value) -> Job {
        let Value::Object(inputs) = inputs else {
            panic!("inputs are an object");
        };
        self.numbers += 1;
        Job {
            id: JobId::from_uuid(Uuid::from_u64_pair(2, self.entropy.next())),
            number: self.numbers,
            state: JobState::Queued,
            priority: workflow.priority,
            budget: workflow.budget.map(|rule| rule.caps),
            group: workflow.concurrency.as_ref().map(|rule| rule.group.clone()),
            workflow: Arc::new(workflow),
            inputs,
            title: String::new(),
            labels: std::collections::BTreeMap::new(),
            repo: None,
            base: None,
            created_at: self.now.wall,
            started_at: None,
            revived_at: None,
            ended_at: None,
            reason: None,
            cancel_requested: false,
            overdue: false,
            usage: Usage::default(),
            steps: vec![],
        }
    }

    pub(crate) fn submit(&mut self, yaml: &str) -> JobId {
        let job = self.new_job(yaml, json!({}));
        let id = job.id;
        self.decide(Event::Submit(Box::new(job))).expect("accepted");
        id
    }

    pub(crate) fn job(&self, id: JobId) -> &Job {
        &self.world.jobs[&id]
    }

    pub(crate) fn step(&self, id: JobId, key: &str) -> &Step {
        let key: StepKey = key.parse().expect("a key");
        self.world
            .step(id, &key)
            .unwrap_or_else(|| panic!("no step {key}"))
    }

    pub(crate) fn current(&self, id: JobId, key: &str) -> &Attempt {
        self.step(id, key).current().expect("has an attempt")
    }

    /// States of a job, a step and its current attempt.
    pub(crate) fn states(&self, id: JobId, key: &str) -> (JobState, StepState, AttemptState) {
        let step = self.step(id, key);
        (self.job(id).state, step.state, self.current(id, key).state)
    }

    pub(crate) fn accept(&mut self, id: JobId, key: &str) -> AttemptId {
        let (attempt, worker) = (self.current(id, key).id, self.current(id, key).worker);
        self.from(worker, accept(attempt)).expect("accepted");
        attempt
    }

    /// A step's lease and grace pass in silence; then its worker is there, and knows nothing of it.
    pub(crate) fn lose(&mut self, id: JobId, key: &str) {
        self.pass(45_000);
        self.pass(120_000);
        let worker = self.current(id, key).worker;
        self.from(worker, idle()).expect("heard");
    }

    pub(crate) fn finish(&mut self, id: JobId, key: &str, result: Value) -> Result<(), Refusal> {
        let attempt = self.current(id, key).id;
        self.result(id, key, attempt, result)
    }

    pub(crate) fn result(
        &mut self,
        id: JobId,
        key: &str,
        attempt: AttemptId,
        result: Value,
    ) -> Result<(), Refusal> {
        let known = self
            .step(id, key)
            .attempts
            .iter()
            .find(|known| known.id == attempt);
        let worker = known.expect("an attempt of it").worker;
        self.from(worker, result_of(id, key, attempt, result))
    }

    /// What the last event made the controller say, in short.
    pub(crate) fn said(&self) -> Vec<String> {
        self.effects.iter().map(short).collect()
    }

    pub(crate) fn worker(&self, id: WorkerId) -> &Worker {
        &self.world.workers[&id]
    }

    /// What must hold after every event.
    fn check(&mut self) {
        let said = self.effects.len();
        queue::dispatch(&mut self.draft());
        assert_eq!(
            self.effects.len(),
            said,
            "a dispatch leaves nothing to dispatch, but: {:#?}",
            &self.effects[said..]
        );
        let ids: Vec<JobId> = self.world.jobs.keys().copied().collect();
        for id in ids {
            let states =
                |sim: &Self| -> Vec<StepState> { sim.job(id).steps.iter().map(|s| s.state).collect() };
            let before = (self.job(id).state, states(self));
            self.draft().settle(id);
            assert_eq!(
                before,
                (self.job(id).state, states(self)),
                "the job was left settled"
            );
            self.check_job(id);
        }
        for worker in self.world.workers.values() {
            let steps = self.world.jobs.values().flat_map(|job| &job.steps);
            let open = steps
                .flat_map(|step| &step.attempts)
                .filter(|attempt| attempt.worker == worker.id && attempt.state.is_open())
                .count();
            assert_eq!(worker.used as usize, open, "used slots of {}", worker.name);
        }
        let ready: BTreeSet<_> = self
            .world
            .jobs
            .values()
            .flat_map(|job| job.steps.iter().map(move |step| (job, step)))
            .filter(|(_, step)| step.state == StepState::Ready)
            .map(|(job, step)| job.ready_key(step))
            .collect();
        assert_eq!(self.world.ready, ready, "the index of ready steps");
    }

    fn check_job(&self, id: JobId) {
        let job = self.job(id);
        for step in &job.steps {
            self.check_step(job, step);
        }
        let ended = job.steps.iter().all(|step| step.state.is_terminal());
        assert_eq!(
            job.state.is_terminal(),
            ended,
            "job {} is {}",
            job.number,
            job.state
        );
        assert_eq!(job.ended_at.is_some(), ended);
        let moves = |step: &Step| match step.state {
            StepState::Ready | StepState::RetryWait | StepState::Offered | StepState::Cancelling => true,
            StepState::Parked | StepState::Awaiting => true,
            StepState::Running => !step.attempts.is_empty(),
            _ => false,
        };
        assert!(
            ended || job.steps.iter().any(moves),
            "job {} is stuck",
            job.number
        );
        let parked = job.steps.iter().any(|step| step.state == StepState::Parked);
        assert!(
            !parked || job.state == JobState::Parked,
            "job {} is {} and a step waits for a resume",
            job.number,
            job.state
        );
    }

    fn check_step(&self, job: &Job, step: &Step) {
        let what = format!("step {} of job {} is {}", step.key, job.number, step.state);
        let current = step.current().map(|attempt| attempt.state);
        let open = step
            .attempts
            .iter()
            .filter(|attempt| attempt.state.is_open())
            .count();
        assert!(open <= 1, "{what}: {open} open attempts");
        let fits = match step.state {
            StepState::Offered => current == Some(AttemptState::Offered),
            StepState::Running => {
                current.is_none() || matches!(current, Some(AttemptState::Running | AttemptState::Suspect))
            }
            StepState::Cancelling => current == Some(AttemptState::Cancelling),
            _ => open == 0,
        };
        assert!(fits, "{what}, its attempt {current:?}");
        if let Some(attempt) = step.current().filter(|attempt| attempt.state.is_open()) {
            let has = |due, timer| self.world.timers.contains(&(due, timer));
            assert!(has(attempt.due, Timer::Attempt(attempt.id)), "{what}: no timer");
            let limited = matches!(attempt.state, AttemptState::Running | AttemptState::Suspect);
            assert!(
                !limited || has(attempt.hard_due, Timer::Hard(attempt.id)),
                "{what}: no hard limit"
            );
        }
        if matches!(step.state, StepState::RetryWait | StepState::Awaiting) {
            let waits = Timer::Step(job.id, step.key.clone());
            assert!(
                self.world.timers.iter().any(|(_, timer)| *timer == waits),
                "{what}: no timer"
            );
        }
    }
}

pub(crate) fn session(start: u64, connection: u64) -> Session {
    Session {
        journal: JournalId::from_uuid(Uuid::from_u128(3)),
        start,
        connection,
    }
}

pub(crate) fn hello(slots: u32) -> Hello {
    Hello {
        boot_id: BootId::from_uuid(Uuid::from_u128(4)),
        version: "1".to_owned(),
        protocol_min: PROTOCOL_VERSION,
        protocol_max: PROTOCOL_VERSION,
        labels: Labels::default(),
        slots,
        models: vec![],
        load: Load::default(),
        running: vec![],
        unsent: vec![],
        highest_epoch: 0,
    }
}

pub(crate) fn accept(attempt: AttemptId) -> FromWorker {
    FromWorker::Accept(protocol::message::Accept { attempt })
}

pub(crate) fn renew(attempt: AttemptId) -> FromWorker {
    FromWorker::Renew(protocol::message::Renew {
        attempts: vec![attempt],
        load: Load::default(),
    })
}

/// A sign of life of a worker that executes nothing.
fn idle() -> FromWorker {
    FromWorker::Renew(protocol::message::Renew {
        attempts: vec![],
        load: Load::default(),
    })
}

/// A result from its interesting fields alone.
pub(crate) fn result_of(job: JobId, step: &str, attempt: AttemptId, fields: Value) -> FromWorker {
    let mut result = json!({"job": job, "step": step, "attempt": attempt, "outcome": "ok"});
    if let (Value::Object(result), Value::Object(fields)) = (&mut result, fields) {
        result.extend(fields);
    }
    let result: StepResult = serde_json::from_value(result).expect("a result");
    FromWorker::Result(Box::new(result))
}

pub(crate) fn failed(class: &str) -> Value {
    json!({"outcome": "failed", "error": {"class": class, "message": "no"}})
}

fn short(effect: &Effect) -> String {
    let Effect::Say { message, .. } = effect else {
        return "kick".to_owned();
    };
    match message {
        ToWorker::Assign(_) => "assign".to_owned(),
        ToWorker::Cancel(cancel) => format!("cancel {}", cancel.why),
        ToWorker::Lease(_) => "lease".to_owned(),
        ToWorker::Probe(_) => "probe".to_owned(),
        ToWorker::Ack(ack) => match &ack.verdict {
            AckVerdict::Applied => "ack applied".to_owned(),
            AckVerdict::Superseded => "ack superseded".to_owned(),
            AckVerdict::Missing(_) => "ack missing".to_owned(),
        },
        ToWorker::Sync(sync) => format!(
            "sync resume {} stop {} ack {} want {}",
            sync.resume.len(),
            sync.stop.len(),
            sync.ack.len(),
            sync.want_result.len()
        ),
        ToWorker::Drain(_) => "drain".to_owned(),
        ToWorker::Signal(_) => "signal".to_owned(),
        ToWorker::Refused(_) => "refused".to_owned(),
    }
}
