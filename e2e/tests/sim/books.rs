//! What must hold after every commit, compared with the commit before.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use controller::orchestrator::{
    Changes, Now, World,
    timers::Timer,
    why,
    world::{Attempt, Job, Step},
};
use protocol::{
    id::{AttemptId, JobId},
    job::{JobState, StepKey},
    step::{AttemptState, StepState},
    usage::Usage,
};

use crate::tables::Tables;

/// Every so many commits all jobs are looked at.
const ALL_EVERY: u64 = 16;

/// A job as it was.
struct Seen {
    state: JobState,
    usage: Usage,
    steps: HashMap<StepKey, SeenStep>,
}

struct SeenStep {
    state: StepState,
    attempts: Vec<(AttemptId, AttemptState, bool)>,
}

#[derive(Default)]
pub(crate) struct Books {
    seen: BTreeMap<JobId, Seen>,
    charged: Usage,
    checks: u64,
}

impl Books {
    /// After a commit of `changes`; `revived` is the job that a person brought back. Jobs that the changes do
    /// not name are looked at now and then, since they should be as they were.
    pub(crate) fn check(
        &mut self,
        world: &World,
        tables: &Tables,
        changes: &Changes,
        revived: Option<JobId>,
        now: Now,
    ) {
        self.charged += changes.used;
        self.checks += 1;
        let all = self.checks.is_multiple_of(ALL_EVERY);
        let named = self.named(world, changes);
        for job in world.jobs.values().filter(|job| all || named.contains(&job.id)) {
            if let Some(before) = self.seen.get(&job.id) {
                compare(before, job, revived == Some(job.id));
            }
            job.steps.iter().for_each(|step| check_step(world, job, step));
            check_usage(job);
            let row = tables.head_of(job.id);
            let written = row.is_some_and(|row| row.state == job.state && row.usage == job.usage);
            assert!(written, "job {} is not on disk as it is", job.number);
            if job.state.is_terminal() {
                let open = job.steps.iter().find(|step| !step.state.is_terminal());
                assert!(
                    open.is_none(),
                    "job {} has ended and {:?} has not",
                    job.number,
                    open
                );
            } else {
                explained(world, job, now.mono);
            }
            self.seen.insert(job.id, Seen::of(job));
        }
        check_groups(world);
        check_slots(world);
        let mut sum = Usage::default();
        self.seen.values().for_each(|job| sum += job.usage);
        assert_eq!(self.charged, sum, "what was charged is what the jobs used");
    }

    fn named(&self, world: &World, changes: &Changes) -> BTreeSet<JobId> {
        let attempts = changes.attempts.iter().filter_map(|id| world.attempts.get(id));
        let steps = changes.steps.iter().map(|(job, _)| *job);
        let mut named: BTreeSet<JobId> = attempts.map(|(job, _)| *job).chain(steps).collect();
        named.extend(&changes.jobs);
        named.extend(world.jobs.keys().filter(|id| !self.seen.contains_key(id)));
        named
    }

    /// The world was read anew from the tables: what was never committed is forgotten.
    pub(crate) fn look_again(&mut self, world: &World) {
        for job in world.jobs.values() {
            let Some(before) = self.seen.get(&job.id) else {
                panic!("job {} is on disk and was never committed", job.number);
            };
            assert_eq!(before.state, job.state, "job {} after a start", job.number);
            assert_eq!(before.usage, job.usage, "job {} after a start", job.number);
            for step in &job.steps {
                let was = before.steps.get(&step.key).expect("steps are only added");
                assert_eq!(was.state, step.state, "step {} after a start", step.key);
                let now = SeenStep::of(step);
                assert_eq!(was.attempts, now.attempts, "step {} after a start", step.key);
            }
        }
        let open = self.seen.iter().filter(|(_, job)| !job.state.is_terminal());
        for (id, _) in open {
            assert!(world.jobs.contains_key(id), "job {id} was lost by a start");
        }
    }
}

impl SeenStep {
    fn of(step: &Step) -> Self {
        let attempts = step.attempts.iter();
        let attempts = attempts.map(|attempt| (attempt.id, attempt.state, attempt.recorded));
        Self {
            state: step.state,
            attempts: attempts.collect(),
        }
    }
}

impl Seen {
    fn of(job: &Job) -> Self {
        let steps = job.steps.iter();
        Self {
            state: job.state,
            usage: job.usage,
            steps: steps.map(|step| (step.key.clone(), SeenStep::of(step))).collect(),
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
    for (key, was) in &before.steps {
        let what = format_args!("step {key} of job {}", job.number).to_string();
        let Some(step) = job.step(key) else {
            panic!("{what} is gone");
        };
        let again = revived || !was.state.is_terminal() || was.state == step.state;
        assert!(again, "{what} went from {} to {}", was.state, step.state);
        for (index, (id, state, recorded)) in was.attempts.iter().enumerate() {
            let now = &step.attempts[index];
            assert_eq!(now.id, *id, "{what}: attempts are only added");
            assert!(now.recorded || !recorded, "{what}: a result was forgotten");
            if now.state == *state {
                continue;
            }
            let counts = index + 1 == was.attempts.len();
            assert!(
                counts,
                "{what}: a superseded attempt went from {state} to {}",
                now.state
            );
            let may = state.is_open() || *state == AttemptState::Lost;
            assert!(may, "{what}: an ended attempt went from {state} to {}", now.state);
        }
    }
}

/// What is open has a deadline; what has ended has none; outputs are those of the attempt that counts.
fn check_step(world: &World, job: &Job, step: &Step) {
    let what = || format!("step {} of job {} is {}", step.key, job.number, step.state);
    let mut open = step.attempts.iter().filter(|attempt| attempt.state.is_open());
    let current = open.next();
    assert!(open.next().is_none(), "{}: two open attempts", what());
    assert_eq!(
        current.is_some(),
        step.state.is_open() && !step.attempts.is_empty(),
        "{}, its attempt {:?}",
        what(),
        step.current().map(|attempt| attempt.state)
    );
    if let Some(attempt) = current {
        assert!(step.is_current(attempt.id), "{}: an old attempt is open", what());
        assert!(
            has_deadline(world, attempt),
            "{}: an open attempt without a deadline",
            what()
        );
    }
    let by = step.outputs.get("by").and_then(|by| by.as_str());
    if let (StepState::Succeeded, Some(by)) = (step.state, by) {
        let mut author = step
            .attempts
            .iter()
            .filter(|attempt| attempt.id.to_string() == by);
        let fits = author.any(|attempt| attempt.state == AttemptState::Succeeded || attempt.late.is_some());
        assert!(fits, "{}: it has the result of a superseded attempt", what());
    }
    let waits = Timer::Step(job.id, step.key.clone());
    let timed = step.state != StepState::RetryWait || world.timers.iter().any(|(_, timer)| *timer == waits);
    assert!(timed, "{}: it waits without a timer", what());
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
    let steps = || world.jobs.values().flat_map(|job| &job.steps);
    for worker in world.workers.values() {
        let attempts = steps().flat_map(|step| &step.attempts);
        let mine = attempts.filter(|attempt| attempt.worker == worker.id && attempt.state.is_open());
        assert_eq!(
            worker.used as usize,
            mine.count(),
            "used slots of {}",
            worker.name
        );
    }
    let ready = steps().filter(|step| step.state == StepState::Ready).count();
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
