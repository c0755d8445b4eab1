//! A step becomes an assignment: every expression evaluated, every name resolved.

use std::collections::BTreeMap;

use protocol::{
    id::{JobId, WorkerId},
    job::StepKey,
    message::{Assign, ToWorker},
    spec::{AgentWork, Command, StepSpec, Work},
    step::{ErrorClass, StepError},
};
use serde_json::{Map, Value};

use crate::workflow::{
    model::{CommandDef, StepKind},
    template,
};

use super::{
    draft::Draft,
    models, scope,
    world::{Job, Step, Worker, World},
};

/// Most model calls of one attempt: the stop rule of the agent layer.
const MAX_CALLS: u32 = 40;

/// What the worker is asked to do in the step.
pub fn step_spec(world: &World, job: &Job, step: &Step, worker: &Worker) -> Result<StepSpec, StepError> {
    let def = job.def(step);
    let scope = scope::of_step(job, step);
    let wrong = |field: &str, error: &dyn std::fmt::Display| {
        StepError::new(
            ErrorClass::Spec,
            format!("`{field}` of step {} cannot be evaluated: {error}", step.key),
        )
    };
    let work = match &def.kind {
        StepKind::Agent { role, .. } => Work::Agent(AgentWork {
            role: role.clone(),
            prompt: job.workflow.prompts.get(role).cloned().unwrap_or_default(),
            candidates: models::candidates(&world.models, def, worker)
                .map_err(|error| StepError::new(ErrorClass::Missing, error.to_string()))?,
            max_calls: MAX_CALLS,
        }),
        StepKind::Run { command } => Work::Run(run_command(command, &scope).map_err(|e| wrong("run", &e))?),
        StepKind::Use(tool) => Work::Use(*tool),
        StepKind::Approval(_) | StepKind::Block { .. } => {
            let message = format!("a step of kind `{}` is never assigned", def.kind.name());
            return Err(StepError::new(ErrorClass::Spec, message));
        }
    };
    let with = match template::render(&Value::Object(def.with.clone()), &scope) {
        Ok(Value::Object(with)) => with,
        Ok(_) => Map::new(),
        Err(error) => return Err(wrong("with", &error)),
    };
    let mut env = BTreeMap::new();
    for (name, value) in &def.env {
        let value = template::render_text(value, &scope).map_err(|e| wrong(&format!("env.{name}"), &e))?;
        env.insert(name.clone(), value);
    }
    Ok(StepSpec {
        title: job.title.clone(),
        work,
        with,
        env,
        outputs: def.outputs.clone(),
        writes: def.writes,
        workspace: scope::workspace(job, step),
        sandbox: def.sandbox,
        network: def.network(),
        secrets: def.secrets.clone(),
        check_limit: protocol::duration::Millis(world.limits.check_ms),
    })
}

fn run_command(command: &CommandDef, scope: &Value) -> Result<Command, String> {
    Ok(match command {
        CommandDef::Argv(parts) => {
            let parts = parts
                .iter()
                .map(|part| template::render_text(part, scope).map_err(|e| e.to_string()));
            Command::Argv(parts.collect::<Result<_, _>>()?)
        }
        CommandDef::ArgvFrom(expression) => {
            let value = template::evaluate(expression, scope).map_err(|e| e.to_string())?;
            let argv = serde_json::from_value(value);
            Command::Argv(argv.map_err(|_| format!("`{expression}` is not a list of texts"))?)
        }
        CommandDef::Script { shell, text } => Command::Script {
            shell: shell.clone(),
            text: text.clone(),
        },
    })
}

impl Draft<'_> {
    /// Says the offer of a step's current attempt again.
    pub(super) fn say_assign(&mut self, id: JobId, key: &StepKey) {
        if let Some((worker, assign)) = assignment(self.world, id, key) {
            self.say(worker, ToWorker::Assign(Box::new(assign)));
        }
    }

    /// Says it for the first time, with what the step has to do.
    pub(super) fn say_first_assign(&mut self, id: JobId, key: &StepKey, spec: StepSpec) {
        if let Some((worker, assign)) = assignment_with(self.world, id, key, |_, _, _| Some(spec)) {
            self.say(worker, ToWorker::Assign(Box::new(assign)));
        }
    }
}

/// The assignment of a step's current attempt, the same whenever it is asked for.
pub fn assignment(world: &World, id: JobId, key: &StepKey) -> Option<(WorkerId, Assign)> {
    assignment_with(world, id, key, |job, step, worker| {
        step_spec(world, job, step, worker).ok()
    })
}

fn assignment_with(
    world: &World,
    id: JobId,
    key: &StepKey,
    spec: impl FnOnce(&Job, &Step, &Worker) -> Option<StepSpec>,
) -> Option<(WorkerId, Assign)> {
    let job = world.jobs.get(&id)?;
    let step = job.step(key)?;
    let attempt = step.current()?;
    let worker = world.workers.get(&attempt.worker)?;
    let def = job.def(step);
    let agent = matches!(def.kind, StepKind::Agent { .. });
    let limits = &world.limits;
    let assign = Assign {
        job: job.link(),
        step: key.clone(),
        attempt: attempt.id,
        number: attempt.number,
        spec: spec(job, step, worker),
        secrets: def.secrets.iter().map(|secret| secret.name.clone()).collect(),
        timeout_ms: def.timeout.0,
        lease_ms: limits.lease_ms,
        grace_ms: if agent {
            limits.grace_agent_ms
        } else {
            limits.grace_command_ms
        },
        cancel_grace_ms: limits.cancel_grace_ms,
        artifacts: vec![],
        checkpoint: step.checkpoint.clone(),
        traceparent: None,
    };
    Some((attempt.worker, assign))
}
