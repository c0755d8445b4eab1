use serde_json::json;

use super::*;
use crate::workflow::{load::load, prompts::Prompts};

const TEXT: &str = "
name: w
inputs:
  task: {type: text, required: true, max: 20, description: what to do.}
  max_fix: {type: int, default: 3, min: 0, max: 10}
  share: {type: number}
  dry: {type: bool, default: false}
  command: {type: list}
  mode: {enum: [fast, good], default: good}
steps:
  go: {run: [ls]}
";

fn workflow() -> Workflow {
    load(TEXT, &Prompts::builtin()).unwrap_or_else(|errors| panic!("{errors:#?}"))
}

fn check(given: Value) -> Result<Value, Problem> {
    let Value::Object(given) = given else {
        panic!("an object")
    };
    check_inputs(&workflow(), given).map(Value::Object)
}

#[test]
fn defaults_are_filled_in_and_optional_inputs_left_out() {
    assert_eq!(
        check(json!({"task": "t", "share": null})),
        Ok(json!({"task": "t", "max_fix": 3, "dry": false, "mode": "good"}))
    );
}

#[test]
fn text_from_a_command_line_becomes_the_inputs_type() {
    assert_eq!(
        check(
            json!({"task": "t", "max_fix": "5", "share": "0.5", "dry": "true", "command": [], "mode": "fast"})
        ),
        Ok(json!({"task": "t", "max_fix": 5, "share": 0.5, "dry": true, "command": [], "mode": "fast"}))
    );
}

/// What the API answers: code, field, sentence, way out.
fn refusal(given: Value) -> (Code, String, String, String) {
    let problem = check(given).expect_err("a mistake");
    (
        problem.code,
        problem.field.expect("a field"),
        problem.detail,
        problem.hint.expect("a hint"),
    )
}

#[test]
fn what_is_missing_empty_or_unknown_is_named_with_the_way_out() {
    let hint = "give `task`: text of at most 20 bytes (what to do)";
    let missing = "the workflow w needs the input `task`";
    let unknown = "the workflow w has no input `max_fx`";
    let empty = "the task is empty";
    for (given, code, field, detail, hint) in [
        (json!({}), Code::MissingInput, "inputs.task", missing, hint),
        (
            json!({"task": null}),
            Code::MissingInput,
            "inputs.task",
            missing,
            hint,
        ),
        (
            json!({"task": " \n"}),
            Code::InvalidField,
            "inputs.task",
            empty,
            hint,
        ),
        (
            json!({"max_fx": 1}),
            Code::InvalidField,
            "inputs.max_fx",
            unknown,
            "did you mean `max_fix`?",
        ),
    ] {
        let expected = (code, field.to_owned(), detail.to_owned(), hint.to_owned());
        assert_eq!(refusal(given), expected);
    }
}

#[test]
fn what_does_not_fit_is_named_with_the_reason() {
    for (name, value, reason) in [
        ("task", json!(7), "is not text"),
        ("task", json!("a\u{0}b"), "holds a NUL character"),
        ("task", json!("x".repeat(21)), "has 21 bytes, more than 20"),
        ("max_fix", json!(11), "is 11, not between 0 and 10"),
        ("max_fix", json!(1.5), "is not a whole number"),
        ("share", json!("NaN"), "is not a number"),
        ("dry", json!("maybe"), "is neither true nor false"),
        ("command", json!(["a", 1]), "is not a list of texts"),
        ("mode", json!("best"), "is not one of fast, good"),
    ] {
        let mut given = json!({"task": "t"});
        given[name] = value;
        let (code, field, detail, hint) = refusal(given);
        assert_eq!(code, Code::InvalidField, "{detail}");
        assert_eq!(
            (field.clone(), detail),
            (format!("inputs.{name}"), format!("{field} {reason}"))
        );
        assert!(hint.starts_with(&format!("give `{name}`: ")), "{hint}");
    }
}

#[test]
fn the_title_is_the_first_line_of_the_task_or_the_command() {
    let title_of = |inputs: Value| title(&workflow(), inputs.as_object().expect("an object"));
    assert_eq!(
        title_of(json!({"task": "\n  Fix the\tparser \nand more"})),
        "Fix the parser"
    );
    assert_eq!(title_of(json!({"command": ["cargo", "test"]})), "cargo test");
    assert_eq!(title_of(json!({"command": []})), "w");
    let long = title_of(json!({"task": "ä".repeat(200)}));
    assert_eq!((long.chars().count(), long.ends_with('…')), (80, true));
}
