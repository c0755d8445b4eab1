//! What expressions of a step can see, and the commit that it starts from.

use protocol::{
    job::StepKey,
    spec::{WorkspaceRef, WorkspaceResult},
};
use serde_json::{Map, Value, json};

use crate::workflow::{graph, model::StepKind};

use super::world::{Job, Step};

/// The scope of a step's `if`, `with`, `env`, `run` and `loop.max`.
pub fn of_step(job: &Job, step: &Step) -> Value {
    let mut scope = base(job);
    // the blocks around the step, outermost first
    let mut blocks = vec![];
    let mut inner = step;
    while let Some(block) = job.parent(inner) {
        blocks.push((block, inner.key.round()));
        inner = block;
    }
    for (block, round) in blocks.into_iter().rev() {
        add_round(&mut scope, job, block, round.unwrap_or(0));
    }
    Value::Object(scope)
}

/// The scope of a loop's `until`, after its current round.
pub fn after_round(job: &Job, block: &Step) -> Value {
    let Value::Object(mut scope) = of_step(job, block) else {
        return Value::Null;
    };
    add_round(&mut scope, job, block, block.round);
    Value::Object(scope)
}

/// The scope of what concerns the whole job.
pub fn of_job(job: &Job) -> Value {
    Value::Object(base(job))
}

fn base(job: &Job) -> Map<String, Value> {
    let steps: Map<String, Value> = job
        .steps
        .iter()
        .filter(|step| step.path.len() == 1)
        .map(|step| (step.key.name().to_owned(), view(job, step)))
        .collect();
    let repo = job.repo.as_ref().map(protocol::spec::RepoSource::name);
    let mut scope = Map::new();
    scope.insert("inputs".into(), Value::Object(job.inputs.clone()));
    let about = json!({
        "number": job.number, "id": job.id, "title": job.title, "repo": repo,
        "state": if job.state.is_terminal() { job.state.as_str() } else { predicted(job) },
    });
    scope.insert("job".into(), about);
    scope.insert("steps".into(), Value::Object(steps));
    scope
}

/// What closing steps are told: how the job will end if they end well.
fn predicted(job: &Job) -> &'static str {
    let top = job.steps.iter().filter(|step| step.path.len() == 1);
    if job.cancel_requested {
        "cancelled"
    } else if top
        .clone()
        .any(|step| step.state.is_terminal() && !step.ended_well(job.def(step)))
    {
        "failed"
    } else if top.clone().all(|step| step.state.is_terminal()) {
        "succeeded"
    } else {
        "running"
    }
}

/// Steps of a round shadow outer ones; the loop's own name leads to its number and the last round.
fn add_round(scope: &mut Map<String, Value>, job: &Job, block: &Step, round: u32) {
    let steps_of = |round: u32| -> Map<String, Value> {
        job.children(block, round)
            .map(|child| (child.key.name().to_owned(), view(job, child)))
            .collect()
    };
    if let Some(Value::Object(steps)) = scope.get_mut("steps") {
        steps.extend(steps_of(round));
    }
    if let StepKind::Block {
        rounds: Some(rounds), ..
    } = &job.def(block).kind
    {
        let prev = if round > 1 {
            Value::Object(steps_of(round - 1))
        } else {
            Value::Null
        };
        scope.insert(rounds.name.clone(), json!({"n": round, "prev": prev}));
    }
}

fn view(job: &Job, step: &Step) -> Value {
    json!({
        "ok": step.ended_well(job.def(step)) && step.state != protocol::step::StepState::Failed,
        "state": step.state,
        "outputs": step.outputs,
        "error": step.error.as_ref().map(|error| &error.message),
        "worker": step.current().map(|attempt| &attempt.worker_name),
    })
}

/// The files that a step works on: the commit of its nearest changing ancestor.
pub fn workspace(job: &Job, step: &Step) -> Option<WorkspaceRef> {
    let source = job.repo.clone()?;
    let start = start_of(job, step);
    Some(WorkspaceRef {
        source,
        base: job.base.clone(),
        commit: start.map(|start| start.commit.clone()),
        bundle: start.and_then(|start| start.bundle),
        branch: format!("agentd/{}", job.number),
    })
}

/// What the nearest changing ancestor left behind; one that was skipped or has failed left nothing.
fn start_of<'a>(job: &'a Job, step: &Step) -> Option<&'a WorkspaceResult> {
    let rounds = |block: &StepKey| job.step(block).map_or(0, |block| block.round);
    let mut key = step.key.clone();
    loop {
        key = graph::base_step(&job.workflow, &key, &rounds)?;
        if let Some(found) = job.step(&key).and_then(|step| step.workspace.as_ref()) {
            return Some(found);
        }
    }
}
