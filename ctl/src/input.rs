//! `--input k=v`, `k=@FILE` and `k:=JSON`, typed as the workflow declares them.

use std::{fs, path::Path, str::FromStr};

use protocol::http::workflows::{InputView, WorkflowView};
use serde_json::{Map, Number, Value};

use crate::{codes::Code, error::CliError};

/// One `--input` as it was written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Input {
    name: String,
    value: Written,
}

#[derive(Clone, Debug, PartialEq)]
enum Written {
    Text(String),
    File(String),
    Json(Value),
}

impl FromStr for Input {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text
            .split_once('=')
            .ok_or("expected NAME=TEXT, NAME=@FILE or NAME:=JSON")?;
        let (name, value) = match name.strip_suffix(':') {
            Some(name) => {
                let value = serde_json::from_str(value).map_err(|error| format!("is not JSON: {error}"))?;
                (name, Written::Json(value))
            }
            None => match value.strip_prefix('@') {
                Some(path) => (name, Written::File(path.to_owned())),
                None => (name, Written::Text(value.to_owned())),
            },
        };
        if name.is_empty() {
            return Err("the name before `=` is missing".to_owned());
        }
        Ok(Self {
            name: name.to_owned(),
            value,
        })
    }
}

/// The inputs of a submit; files are read now.
pub(crate) fn collect(inputs: &[Input], workflow: &WorkflowView) -> Result<Map<String, Value>, CliError> {
    let mut map = Map::new();
    for input in inputs {
        let declared = workflow
            .inputs
            .iter()
            .find(|declared| declared.name == input.name);
        let declared = declared.ok_or_else(|| unknown(&input.name, workflow))?;
        let value = match &input.value {
            Written::Json(value) => value.clone(),
            Written::Text(text) => typed(text, declared)?,
            Written::File(path) => {
                let path = Path::new(path);
                let text = fs::read_to_string(path).map_err(|error| CliError::file(path, "read", &error))?;
                typed(&text, declared)?
            }
        };
        if map.insert(input.name.clone(), value).is_some() {
            let sentence = format!("the input {:?} is given twice", input.name);
            return Err(CliError::new(Code::InvalidArgument, sentence).hint("keep one of them"));
        }
    }
    Ok(map)
}

/// Text in the declared type; what is no scalar must be written as JSON.
fn typed(text: &str, declared: &InputView) -> Result<Value, CliError> {
    let word = text.trim();
    let value = match declared.kind.as_str() {
        "int" => word.parse::<i64>().ok().map(Value::from),
        "number" => word.parse().ok().and_then(Number::from_f64).map(Value::Number),
        "bool" => word.parse().ok().map(Value::Bool),
        "list" => None,
        _ => Some(Value::String(text.to_owned())),
    };
    value.ok_or_else(|| {
        let InputView { name, kind, .. } = declared;
        let example = match kind.as_str() {
            "int" => "3",
            "number" => "0.5",
            "bool" => "true",
            _ => "'[\"a\", \"b\"]'",
        };
        let start: String = text.chars().take(40).collect();
        CliError::new(
            Code::InvalidArgument,
            format!("the input {name:?} is of type {kind}, and {start:?} is not"),
        )
        .hint(format!("write it as `--input {name}:={example}`"))
    })
}

fn unknown(name: &str, workflow: &WorkflowView) -> CliError {
    let sentence = format!("the workflow {} has no input {name:?}", workflow.name);
    let error = CliError::new(Code::InvalidArgument, sentence);
    let names = workflow.inputs.iter().map(|input| input.name.as_str());
    match closest(name, names.clone()) {
        Some(close) => error.hint(format!("did you mean `--input {close}=…`?")),
        None if workflow.inputs.is_empty() => error.hint("it takes none"),
        None => error.hint(format!("it takes {}", names.collect::<Vec<_>>().join(", "))),
    }
}

/// The known name that is most like the given one, if one is like it at all.
pub(crate) fn closest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::output::style::Style;

    fn workflow() -> WorkflowView {
        let input = |name: &str, kind: &str| InputView {
            name: name.into(),
            kind: kind.into(),
            required: false,
            description: String::new(),
        };
        WorkflowView {
            name: "implement".into(),
            description: String::new(),
            origin: "builtin".into(),
            sha256: String::new(),
            inputs: vec![
                input("task", "text"),
                input("max_fix", "int"),
                input("strict", "bool"),
                input("paths", "list"),
            ],
            needs_repo: true,
            steps: vec![],
            text: None,
        }
    }

    fn collected(texts: &[&str]) -> Result<Map<String, Value>, CliError> {
        let inputs: Vec<Input> = texts
            .iter()
            .map(|text| text.parse().expect("well formed"))
            .collect();
        collect(&inputs, &workflow())
    }

    #[test]
    fn values_take_the_declared_type() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        fs::write(file.path(), "from a file\n").expect("written");
        let task = format!("task=@{}", file.path().display());
        let map = collected(&[&task, "max_fix=3", "strict=true", "paths:=[\"a\"]"]).expect("valid");
        let expected = json!({"task": "from a file\n", "max_fix": 3, "strict": true, "paths": ["a"]});
        assert_eq!(Value::Object(map), expected);
        assert_eq!(
            collected(&["task=a=b"]).expect("valid")["task"],
            json!("a=b"),
            "only the first = counts"
        );
    }

    #[test]
    fn mistakes_name_the_input_and_what_would_be_right() {
        let said = |texts: &[&str]| collected(texts).expect_err("wrong").render(Style::PLAIN);
        insta::assert_snapshot!(said(&["max_fix=many"]), @r#"
        error[invalid_argument]: the input "max_fix" is of type int, and "many" is not
          hint:  write it as `--input max_fix:=3`
        "#);
        insta::assert_snapshot!(said(&["paths=a,b"]), @r#"
        error[invalid_argument]: the input "paths" is of type list, and "a,b" is not
          hint:  write it as `--input paths:='["a", "b"]'`
        "#);
        insta::assert_snapshot!(said(&["max_fx=1"]), @r#"
        error[invalid_argument]: the workflow implement has no input "max_fx"
          hint:  did you mean `--input max_fix=…`?
        "#);
        insta::assert_snapshot!(said(&["colour=red"]), @r#"
        error[invalid_argument]: the workflow implement has no input "colour"
          hint:  it takes task, max_fix, strict, paths
        "#);
        insta::assert_snapshot!(said(&["task=a", "task=b"]), @r#"
        error[invalid_argument]: the input "task" is given twice
          hint:  keep one of them
        "#);
        insta::assert_snapshot!(said(&["task=@/nonexistent/file"]), @r"
        error[unreadable_file]: cannot read /nonexistent/file
          cause: No such file or directory (os error 2)
          hint:  `agentctl explain unreadable_file` says what to do
        ");
        insta::assert_snapshot!("task".parse::<Input>().expect_err("no ="), @"expected NAME=TEXT, NAME=@FILE or NAME:=JSON");
        insta::assert_snapshot!("task:={".parse::<Input>().expect_err("no JSON"), @"is not JSON: EOF while parsing an object at line 1 column 1");
    }
}
