//! The types of outputs that a step declares.

use std::collections::BTreeMap;

use protocol::spec::OutputType;

use super::inputs::read_words;
use crate::workflow::{
    model::StepKind,
    read::{Field, Mistakes, Section},
    suggest,
    yaml::Yaml,
};

/// Documents that roles write.
pub(super) const DOCUMENTS: [&str; 4] = ["Plan", "EditReport", "CheckReport", "Verdict"];

/// Types that are one word.
pub(super) const SIMPLE: [(&str, OutputType); 5] = [
    ("any", OutputType::Any),
    ("string", OutputType::String),
    ("number", OutputType::Number),
    ("boolean", OutputType::Boolean),
    ("object", OutputType::Object),
];

/// Keys of a type that is a map.
pub(super) const KEYS: &[&str] = &["enum", "junit"];

pub(super) fn read(
    field: &Field<'_>,
    kind: &StepKind,
    mistakes: &mut Mistakes,
) -> BTreeMap<String, OutputType> {
    let section = field.section("outputs by name", mistakes);
    let mut outputs = BTreeMap::new();
    for (name, field) in section.iter().flat_map(Section::entries) {
        let Some(output) = read_output(field, mistakes) else {
            continue;
        };
        let measured = matches!(output, OutputType::Junit(_));
        if measured != matches!(kind, StepKind::Run { .. }) {
            let message = if measured {
                "only a command leaves a report"
            } else {
                "a command puts out only reports"
            };
            mistakes.add(
                &field.path,
                message,
                Some("such as {junit: target/junit.xml} with `run`".to_owned()),
            );
        }
        outputs.insert(name.to_owned(), output);
    }
    outputs
}

fn read_output(field: &Field<'_>, mistakes: &mut Mistakes) -> Option<OutputType> {
    match &field.node.value {
        Yaml::Text(word) => {
            if let Some((_, simple)) = SIMPLE.iter().find(|(name, _)| name == word) {
                return Some(simple.clone());
            }
            if DOCUMENTS.contains(&word.as_str()) {
                return Some(OutputType::Document(word.clone()));
            }
            let known = SIMPLE.iter().map(|(name, _)| *name).chain(DOCUMENTS);
            mistakes.add(
                &field.path,
                format!("`{word}` is no type"),
                suggest::hint(word, known),
            );
            None
        }
        Yaml::List(_) => {
            let items = field.items("a type in brackets", mistakes)?;
            let [item] = items.as_slice() else {
                mistakes.add(&field.path, "a list has exactly one type: [string]", None);
                return None;
            };
            Some(OutputType::List(Box::new(read_output(item, mistakes)?)))
        }
        _ => {
            let section = field.section("a type, such as string, [object] or {enum: [a, b]}", mistakes)?;
            section.allow(KEYS, &[], mistakes);
            if let Some(field) = section.get("junit") {
                return field.text(mistakes).map(OutputType::Junit);
            }
            let words = section.required("enum", mistakes)?;
            Some(OutputType::Enum(read_words(words, mistakes)))
        }
    }
}
