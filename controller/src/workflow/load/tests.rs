use proptest::prelude::*;
use protocol::{
    spec::{OutputType, ToolStep},
    step::ErrorClass,
};

use super::*;
use crate::workflow::{
    catalog::BUILTIN,
    model::{CommandDef, Condition, InputType, OnExhausted, OnLost, StepKind},
};

mod mistakes;

fn loaded(text: &str) -> Workflow {
    load(text, &Prompts::builtin()).unwrap_or_else(|errors| panic!("{errors:#?}"))
}

pub(super) const FULL: &str = r#"
api: agentd/v1
name: feature
description: All that this version can do.
inputs:
  task: {type: text, required: true, max: 8KiB}
  max_fix: {type: int, default: 3, min: 0, max: 10}
  mode: {enum: [fast, good], default: good}
timeout: 2h
priority: 5
budget: {usd: 2.50, tokens: 600k, on_exceed: fail}
concurrency: {group: "repo:{{ job.repo }}", max: 2, on_conflict: cancel_old}
defaults:
  requires: {os: linux}
  retry: {max: 1, on: [exit, model_output]}
  model: large
steps:
  plan:
    agent: architect
    with: {task: "{{ inputs.task }}", deep: [{mode: "{{ inputs.mode }}"}]}
    outputs: {plan: Plan, risk: number, packages: [string], kind: {enum: [a, b]}}
    timeout: 10m
  cycle:
    needs: [plan]
    loop: {as: again, max: "{{ inputs.max_fix + 1 }}", until: "{{ steps.test.ok }}", on_exhausted: park}
    steps:
      edit:
        agent: codegen
        model: small
        on_lost: park
        with: {failures: "{{ again.prev.test.outputs.failures }}", plan: "{{ steps.plan.outputs.plan }}"}
      test:
        needs: [edit]
        requires: {tool: cargo}
        run: [cargo, test, -j, 4, "{{ steps.plan.outputs.packages[0] }}"]
        outputs: {failures: {junit: target/junit.xml}}
        allow_failure: true
        sandbox: basic
        network: [packages, "x.org:8443"]
  all:
    needs: [cycle]
    run: "{{ steps.plan.outputs.packages }}"
    retry: {backoff: 5s..1m}
  count:
    needs: [cycle]
    if: steps.plan.outputs.risk >= 0.7
    run: |
      wc -l "$FILE"
    shell: bash
    env: {FILE: "{{ steps.plan.outputs.plan }}", DEPTH: 3}
    writes: true
  verify:
    needs: [count]
    if: always()
    use: verify
    place: {not_with: [cycle.edit]}
    effect: external
finally:
  tidy: {run: [echo, "{{ job.state }} {{ steps.cycle.outputs.test.failures }}"]}
"#;

#[test]
fn the_head_of_a_workflow_is_read() {
    let workflow = loaded(FULL);
    assert_eq!((workflow.name.as_str(), workflow.priority), ("feature", 5));
    assert_eq!(workflow.timeout, Some(Millis::from_secs(7200)));
    let budget = workflow.budget.expect("a budget");
    assert_eq!(
        (budget.caps.usd, budget.caps.tokens, budget.fail),
        (Some(2.5), Some(600_000), true)
    );
    let concurrency = workflow.concurrency.as_ref().expect("a group");
    assert_eq!(
        (concurrency.max, concurrency.on_conflict),
        (2, OnConflict::CancelOld)
    );
    assert_eq!(workflow.inputs["task"].kind, InputType::Text { max: 8192 });
    assert_eq!(
        workflow.inputs["max_fix"].kind,
        InputType::Int { min: 0, max: 10 }
    );
    assert_eq!(workflow.inputs["mode"].default, Some("good".into()));
    assert_eq!(workflow.sha256.len(), 64);
    assert_eq!(
        workflow.prompts.keys().collect::<Vec<_>>(),
        ["architect", "codegen"]
    );
}

#[test]
fn steps_are_read_with_the_defaults_merged_in() {
    let workflow = loaded(FULL);
    let plan = &workflow.steps["plan"];
    assert_eq!(
        plan.kind,
        StepKind::Agent {
            role: "architect".into(),
            model: Some("large".into())
        }
    );
    assert_eq!(plan.timeout, Millis::from_secs(600));
    assert_eq!(
        (plan.retry.max, plan.retry.on.as_slice()),
        (1, &[ErrorClass::Exit, ErrorClass::ModelOutput][..])
    );
    assert_eq!(
        plan.outputs["packages"],
        OutputType::List(Box::new(OutputType::String))
    );
    assert_eq!(plan.outputs["plan"], OutputType::Document("Plan".into()));
    assert_eq!(
        plan.outputs["kind"],
        OutputType::Enum(vec!["a".into(), "b".into()])
    );

    let StepKind::Block {
        rounds: Some(rounds),
        steps,
    } = &workflow.steps["cycle"].kind
    else {
        panic!("a loop")
    };
    assert_eq!(
        (rounds.name.as_str(), rounds.on_exhausted),
        ("again", OnExhausted::Park)
    );
    assert_eq!(
        (rounds.max.as_str(), rounds.until.as_str()),
        ("{{ inputs.max_fix + 1 }}", "steps.test.ok")
    );
    assert_eq!(
        steps["edit"].kind,
        StepKind::Agent {
            role: "codegen".into(),
            model: Some("small".into())
        }
    );
    assert_eq!(steps["edit"].timeout, Millis::from_secs(1800));
    assert_eq!(steps["edit"].on_lost, OnLost::Park);
    assert_eq!(workflow.steps["plan"].on_lost, OnLost::Resume);
    let test = &steps["test"];
    assert_eq!(test.requires.to_string(), "os=linux tool=cargo");
    assert!(test.allow_failure && !test.writes);
    let argv = ["cargo", "test", "-j", "4", "{{ steps.plan.outputs.packages[0] }}"];
    let command = CommandDef::Argv(argv.map(str::to_owned).into());
    assert_eq!(test.kind, StepKind::Run { command });
}

#[test]
fn commands_conditions_and_places_are_read() {
    let workflow = loaded(FULL);
    let all = &workflow.steps["all"];
    let command = CommandDef::ArgvFrom("steps.plan.outputs.packages".into());
    assert_eq!(all.kind, StepKind::Run { command });
    assert_eq!((all.retry.max, all.retry.backoff_min), (1, Millis::from_secs(5)));
    assert_eq!(
        (all.timeout, all.retry.backoff_max),
        (Millis::from_secs(900), Millis::from_secs(60))
    );
    let count = &workflow.steps["count"];
    let command = CommandDef::Script {
        shell: "bash".into(),
        text: "wc -l \"$FILE\"\n".into(),
    };
    assert_eq!(count.kind, StepKind::Run { command });
    assert_eq!(
        count.condition,
        Condition::If("steps.plan.outputs.risk >= 0.7".into())
    );
    assert_eq!(count.env["DEPTH"], "3");
    assert!(count.writes && count.changes_files());
    let verify = &workflow.steps["verify"];
    assert_eq!(
        (&verify.kind, &verify.condition),
        (&StepKind::Use(ToolStep::Verify), &Condition::Always)
    );
    assert_eq!(
        (verify.not_with.as_slice(), verify.external),
        (&["cycle.edit".to_owned()][..], true)
    );
    assert_eq!(workflow.finally.keys().collect::<Vec<_>>(), ["tidy"]);
}

#[test]
fn what_is_pinned_reads_back_the_same() {
    for (_, text) in BUILTIN.into_iter().chain([("feature", FULL)]) {
        let workflow = loaded(text);
        let stored = serde_json::to_string(&workflow).expect("JSON");
        assert_eq!(
            serde_json::from_str::<Workflow>(&stored).expect("the same"),
            workflow
        );
    }
}

/// Cuts, doubles, swaps and garbles of a text that is valid.
fn mutated() -> impl Strategy<Value = String> {
    let texts = prop::sample::select(
        BUILTIN
            .map(|(_, text)| text)
            .into_iter()
            .chain([FULL])
            .collect::<Vec<_>>(),
    );
    let edits = prop::collection::vec((any::<prop::sample::Index>(), 0..8u8, "[ -~\\n]{0,8}"), 1..6);
    (texts, edits).prop_map(|(text, edits)| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        for (at, kind, piece) in edits {
            let index = at.index(lines.len().max(1));
            let Some(line) = lines.get_mut(index) else {
                continue;
            };
            let middle = line.chars().count() / 2;
            match kind {
                0 => drop(lines.remove(index)),
                1 => lines.insert(index, piece),
                2 => *line = piece,
                3 => line.push_str(&piece),
                4 => *line = format!("  {line}"),
                5 => *line = line.trim_start().to_owned(),
                6 => *line = line.chars().take(middle).collect(),
                _ => *line = line.replace(": ", &piece),
            }
        }
        lines.join("\n")
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_text_makes_the_loader_panic_or_fail_without_a_reason(text in mutated()) {
        match load(&text, &Prompts::builtin()) {
            Ok(workflow) => prop_assert!(!workflow.steps.is_empty()),
            Err(errors) => {
                prop_assert!(!errors.is_empty());
                let lines = text.lines().count() as u64 + 1;
                for error in errors {
                    prop_assert!(!error.message.is_empty());
                    prop_assert!(error.line.is_none_or(|line| (1..=lines).contains(&line)), "{error}");
                }
            }
        }
    }

    #[test]
    fn any_text_is_loaded_or_refused(text in "[ -~\\n\\t]{0,200}") {
        prop_assert!(load(&text, &Prompts::builtin()).is_err());
    }
}
