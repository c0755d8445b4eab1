//! What must hold after every step of the walk, compared with the step before.

use std::collections::{BTreeMap, HashMap};

use protocol::{
    id::{AttemptId, JobId},
    job::{JobState, StepKey},
    step::{AttemptState, StepState},
    usage::Usage,
};

use crate::orchestrator::{
    World, why,
    world::{Job, Step},
};

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
pub(super) struct Books {
    seen: BTreeMap<JobId, Seen>,
    used: Usage,
}

impl Books {
    /// Compares the world with what it was; `revived` is the job that a person brought back.
    pub(super) fn check(&mut self, world: &World, used: Usage, revived: Option<JobId>, mono: u64) {
        self.used += used;
        let mut groups: BTreeMap<&str, (u32, u32)> = BTreeMap::new();
        for job in world.jobs.values() {
            if let Some(before) = self.seen.get(&job.id) {
                compare(before, job, revived == Some(job.id));
            }
            sums(job);
            if !job.state.is_terminal() {
                explained(world, job, mono);
                if let (Some(group), Some(rule), Some(_)) =
                    (&job.group, &job.workflow.concurrency, job.started_at)
                {
                    let held = groups.entry(group).or_insert((0, rule.max));
                    held.0 += 1;
                }
            }
            self.seen.insert(job.id, Seen::of(job));
        }
        for (group, (held, max)) in groups {
            assert!(held <= max, "{held} jobs of group {group} run, of {max}");
        }
        let mut sum = Usage::default();
        for job in self.seen.values() {
            sum += job.usage;
        }
        assert_eq!(
            self.used, sum,
            "what was charged to the day is what the jobs used"
        );
    }
}

impl Seen {
    fn of(job: &Job) -> Self {
        let step = |step: &Step| SeenStep {
            state: step.state,
            attempts: step
                .attempts
                .iter()
                .map(|a| (a.id, a.state, a.recorded))
                .collect(),
        };
        Self {
            state: job.state,
            usage: job.usage,
            steps: job.steps.iter().map(|s| (s.key.clone(), step(s))).collect(),
        }
    }
}

fn compare(before: &Seen, job: &Job, revived: bool) {
    assert!(
        revived || !before.state.is_terminal() || before.state == job.state,
        "job {} went from {} to {}",
        job.number,
        before.state,
        job.state
    );
    for (key, was) in &before.steps {
        let what = format!("step {key} of job {}", job.number);
        let Some(step) = job.step(key) else {
            panic!("{what} is gone");
        };
        assert!(
            revived || !was.state.is_terminal() || was.state == step.state,
            "{what} went from {} to {}",
            was.state,
            step.state
        );
        for (index, (id, state, recorded)) in was.attempts.iter().enumerate() {
            let now = &step.attempts[index];
            assert_eq!(now.id, *id, "{what}: attempts are only added");
            assert!(now.recorded || !recorded, "{what}: a result was forgotten");
            if now.state == *state {
                continue;
            }
            assert_eq!(
                index + 1,
                was.attempts.len(),
                "{what}: a superseded attempt went from {state} to {}",
                now.state
            );
            assert!(
                state.is_open() || *state == AttemptState::Lost,
                "{what}: an ended attempt went from {state} to {}",
                now.state
            );
        }
    }
}

/// Usage adds up, and a step's outputs are those of a result that was applied or salvaged.
fn sums(job: &Job) {
    let mut all = Usage::default();
    for step in &job.steps {
        let mut sum = Usage::default();
        for attempt in &step.attempts {
            sum += attempt.usage;
        }
        assert_eq!(
            sum, step.usage,
            "usage of step {} of job {}",
            step.key, job.number
        );
        all += sum;
        let by = step.outputs.get("by").and_then(|by| by.as_str());
        if let (StepState::Succeeded, Some(by)) = (step.state, by) {
            let applied = step.attempts.iter().find(|attempt| attempt.id.to_string() == by);
            let fits = applied
                .is_some_and(|attempt| attempt.state == AttemptState::Succeeded || attempt.late.is_some());
            assert!(
                fits,
                "step {} of job {} has the outputs of nobody",
                step.key, job.number
            );
        }
    }
    assert_eq!(all, job.usage, "usage of job {}", job.number);
}

/// Every open job says what it waits for.
fn explained(world: &World, job: &Job, mono: u64) {
    let why = why::explain(world, job, mono);
    assert!(
        !why.summary.is_empty() && !why.steps.is_empty(),
        "job {}",
        job.number
    );
    for step in &why.steps {
        let whole = !step.reason.is_empty() && !step.reason.ends_with(' ');
        assert!(
            whole,
            "step {} of job {}: {:?}",
            step.step, job.number, step.reason
        );
    }
}
