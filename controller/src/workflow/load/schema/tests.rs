use super::*;
use crate::workflow::{catalog::BUILTIN, load::load, prompts::Prompts, yaml};

/// As much of draft 7 as the schema uses.
fn fits(schema: &Value, value: &Value) -> Result<(), String> {
    let root = super::schema();
    check(&root, schema, value, "")
}

fn check(root: &Value, schema: &Value, value: &Value, path: &str) -> Result<(), String> {
    let refuse = |why: &str| Err(format!("{path}: {why}: {value}"));
    let all = |of: &Value| of.as_array().cloned().unwrap_or_default();
    if let Some(name) = schema["$ref"].as_str() {
        let name = name.trim_start_matches("#/definitions/");
        let target = &root["definitions"][name];
        assert!(target.is_object(), "{name} is not defined");
        return check(root, target, value, path);
    }
    for part in all(&schema["allOf"]) {
        check(root, &part, value, path)?;
    }
    for (word, most) in [("anyOf", usize::MAX), ("oneOf", 1)] {
        let parts = all(&schema[word]);
        let fitting = parts.iter().filter(|part| check(root, part, value, path).is_ok());
        if !parts.is_empty() && !(1..=most).contains(&fitting.count()) {
            return refuse(word);
        }
    }
    if schema.get("enum").is_some() && !all(&schema["enum"]).contains(value) {
        return refuse("enum");
    }
    if schema.get("const").is_some_and(|only| only != value) {
        return refuse("const");
    }
    let types = match &schema["type"] {
        Value::String(one) => vec![one.as_str().into()],
        many => all(many),
    };
    let is = |kind: &Value| match kind.as_str().expect("a type") {
        "string" => value.is_string(),
        "integer" => value.is_i64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("{other} is no type"),
    };
    if !types.is_empty() && !types.iter().any(is) {
        return refuse("type");
    }
    for (index, item) in all(value).iter().enumerate() {
        check(root, &schema["items"], item, &format!("{path}[{index}]"))?;
    }
    let Some(map) = value.as_object() else {
        return Ok(());
    };
    for key in all(&schema["required"]) {
        if !map.contains_key(key.as_str().expect("a key")) {
            return refuse("required");
        }
    }
    for (key, value) in map {
        let path = format!("{path}.{key}");
        match (schema["properties"].get(key), schema.get("additionalProperties")) {
            (Some(property), _) => check(root, property, value, &path)?,
            (None, Some(Value::Bool(false))) => return Err(format!("{path}: unknown")),
            (None, Some(other)) => check(root, other, value, &path)?,
            (None, None) => {}
        }
    }
    Ok(())
}

fn json(text: &str) -> Value {
    yaml::parse(text).expect("YAML").to_json()
}

#[test]
fn every_workflow_that_comes_along_fits() {
    for (name, text) in BUILTIN {
        assert_eq!(fits(&schema(), &json(text)), Ok(()), "{name}");
    }
}

#[test]
fn a_workflow_with_all_that_the_loader_takes_fits() {
    let full = crate::workflow::load::tests::FULL;
    assert!(load(full, &Prompts::builtin()).is_ok());
    assert_eq!(fits(&schema(), &json(full)), Ok(()));
}

#[test]
fn what_the_loader_refuses_does_not_fit() {
    for wrong in [
        "name: a\nsteps: {s: {run: [x], neds: [b]}}",
        "name: a\nstep: {}",
        "name: a\nsteps: {s: {run: [x], agent: review}}",
        "name: a\nsteps: {s: {run: [x], on_lost: forget}}",
        "name: a\npriority: high\nsteps: {s: {run: [x]}}",
        "steps: {s: {run: [x]}}",
    ] {
        assert!(load(wrong, &Prompts::builtin()).is_err(), "{wrong}");
        assert!(fits(&schema(), &json(wrong)).is_err(), "{wrong}");
    }
}

/// The keys come from the loader's own lists; a new one must be described too.
#[test]
fn nothing_is_left_undescribed() {
    fn walk(path: &str, schema: &Value, found: &mut Vec<String>) {
        for (key, property) in schema["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}.{key}");
            if *property == anything() {
                found.push(path.clone());
            }
            walk(&path, property, found);
        }
    }
    let schema = schema();
    let mut found = vec![];
    walk("", &schema, &mut found);
    for (name, definition) in schema["definitions"].as_object().expect("definitions") {
        walk(name, definition, &mut found);
    }
    assert_eq!(found, Vec::<String>::new());
}

/// No reader has keys of its own beside the lists that the schema is made of.
#[test]
fn every_reader_goes_by_a_list_of_the_schema() {
    let sources = [
        include_str!("../../load.rs"),
        include_str!("../approval.rs"),
        include_str!("../command.rs"),
        include_str!("../inputs.rs"),
        include_str!("../outputs.rs"),
        include_str!("../policy.rs"),
        include_str!("../rounds.rs"),
        include_str!("../step.rs"),
    ];
    for source in sources {
        assert!(!source.contains(".allow(&["), "a list that the schema cannot see");
    }
}
