//! How the graph of a job moves on: what becomes ready, skipped or a new
//! round, and when the job has ended.

use protocol::{
    event::EventKind,
    id::JobId,
    job::{JobState, StepKey},
    step::{ErrorClass, StepError, StepState},
};
use serde_json::{Map, Value, json};

use crate::workflow::{
    model::{Condition, Loop, OnExhausted, StepDef, StepKind, Workflow},
    template,
};

use super::{
    draft::Draft,
    scope,
    world::{Job, Step},
};

/// Most rounds of a loop, whatever its `max` says.
const MAX_ROUNDS: u32 = 50;

/// The steps that a job begins with.
pub(super) fn top_steps(workflow: &Workflow) -> Vec<Step> {
    let steps = workflow.steps.iter().enumerate();
    steps
        .map(|(index, (name, def))| {
            let needs = def.needs.iter().map(|need| StepKey::top(need)).collect();
            new_step(
                StepKey::top(name),
                vec![name.clone()],
                format!("{index:03}"),
                needs,
                def,
            )
        })
        .collect()
}

fn closing_steps(workflow: &Workflow) -> Vec<Step> {
    let closing = StepKey::top("finally");
    let steps = workflow.finally.iter().enumerate();
    steps
        .map(|(index, (name, def))| {
            let needs = def.needs.iter().map(|need| closing.child(need)).collect();
            let path = vec!["finally".to_owned(), name.clone()];
            new_step(closing.child(name), path, format!("999.{index:03}"), needs, def)
        })
        .collect()
}

fn new_step(key: StepKey, path: Vec<String>, position: String, needs: Vec<StepKey>, def: &StepDef) -> Step {
    Step {
        key,
        path,
        position,
        state: StepState::Blocked,
        needs,
        skipped_by_need: false,
        attempts: vec![],
        work_left: def.retry.max,
        infra_left: 0,
        ready_since: None,
        not_before: None,
        excluded: vec![],
        outputs: Map::new(),
        workspace: None,
        error: None,
        note: None,
        usage: protocol::usage::Usage::default(),
        started_at: None,
        ended_at: None,
        round: 0,
        last_round: 0,
        checkpoint: None,
        approval: None,
    }
}

/// Whether a step has ended in a way that lets its block go on.
pub(super) fn ended(job: &Job, step: &Step) -> bool {
    step.ended_well(job.def(step))
}

/// What a blocked step does next.
enum Next {
    Wait,
    Run,
    Skip { by_need: bool },
    Fail(StepError),
}

impl Draft<'_> {
    /// Moves the job's graph as far as it goes without anybody's help; once more changes nothing.
    pub fn settle(&mut self, id: JobId) {
        if self.world.jobs.get(&id).is_none_or(|job| job.state.is_terminal()) {
            return;
        }
        while self.move_blocked(id) | self.move_blocks(id) | self.begin_closing(id) {}
        self.settle_job(id);
    }

    /// Blocked steps whose needs have ended; true if any moved.
    fn move_blocked(&mut self, id: JobId) -> bool {
        let job = &self.world.jobs[&id];
        let blocked: Vec<StepKey> = job
            .steps
            .iter()
            .filter(|step| step.state == StepState::Blocked)
            .map(|step| step.key.clone())
            .collect();
        let mut moved = false;
        for key in blocked {
            let next = self.next_of(id, &key);
            moved |= !matches!(next, Next::Wait);
            match next {
                Next::Wait => {}
                Next::Run => self.begin(id, &key),
                Next::Skip { by_need } => {
                    self.step_mut(id, &key).skipped_by_need = by_need;
                    self.set_step_state(id, &key, StepState::Skipped);
                }
                Next::Fail(error) => {
                    self.step_mut(id, &key).error = Some(error);
                    self.set_step_state(id, &key, StepState::Failed);
                }
            }
        }
        moved
    }

    fn next_of(&self, id: JobId, key: &StepKey) -> Next {
        let job = &self.world.jobs[&id];
        let step = job.step(key).expect("listed by the caller");
        let def = job.def(step);
        let others_run = || {
            job.steps
                .iter()
                .any(|other| !other.is_closing() && !other.state.is_terminal())
        };
        if step.is_closing() && others_run() {
            return Next::Wait;
        }
        let needs: Vec<&Step> = step.needs.iter().filter_map(|need| job.step(need)).collect();
        if !needs.iter().all(|need| need.state.is_terminal()) {
            return Next::Wait;
        }
        let needs_ok = needs.iter().all(|need| ended(job, need));
        match &def.condition {
            Condition::Always => Next::Run,
            _ if !needs_ok => Next::Skip { by_need: true },
            Condition::NeedsOk => Next::Run,
            Condition::If(expression) => match template::is_true(expression, &scope::of_step(job, step)) {
                Ok(true) => Next::Run,
                Ok(false) => Next::Skip { by_need: false },
                Err(error) => Next::Fail(StepError::new(
                    ErrorClass::Spec,
                    format!("`if` cannot be evaluated: {error}"),
                )),
            },
        }
    }

    /// A step whose turn has come: a block starts its steps, an approval waits for a person, anything
    /// else for a worker.
    fn begin(&mut self, id: JobId, key: &StepKey) {
        let retries = self.world.limits.infra_retries;
        self.step_mut(id, key).infra_left = retries;
        let job = &self.world.jobs[&id];
        let step = job.step(key).expect("listed by the caller");
        match &job.def(step).kind {
            StepKind::Block { .. } => self.begin_block(id, key),
            StepKind::Approval(approval) => {
                let approval = approval.clone();
                self.ask_person(id, key, &approval);
            }
            StepKind::Agent { .. } | StepKind::Run { .. } | StepKind::Use(_) => {
                self.set_step_state(id, key, StepState::Ready);
            }
        }
    }

    fn begin_block(&mut self, id: JobId, key: &StepKey) {
        match self.max_rounds(id, key) {
            Ok(last_round) => {
                let wall = self.now.wall;
                let step = self.step_mut(id, key);
                step.started_at = Some(wall);
                step.last_round = last_round;
                self.set_step_state(id, key, StepState::Running);
                self.begin_round(id, key);
            }
            Err(error) => {
                self.step_mut(id, key).error = Some(error);
                self.set_step_state(id, key, StepState::Failed);
            }
        }
    }

    /// How many rounds a block may take; 1 for a block without a loop.
    pub(super) fn max_rounds(&self, id: JobId, key: &StepKey) -> Result<u32, StepError> {
        let job = &self.world.jobs[&id];
        let step = job.step(key).expect("a block of the job");
        let StepKind::Block {
            rounds: Some(rounds), ..
        } = &job.def(step).kind
        else {
            return Ok(1);
        };
        let wrong = |what: String| StepError::new(ErrorClass::Spec, format!("`loop.max` {what}"));
        let text = template::render_text(&rounds.max, &scope::of_step(job, step))
            .map_err(|error| wrong(format!("cannot be evaluated: {error}")))?;
        let max: u32 = text
            .trim()
            .parse()
            .map_err(|_| wrong(format!("is {text:?}, not a whole number")))?;
        Ok(max.clamp(1, MAX_ROUNDS))
    }

    /// The next round of a block gets its steps.
    fn begin_round(&mut self, id: JobId, key: &StepKey) {
        let block = self.step_mut(id, key);
        block.round += 1;
        let (round, path, position) = (block.round, block.path.clone(), block.position.clone());
        let job = self.world.jobs.get_mut(&id).expect("a job of the world");
        let workflow = job.workflow.clone();
        let Some(StepDef {
            kind: StepKind::Block { rounds, steps },
            ..
        }) = super::world::find_def(&workflow, &path)
        else {
            return;
        };
        let key_of = |name: &str| match rounds {
            Some(_) => key.in_round(round, name),
            None => key.child(name),
        };
        for (index, (name, def)) in steps.iter().enumerate() {
            let needs = def.needs.iter().map(|need| key_of(need)).collect();
            let path = path.iter().cloned().chain([name.clone()]).collect();
            let position = format!("{position}.{round:02}.{index:03}");
            job.steps.push(new_step(key_of(name), path, position, needs, def));
            self.changes.steps.insert((id, key_of(name)));
        }
        if rounds.is_some() {
            let text = format!("round {round} of {key} begins");
            self.event(
                EventKind::Note,
                Some(id),
                Some(key),
                None,
                json!({"text": text, "round": round}),
            );
        }
    }

    /// Blocks whose current round has ended; true if any moved.
    fn move_blocks(&mut self, id: JobId) -> bool {
        let job = &self.world.jobs[&id];
        let running: Vec<StepKey> = job
            .steps
            .iter()
            .filter(|step| {
                step.state == StepState::Running && matches!(job.def(step).kind, StepKind::Block { .. })
            })
            .filter(|step| round_of(job, step).iter().all(|child| child.state.is_terminal()))
            .map(|step| step.key.clone())
            .collect();
        for key in &running {
            self.end_round(id, key);
        }
        !running.is_empty()
    }

    fn end_round(&mut self, id: JobId, key: &StepKey) {
        let job = &self.world.jobs[&id];
        let block = job.step(key).expect("listed by the caller");
        let children = round_of(job, block);
        let outputs: Map<String, Value> = children
            .iter()
            .map(|child| (child.key.name().to_owned(), Value::Object(child.outputs.clone())))
            .collect();
        let broken = children.iter().find(|child| !ended(job, child));
        let failure = broken.map(|child| {
            child.error.clone().unwrap_or_else(|| {
                StepError::new(ErrorClass::Exit, format!("step {} is {}", child.key, child.state))
            })
        });
        let cancelled = self.is_cancelled(id, key);
        let rounds = match &job.def(block).kind {
            StepKind::Block { rounds, .. } => rounds.clone(),
            _ => None,
        };
        let until = rounds.as_ref().map(|rounds| self.is_satisfied(id, key, rounds));
        let (round, last_round) = (block.round, block.last_round);
        self.step_mut(id, key).outputs = outputs;
        match (failure, until) {
            _ if cancelled => self.set_step_state(id, key, StepState::Cancelled),
            (Some(error), _) => self.fail_block(id, key, error),
            (None, None | Some(Ok(true))) => self.set_step_state(id, key, StepState::Succeeded),
            (None, Some(Err(error))) => self.fail_block(id, key, error),
            (None, Some(Ok(false))) if round < last_round => self.begin_round(id, key),
            (None, Some(Ok(false))) => self.exhausted(id, key, rounds.map(|rounds| rounds.on_exhausted)),
        }
    }

    fn fail_block(&mut self, id: JobId, key: &StepKey, error: StepError) {
        self.step_mut(id, key).error = Some(error);
        self.set_step_state(id, key, StepState::Failed);
    }

    /// Whether a loop's `until` holds after its current round.
    fn is_satisfied(&self, id: JobId, key: &StepKey, rounds: &Loop) -> Result<bool, StepError> {
        let job = &self.world.jobs[&id];
        let block = job.step(key).expect("a block of the job");
        let scope = scope::after_round(job, block);
        template::is_true(&rounds.until, &scope).map_err(|error| {
            StepError::new(
                ErrorClass::Spec,
                format!("`loop.until` cannot be evaluated: {error}"),
            )
        })
    }

    fn exhausted(&mut self, id: JobId, key: &StepKey, then: Option<OnExhausted>) {
        let job = &self.world.jobs[&id];
        let block = job.step(key).expect("a block of the job");
        let last = round_of(job, block)
            .iter()
            .rev()
            .find_map(|child| child.error.clone());
        let detail = last.map_or_else(String::new, |error| format!("; last: {}", error.message));
        let message = format!(
            "its {} rounds did not lead to the end that it wants{detail}",
            block.round
        );
        match then {
            Some(OnExhausted::Succeed) => self.set_step_state(id, key, StepState::Succeeded),
            Some(OnExhausted::Park) => self.park_step(id, key, &message),
            Some(OnExhausted::Fail) | None => {
                let error = StepError::new(ErrorClass::Budget, message)
                    .hint("`agentctl retry` gives it as many rounds again");
                self.fail_block(id, key, error);
            }
        }
    }

    /// When all else has ended, the closing steps begin; true if they did.
    fn begin_closing(&mut self, id: JobId) -> bool {
        let job = &self.world.jobs[&id];
        let due = !job.workflow.finally.is_empty()
            && job
                .steps
                .iter()
                .all(|step| step.state.is_terminal() && !step.is_closing());
        if due {
            let steps = closing_steps(&job.workflow);
            for step in &steps {
                self.changes.steps.insert((id, step.key.clone()));
            }
            self.job_mut(id).steps.extend(steps);
        }
        due
    }

    /// What the states of the steps mean for the job.
    fn settle_job(&mut self, id: JobId) {
        let job = &self.world.jobs[&id];
        if job.steps.iter().all(|step| step.state.is_terminal()) {
            self.end_job(id);
            return;
        }
        let waits = |step: &Step| {
            matches!(step.state, StepState::Awaiting | StepState::RetryWait)
                || step.state == StepState::Blocked
                || step.state == StepState::Running && step.attempts.is_empty()
                || step.state.is_terminal()
        };
        let all_wait = job.steps.iter().all(waits);
        match job.state {
            JobState::Queued | JobState::Running if all_wait => {
                self.set_job_state(id, JobState::Waiting, None);
            }
            // a person was asked before anything was dispatched
            JobState::Waiting if !all_wait && job.started_at.is_none() => {
                self.set_job_state(id, JobState::Queued, None);
            }
            JobState::Waiting if !all_wait => self.set_job_state(id, JobState::Running, None),
            _ => {}
        }
    }

    fn end_job(&mut self, id: JobId) {
        let job = &self.world.jobs[&id];
        let top = |step: &&Step| step.path.len() == 1 || step.is_closing() && step.path.len() == 2;
        let failed = job.steps.iter().filter(top).any(|step| !ended(job, step));
        let broken = job
            .steps
            .iter()
            .filter(|step| step.state == StepState::Failed && !job.def(step).allow_failure)
            .max_by_key(|step| step.path.len());
        let (state, reason) = if job.overdue {
            (JobState::Failed, job.reason.clone())
        } else if job.cancel_requested {
            (JobState::Cancelled, job.reason.clone())
        } else if failed {
            let reason = broken.map(|step| {
                let message = step
                    .error
                    .as_ref()
                    .map_or("no reason was given", |error| error.message.as_str());
                format!("step {} failed: {message}", step.key)
            });
            (
                JobState::Failed,
                reason.or_else(|| Some("a step did not end well".to_owned())),
            )
        } else {
            (JobState::Succeeded, None)
        };
        self.set_job_state(id, state, reason);
    }
}

/// The steps of the block's current round.
fn round_of<'a>(job: &'a Job, block: &'a Step) -> Vec<&'a Step> {
    let looped = matches!(&job.def(block).kind, StepKind::Block { rounds: Some(_), .. });
    job.children(block, if looped { block.round } else { 0 })
        .collect()
}
