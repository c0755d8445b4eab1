use protocol::{duration::Millis, label::Requires, spec::ToolStep};

use super::*;
use crate::workflow::model::{Condition, Loop, OnExhausted, OnLost, RetryPolicy};

fn def(kind: StepKind, needs: &[&str]) -> StepDef {
    StepDef {
        needs: needs.iter().map(|need| (*need).to_owned()).collect(),
        condition: Condition::NeedsOk,
        kind,
        with: serde_json::Map::new(),
        env: [].into(),
        outputs: [].into(),
        requires: Requires::default(),
        not_with: vec![],
        timeout: Millis::from_secs(60),
        retry: RetryPolicy::default(),
        allow_failure: false,
        writes: false,
        external: false,
        on_lost: OnLost::default(),
        sandbox: None,
        network: None,
        secrets: vec![],
        trifecta: None,
    }
}

fn agent(role: &str) -> StepKind {
    StepKind::Agent {
        role: role.to_owned(),
        model: None,
    }
}

fn block(looped: bool, steps: Steps) -> StepKind {
    let rounds = looped.then(|| Loop {
        name: "round".to_owned(),
        max: "3".to_owned(),
        until: "false".to_owned(),
        on_exhausted: OnExhausted::Fail,
    });
    StepKind::Block { rounds, steps }
}

fn steps<const N: usize>(steps: [(&str, StepDef); N]) -> Steps {
    steps
        .into_iter()
        .map(|(name, step)| (name.to_owned(), step))
        .collect()
}

fn workflow(steps: Steps, finally: Steps) -> Workflow {
    Workflow {
        name: "w".to_owned(),
        description: String::new(),
        inputs: IndexMap::new(),
        timeout: None,
        priority: 0,
        budget: None,
        concurrency: None,
        steps,
        finally,
        sha256: String::new(),
        prompts: [].into(),
    }
}

/// The shape of the built-in `implement`.
fn implement() -> Workflow {
    let cycle = steps([
        ("edit", def(agent("codegen"), &[])),
        ("check", def(StepKind::Use(ToolStep::Check), &["edit"])),
        ("review", def(agent("review"), &["check"])),
    ]);
    let all = steps([
        ("prepare", def(StepKind::Use(ToolStep::Prepare), &[])),
        ("plan", def(agent("architect"), &["prepare"])),
        ("cycle", def(block(true, cycle), &["plan"])),
        ("verify", def(StepKind::Use(ToolStep::Verify), &["cycle"])),
        ("deliver", def(StepKind::Use(ToolStep::Deliver), &["verify"])),
    ]);
    workflow(all, steps([("tidy", def(StepKind::Use(ToolStep::Check), &[]))]))
}

fn key(text: &str) -> StepKey {
    text.parse().expect("a key")
}

fn base(workflow: &Workflow, step: &str, rounds: u32) -> Option<String> {
    base_step(workflow, &key(step), &|_| rounds).map(|key| key.to_string())
}

#[test]
fn each_step_of_implement_starts_from_the_last_change_before_it() {
    let workflow = implement();
    for (step, rounds, expected) in [
        ("prepare", 0, None),
        ("plan", 0, Some("prepare")),
        ("cycle#1/edit", 1, Some("prepare")),
        ("cycle#1/check", 1, Some("cycle#1/edit")),
        ("cycle#1/review", 1, Some("cycle#1/edit")),
        ("cycle#2/edit", 2, Some("cycle#1/edit")),
        ("cycle#2/review", 2, Some("cycle#2/edit")),
        ("verify", 3, Some("cycle#3/edit")),
        ("deliver", 3, Some("cycle#3/edit")),
        ("tidy", 3, Some("cycle#3/edit")),
        ("verify", 0, Some("prepare")),
        ("nobody", 1, None),
        ("plan/x", 1, None),
    ] {
        assert_eq!(
            base(&workflow, step, rounds).as_deref(),
            expected,
            "{step} after {rounds}"
        );
    }
}

#[test]
fn blocks_within_blocks_are_followed_to_the_step_that_changed() {
    let leaf = steps([
        ("edit", def(agent("codegen"), &[])),
        ("look", def(agent("review"), &["edit"])),
    ]);
    let outer = steps([
        ("first", def(block(false, leaf), &[])),
        ("again", def(agent("codegen"), &["first"])),
    ]);
    let all = steps([
        ("outer", def(block(true, outer), &[])),
        ("end", def(agent("review"), &["outer"])),
    ]);
    let workflow = workflow(all, Steps::new());
    for (step, expected) in [
        ("outer#1/first/edit", None),
        ("outer#1/first/look", Some("outer#1/first/edit")),
        ("outer#1/again", Some("outer#1/first/edit")),
        ("outer#2/first/edit", Some("outer#1/again")),
        ("end", Some("outer#2/again")),
    ] {
        let base = base_step(&workflow, &key(step), &|key| {
            if key.as_str() == "outer" { 2 } else { 1 }
        });
        assert_eq!(base.map(|key| key.to_string()).as_deref(), expected, "{step}");
    }
}

#[test]
fn two_changing_ancestors_are_told_unless_one_contains_the_other() {
    let fork = steps([
        ("a", def(agent("codegen"), &[])),
        ("b", def(agent("codegen"), &[])),
        ("look", def(agent("review"), &["a", "b"])),
    ]);
    let error = nearest_changing(&fork, "look").expect_err("two bases");
    assert_eq!(error.to_string(), "it would start from the files of both a and b");
    assert!(last_changing(&fork).is_err());

    let chain = steps([
        ("a", def(agent("codegen"), &[])),
        ("b", def(agent("codegen"), &["a"])),
        ("look", def(agent("review"), &["a", "b"])),
    ]);
    assert_eq!(nearest_changing(&chain, "look"), Ok(Some("b")));
    assert_eq!(last_changing(&chain), Ok(Some("b")));
}

#[test]
fn a_custom_role_changes_files_only_if_it_says_so() {
    let mut poet = def(agent("poet"), &[]);
    assert!(!poet.changes_files());
    poet.writes = true;
    assert!(poet.changes_files());
    assert!(def(agent("codegen"), &[]).changes_files());
    assert!(!def(agent("review"), &[]).changes_files());
}

#[test]
fn a_ring_is_named_without_what_only_leads_to_it() {
    let ring = steps([
        ("start", def(agent("review"), &["c"])),
        ("a", def(agent("review"), &["b"])),
        ("b", def(agent("review"), &["start0", "c"])),
        ("c", def(agent("review"), &["a"])),
    ]);
    assert_eq!(cycle(&ring), Some(vec!["a", "b", "c"]));
    let own = steps([("a", def(agent("review"), &["a"]))]);
    assert_eq!(cycle(&own), Some(vec!["a"]));
    assert_eq!(cycle(&implement().steps), None);
}

#[test]
fn a_key_leads_to_its_definition() {
    let workflow = implement();
    assert_eq!(
        step(&workflow, &key("cycle#7/check")).map(|step| step.kind.name()),
        Some("use")
    );
    assert_eq!(
        step(&workflow, &key("tidy")).map(|step| step.kind.name()),
        Some("use")
    );
    assert_eq!(step(&workflow, &key("cycle/none")), None);
}
