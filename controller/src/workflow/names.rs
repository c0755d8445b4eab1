//! What expressions and templates may name at a certain place of a workflow:
//! inputs, the job, steps that come before, and the rounds around the place.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{
    graph::{self, Steps},
    model::{CommandDef, Condition, Loop, StepDef, StepKind, Workflow},
    read::Mistakes,
    suggest,
    template::{TemplateError, has_template, names_in_expression, names_in_template, single_expression},
};

/// What can be read of a step.
const STEP_FIELDS: [&str; 5] = ["ok", "state", "outputs", "error", "worker"];

/// What can be read of a round.
const ROUND_FIELDS: [&str; 2] = ["n", "prev"];

/// What can be read of the job; its state is known to `finally` only.
const JOB_FIELDS: [&str; 4] = ["number", "id", "title", "repo"];

/// The names that are known at one place.
#[derive(Clone)]
pub(super) struct Scope<'a> {
    workflow: &'a Workflow,
    /// Steps that have ended when this place is reached.
    before: BTreeMap<&'a str, &'a StepDef>,
    /// Steps that exist around this place but need not have ended.
    around: BTreeMap<&'a str, &'a StepDef>,
    /// Rounds around this place: their names and the steps of their blocks.
    rounds: Vec<(&'a str, &'a Steps)>,
    /// Whether the job's state is decided.
    job_ended: bool,
}

impl<'a> Scope<'a> {
    /// Before any step.
    pub(super) fn outside(workflow: &'a Workflow) -> Self {
        Self {
            workflow,
            before: BTreeMap::new(),
            around: BTreeMap::new(),
            rounds: vec![],
            job_ended: false,
        }
    }

    /// Among the steps of the workflow.
    pub(super) fn top(workflow: &'a Workflow) -> Self {
        Self {
            around: by_name(&workflow.steps),
            ..Self::outside(workflow)
        }
    }

    /// Among the steps of `finally`: all others have ended.
    pub(super) fn finally(workflow: &'a Workflow) -> Self {
        Self {
            before: by_name(&workflow.steps),
            around: by_name(&workflow.finally),
            job_ended: true,
            ..Self::outside(workflow)
        }
    }

    /// At one step of a block; with a ring among the steps nobody knows the order.
    pub(super) fn before(&self, steps: &'a Steps, name: &str, ring: bool) -> Self {
        let mut scope = self.clone();
        // A step hides one of the same name further out.
        scope.before.retain(|outer, _| !steps.contains_key(*outer));
        let ancestors = graph::ancestors(steps, name);
        let ended = steps
            .iter()
            .filter(|(other, _)| ring || ancestors.contains(other.as_str()));
        scope
            .before
            .extend(ended.map(|(other, step)| (other.as_str(), step)));
        scope
    }

    /// Among the steps of a block.
    pub(super) fn within(&self, rounds: Option<&'a Loop>, steps: &'a Steps) -> Self {
        let mut scope = self.clone();
        scope.around.extend(by_name(steps));
        scope
            .rounds
            .extend(rounds.map(|rounds| (rounds.name.as_str(), steps)));
        scope
    }

    /// Checks everything that a step has evaluated.
    pub(super) fn step(&self, path: &str, step: &'a StepDef, mistakes: &mut Mistakes) {
        if let Condition::If(expression) = &step.condition {
            self.expression(&format!("{path}.if"), expression, mistakes);
        }
        for (name, value) in &step.with {
            self.value(&format!("{path}.with.{name}"), value, mistakes);
        }
        for (name, text) in &step.env {
            self.template(&format!("{path}.env.{name}"), text, mistakes);
        }
        match &step.kind {
            StepKind::Run {
                command: CommandDef::Argv(arguments),
            } => {
                for (index, argument) in arguments.iter().enumerate() {
                    self.template(&format!("{path}.run[{index}]"), argument, mistakes);
                }
            }
            StepKind::Run {
                command: CommandDef::ArgvFrom(expression),
            } => {
                self.expression(&format!("{path}.run"), expression, mistakes);
            }
            StepKind::Block {
                rounds: Some(rounds),
                steps,
            } => {
                self.template(&format!("{path}.loop.max"), &rounds.max, mistakes);
                let mut after = self.within(Some(rounds), steps);
                after.before.extend(by_name(steps));
                after.expression(&format!("{path}.loop.until"), &rounds.until, mistakes);
            }
            StepKind::Approval(approval) => {
                for (index, name) in approval.show.iter().enumerate() {
                    if let Err((message, hint)) = self.step_named(name) {
                        mistakes.add(&format!("{path}.approval.show[{index}]"), message, hint);
                    }
                }
            }
            StepKind::Run {
                command: CommandDef::Script { .. },
            }
            | StepKind::Agent { .. }
            | StepKind::Use(_)
            | StepKind::Block { rounds: None, .. } => {}
        }
    }

    fn value(&self, path: &str, value: &Value, mistakes: &mut Mistakes) {
        match value {
            Value::String(text) => self.template(path, text, mistakes),
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.value(&format!("{path}[{index}]"), item, mistakes);
                }
            }
            Value::Object(entries) => {
                for (name, value) in entries {
                    self.value(&format!("{path}.{name}"), value, mistakes);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// Checks a template, or text without one.
    pub(super) fn template(&self, path: &str, text: &str, mistakes: &mut Mistakes) {
        if !has_template(text) {
            return;
        }
        match single_expression(text) {
            Some(expression) => self.expression(path, expression, mistakes),
            None => self.names(path, names_in_template(text), mistakes),
        }
    }

    fn expression(&self, path: &str, expression: &str, mistakes: &mut Mistakes) {
        if expression != "always()" && expression.contains("always()") {
            mistakes.add(path, "`always()` stands alone: `if: always()`", None);
            return;
        }
        self.names(path, names_in_expression(expression), mistakes);
    }

    fn names(
        &self,
        path: &str,
        names: Result<impl IntoIterator<Item = String>, TemplateError>,
        mistakes: &mut Mistakes,
    ) {
        match names {
            Ok(names) => {
                for name in names {
                    if let Err((message, hint)) = self.resolve(&name) {
                        mistakes.add(path, message, hint);
                    }
                }
            }
            Err(error) => mistakes.add(path, error.to_string(), None),
        }
    }

    fn resolve(&self, name: &str) -> Result<(), Wrong> {
        let mut parts = name.split('.');
        let root = parts.next().unwrap_or_default();
        let (second, third, fourth) = (parts.next(), parts.next(), parts.next());
        match (root, second) {
            ("inputs" | "job" | "steps", None) => Ok(()),
            ("inputs", Some(input)) => known("input", input, self.workflow.inputs.keys().map(String::as_str)),
            ("job", Some("state")) if self.job_ended => Ok(()),
            ("job", Some(field)) => known("field of the job", field, JOB_FIELDS),
            ("steps", Some(step)) => read_step(self.step_named(step)?, third, fourth),
            (root, second) => {
                let Some((_, steps)) = self.rounds.iter().rev().find(|(name, _)| *name == root) else {
                    let known = ["inputs", "job", "steps"].into_iter();
                    let known = known.chain(self.rounds.iter().map(|(name, _)| *name));
                    return Err((format!("`{root}` is not known here"), suggest::hint(root, known)));
                };
                known("field of a round", second.unwrap_or("n"), ROUND_FIELDS)?;
                let (Some("prev"), Some(step)) = (second, third) else {
                    return Ok(());
                };
                known("step of this block", step, steps.keys().map(String::as_str))?;
                fourth.map_or(Ok(()), |field| known("field of a step", field, STEP_FIELDS))
            }
        }
    }

    fn step_named(&self, name: &str) -> Result<&'a StepDef, Wrong> {
        if let Some(step) = self.before.get(name) {
            return Ok(step);
        }
        if self.around.contains_key(name) {
            let mut hint = format!("add `{name}` to `needs`");
            if let Some((round, _)) = self
                .rounds
                .iter()
                .rev()
                .find(|(_, steps)| steps.contains_key(name))
            {
                hint = format!("{hint}, or read the last round's as `{round}.prev.{name}`");
            }
            return Err((
                format!("the step `{name}` is read, but need not have ended here"),
                Some(hint),
            ));
        }
        let all: BTreeSet<&str> = self.before.keys().chain(self.around.keys()).copied().collect();
        Err((format!("there is no step `{name}`"), suggest::hint(name, all)))
    }
}

/// A message and a hint.
type Wrong = (String, Option<String>);

fn known<'a>(what: &str, name: &str, names: impl IntoIterator<Item = &'a str>) -> Result<(), Wrong> {
    let names: Vec<&str> = names.into_iter().collect();
    if names.contains(&name) {
        return Ok(());
    }
    Err((format!("there is no {what} `{name}`"), suggest::hint(name, names)))
}

/// Of a block, `outputs` holds its steps.
fn read_step(step: &StepDef, field: Option<&str>, inner: Option<&str>) -> Result<(), Wrong> {
    let Some(field) = field else { return Ok(()) };
    known("field of a step", field, STEP_FIELDS)?;
    match (&step.kind, inner) {
        (StepKind::Block { steps, .. }, Some(inner)) if field == "outputs" => {
            known("step of that block", inner, steps.keys().map(String::as_str))
        }
        _ => Ok(()),
    }
}

fn by_name(steps: &Steps) -> BTreeMap<&str, &StepDef> {
    steps.iter().map(|(name, step)| (name.as_str(), step)).collect()
}
