//! Workflows that use what the rules are about: order, rounds, retries, limits,
//! budgets, groups, effects on the outside world, closing steps.

use std::sync::Arc;

use controller::workflow::{load::load, model::Workflow, prompts::Prompts};

use crate::made;

const TEXTS: [&str; 12] = [
    "steps:
  a:
    run: [work]
",
    "steps:
  a:
    run: [work]
    retry: {max: 2, on: [exit, timeout]}
  b:
    needs: [a]
    run: [work]
",
    "timeout: 30m
steps:
  a:
    run: [work]
    timeout: 1m
    retry: {max: 1, on: [timeout, exit]}
  b:
    run: [work]
    requires: {disk: fast}
",
    "concurrency: {group: one, max: 1, on_conflict: queue}
steps:
  a:
    run: [work]
  b:
    needs: [a]
    if: always()
    run: [work]
    allow_failure: true
",
    "concurrency: {group: one, max: 1, on_conflict: cancel_old}
steps:
  a:
    agent: architect
    with: {task: x}
finally:
  z:
    run: [work]
",
    "budget: {tokens: 30, on_exceed: park}
steps:
  a:
    agent: architect
    with: {task: x}
  b:
    needs: [a]
    agent: architect
    with: {task: x}
    retry: {max: 2, on: [exit]}
",
    "budget: {tokens: 20, on_exceed: fail}
steps:
  a:
    agent: architect
    with: {task: x}
  b:
    run: [work]
finally:
  z:
    run: [work]
",
    "steps:
  a:
    loop: {as: again, max: 2, until: \"{{ steps.a.ok }}\", on_exhausted: park}
    steps:
      a:
        run: [work]
        allow_failure: true
      b:
        needs: [a]
        run: [work]
  c:
    needs: [a]
    run: [work]
    place: {not_with: [a.a]}
",
    "priority: 2
steps:
  a:
    run: [work]
    effect: external
  b:
    needs: [a]
    run: [work]
",
    "concurrency: {group: two, max: 2, on_conflict: reject}
steps:
  a:
    run: [work]
  b:
    run: [work]
  c:
    needs: [a, b]
    run: [work]
    timeout: 1m
",
    "timeout: 30m
steps:
  a:
    run: [work]
  ask:
    needs: [a]
    approval: {timeout: 1h, on_timeout: reject, show: [a]}
  b:
    needs: [ask]
    run: [work]
",
    "concurrency: {group: one, max: 1, on_conflict: queue}
steps:
  a:
    approval: {timeout: 5m, on_timeout: approve}
  b:
    needs: [a]
    run: [work]
finally:
  z:
    run: [work]
",
];

/// Workflows that are made at random.
const MADE: u64 = 200;

/// Those above, each for a reason of its own, and many that nobody has thought of.
#[derive(Clone)]
pub(crate) struct Flows {
    pub(crate) chosen: Vec<Arc<Workflow>>,
    pub(crate) made: Vec<Arc<Workflow>>,
}

impl Flows {
    /// All of them, checked.
    pub(crate) fn all() -> Arc<Self> {
        let chosen = TEXTS.iter().enumerate();
        let chosen = chosen.map(|(number, steps)| format!("api: agentd/v1\nname: flow{number}\n{steps}"));
        Arc::new(Self {
            chosen: checked(chosen),
            made: checked((0..MADE).map(made::text)),
        })
    }
}

/// The least one: a single step.
pub(crate) fn least() -> Arc<Workflow> {
    let text = "api: agentd/v1\nname: least\nsteps: {a: {run: [work]}}\n".to_owned();
    checked([text].into_iter()).remove(0)
}

fn checked(texts: impl Iterator<Item = String>) -> Vec<Arc<Workflow>> {
    let prompts = Prompts::builtin();
    let flows = texts.map(|text| {
        let flow = load(&text, &prompts).unwrap_or_else(|errors| panic!("{text}\n{errors:#?}"));
        Arc::new(flow)
    });
    flows.collect()
}
