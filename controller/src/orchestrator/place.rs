//! Rule 2: which ready step goes to which worker.

use std::{collections::BTreeSet, fmt};

use protocol::{
    id::{JobId, WorkerId},
    job::{JobState, StepKey},
    label::Requires,
    message::CancelReason,
    sandbox::SandboxLevel,
    step::{AttemptState, StepState},
    worker::{Wanted, WorkerState},
};

use crate::workflow::model::{StepDef, StepKind};

use super::{
    draft::Draft,
    models::{self, NoModel},
    spec,
    timers::Timer,
    world::{Attempt, Job, Step, Worker, World},
};

/// Jobs whose files a worker is remembered to have.
const WARM_JOBS: usize = 8;

/// Where a step can go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// To this worker.
    On(WorkerId),
    /// Somebody could take it, but not now.
    NoneFree,
    /// Nobody could take it as things are.
    NoneCapable,
}

/// What a worker lacks for a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lack {
    /// It has no connection, or did not react.
    NotOnline(WorkerState),
    /// A person does not want it to take steps.
    NotWanted(Wanted),
    /// Labels.
    Labels(Requires),
    /// A sandbox level.
    Sandbox {
        /// What the step asks for at least.
        needs: SandboxLevel,
        /// What the worker runs tools at; `None`: it runs none.
        has: Option<SandboxLevel>,
        /// Whether bubblewrap is on its machine.
        bubblewrap: bool,
    },
    /// A model.
    Model(NoModel),
    /// It refused or failed the step by its own fault a moment ago.
    Excluded {
        /// For how much longer.
        for_ms: u64,
    },
    /// The step must not run where this earlier step ran.
    NotWith(String),
    /// All its slots are in use.
    Busy {
        /// Slots in use.
        used: u32,
        /// Slots.
        slots: u32,
    },
}

impl Lack {
    /// Whether it passes by itself: the worker is online and capable.
    pub const fn passes(&self) -> bool {
        matches!(self, Self::Busy { .. } | Self::Excluded { .. })
    }
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotOnline(state) => write!(f, "{state}"),
            Self::NotWanted(wanted) => write!(f, "{wanted} by a person"),
            Self::Labels(missing) => write!(f, "lacks {missing}"),
            Self::Sandbox {
                needs,
                has,
                bubblewrap,
            } => {
                match has {
                    Some(has) => write!(f, "runs tools at sandbox level {has}, the step asks for {needs}")?,
                    None => f.write_str("runs no tools: it has no sandbox level that its owner allows")?,
                }
                f.write_str(if *bubblewrap {
                    " (its log says at the start why its bubblewrap gives no more)"
                } else {
                    " (there: sudo apt install bubblewrap, then restart agent-worker)"
                })
            }
            Self::Model(why) => write!(f, "{why}"),
            Self::Excluded { for_ms } => {
                write!(
                    f,
                    "refused or failed it a moment ago; may be asked again in {} s",
                    for_ms.div_ceil(1000)
                )
            }
            Self::NotWith(step) => write!(f, "ran {step}, which this step must not share a worker with"),
            Self::Busy { used, slots } => write!(f, "no free slot ({used} of {slots} in use)"),
        }
    }
}

/// What one worker lacks for one step; `None` if it could take it now.
pub fn lacks(world: &World, job: &Job, step: &Step, worker: &Worker, now_mono: u64) -> Option<Lack> {
    let def = job.def(step);
    if worker.state != WorkerState::Online || !worker.live {
        let state = if worker.state == WorkerState::Online {
            WorkerState::Suspect
        } else {
            worker.state
        };
        return Some(Lack::NotOnline(state));
    }
    if worker.wanted != Wanted::Active {
        return Some(Lack::NotWanted(worker.wanted));
    }
    let missing = worker.labels.missing(&def.requires);
    if !missing.is_empty() {
        return Some(Lack::Labels(missing));
    }
    if let Some(lack) = weak_sandbox(def, worker) {
        return Some(lack);
    }
    if matches!(def.kind, StepKind::Agent { .. })
        && let Err(why) = models::candidates(&world.models, def, worker)
    {
        return Some(Lack::Model(why));
    }
    let excluded = step
        .excluded
        .iter()
        .find(|(other, until)| *other == worker.id && *until > now_mono);
    if let Some((_, until)) = excluded {
        return Some(Lack::Excluded {
            for_ms: until - now_mono,
        });
    }
    (worker.used >= worker.slots).then_some(Lack::Busy {
        used: worker.used,
        slots: worker.slots,
    })
}

/// Whether the worker protects its machine less than the step asks for, or runs no tools at all.
fn weak_sandbox(def: &StepDef, worker: &Worker) -> Option<Lack> {
    let has = SandboxLevel::of(&worker.labels);
    let needs = def.sandbox.unwrap_or(SandboxLevel::None);
    let asks = def.sandbox.is_some() || def.runs_tools();
    (asks && has.is_none_or(|has| has < needs)).then(|| Lack::Sandbox {
        needs,
        has,
        bubblewrap: worker.labels.has("tool", "bwrap"),
    })
}

/// Workers that the step avoids, with the steps that ran there.
pub fn avoided(job: &Job, step: &Step) -> Vec<(WorkerId, String)> {
    let mut found = vec![];
    for path in &job.def(step).not_with {
        let ran = job.steps.iter().filter(|other| other.path.join(".") == *path);
        for other in ran {
            found.extend(
                other
                    .current()
                    .map(|attempt| (attempt.worker, other.key.to_string())),
            );
        }
    }
    found
}

/// Chooses the worker for a step.
pub fn place(world: &World, job: &Job, step: &Step, now_mono: u64) -> Placement {
    let lack: Vec<(&Worker, Option<Lack>)> = world
        .workers
        .values()
        .filter(|worker| worker.wanted != Wanted::Removed)
        .map(|worker| (worker, lacks(world, job, step, worker, now_mono)))
        .collect();
    let capable = |lack: &Option<Lack>| lack.as_ref().is_none_or(Lack::passes);
    let avoid: BTreeSet<WorkerId> = avoided(job, step).into_iter().map(|(worker, _)| worker).collect();
    // hard while another capable worker is online, else given up
    let others = lack
        .iter()
        .any(|(worker, lack)| capable(lack) && !avoid.contains(&worker.id));
    let allowed = |worker: &Worker| !others || !avoid.contains(&worker.id);
    let best = lack
        .iter()
        .filter(|(worker, lack)| lack.is_none() && allowed(worker))
        .min_by_key(|(worker, _)| {
            let cold = !worker.warm.contains(&job.id);
            // used share in thousandths, so that larger machines take more
            (
                cold,
                u64::from(worker.used) * 1000 / u64::from(worker.slots.max(1)),
                worker.name.as_str(),
            )
        });
    match best {
        Some((worker, _)) => Placement::On(worker.id),
        None if lack.iter().any(|(worker, lack)| capable(lack) && allowed(worker)) => Placement::NoneFree,
        None => Placement::NoneCapable,
    }
}

impl Draft<'_> {
    /// A new attempt of a ready step is offered; the previous one, if it may still run, is superseded.
    /// False if the step cannot be said and has failed, so that the slot is still free.
    pub(crate) fn offer(&mut self, id: JobId, key: &StepKey, worker: WorkerId) -> bool {
        let job = &self.world.jobs[&id];
        let step = job.step(key).expect("ready steps exist");
        let spec = match spec::step_spec(self.world, job, step, &self.world.workers[&worker]) {
            Ok(spec) => spec,
            Err(error) => {
                self.step_mut(id, key).error = Some(error);
                self.set_step_state(id, key, StepState::Failed);
                self.settle(id);
                return false;
            }
        };
        if let Some(previous) = step
            .current()
            .filter(|previous| previous.state == AttemptState::Lost)
        {
            let (worker, attempt) = (previous.worker, previous.id);
            self.say_cancel(worker, attempt, CancelReason::Superseded);
        }
        self.choose_beginning(id, key);
        let attempt = self.new_attempt(id, key, worker);
        self.changes.attempts.insert(attempt.id);
        self.world.attempts.insert(attempt.id, (id, key.clone()));
        self.world
            .timers
            .insert((attempt.due, Timer::Attempt(attempt.id)));
        let wall = self.now.wall;
        let step = self.step_mut(id, key);
        step.started_at.get_or_insert(wall);
        step.note = None;
        step.attempts.push(attempt);
        self.note_on_worker(worker, id);
        self.set_step_state(id, key, StepState::Offered);
        let job = self.job_mut(id);
        job.started_at.get_or_insert(wall);
        if matches!(job.state, JobState::Queued | JobState::Waiting) {
            self.set_job_state(id, JobState::Running, None);
        }
        self.say_first_assign(id, key, spec);
        true
    }

    fn new_attempt(&mut self, id: JobId, key: &StepKey, worker: WorkerId) -> Attempt {
        let due = self.now.mono + self.world.limits.offer_ms;
        let number = self
            .world
            .step(id, key)
            .and_then(Step::current)
            .map_or(1, |last| last.number + 1);
        Attempt {
            id: self.entropy.attempt_id(),
            number,
            worker,
            worker_name: self.world.workers[&worker].name.clone(),
            state: AttemptState::Offered,
            due,
            hard_due: u64::MAX,
            said: 1,
            cancel: None,
            offered_at: self.now.wall,
            started_at: None,
            ended_at: None,
            error: None,
            usage: protocol::usage::Usage::default(),
            model: None,
            exit: None,
            notes: vec![],
            recorded: false,
            late: None,
            due_on_disk: due,
        }
    }

    fn note_on_worker(&mut self, worker: WorkerId, job: JobId) {
        let Some(worker) = self.world.workers.get_mut(&worker) else {
            return;
        };
        worker.used += 1;
        worker.warm.retain(|other| *other != job);
        worker.warm.push_back(job);
        if worker.warm.len() > WARM_JOBS {
            worker.warm.pop_front();
        }
    }
}
