//! The outputs that a step declares: what a model must be told about them, and
//! whether its answer has them.

use std::collections::BTreeMap;

use protocol::{
    documents::{CheckReport, EditReport, Plan, Verdict},
    spec::OutputType,
};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::schemas;

/// Takes the declared outputs out of an answer; `known` ones are made otherwise.
pub fn outputs(
    declared: &BTreeMap<String, OutputType>,
    known: &[&str],
    answer: &Map<String, Value>,
) -> Result<Map<String, Value>, String> {
    let mut outputs = Map::new();
    for (name, kind) in wanted(declared, known) {
        let value = answer.get(name).ok_or_else(|| format!("`{name}` is missing"))?;
        check(value, kind).map_err(|what| format!("`{name}` {what}"))?;
        outputs.insert(name.clone(), value.clone());
    }
    Ok(outputs)
}

/// Adds the declared outputs to the schema of an object.
pub fn extend_schema(schema: &mut Value, declared: &BTreeMap<String, OutputType>, known: &[&str]) {
    for (name, kind) in wanted(declared, known) {
        schema["properties"][name] = schema_of(kind);
        if let Some(required) = schema["required"].as_array_mut() {
            required.push(name.as_str().into());
        }
    }
}

/// One line per declared output, for the prompt.
pub fn describe(declared: &BTreeMap<String, OutputType>, known: &[&str]) -> String {
    let lines = wanted(declared, known).map(|(name, kind)| format!("- `{name}`: {}", name_of(kind)));
    lines.collect::<Vec<_>>().join("\n")
}

fn wanted<'a>(
    declared: &'a BTreeMap<String, OutputType>,
    known: &[&str],
) -> impl Iterator<Item = (&'a String, &'a OutputType)> {
    declared
        .iter()
        .filter(|(name, _)| !known.contains(&name.as_str()))
}

/// Whether a value is of a type; else what it is not, to follow its name.
pub fn check(value: &Value, kind: &OutputType) -> Result<(), String> {
    let fits = match kind {
        OutputType::Any | OutputType::Junit(_) => true,
        OutputType::String => value.is_string(),
        OutputType::Number => value.is_number(),
        OutputType::Boolean => value.is_boolean(),
        OutputType::Object => value.is_object(),
        OutputType::Enum(words) => value
            .as_str()
            .is_some_and(|text| words.iter().any(|word| word == text)),
        OutputType::List(inner) => {
            let items = value
                .as_array()
                .ok_or_else(|| format!("is not {}", name_of(kind)))?;
            return items.iter().enumerate().try_for_each(|(i, item)| {
                check(item, inner).map_err(|what| format!("has an element {i} that {what}"))
            });
        }
        OutputType::Document(name) => return check_document(value, name),
    };
    if fits {
        Ok(())
    } else {
        Err(format!("is not {}", name_of(kind)))
    }
}

fn check_document(value: &Value, name: &str) -> Result<(), String> {
    fn reads<T: DeserializeOwned>(value: &Value) -> Result<(), String> {
        T::deserialize(value).map(drop).map_err(|error| error.to_string())
    }
    let read = match name {
        "Plan" => reads::<Plan>(value),
        "Verdict" => reads::<Verdict>(value),
        "CheckReport" => reads::<CheckReport>(value),
        "EditReport" => reads::<EditReport>(value),
        _ => return Err(format!("is of the unknown kind {name}")),
    };
    read.map_err(|error| format!("is no {name}: {error}"))
}

fn name_of(kind: &OutputType) -> String {
    match kind {
        OutputType::Any | OutputType::Junit(_) => "any value".to_owned(),
        OutputType::String => "a text".to_owned(),
        OutputType::Number => "a number".to_owned(),
        OutputType::Boolean => "true or false".to_owned(),
        OutputType::Object => "an object".to_owned(),
        OutputType::List(inner) => format!("a list, each element {}", name_of(inner)),
        OutputType::Enum(words) => format!("one of {}", words.join(", ")),
        OutputType::Document(name) => format!("a {name} document"),
    }
}

fn schema_of(kind: &OutputType) -> Value {
    match kind {
        OutputType::Any | OutputType::Junit(_) => json!({}),
        OutputType::String => json!({"type": "string"}),
        OutputType::Number => json!({"type": "number"}),
        OutputType::Boolean => json!({"type": "boolean"}),
        OutputType::Object => json!({"type": "object"}),
        OutputType::List(inner) => json!({"type": "array", "items": schema_of(inner)}),
        OutputType::Enum(words) => json!({"type": "string", "enum": words}),
        OutputType::Document(name) => match name.as_str() {
            "Plan" => schemas::plan(),
            "Verdict" => schemas::verdict(),
            _ => json!({"type": "object"}),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared() -> BTreeMap<String, OutputType> {
        BTreeMap::from([
            ("plan".to_owned(), OutputType::Document("Plan".to_owned())),
            ("risk".to_owned(), OutputType::Number),
            (
                "packages".to_owned(),
                OutputType::List(Box::new(OutputType::String)),
            ),
            (
                "mood".to_owned(),
                OutputType::Enum(vec!["good".into(), "bad".into()]),
            ),
        ])
    }

    #[test]
    fn declared_outputs_are_taken_and_checked() {
        let answer = |text: &str| match serde_json::from_str(text).expect("json") {
            Value::Object(answer) => answer,
            other => panic!("{other}"),
        };
        let good = answer(r#"{"risk":0.5,"packages":["a"],"mood":"good","other":1}"#);
        let taken = outputs(&declared(), &["plan"], &good).expect("complete");
        assert_eq!(taken.keys().collect::<Vec<_>>(), ["mood", "packages", "risk"]);
        for (bad, complaint) in [
            (r#"{"packages":["a"],"mood":"good"}"#, "`risk` is missing"),
            (r#"{"risk":1,"packages":["a",2],"mood":"good"}"#, "element 1"),
            (r#"{"risk":1,"packages":[],"mood":"ugly"}"#, "one of good, bad"),
        ] {
            let error = outputs(&declared(), &["plan"], &answer(bad)).expect_err("wrong");
            assert!(error.contains(complaint), "{error}");
        }
    }

    #[test]
    fn they_are_added_to_schema_and_prompt() {
        let mut schema = json!({"type": "object", "properties": {}, "required": []});
        extend_schema(&mut schema, &declared(), &["plan"]);
        assert_eq!(schema["properties"]["risk"]["type"], "number");
        assert_eq!(schema["required"].as_array().map(Vec::len), Some(3));
        assert!(describe(&declared(), &["plan"]).contains("- `packages`: a list, each element a text"));
    }
}
