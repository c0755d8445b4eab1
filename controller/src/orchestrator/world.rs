//! What the core knows: open jobs with their steps and attempts, and workers.
//!
//! The tables hold the same; the world is rebuilt from them at every start.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::Arc,
};

use jiff::Timestamp;
use protocol::{
    approval::Wait,
    http::jobs::Budget,
    id::{AttemptId, BootId, JobId, JobNumber, WorkerId},
    job::{JobLink, JobState, StepKey},
    label::Labels,
    message::{CancelReason, Checkpoint, Session, StepResult},
    model::{Candidate, ReachableModel},
    spec::{ModelUsed, RepoSource, WorkspaceResult},
    step::{AttemptState, Outcome, StepError, StepState},
    usage::Usage,
    worker::{Load, Wanted, WorkerState},
};
use serde_json::{Map, Value};

use crate::workflow::model::{StepDef, StepKind, Workflow};

use super::timers::Timer;

/// Everything that a decision may look at.
#[derive(Default)]
pub struct World {
    /// Jobs that have not ended (and those that just did, until the commit).
    pub jobs: BTreeMap<JobId, Job>,
    /// Workers that were not removed.
    pub workers: BTreeMap<WorkerId, Worker>,
    /// Where each attempt of an open job belongs.
    pub attempts: HashMap<AttemptId, (JobId, StepKey)>,
    /// Steps that wait for a worker, in dispatch order.
    pub ready: BTreeSet<ReadyKey>,
    /// Deadlines on the monotonic clock; entries may be stale, what they name knows better.
    pub timers: BTreeSet<(u64, Timer)>,
    /// Whether a person stopped dispatch as a whole.
    pub paused: bool,
    /// The configured limits.
    pub limits: Limits,
    /// Model aliases and what roles use.
    pub models: Models,
}

/// Order of dispatch: higher priority, then older job, then order within the job.
pub type ReadyKey = (Reverse<i32>, JobNumber, String, JobId, StepKey);

/// `limits:` of the configuration, times in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long an offer waits for its Accept before it is said again.
    pub offer_ms: u64,
    /// How long an attempt is presumed alive without a word.
    pub lease_ms: u64,
    /// How long after that a command may still come back.
    pub grace_command_ms: u64,
    /// The same for agents, whose work is paid for.
    pub grace_agent_ms: u64,
    /// How often a step may lose its worker.
    pub infra_retries: u32,
    /// From the polite to the hard end of a cancelled attempt.
    pub cancel_grace_ms: u64,
    /// Time limit of one check command.
    pub check_ms: u64,
    /// What is kept of one step's log, in bytes.
    pub log_bytes: u64,
    /// Artifacts of one job in all, in bytes.
    pub job_bytes: u64,
}

impl Default for Limits {
    /// The figures of the design.
    fn default() -> Self {
        Self {
            offer_ms: 10_000,
            lease_ms: 45_000,
            grace_command_ms: 120_000,
            grace_agent_ms: 600_000,
            infra_retries: 5,
            cancel_grace_ms: 10_000,
            check_ms: 120_000,
            log_bytes: 16 << 20,
            job_bytes: 8 << 30,
        }
    }
}

/// What the configuration says about models.
#[derive(Clone, Debug, Default)]
pub struct Models {
    /// Alias → candidates, best first.
    pub aliases: BTreeMap<String, Vec<Candidate>>,
    /// Role → alias.
    pub roles: BTreeMap<String, String>,
    /// Providers that the controller defines; others must be reached by the worker itself.
    pub providers: BTreeSet<String>,
}

/// One job.
#[derive(Clone, Debug)]
pub struct Job {
    /// UUID.
    pub id: JobId,
    /// Short number.
    pub number: JobNumber,
    /// How far it is.
    pub state: JobState,
    /// The pinned workflow.
    pub workflow: Arc<Workflow>,
    /// Checked inputs.
    pub inputs: Map<String, Value>,
    /// For people.
    pub title: String,
    /// Higher goes first.
    pub priority: i32,
    /// For people and filters.
    pub labels: BTreeMap<String, String>,
    /// Where its files come from.
    pub repo: Option<RepoSource>,
    /// The base commit, once known.
    pub base: Option<String>,
    /// Caps.
    pub budget: Option<Budget>,
    /// Its concurrency group.
    pub group: Option<String>,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When its first step was dispatched; from then on it holds its place in its concurrency group.
    pub started_at: Option<Timestamp>,
    /// When a retry or a salvage brought it back last: its time limit counts from then.
    pub revived_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Why it failed, is parked or was cancelled.
    pub reason: Option<String>,
    /// Whether it is being stopped as a whole.
    pub cancel_requested: bool,
    /// Whether that is so because its time limit passed: then it fails.
    pub overdue: bool,
    /// Sum over its attempts.
    pub usage: Usage,
    /// Its steps; rounds add to them.
    pub steps: Vec<Step>,
}

/// One step of a job.
#[derive(Clone, Debug)]
pub struct Step {
    /// Key in the job.
    pub key: StepKey,
    /// Names from the top of the workflow to its definition; the first is `finally` for closing steps.
    pub path: Vec<String>,
    /// Sorts it into the order of the workflow, rounds after one another.
    pub position: String,
    /// How far it is.
    pub state: StepState,
    /// Keys of what must end first.
    pub needs: Vec<StepKey>,
    /// Whether it was skipped because a need did not end well.
    pub skipped_by_need: bool,
    /// Its attempts, oldest first; the last one is current.
    pub attempts: Vec<Attempt>,
    /// Further attempts after failed work.
    pub work_left: u32,
    /// Further attempts after losses.
    pub infra_left: u32,
    /// Since when it waits for a worker, on the monotonic clock.
    pub ready_since: Option<u64>,
    /// Earliest time of the next attempt.
    pub not_before: Option<Timestamp>,
    /// Workers that it avoids, until when on the monotonic clock.
    pub excluded: Vec<(WorkerId, u64)>,
    /// What later steps may read.
    pub outputs: Map<String, Value>,
    /// The branch after it.
    pub workspace: Option<WorkspaceResult>,
    /// The last error.
    pub error: Option<StepError>,
    /// The last thing that was said about it.
    pub note: Option<String>,
    /// Sum over its attempts.
    pub usage: Usage,
    /// When its first attempt was offered.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// For a block: the round that runs, from 1.
    pub round: u32,
    /// For a block: the last round that may be started.
    pub last_round: u32,
    /// The last finished turn that a later attempt may go on from.
    pub checkpoint: Option<Checkpoint>,
    /// For an approval: the wait for a person, once one was asked.
    pub approval: Option<Wait>,
}

/// One attempt of a step.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// The fencing token.
    pub id: AttemptId,
    /// For people.
    pub number: u32,
    /// On which worker.
    pub worker: WorkerId,
    /// That worker's name, also after its removal.
    pub worker_name: String,
    /// How far it is.
    pub state: AttemptState,
    /// Next deadline on the monotonic clock: of the offer, lease, grace or cancel.
    pub due: u64,
    /// Hard limit on the monotonic clock.
    pub hard_due: u64,
    /// How often the offer was said.
    pub said: u8,
    /// Why it is being stopped.
    pub cancel: Option<CancelReason>,
    /// When it was offered.
    pub offered_at: Timestamp,
    /// When it was accepted.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Why not well.
    pub error: Option<StepError>,
    /// What it used.
    pub usage: Usage,
    /// The model that answered.
    pub model: Option<ModelUsed>,
    /// Exit code of a command.
    pub exit: Option<i32>,
    /// Things worth knowing.
    pub notes: Vec<String>,
    /// Whether its result was applied or kept.
    pub recorded: bool,
    /// The result that came after it was superseded.
    pub late: Option<Box<StepResult>>,
    /// The due that the tables hold, so that renewals reach them at most once per half lease.
    pub due_on_disk: u64,
}

impl Attempt {
    /// The late result's outcome.
    pub fn late_outcome(&self) -> Option<Outcome> {
        self.late.as_ref().map(|result| result.outcome)
    }
}

/// One worker.
#[derive(Clone, Debug)]
pub struct Worker {
    /// Its id.
    pub id: WorkerId,
    /// Its name.
    pub name: String,
    /// What is seen of it.
    pub state: WorkerState,
    /// What is wanted of it.
    pub wanted: Wanted,
    /// What it has.
    pub labels: Labels,
    /// How many attempts it takes.
    pub slots: u32,
    /// How many it has; kept by the draft.
    pub used: u32,
    /// Models that it reaches by itself.
    pub models: Vec<ReachableModel>,
    /// Version of its program.
    pub version: String,
    /// How busy its machine is.
    pub load: Load,
    /// When it joined.
    pub joined_at: Timestamp,
    /// When it was last heard.
    pub last_seen_at: Option<Timestamp>,
    /// Its last session, on disk.
    pub session: Option<Session>,
    /// Whether that session said Hello to this very start of the controller.
    pub live: bool,
    /// Its last boot.
    pub boot: Option<BootId>,
    /// How its last connection ended, if no Hello came since.
    pub closed: Option<Closed>,
    /// Jobs whose files it has, most recent last, at most eight.
    pub warm: VecDeque<JobId>,
}

/// The end of a worker's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed {
    /// When, on the monotonic clock.
    pub at: u64,
    /// Whether its host closed it, which a lost network does not do.
    pub by_host: bool,
}

impl World {
    /// The job and step of an attempt of an open job.
    pub fn place_of(&self, attempt: AttemptId) -> Option<(JobId, StepKey)> {
        self.attempts.get(&attempt).cloned()
    }

    /// A job's step.
    pub fn step(&self, job: JobId, key: &StepKey) -> Option<&Step> {
        self.jobs.get(&job)?.step(key)
    }

    /// The next deadline on the monotonic clock.
    pub fn next_due(&self) -> Option<u64> {
        self.timers.first().map(|(due, _)| *due)
    }

    /// Forgets the jobs that have ended; their rows are on disk.
    pub fn forget_ended(&mut self, ended: &[JobId]) {
        for id in ended {
            if self.jobs.get(id).is_some_and(|job| job.state.is_terminal())
                && let Some(job) = self.jobs.remove(id)
            {
                for attempt in job.steps.iter().flat_map(|step| &step.attempts) {
                    self.attempts.remove(&attempt.id);
                }
            }
        }
    }

    /// Puts a job from the tables into the world, with its indexes and timers.
    pub fn adopt_job(&mut self, job: Job) {
        for step in &job.steps {
            if step.state == StepState::Ready {
                self.ready.insert(job.ready_key(step));
            }
            for attempt in &step.attempts {
                self.attempts.insert(attempt.id, (job.id, step.key.clone()));
                if attempt.state.is_open() {
                    self.timers.insert((attempt.due, Timer::Attempt(attempt.id)));
                    if attempt.hard_due != u64::MAX {
                        self.timers.insert((attempt.hard_due, Timer::Hard(attempt.id)));
                    }
                    if let Some(worker) = self.workers.get_mut(&attempt.worker) {
                        worker.used += 1;
                    }
                }
            }
        }
        self.jobs.insert(job.id, job);
    }
}

impl Job {
    /// How payloads name it.
    pub const fn link(&self) -> JobLink {
        JobLink {
            number: self.number,
            id: self.id,
        }
    }

    /// One of its steps.
    pub fn step(&self, key: &StepKey) -> Option<&Step> {
        self.steps.iter().find(|step| step.key == *key)
    }

    /// One of its steps, to change.
    pub fn step_mut(&mut self, key: &StepKey) -> Option<&mut Step> {
        self.steps.iter_mut().find(|step| step.key == *key)
    }

    /// The definition of a step; the workflow is pinned, so that it is there.
    pub fn def(&self, step: &Step) -> &StepDef {
        find_def(&self.workflow, &step.path)
            .expect("the pinned workflow has the definition of each of its steps")
    }

    /// The block around a step, if any.
    pub fn parent(&self, step: &Step) -> Option<&Step> {
        let parent = step.key.parent()?;
        self.steps.iter().find(|other| other.key.as_str() == parent)
    }

    /// The steps of one round of a block (round 0: of a block without rounds).
    pub fn children<'a>(&'a self, block: &'a Step, round: u32) -> impl Iterator<Item = &'a Step> {
        self.steps.iter().filter(move |step| {
            step.key.parent() == Some(block.key.as_str()) && step.key.round().unwrap_or(0) == round
        })
    }

    /// Where a ready step stands in the order of dispatch.
    pub fn ready_key(&self, step: &Step) -> ReadyKey {
        (
            Reverse(self.priority),
            self.number,
            step.position.clone(),
            self.id,
            step.key.clone(),
        )
    }
}

impl Step {
    /// The current attempt: the newest one.
    pub fn current(&self) -> Option<&Attempt> {
        self.attempts.last()
    }

    /// Whether this attempt is the current one.
    pub fn is_current(&self, attempt: AttemptId) -> bool {
        self.current().is_some_and(|current| current.id == attempt)
    }

    /// Whether it belongs to `finally`.
    pub fn is_closing(&self) -> bool {
        self.path.first().is_some_and(|name| name == "finally")
    }

    /// Whether later steps may go on from it.
    pub fn ended_well(&self, def: &StepDef) -> bool {
        match self.state {
            StepState::Succeeded => true,
            StepState::Failed => def.allow_failure,
            StepState::Skipped => !self.skipped_by_need,
            _ => false,
        }
    }
}

/// The definition at a path of names; the first name `finally` leads to the closing steps.
pub fn find_def<'a>(workflow: &'a Workflow, path: &[String]) -> Option<&'a StepDef> {
    let (first, rest) = path.split_first()?;
    let (first, rest, steps) = match (first.as_str(), rest.split_first()) {
        ("finally", Some((first, rest))) => (first, rest, &workflow.finally),
        _ => (first, rest, &workflow.steps),
    };
    rest.iter()
        .try_fold(steps.get(first)?, |def, name| match &def.kind {
            StepKind::Block { steps, .. } => steps.get(name),
            _ => None,
        })
}
