//! What must hold between the parts of a workflow: the order of steps, the
//! files that they start from, the places that they name. What expressions
//! name is checked in [`super::names`].

use std::collections::BTreeSet;

use super::{
    graph::{self, Steps},
    model::{StepDef, StepKind, Workflow},
    names::Scope,
    prompts::Prompts,
    read::Mistakes,
    suggest, trifecta,
};

/// Notes every mistake between parts that could be read by themselves.
pub(super) fn check(workflow: &Workflow, prompts: &Prompts, mistakes: &mut Mistakes) {
    let block = Block {
        workflow,
        prompts,
        path: "steps",
        steps: &workflow.steps,
    };
    block.check(&Scope::top(workflow), mistakes);
    if !workflow.finally.is_empty() {
        let block = Block {
            workflow,
            prompts,
            path: "finally",
            steps: &workflow.finally,
        };
        block.check(&Scope::finally(workflow), mistakes);
        for name in workflow
            .finally
            .keys()
            .filter(|name| workflow.steps.contains_key(*name))
        {
            let message = format!("`{name}` already names a step of `steps`");
            mistakes.add(&format!("finally.{name}"), message, None);
        }
    }
    if let Some(concurrency) = &workflow.concurrency {
        Scope::outside(workflow).template("concurrency.group", &concurrency.group, mistakes);
    }
}

/// The steps of the whole workflow, of its `finally`, or of one of its blocks.
struct Block<'a> {
    workflow: &'a Workflow,
    prompts: &'a Prompts,
    path: &'a str,
    steps: &'a Steps,
}

impl Block<'_> {
    fn check(&self, scope: &Scope<'_>, mistakes: &mut Mistakes) {
        for (name, step) in self.steps {
            self.check_needs(name, step, mistakes);
        }
        let ring = graph::cycle(self.steps);
        if let Some(ring) = &ring {
            let message = format!("these steps need each other: {} → {}", ring.join(" → "), ring[0]);
            mistakes.add(&format!("{}.{}.needs", self.path, ring[0]), message, None);
        }
        for (name, step) in self.steps {
            let path = format!("{}.{name}", self.path);
            if ring.is_none() {
                self.check_base(name, &path, mistakes);
            }
            self.check_place(name, step, &path, mistakes);
            self.check_role(step, &path, mistakes);
            trifecta::check(self.workflow, &path, step, mistakes);
            self.check_approval(step, &path, mistakes);
            let scope = scope.before(self.steps, name, ring.is_some());
            scope.step(&path, step, mistakes);
            if let StepKind::Block { rounds, steps } = &step.kind {
                let path = format!("{path}.steps");
                let inner = scope.within(rounds.as_ref(), steps);
                Block {
                    workflow: self.workflow,
                    prompts: self.prompts,
                    path: &path,
                    steps,
                }
                .check(&inner, mistakes);
            }
        }
    }

    fn check_needs(&self, name: &str, step: &StepDef, mistakes: &mut Mistakes) {
        let field = format!("{}.{name}.needs", self.path);
        let mut seen = BTreeSet::new();
        for (index, need) in step.needs.iter().enumerate() {
            let item = format!("{field}[{index}]");
            if !seen.insert(need) {
                mistakes.add(&item, format!("`{need}` is named twice"), None);
            }
            if self.steps.contains_key(need) {
                continue;
            }
            let workflow = self.workflow;
            let (message, hint) = if self.path == "finally" && workflow.steps.contains_key(need) {
                let hint = "leave it out: `finally` runs when all steps have ended".to_owned();
                (format!("`{need}` is no step of `finally`"), Some(hint))
            } else if workflow.finally.contains_key(need) {
                let message =
                    format!("`{need}` is a step of `finally`, which runs when all others have ended");
                (message, None)
            } else if let Some(block) = block_with(&workflow.steps, need) {
                let hint = format!("`needs` names steps of the same block; the whole block is `{block}`");
                (format!("`{need}` is a step of another block"), Some(hint))
            } else {
                let others = self
                    .steps
                    .keys()
                    .map(String::as_str)
                    .filter(|other| *other != name);
                (format!("there is no step `{need}`"), suggest::hint(need, others))
            };
            mistakes.add(&item, message, hint);
        }
    }

    /// A step starts from the files of one other step.
    fn check_base(&self, name: &str, path: &str, mistakes: &mut Mistakes) {
        if let Err(two) = graph::nearest_changing(self.steps, name) {
            let hint = format!("let {} need {}, or the other way round", two.second, two.first);
            mistakes.add(&format!("{path}.needs"), two.to_string(), Some(hint));
        }
        if let StepKind::Block { steps, .. } = &self.steps[name].kind
            && graph::cycle(steps).is_none()
            && let Err(two) = graph::last_changing(steps)
        {
            let message = format!(
                "the block would end with the files of both {} and {}",
                two.first, two.second
            );
            let hint = format!("let {} need {}, or the other way round", two.second, two.first);
            mistakes.add(&format!("{path}.steps"), message, Some(hint));
        }
    }

    fn check_role(&self, step: &StepDef, path: &str, mistakes: &mut Mistakes) {
        if let StepKind::Agent { role, .. } = &step.kind
            && self.prompts.get(role).is_none()
        {
            let hint = suggest::hint(role, self.prompts.roles());
            mistakes.add(
                &format!("{path}.agent"),
                format!("there is no role `{role}`"),
                hint,
            );
        }
    }

    /// Closing steps run when all else has ended, also after a cancel: nobody is there to ask.
    fn check_approval(&self, step: &StepDef, path: &str, mistakes: &mut Mistakes) {
        if matches!(step.kind, StepKind::Approval(_)) && self.path.starts_with("finally") {
            mistakes.add(
                &format!("{path}.approval"),
                "a step of `finally` cannot wait for a person",
                Some("ask in `steps`, before the job ends".to_owned()),
            );
        }
    }

    fn check_place(&self, name: &str, step: &StepDef, path: &str, mistakes: &mut Mistakes) {
        for (index, other) in step.not_with.iter().enumerate() {
            let field = format!("{path}.place.not_with[{index}]");
            let found = find(&self.workflow.steps, other);
            let is_self = found.is_some_and(|found| std::ptr::eq(found, &raw const self.steps[name]));
            match found {
                Some(_) if is_self => mistakes.add(&field, "a step cannot avoid its own worker", None),
                Some(StepDef {
                    kind: StepKind::Block { .. },
                    ..
                }) => {
                    let hint = format!("name one of its steps: {other}.NAME");
                    mistakes.add(&field, format!("`{other}` is a block"), Some(hint));
                }
                Some(StepDef {
                    kind: StepKind::Approval(_),
                    ..
                }) => mistakes.add(
                    &field,
                    format!("`{other}` is an approval: it runs on no worker"),
                    None,
                ),
                Some(_) => {}
                None => {
                    let known: Vec<String> = self
                        .workflow
                        .step_keys()
                        .iter()
                        .map(|key| key.as_str().replace('/', "."))
                        .collect();
                    let hint = suggest::hint(other, known.iter().map(String::as_str));
                    mistakes.add(&field, format!("there is no step `{other}`"), hint);
                }
            }
        }
    }
}

/// The step at a dotted path such as `cycle.edit`.
fn find<'a>(steps: &'a Steps, path: &str) -> Option<&'a StepDef> {
    let (name, rest) = path
        .split_once('.')
        .map_or((path, None), |(name, rest)| (name, Some(rest)));
    let step = steps.get(name)?;
    match (rest, &step.kind) {
        (None, _) => Some(step),
        (Some(rest), StepKind::Block { steps, .. }) => find(steps, rest),
        (Some(_), _) => None,
    }
}

/// The block, as a dotted path, that holds a step of that name.
fn block_with(steps: &Steps, wanted: &str) -> Option<String> {
    steps.iter().find_map(|(name, step)| {
        let StepKind::Block { steps, .. } = &step.kind else {
            return None;
        };
        if steps.contains_key(wanted) {
            return Some(name.clone());
        }
        block_with(steps, wanted).map(|inner| format!("{name}.{inner}"))
    })
}
