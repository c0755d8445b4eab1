use std::fs;

use protocol::job::StepKey;
use serde_json::{Value, json};

use super::*;
use crate::workflow::{graph::step, template::render};

fn catalog() -> Catalog {
    Catalog::builtin(Prompts::builtin())
}

const MINE: &str = "name: mine\nsteps:\n  look: {run: [ls]}\n";

#[test]
fn every_builtin_workflow_loads_under_its_own_name() {
    let prompts = Prompts::builtin();
    for (name, text) in BUILTIN {
        let workflow = load(text, &prompts).unwrap_or_else(|errors| panic!("{name}: {errors:#?}"));
        assert_eq!(workflow.name, name);
        assert!(!workflow.description.is_empty(), "{name}");
    }
}

#[test]
fn the_steps_of_the_builtin_workflows_are_what_they_were() {
    let list = catalog().list();
    let shown: Vec<_> = list
        .iter()
        .map(|view| format!("{} repo={} {}", view.name, view.needs_repo, view.steps.join(" ")))
        .collect();
    assert_eq!(
        shown,
        [
            "ask repo=true prepare plan",
            "implement repo=true prepare plan approve cycle cycle/edit cycle/check cycle/review verify deliver",
            "review repo=true prepare check review",
            "run repo=false run",
        ]
    );
}

/// What `with` of a step of `implement` becomes among these steps.
fn rendered(path: &[&str], scope: &Value) -> Value {
    let workflow = catalog().get("implement").expect("built in");
    let key = path[1..]
        .iter()
        .fold(StepKey::top(path[0]), |key, name| key.child(name));
    let with = step(&workflow, &key).expect("a step").with.clone();
    render(&Value::Object(with), scope).expect("rendered")
}

#[test]
fn implement_hands_the_last_round_to_the_next_and_the_last_verdict_to_deliver() {
    let plan = json!({"ok": true, "outputs": {"plan": {"summary": "s"}}});
    let prepare = json!({"ok": true, "outputs": {"baseline": {"checks": []}, "protected": ["tests/a.rs"]}});
    let prev =
        json!({"check": {"ok": false, "outputs": {"report": {"signature": "x"}}}, "review": {"outputs": {}}});
    let scope = json!({
        "inputs": {"task": "t", "max_fix": 3, "failing": "auto"},
        "steps": {
            "prepare": prepare, "plan": plan,
            "cycle": {"ok": true, "outputs": {"review": {"verdict": {"decision": "approve"}}}},
            "verify": {"ok": true, "outputs": {"report": {"signature": ""}}},
        },
        "round": {"n": 2, "prev": prev},
    });
    let edit = rendered(&["cycle", "edit"], &scope);
    assert_eq!(edit["report"], json!({"signature": "x"}));
    assert_eq!(
        (&edit["verdict"], &edit["plan"]["summary"]),
        (&Value::Null, &json!("s"))
    );
    let check = rendered(&["cycle", "check"], &scope);
    assert_eq!(
        (&check["protected"], &check["failing"]),
        (&json!(["tests/a.rs"]), &json!("auto"))
    );
    let deliver = rendered(&["deliver"], &scope);
    assert_eq!(deliver["verdict"], json!({"decision": "approve"}));
    assert_eq!(deliver["report"], json!({"signature": ""}));
}

#[test]
fn an_unknown_name_gets_the_closest_and_the_list() {
    let problem = catalog().get("implment").expect_err("a slip");
    assert_eq!(problem.code, Code::UnknownWorkflow);
    assert_eq!(
        problem.hint.as_deref(),
        Some("did you mean `implement`? known: ask, implement, review, run")
    );
    let problem = catalog().get("zzz").expect_err("far off");
    assert_eq!(
        problem.hint.as_deref(),
        Some("known: ask, implement, review, run")
    );
}

#[test]
fn a_file_wins_over_a_builtin_and_a_stored_one_over_both() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("mine.yaml"), MINE).expect("written");
    fs::write(folder.path().join("run.yaml"), MINE.replace("mine", "run")).expect("written");
    fs::write(folder.path().join("notes.txt"), "not a workflow").expect("written");
    let folders = [folder.path().to_owned()];
    let mut catalog = catalog();
    catalog.load_folders(&folders).expect("two good files");
    let origin = |catalog: &Catalog, name: &str| catalog.view(name).expect("known").origin;
    assert_eq!(origin(&catalog, "mine"), "file");
    assert_eq!(origin(&catalog, "run"), "file");
    assert_eq!(origin(&catalog, "ask"), "builtin");

    let stored = MINE.replace("[ls]", "[pwd]");
    let view = catalog.put("mine", &stored).expect("good");
    assert_eq!(
        (view.origin.as_str(), view.text.as_deref()),
        ("stored", Some(stored.as_str()))
    );
    catalog.load_folders(&folders).expect("again");
    assert_eq!(origin(&catalog, "mine"), "stored");
}

#[test]
fn a_bad_file_is_named_with_its_first_mistake() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("mine.yaml");
    let folders = [folder.path().to_owned()];
    fs::write(&path, "name: mine\nsteps:\n  look: {rum: [ls]}\nprio: 3\n").expect("written");
    let error = catalog()
        .load_folders(&folders)
        .expect_err("mistakes")
        .to_string();
    assert!(error.contains("mine.yaml: line 3, steps.look"), "{error}");
    assert!(error.ends_with("(and 2 more)"), "{error}");

    fs::write(&path, MINE.replace("mine", "yours")).expect("written");
    let error = catalog()
        .load_folders(&folders)
        .expect_err("another name")
        .to_string();
    assert!(error.ends_with("the file must be called yours.yaml"), "{error}");

    let error = catalog()
        .load_folders(&[folder.path().join("none")])
        .expect_err("no folder");
    assert!(matches!(error, FolderError::Unreadable { .. }));
}

#[test]
fn what_is_put_must_be_valid_and_have_its_own_name() {
    let problem = catalog()
        .put("mine", "name: mine\nsteps: {}\n")
        .expect_err("no step");
    assert_eq!(
        (problem.code, problem.field.as_deref()),
        (Code::InvalidWorkflow, Some("steps"))
    );
    assert_eq!(problem.detail, "line 2, steps: there is no step");
    let problem = catalog().put("yours", MINE).expect_err("another name");
    assert_eq!(
        (problem.code, problem.field.as_deref()),
        (Code::InvalidField, Some("name"))
    );
}

#[test]
fn a_report_lists_every_mistake_or_shows_the_workflow() {
    let report = catalog().validate(
        "name: Mine\nsteps:\n  look: {agent: poet}\n  see: {needs: [lok], run: [ls]}\n",
        &[],
    );
    assert!(!report.ok && report.workflow.is_none());
    assert_eq!(
        report.errors.iter().map(|error| error.line).collect::<Vec<_>>(),
        [Some(1), Some(3), Some(4)]
    );
    let report = catalog().validate(MINE, &[]);
    assert!(report.ok && report.errors.is_empty());
    assert_eq!(report.workflow.expect("it is valid").steps, ["look"]);
}

#[test]
fn a_job_pins_the_prompts_and_their_hash() {
    let workflow = catalog().get("implement").expect("built in");
    assert_eq!(
        workflow.prompts.keys().collect::<Vec<_>>(),
        ["architect", "codegen", "review"]
    );
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("review.md");
    fs::write(&path, "Be kind.").expect("written");
    let mut prompts = Prompts::builtin();
    prompts.read("review", &path).expect("usable");
    let other = Catalog::builtin(prompts);
    let changed = other.get("implement").expect("built in");
    assert_ne!(changed.sha256, workflow.sha256);
    assert_eq!(
        other.get("run").expect("built in").sha256,
        catalog().get("run").expect("built in").sha256
    );
}

#[test]
fn labels_that_no_worker_has_are_noted_and_no_mistake() {
    let text = "api: agentd/v1\nname: mine\nsteps:\n  free: {run: [ls]}\n  \
                train: {run: [ls], requires: {gpu: big}}\n";
    let worker = |labels: &str| serde_json::from_str::<Labels>(labels).expect("labels");
    let small = worker(r#"{"gpu": ["small"]}"#);
    let report = catalog().validate(text, std::slice::from_ref(&small));
    assert!(report.ok, "{report:?}");
    assert_eq!(
        report.notes,
        ["step train requires gpu=big, and no worker has that now"]
    );
    let report = catalog().validate(text, &[small, worker(r#"{"gpu": ["big"]}"#)]);
    assert_eq!(report.notes, Vec::<String>::new());
}
