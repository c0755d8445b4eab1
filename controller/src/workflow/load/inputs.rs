//! The `inputs` of a workflow.

use indexmap::IndexMap;
use serde_json::Value;

use super::{invalid_name, is_name};
use crate::workflow::{
    inputs::fit,
    model::{Input, InputType},
    read::{Field, Mistakes, Section},
    yaml::Yaml,
};

/// Size of a text input unless `max` says otherwise.
const DEFAULT_TEXT: u64 = 64 << 10;

/// Largest `max` of a text input: it travels in one request.
const MAX_TEXT: u64 = 1 << 20;

/// Keys of an input.
pub(super) const KEYS: &[&str] = &["type", "required", "default", "description", "max", "min", "enum"];

pub(super) fn read(field: &Field<'_>, mistakes: &mut Mistakes) -> IndexMap<String, Input> {
    let Some(section) = field.section("inputs by name", mistakes) else {
        return IndexMap::new();
    };
    let mut inputs = IndexMap::new();
    for (name, field) in section.entries() {
        if !is_name(name) {
            mistakes.add(&field.path, invalid_name("an input", name), None);
        }
        if let Some(input) = read_input(field, mistakes) {
            inputs.insert(name.to_owned(), input);
        }
    }
    inputs
}

fn read_input(field: &Field<'_>, mistakes: &mut Mistakes) -> Option<Input> {
    let section = field.section("an input: {type: text, required: true}", mistakes)?;
    section.allow(KEYS, &[], mistakes);
    let kind = read_type(&section, mistakes);
    let required = section
        .get("required")
        .and_then(|field| field.truth(mistakes))
        .unwrap_or(false);
    let default = section
        .get("default")
        .map(|field| field.node.to_json())
        .filter(|value| !value.is_null());
    if required && default.is_some() {
        let hint = "leave out `required` or `default`".to_owned();
        mistakes.add(&field.path, "a required input cannot have a default", Some(hint));
    }
    let default = default.and_then(|value| check_default(&section, &kind, value, mistakes));
    let description = section
        .get("description")
        .and_then(|field| field.text(mistakes))
        .unwrap_or_default();
    Some(Input {
        kind,
        required,
        default,
        description,
    })
}

fn check_default(
    section: &Section<'_>,
    kind: &InputType,
    value: Value,
    mistakes: &mut Mistakes,
) -> Option<Value> {
    match fit(kind, value) {
        Ok(value) => Some(value),
        Err(reason) => {
            mistakes.add(&section.path_of("default"), format!("the default {reason}"), None);
            None
        }
    }
}

/// What `type` says.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Word {
    Text,
    Int,
    Number,
    Bool,
    List,
    Enum,
}

/// Words of `type`.
pub(super) const WORDS: [(&str, Word); 6] = [
    ("text", Word::Text),
    ("int", Word::Int),
    ("number", Word::Number),
    ("bool", Word::Bool),
    ("list", Word::List),
    ("enum", Word::Enum),
];

/// What cannot be read counts as text, so that the rest is checked all the same.
fn read_type(section: &Section<'_>, mistakes: &mut Mistakes) -> InputType {
    let word = section.get("type").map(|field| field.one_of(&WORDS, mistakes));
    let word = match word {
        Some(word) => word.unwrap_or(Word::Text),
        None if section.has("enum") => Word::Enum,
        None => {
            section.required("type", mistakes);
            Word::Text
        }
    };
    let bounds: &[&str] = match word {
        Word::Text => &["max"],
        Word::Int => &["min", "max"],
        Word::Enum => &["enum"],
        Word::Number | Word::Bool | Word::List => &[],
    };
    for name in ["min", "max", "enum"] {
        if section.has(name) && !bounds.contains(&name) {
            mistakes.add(
                &section.path_of(name),
                format!("`{name}` does not fit this type"),
                None,
            );
        }
    }
    match word {
        Word::Text => {
            let max = section.get("max").and_then(|field| read_size(field, mistakes));
            InputType::Text {
                max: max.unwrap_or(DEFAULT_TEXT),
            }
        }
        Word::Int => read_int(section, mistakes),
        Word::Number => InputType::Number,
        Word::Bool => InputType::Bool,
        Word::List => InputType::List,
        Word::Enum => {
            let field = section.required("enum", mistakes);
            InputType::Enum(field.map(|field| read_words(field, mistakes)).unwrap_or_default())
        }
    }
}

fn read_int(section: &Section<'_>, mistakes: &mut Mistakes) -> InputType {
    let mut bound = |name| {
        section
            .get(name)
            .and_then(|field: &Field<'_>| field.int(i64::MIN, i64::MAX, mistakes))
    };
    let (min, max) = (bound("min").unwrap_or(i64::MIN), bound("max").unwrap_or(i64::MAX));
    if min > max {
        mistakes.add(
            &section.path_of("min"),
            format!("min {min} is above max {max}"),
            None,
        );
    }
    InputType::Int { min, max }
}

/// The words of an `enum`.
pub(super) fn read_words(field: &Field<'_>, mistakes: &mut Mistakes) -> Vec<String> {
    let Some(words) = field.texts("a list of words", mistakes) else {
        return vec![];
    };
    if words.is_empty() {
        mistakes.add(&field.path, "an enum needs at least one word", None);
    }
    words
}

/// Bytes, perhaps as `64KiB` or `1MiB`.
fn read_size(field: &Field<'_>, mistakes: &mut Mistakes) -> Option<u64> {
    let size = match &field.node.value {
        Yaml::Int(value) => u64::try_from(*value).ok(),
        Yaml::Text(text) => {
            let units = [("KiB", 1 << 10), ("MiB", 1 << 20)];
            units.into_iter().find_map(|(unit, factor)| {
                let number: u64 = text.strip_suffix(unit)?.trim_end().parse().ok()?;
                number.checked_mul(factor)
            })
        }
        _ => None,
    };
    let size = size.filter(|size| (1..=MAX_TEXT).contains(size));
    if size.is_none() {
        let hint = "write bytes as a number, or such as 64KiB, at most 1MiB".to_owned();
        mistakes.add(&field.path, "this is no size", Some(hint));
    }
    size
}
