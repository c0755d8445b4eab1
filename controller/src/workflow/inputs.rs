//! What a submit gives, measured against what the workflow asks for.

use protocol::http::problem::{Code, Problem};
use serde_json::{Map, Value};

use super::{
    model::{Input, InputType, Workflow},
    suggest,
};

/// Longest title in characters.
const MAX_TITLE: usize = 80;

/// Checks the inputs and fills in defaults. Numbers and truth values may come
/// as text, as command lines give them; an input that is null counts as not given.
pub fn check_inputs(workflow: &Workflow, given: Map<String, Value>) -> Result<Map<String, Value>, Problem> {
    if let Some((name, value)) = given
        .iter()
        .find(|(name, _)| !workflow.inputs.contains_key(*name))
    {
        let message = format!("the workflow {} has no input `{name}`", workflow.name);
        let problem =
            Problem::new(Code::InvalidField, message).field(format!("inputs.{name}"), value.clone());
        let hint = suggest::hint(name, workflow.inputs.keys().map(String::as_str));
        return Err(problem.hint(hint.unwrap_or_else(|| "this workflow takes no inputs".to_owned())));
    }
    let mut given = given;
    let mut inputs = Map::new();
    for (name, input) in &workflow.inputs {
        let value = given.remove(name).filter(|value| !value.is_null());
        if let Some(value) = check_input(workflow, name, input, value)? {
            inputs.insert(name.clone(), value);
        }
    }
    Ok(inputs)
}

fn check_input(
    workflow: &Workflow,
    name: &str,
    input: &Input,
    value: Option<Value>,
) -> Result<Option<Value>, Problem> {
    let field = format!("inputs.{name}");
    let Some(value) = value else {
        if !input.required {
            return Ok(input.default.clone());
        }
        let message = format!("the workflow {} needs the input `{name}`", workflow.name);
        let problem = Problem::new(Code::MissingInput, message).field(field, Value::Null);
        return Err(problem.hint(describe(name, input)));
    };
    let is_empty = value.as_str().is_some_and(|text| text.trim().is_empty());
    if input.required && is_empty && matches!(input.kind, InputType::Text { .. }) {
        let problem = Problem::new(Code::InvalidField, format!("the {name} is empty")).field(field, value);
        return Err(problem.hint(describe(name, input)));
    }
    match fit(&input.kind, value.clone()) {
        Ok(value) => Ok(Some(value)),
        Err(reason) => {
            let problem = Problem::new(Code::InvalidField, format!("{field} {reason}")).field(field, value);
            Err(problem.hint(describe(name, input)))
        }
    }
}

fn describe(name: &str, input: &Input) -> String {
    let expected = match &input.kind {
        InputType::Text { max } => format!("text of at most {max} bytes"),
        InputType::Int { min, max } if (*min, *max) == (i64::MIN, i64::MAX) => "a whole number".to_owned(),
        InputType::Int { min, max } => format!("a whole number from {min} to {max}"),
        InputType::Number => "a number".to_owned(),
        InputType::Bool => "true or false".to_owned(),
        InputType::List => "a list of texts".to_owned(),
        InputType::Enum(words) => format!("one of {}", words.join(", ")),
    };
    if input.description.is_empty() {
        return format!("give `{name}`: {expected}");
    }
    format!(
        "give `{name}`: {expected} ({})",
        input.description.trim_end_matches('.')
    )
}

/// The value in the input's type, or what is wrong with it, such as "is not a whole number".
pub(super) fn fit(kind: &InputType, value: Value) -> Result<Value, String> {
    match kind {
        InputType::Text { max } => match &value {
            Value::String(text) if text.len() as u64 > *max => {
                Err(format!("has {} bytes, more than {max}", text.len()))
            }
            Value::String(text) if text.contains('\0') => Err("holds a NUL character".to_owned()),
            Value::String(_) => Ok(value),
            _ => Err("is not text".to_owned()),
        },
        InputType::Int { min, max } => {
            let number = value.as_i64().or_else(|| value.as_str()?.trim().parse().ok());
            match number {
                Some(number) if (*min..=*max).contains(&number) => Ok(number.into()),
                Some(number) => Err(format!("is {number}, not between {min} and {max}")),
                None => Err("is not a whole number".to_owned()),
            }
        }
        InputType::Number => {
            let number = match &value {
                Value::String(text) => text
                    .trim()
                    .parse::<f64>()
                    .ok()
                    .and_then(serde_json::Number::from_f64),
                Value::Number(number) => Some(number.clone()),
                _ => None,
            };
            number
                .map(Value::Number)
                .ok_or_else(|| "is not a number".to_owned())
        }
        InputType::Bool => {
            let truth = value.as_bool().or_else(|| value.as_str()?.trim().parse().ok());
            truth
                .map(Value::Bool)
                .ok_or_else(|| "is neither true nor false".to_owned())
        }
        InputType::List => match &value {
            Value::Array(items) if items.iter().all(Value::is_string) => Ok(value),
            _ => Err("is not a list of texts".to_owned()),
        },
        InputType::Enum(words) => match value.as_str() {
            Some(word) if words.iter().any(|known| known == word) => Ok(value),
            _ => Err(format!("is not one of {}", words.join(", "))),
        },
    }
}

/// A job's title: the first line of its task, or its command, or the workflow's name.
pub fn title(workflow: &Workflow, inputs: &Map<String, Value>) -> String {
    let task = inputs.get("task").and_then(Value::as_str);
    let line = task.and_then(|task| task.lines().map(str::trim).find(|line| !line.is_empty()));
    let command = || {
        let arguments = inputs.get("command")?.as_array()?;
        let words: Vec<&str> = arguments.iter().filter_map(Value::as_str).collect();
        Some(words.join(" ")).filter(|text| !text.trim().is_empty())
    };
    let title = line
        .map(str::to_owned)
        .or_else(command)
        .unwrap_or_else(|| workflow.name.clone());
    let title: String = title
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if title.chars().count() <= MAX_TITLE {
        return title;
    }
    title.chars().take(MAX_TITLE - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests;
