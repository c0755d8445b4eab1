//! Rule 15: a step waits for a person, or for the end of that person's time.

use jiff::{SignedDuration, Timestamp};
use protocol::{
    approval::{Answer, Decided, Wait},
    id::JobId,
    job::StepKey,
    step::{ErrorClass, StepError, StepState},
};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::workflow::model::{Approval, StepKind};

use super::{
    draft::Draft,
    event::Refusal,
    scope,
    timers::Timer,
    world::{Job, Step, World},
};

/// What a person says to a step that waits for one.
#[derive(Clone, Debug)]
pub struct Decision {
    /// What.
    pub answer: Answer,
    /// Who, as the audit names it.
    pub by: String,
    /// Why, in that person's words.
    pub reason: Option<String>,
    /// Tags of what that person has looked at; `None` takes whatever is there now.
    pub seen: Option<Vec<String>>,
}

impl Draft<'_> {
    /// The step's turn has come: a person is asked.
    pub(super) fn ask_person(&mut self, id: JobId, key: &StepKey, approval: &Approval) {
        let (wall, mono) = (self.now.wall, self.now.mono);
        let time = SignedDuration::from_millis(i64::try_from(approval.timeout.0).unwrap_or(i64::MAX));
        let step = self.step_mut(id, key);
        step.started_at = Some(wall);
        step.approval = Some(Wait {
            since: wall,
            until: wall.checked_add(time).unwrap_or(Timestamp::MAX),
            decided: None,
        });
        self.set_step_state(id, key, StepState::Awaiting);
        // looked at by the wall clock from the first time on
        self.world.timers.insert((mono, Timer::Step(id, key.clone())));
    }

    /// A person decides. A repeat changes nothing, and the opposite of what was decided is refused.
    pub(super) fn decide_step(
        &mut self,
        id: JobId,
        key: &StepKey,
        decision: Decision,
    ) -> Result<(), Refusal> {
        let job = self.world.jobs.get(&id).ok_or(Refusal::Unknown("job"))?;
        let step = job.step(key).ok_or(Refusal::Unknown("step"))?;
        let Some(wait) = &step.approval else {
            return Err(Refusal::NotAwaiting {
                step: key.clone(),
                state: step.state,
            });
        };
        if let Some(seen) = &decision.seen
            && !tag(job, step).is_some_and(|tag| seen.contains(&tag))
        {
            return Err(Refusal::Changed { step: key.clone() });
        }
        match &wait.decided {
            Some(decided) if decided.answer == decision.answer => return Ok(()),
            Some(decided) => {
                return Err(Refusal::Decided {
                    step: key.clone(),
                    decided: decided.to_string(),
                });
            }
            None if step.state == StepState::Awaiting => {}
            None => {
                return Err(Refusal::NotAwaiting {
                    step: key.clone(),
                    state: step.state,
                });
            }
        }
        let decided = Decided {
            answer: decision.answer,
            by: Some(decision.by),
            at: self.now.wall,
            reason: decision.reason,
        };
        self.end_wait(id, key, decided);
        Ok(())
    }

    /// Nobody has decided in time: the workflow says what that means.
    pub(super) fn wait_is_over(&mut self, id: JobId, key: &StepKey) {
        let job = &self.world.jobs[&id];
        let Some(approval) = job.step(key).and_then(|step| asked(job, step)) else {
            return;
        };
        let decided = Decided {
            answer: approval.on_timeout,
            by: None,
            at: self.now.wall,
            reason: None,
        };
        self.end_wait(id, key, decided);
    }

    fn end_wait(&mut self, id: JobId, key: &StepKey, decided: Decided) {
        let job = &self.world.jobs[&id];
        let (number, limited) = (job.number, job.workflow.timeout.is_some());
        let answer = decided.answer;
        let class = if decided.by.is_some() {
            ErrorClass::Rejected
        } else {
            ErrorClass::Timeout
        };
        let error =
            StepError::new(class, decided.to_string()).hint(format!("`agentctl retry {number}` asks again"));
        let step = self.step_mut(id, key);
        step.outputs = outputs(&decided);
        if let Some(wait) = &mut step.approval {
            wait.decided = Some(decided);
        }
        let state = match answer {
            Answer::Approve => StepState::Succeeded,
            Answer::Reject => {
                step.error = Some(error);
                StepState::Failed
            }
        };
        self.set_step_state(id, key, state);
        if limited {
            // the job's own time limit stood still
            self.world.timers.insert((self.now.mono, Timer::Job(id)));
        }
        self.settle(id);
    }
}

/// What later steps may read.
fn outputs(decided: &Decided) -> Map<String, Value> {
    let fields = [
        ("decision", json!(decided.answer)),
        ("decided_by", json!(decided.by)),
        ("reason", json!(decided.reason)),
    ];
    fields
        .map(|(name, value)| (name.to_owned(), value))
        .into_iter()
        .collect()
}

/// What a person is asked by this step, if that is its kind.
pub fn asked<'a>(job: &'a Job, step: &Step) -> Option<&'a Approval> {
    match &job.def(step).kind {
        StepKind::Approval(approval) => Some(approval),
        StepKind::Agent { .. } | StepKind::Run { .. } | StepKind::Use(_) | StepKind::Block { .. } => None,
    }
}

/// The steps whose results a decision about `step` is about: the nearest ones of those names.
pub fn shown<'a>(steps: &'a [Step], step: &Step, names: &[String]) -> Vec<&'a Step> {
    let find = |key: &str| steps.iter().find(|other| other.key.as_str() == key);
    let nearest = |name: &String| {
        let mut inside = step.key.as_str();
        while let Some((block, _)) = inside.rsplit_once('/') {
            if let Some(found) = find(&format!("{block}/{name}")) {
                return Some(found);
            }
            inside = block;
        }
        find(name)
    };
    names.iter().filter_map(nearest).collect()
}

/// Names what a decision about this step is about: another wait or another result has another tag.
pub fn tag(job: &Job, step: &Step) -> Option<String> {
    let (wait, approval) = (step.approval.as_ref()?, asked(job, step)?);
    let shown: Vec<Value> = shown(&job.steps, step, &approval.show)
        .iter()
        .map(|shown| json!([shown.key, shown.state, shown.outputs]))
        .collect();
    let commit = scope::workspace(job, step).and_then(|files| files.commit);
    let about = json!([job.id, step.key, wait.since, shown, commit]);
    let hash = Sha256::digest(about.to_string());
    Some(hex::encode(&hash[..16]))
}

/// How long, from `since` on, at least one step of the job waited for a person.
pub(super) fn waited(job: &Job, since: Timestamp, now: Timestamp) -> SignedDuration {
    let mut waits: Vec<(Timestamp, Timestamp)> = job
        .steps
        .iter()
        .filter_map(|step| {
            let from = step.approval.as_ref()?.since.max(since);
            Some((from, step.ended_at.unwrap_or(now).max(from)))
        })
        .collect();
    waits.sort_unstable();
    let (mut sum, mut until) = (SignedDuration::ZERO, since);
    for (from, to) in waits {
        sum += to.max(until).duration_since(from.max(until));
        until = until.max(to);
    }
    sum
}

/// The step that has waited longest for a person, over all jobs.
pub fn oldest(world: &World) -> Option<(&Job, &Step)> {
    let awaiting = world.jobs.values().flat_map(|job| {
        job.steps
            .iter()
            .filter(|step| step.state == StepState::Awaiting)
            .map(move |step| (job, step))
    });
    awaiting.min_by_key(|(job, step)| {
        (
            step.approval.as_ref().map(|wait| wait.since),
            job.number,
            step.position.clone(),
        )
    })
}
