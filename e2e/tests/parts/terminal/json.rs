//! `-o json` of every verb that lists or shows is one JSON document, and `jsonl` one a line.

use std::{fs, process::Command};

use e2e::{Lab, lab::binary, model::ScriptedModel, repo::SAMPLES};
use serde_json::Value;

use super::super::implement::good_answers;
use super::{stderr, stdout};

/// Every verb that lists, with the field that names an item; and whether the list has items here.
const LISTS: [(&[&str], &str, bool); 9] = [
    (&["ps"], "number", true),
    (&["ps", "--open"], "number", false),
    (&["workers"], "name", true),
    (&["workers", "list"], "name", true),
    (&["workflows"], "name", true),
    (&["tokens"], "name", true),
    (&["artifacts", "1"], "name", true),
    (&["context"], "name", true),
    (&["explain"], "code", true),
];

/// Every verb that shows one thing, with a field of it.
const THINGS: [(&[&str], &str); 12] = [
    (&["show", "1"], "steps"),
    (&["watch", "1"], "steps"),
    (&["wait", "1"], "steps"),
    (&["why", "1"], "summary"),
    (&["status"], "version"),
    (&["doctor"], "findings"),
    (&["workers", "show", "one"], "labels"),
    (&["workers", "join-token"], "token"),
    (&["workflows", "show", "implement"], "text"),
    (&["workflows", "graph", "implement"], "text"),
    (&["explain", "unknown_workflow"], "remedy"),
    (&["submit", "run", "--", "true"], "number"),
];

#[test]
fn every_list_and_every_thing_is_json_for_programs() {
    let sample = &SAMPLES[0];
    let lab = Lab::new();
    let repo = lab.path("repo");
    sample.create(&repo);
    let model = ScriptedModel::start(good_answers(sample));
    let controller = lab.controller(&model.config("openai", "whole_file"));
    let _one = lab.worker(&controller, "one");
    let run = controller.ctl_in(&repo, &["run", "--repo", ".", "make the failing test pass"]);
    assert_eq!(run.status.code(), Some(0), "{}", controller.job(1));
    let mut login = Command::new(binary("agentctl"));
    let login = controller.known_to(&mut login).args(["login", &controller.url()]);
    assert!(login.output().expect("agentctl starts").status.success());

    let ask = |args: &[&str], format: &str| {
        let output = controller.ctl(&[&["-o", format], args].concat());
        assert_eq!(output.status.code(), Some(0), "{args:?}: {}", stderr(&output));
        stdout(&output)
    };
    for (args, name, full) in LISTS {
        let document = parse(args, &ask(args, "json"));
        assert_eq!(document["schema_version"], 1, "{args:?}");
        let items = document["items"].as_array().unwrap_or_else(|| panic!("{args:?}"));
        assert_eq!(!items.is_empty(), full, "{args:?}: {document}");
        assert!(
            items.iter().all(|item| !item[name].is_null()),
            "{args:?}: {document}"
        );
        assert!(document.get("next_cursor").is_some(), "{args:?}: {document}");
        let lines = ask(args, "jsonl");
        assert_eq!(lines.lines().count(), items.len(), "{args:?}: {lines}");
        for (line, item) in lines.lines().zip(items) {
            assert_eq!(parse(args, line)[name], item[name], "{args:?}");
        }
        assert_eq!(ask(args, "id").lines().count(), items.len(), "{args:?}");
    }
    for (args, field) in THINGS {
        let document = parse(args, &ask(args, "json"));
        assert_eq!(document["schema_version"], 1, "{args:?}: {document}");
        assert!(!document[field].is_null(), "{args:?}: {document}");
        assert_eq!(ask(args, "jsonl").lines().count(), 1, "{args:?}");
    }
    let made = parse(&[], &ask(&["tokens", "create", "robot"], "json"));
    assert_eq!(made["name"], "robot", "{made}");
    let flow = lab.path("flow.yaml");
    fs::write(&flow, "api: agentd/v1\nname: x\nsteps: {a: {run: [\"true\"]}}\n").expect("writable");
    let flow = flow.to_str().expect("text");
    for verb in ["validate", "put"] {
        parse(&[verb], &ask(&["workflows", verb, flow], "json"));
    }
    let job = parse(&[], &ask(&["show", "1"], "json"));
    assert_eq!(job["id"].as_str().map(str::len), Some(36), "a full id: {job}");
    let created = job["created_at"].as_str().unwrap_or_default();
    assert!(
        created.contains('T') && created.ends_with('Z'),
        "RFC 3339: {created}"
    );
}

#[test]
fn an_error_is_json_too_when_a_program_asks() {
    let lab = Lab::new();
    let controller = lab.controller("");
    for (args, code, exit) in [
        (&["show", "99", "-o", "json"][..], "not_found", 5),
        (&["submit", "implemnt", "x", "-o", "json"], "unknown_workflow", 2),
        (
            &["--token", "agt_wrong", "ps", "-o", "jsonl"],
            "unauthenticated",
            4,
        ),
    ] {
        let output = controller.ctl(args);
        assert_eq!(output.status.code(), Some(exit), "{output:?}");
        assert_eq!(stdout(&output), "", "errors are talk");
        let error = parse(args, &stderr(&output));
        assert!(error.to_string().contains(code), "{code}: {error}");
        assert!(error.to_string().contains("hint"), "{error}");
    }
}

#[track_caller]
fn parse(args: &[&str], text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{args:?}: {error}: {text}"))
}
