use protocol::http::workflows::InputView;
use serde_json::json;

use super::*;
use crate::output::style::Style;

fn workflow(name: &str, required: &[&str]) -> WorkflowView {
    WorkflowView {
        name: name.into(),
        description: String::new(),
        origin: "builtin".into(),
        sha256: String::new(),
        inputs: required
            .iter()
            .map(|input| InputView {
                name: (*input).into(),
                kind: if *input == "command" { "list" } else { "text" }.into(),
                required: true,
                description: String::new(),
            })
            .collect(),
        needs_repo: false,
        steps: vec![],
        text: None,
    }
}

fn args(command: &[&str]) -> JobArgs {
    JobArgs {
        words: vec![],
        repo: None,
        reference: None,
        dirty: false,
        inputs: vec![],
        title: None,
        priority: None,
        labels: vec![],
        max_cost: None,
        max_tokens: None,
        command: command.iter().map(|word| (*word).to_owned()).collect(),
    }
}

#[test]
fn task_and_command_become_inputs() {
    let implement = workflow("implement", &["task"]);
    let inputs = args(&[])
        .inputs(&implement, Some("do it".into()))
        .expect("complete");
    assert_eq!(Value::Object(inputs), json!({"task": "do it"}));
    let run = workflow("run", &["command"]);
    let inputs = args(&["cargo", "test"]).inputs(&run, None).expect("complete");
    assert_eq!(Value::Object(inputs), json!({"command": ["cargo", "test"]}));
}

#[test]
fn what_is_missing_is_said_before_anything_is_sent() {
    let said = |workflow: &WorkflowView, task: Option<&str>| {
        let error = args(&[])
            .inputs(workflow, task.map(str::to_owned))
            .expect_err("incomplete");
        assert_eq!(error.exit(), Exit::Usage);
        error.render(Style::PLAIN)
    };
    insta::assert_snapshot!(said(&workflow("implement", &["task"]), Some("  ")), @r#"
    error[missing_input]: the workflow implement needs the input "task", and it is missing or empty
      hint:  say it: `agentctl run implement "…"`
    "#);
    insta::assert_snapshot!(said(&workflow("run", &["command"]), None), @r#"
    error[missing_input]: the workflow run needs the input "command", and it is missing or empty
      hint:  write it after two dashes: `agentctl run run -- cargo test`
    "#);
    insta::assert_snapshot!(said(&workflow("build", &["version"]), None), @r#"
    error[missing_input]: the workflow build needs the input "version", and it is missing or empty
      hint:  add `--input version=…`
    "#);
    let known = [workflow("implement", &[]), workflow("review", &[])];
    insta::assert_snapshot!(unknown_workflow("implment", &known).render(Style::PLAIN), @r#"
    error[unknown_workflow]: no workflow is named "implment"
      hint:  did you mean `implement`?
    "#);
    insta::assert_snapshot!(unknown_workflow("zzz", &known).render(Style::PLAIN), @r#"
    error[unknown_workflow]: no workflow is named "zzz"
      hint:  there are implement, review
    "#);
}

#[test]
fn only_a_name_is_looked_up() {
    assert!(may_name_a_workflow("nightly-build"));
    assert!(!may_name_a_workflow("make it pass"));
    assert!(!may_name_a_workflow(""));
}
