//! What must hold after every commit, compared with the commit before.

use std::collections::{BTreeMap, BTreeSet};

use controller::orchestrator::{
    Changes, Now, World,
    timers::Timer,
    why,
    world::{Attempt, Job, Step},
};
use protocol::{
    approval::Answer,
    id::{AttemptId, JobId, WorkerId},
    job::{JobState, StepKey},
    step::{AttemptState, StepState},
    usage::Usage,
    worker::WorkerState,
};

use crate::tables::Tables;

/// Every so many commits all jobs are looked at.
const ALL_EVERY: u64 = 16;

/// A job as it was.
struct Seen {
    state: JobState,
    usage: Usage,
    steps: Vec<SeenStep>,
}

struct SeenStep {
    key: StepKey,
    state: StepState,
    decided: Option<Answer>,
    attempts: Vec<(AttemptId, AttemptState, bool)>,
}

/// What led to a commit, as far as it allows what nothing else does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// A person brought this job back.
    Revival(JobId),
    /// This worker said something.
    Word(WorkerId),
    Other,
}

#[derive(Default)]
pub(crate) struct Books {
    seen: BTreeMap<JobId, Seen>,
    online: BTreeSet<WorkerId>,
    charged: Usage,
    checks: u64,
}

impl Books {
    /// After a commit of `changes`. Jobs that the changes do not name are looked at now and then, since they
    /// should be as they were.
    pub(crate) fn check(
        &mut self,
        world: &World,
        tables: &Tables,
        changes: &Changes,
        cause: Cause,
        now: Now,
    ) {
        self.charged += changes.used;
        self.check_online(world, cause);
        self.checks += 1;
        let all = self.checks.is_multiple_of(ALL_EVERY);
        if changes.is_empty() && !all {
            return;
        }
        let named = self.named(world, changes);
        for job in world.jobs.values().filter(|job| all || named.contains(&job.id)) {
            if let Some(before) = self.seen.get(&job.id) {
                compare(before, job, cause == Cause::Revival(job.id));
                check_suspects(world, before, job);
            }
            check_job(world, job, now);
            let row = tables.head_of(job.id);
            let written = row.is_some_and(|row| row.state == job.state && row.usage == job.usage);
            assert!(written, "job {} is not on disk as it is", job.number);
            self.see(job);
        }
        check_groups(world);
        check_slots(world);
        check_ready(world);
        let mut sum = Usage::default();
        self.seen.values().for_each(|job| sum += job.usage);
        assert_eq!(self.charged, sum, "what was charged is what the jobs used");
    }

    /// A worker is online, and may be offered something, only after it has said something itself.
    fn check_online(&mut self, world: &World, cause: Cause) {
        for worker in world.workers.values() {
            let (id, name) = (worker.id, &worker.name);
            if worker.state != WorkerState::Online {
                self.online.remove(&id);
            } else if self.online.insert(id) {
                assert_eq!(cause, Cause::Word(id), "{name} came online and had said nothing");
            }
        }
    }

    fn named(&self, world: &World, changes: &Changes) -> BTreeSet<JobId> {
        let attempts = changes.attempts.iter().filter_map(|id| world.attempts.get(id));
        let steps = changes.steps.iter().map(|(job, _)| *job);
        let mut named: BTreeSet<JobId> = attempts.map(|(job, _)| *job).chain(steps).collect();
        named.extend(&changes.jobs);
        named.extend(world.jobs.keys().filter(|id| !self.seen.contains_key(id)));
        named
    }

    fn see(&mut self, job: &Job) {
        let seen = self.seen.entry(job.id).or_insert_with(|| Seen {
            state: job.state,
            usage: job.usage,
            steps: vec![],
        });
        (seen.state, seen.usage) = (job.state, job.usage);
        for (index, step) in job.steps.iter().enumerate() {
            let at = seen.place_of(index, &step.key).unwrap_or_else(|| {
                seen.steps.push(SeenStep {
                    key: step.key.clone(),
                    state: step.state,
                    decided: None,
                    attempts: vec![],
                });
                seen.steps.len() - 1
            });
            let was = &mut seen.steps[at];
            (was.state, was.decided) = (step.state, decided(step));
            was.attempts.clear();
            was.attempts.extend(step.attempts.iter().map(print));
        }
    }

    /// The world was read anew from the tables: what was never committed is forgotten.
    pub(crate) fn look_again(&mut self, world: &World) {
        let online = world
            .workers
            .values()
            .filter(|worker| worker.state == WorkerState::Online);
        self.online = online.map(|worker| worker.id).collect();
        for job in world.jobs.values() {
            let Some(before) = self.seen.get(&job.id) else {
                panic!("job {} is on disk and was never committed", job.number);
            };
            assert_eq!(before.state, job.state, "job {} after a start", job.number);
            assert_eq!(before.usage, job.usage, "job {} after a start", job.number);
            assert_eq!(
                before.steps.len(),
                job.steps.len(),
                "job {} after a start",
                job.number
            );
            for (index, step) in job.steps.iter().enumerate() {
                let was = before.place_of(index, &step.key).expect("steps are only added");
                let was = &before.steps[was];
                let (then, now) = ((was.state, was.decided), (step.state, decided(step)));
                assert_eq!(then, now, "step {} after a start", step.key);
                assert!(
                    was.attempts.iter().copied().eq(step.attempts.iter().map(print)),
                    "step {} after a start: {:?}, was {:?}",
                    step.key,
                    step.attempts,
                    was.attempts
                );
            }
        }
        let open = self.seen.iter().filter(|(_, job)| !job.state.is_terminal());
        for (id, _) in open {
            assert!(world.jobs.contains_key(id), "job {id} was lost by a start");
        }
    }
}

fn print(attempt: &Attempt) -> (AttemptId, AttemptState, bool) {
    (attempt.id, attempt.state, attempt.recorded)
}

/// What somebody, or the end of that person's time, has decided about a step.
fn decided(step: &Step) -> Option<Answer> {
    let wait = step.approval.as_ref()?;
    wait.decided.as_ref().map(|decided| decided.answer)
}

impl Seen {
    /// Where a step stands that is most likely the one at `index`.
    fn place_of(&self, index: usize, key: &StepKey) -> Option<usize> {
        match self.steps.get(index) {
            Some(step) if step.key == *key => Some(index),
            _ => self.steps.iter().position(|step| step.key == *key),
        }
    }
}

/// No step with two results, nothing that has ended ends again, nothing superseded counts.
fn compare(before: &Seen, job: &Job, revived: bool) {
    let (was, is) = (before.state, job.state);
    assert!(
        revived || !was.is_terminal() || was == is,
        "job {} went from {was} to {is}",
        job.number
    );
    for (index, was) in before.steps.iter().enumerate() {
        let what = || format!("step {} of job {}", was.key, job.number);
        let same_place = job.steps.get(index).filter(|step| step.key == was.key);
        let Some(step) = same_place.or_else(|| job.step(&was.key)) else {
            panic!("{} is gone", what());
        };
        let again = revived || !was.state.is_terminal() || was.state == step.state;
        assert!(again, "{} went from {} to {}", what(), was.state, step.state);
        let stands = revived || was.decided.is_none() || was.decided == decided(step);
        assert!(stands, "{}: a decision was taken back", what());
        for (index, (id, state, recorded)) in was.attempts.iter().enumerate() {
            let now = &step.attempts[index];
            assert_eq!(now.id, *id, "{}: attempts are only added", what());
            assert!(now.recorded || !recorded, "{}: a result was forgotten", what());
            if now.state == *state {
                continue;
            }
            let counts = index + 1 == was.attempts.len();
            let is = now.state;
            assert!(
                counts,
                "{}: a superseded attempt went from {state} to {is}",
                what()
            );
            let may = state.is_open() || *state == AttemptState::Lost;
            assert!(may, "{}: an ended attempt went from {state} to {is}", what());
        }
    }
}

/// A lease that runs out makes its worker as suspect as the attempt: what it might still say would be
/// superseded by an offer that it cannot hear.
fn check_suspects(world: &World, before: &Seen, job: &Job) {
    for (index, was) in before.steps.iter().enumerate() {
        let same_place = job.steps.get(index).filter(|step| step.key == was.key);
        let current = same_place.and_then(Step::current);
        let known = current.and_then(|current| was.attempts.iter().find(|(id, ..)| *id == current.id));
        if let (Some(current), Some((_, AttemptState::Running, _))) = (current, known)
            && current.state == AttemptState::Suspect
        {
            let online = world.workers.get(&current.worker).map(|worker| worker.state);
            assert_ne!(
                online,
                Some(WorkerState::Online),
                "step {} of job {}: its worker let a lease run out",
                was.key,
                job.number
            );
        }
    }
}

/// A job has ended with its last step; until then something moves it, or it says what it waits for.
fn check_job(world: &World, job: &Job, now: Now) {
    job.steps.iter().for_each(|step| check_step(world, job, step));
    check_usage(job);
    let ended = job.steps.iter().all(|step| step.state.is_terminal());
    assert_eq!(
        (ended, ended),
        (job.state.is_terminal(), job.ended_at.is_some()),
        "job {} is {} and its steps have ended or not",
        job.number,
        job.state
    );
    if ended {
        return;
    }
    let moves = |step: &Step| match step.state {
        StepState::Running => !step.attempts.is_empty(),
        StepState::Ready
        | StepState::RetryWait
        | StepState::Awaiting
        | StepState::Offered
        | StepState::Cancelling
        | StepState::Parked => true,
        _ => false,
    };
    assert!(job.steps.iter().any(moves), "job {} is stuck", job.number);
    let parked = job.steps.iter().any(|step| step.state == StepState::Parked);
    assert!(
        !parked || job.state == JobState::Parked,
        "job {} is {} and a step waits for a resume",
        job.number,
        job.state
    );
    explained(world, job, now.mono);
}

/// What is open has a deadline; what has ended has none; outputs are those of the attempt that counts.
fn check_step(world: &World, job: &Job, step: &Step) {
    let what = || {
        let current = step.current().map(|attempt| attempt.state);
        let (key, number, state) = (&step.key, job.number, step.state);
        format!("step {key} of job {number} is {state}, its attempt {current:?}")
    };
    let mut open = step.attempts.iter().filter(|attempt| attempt.state.is_open());
    let current = open.next();
    assert!(open.next().is_none(), "{}: two open attempts", what());
    let fits = match (step.state, step.current().map(|attempt| attempt.state)) {
        (StepState::Offered, state) => state == Some(AttemptState::Offered),
        (StepState::Running, state) => {
            matches!(state, None | Some(AttemptState::Running | AttemptState::Suspect))
        }
        (StepState::Cancelling, state) => state == Some(AttemptState::Cancelling),
        _ => current.is_none(),
    };
    assert!(fits, "{}", what());
    if let Some(attempt) = current {
        assert!(step.is_current(attempt.id), "{}: an old attempt is open", what());
        assert!(
            has_deadline(world, attempt),
            "{}: an open attempt without a deadline",
            what()
        );
    }
    let by = step.outputs.get("by").and_then(|by| by.as_str());
    if let (StepState::Succeeded, Some(Ok(by))) = (step.state, by.map(str::parse)) {
        let mut author = step.attempts.iter().filter(|attempt| attempt.id == by);
        let fits = author.any(|attempt| attempt.state == AttemptState::Succeeded || attempt.late.is_some());
        assert!(fits, "{}: it has the result of a superseded attempt", what());
    }
    if matches!(step.state, StepState::RetryWait | StepState::Awaiting) {
        let waits = Timer::Step(job.id, step.key.clone());
        let timed = world.timers.iter().any(|(_, timer)| *timer == waits);
        assert!(timed, "{}: it waits without a timer", what());
    }
}

fn has_deadline(world: &World, attempt: &Attempt) -> bool {
    let set = |due, timer| world.timers.contains(&(due, timer));
    let limited = matches!(attempt.state, AttemptState::Running | AttemptState::Suspect);
    set(attempt.due, Timer::Attempt(attempt.id))
        && (!limited || set(attempt.hard_due, Timer::Hard(attempt.id)))
}

/// Usage adds up.
fn check_usage(job: &Job) {
    let mut all = Usage::default();
    for step in &job.steps {
        let mut sum = Usage::default();
        step.attempts.iter().for_each(|attempt| sum += attempt.usage);
        assert_eq!(
            sum, step.usage,
            "usage of step {} of job {}",
            step.key, job.number
        );
        all += sum;
    }
    assert_eq!(all, job.usage, "usage of job {}", job.number);
}

/// Only jobs that have begun and not ended hold a place in their group.
fn check_groups(world: &World) {
    let mut groups: BTreeMap<&str, (u32, u32)> = BTreeMap::new();
    for job in world.jobs.values().filter(|job| !job.state.is_terminal()) {
        let rule = job.workflow.concurrency.as_ref();
        if let (Some(group), Some(rule), Some(_)) = (&job.group, rule, job.started_at) {
            groups.entry(group).or_insert((0, rule.max)).0 += 1;
        }
    }
    for (group, (held, max)) in groups {
        assert!(held <= max, "{held} jobs of group {group} run, of {max}");
    }
}

/// Nothing that has ended holds a slot, and what is open holds one.
fn check_slots(world: &World) {
    let steps = world.jobs.values().flat_map(|job| &job.steps);
    let attempts = steps.flat_map(|step| &step.attempts);
    let mut open: BTreeMap<WorkerId, u32> = BTreeMap::new();
    for attempt in attempts.filter(|attempt| attempt.state.is_open()) {
        *open.entry(attempt.worker).or_default() += 1;
    }
    for worker in world.workers.values() {
        let held = open.get(&worker.id).copied().unwrap_or_default();
        assert_eq!(worker.used, held, "used slots of {}", worker.name);
    }
}

/// The index of ready steps has each of them, and nothing else.
fn check_ready(world: &World) {
    let mut ready = 0;
    for job in world.jobs.values() {
        for step in job.steps.iter().filter(|step| step.state == StepState::Ready) {
            ready += 1;
            assert!(
                world.ready.contains(&job.ready_key(step)),
                "step {} of job {} is ready and nobody knows",
                step.key,
                job.number
            );
        }
    }
    assert_eq!(world.ready.len(), ready, "the index of ready steps");
}

/// Every open job says what it waits for.
fn explained(world: &World, job: &Job, mono: u64) {
    let why = why::explain(world, job, mono);
    let whole = !why.summary.is_empty() && !why.steps.is_empty();
    assert!(whole, "job {} does not say why it is {}", job.number, job.state);
    for step in &why.steps {
        let whole = !step.reason.is_empty() && !step.reason.ends_with(' ');
        assert!(
            whole,
            "step {} of job {}: {:?}",
            step.step, job.number, step.reason
        );
    }
}
