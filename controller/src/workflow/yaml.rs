//! YAML as a tree in which every node knows its line, so that all mistakes can
//! be reported at once and where they are. Knows nothing of workflows.

use std::fmt;

use protocol::http::workflows::WorkflowError;
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value};
use serde_saphyr::{DuplicateKeyPolicy, Spanned};

/// Longest text in bytes: far more than any workflow that a person can read.
const MAX_TEXT: usize = 256 << 10;

/// Most nodes, also after aliases are expanded.
const MAX_NODES: usize = 20_000;

/// Deepest nesting.
const MAX_DEPTH: usize = 48;

/// A node and the line on which it begins, from 1.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    pub(super) line: u64,
    pub(super) value: Yaml,
}

/// What a node holds. Keys stay in the order of the text, repeated ones too.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Yaml {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

/// A key of a map and its line.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Key {
    pub(super) line: u64,
    pub(super) name: String,
}

impl Yaml {
    /// What it is, for "expected …, found …".
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "true or false",
            Self::Int(_) | Self::Float(_) => "a number",
            Self::Text(_) => "text",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
        }
    }
}

impl Node {
    /// The same as JSON; of a repeated key the last one stays.
    pub(super) fn to_json(&self) -> Value {
        match &self.value {
            Yaml::Null => Value::Null,
            Yaml::Bool(value) => (*value).into(),
            Yaml::Int(value) => (*value).into(),
            Yaml::Float(value) => (*value).into(),
            Yaml::Text(text) => text.as_str().into(),
            Yaml::List(items) => items.iter().map(Self::to_json).collect(),
            Yaml::Map(entries) => {
                let entries = entries
                    .iter()
                    .map(|(key, node)| (key.name.clone(), node.to_json()));
                Value::Object(entries.collect::<Map<_, _>>())
            }
        }
    }
}

/// Parses one document.
pub(super) fn parse(text: &str) -> Result<Node, WorkflowError> {
    if text.len() > MAX_TEXT {
        let message = format!(
            "the text has {} bytes, more than {} KiB",
            text.len(),
            MAX_TEXT >> 10
        );
        return Err(mistake(None, message, None));
    }
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_documents: 1,
            max_nodes: MAX_NODES,
            max_depth: MAX_DEPTH,
        },
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        strict_booleans: true,
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
        reject_unsupported_tags: true,
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| readable(text, &error))
}

fn readable(text: &str, error: &serde_saphyr::Error) -> WorkflowError {
    let error = error.without_snippet();
    let line = error
        .location()
        .map(|location| location.line())
        .filter(|line| *line > 0);
    let message = error.to_string();
    let message = message.split(" at line ").next().unwrap_or_default();
    let at_fault = line
        .and_then(|line| text.lines().nth(line as usize - 1))
        .unwrap_or_default();
    let hint = at_fault
        .contains("{{")
        .then(|| "put a value that holds {{ … }} into quotes: \"{{ inputs.task }}\"".to_owned());
    mistake(line, format!("this is not valid YAML: {message}"), hint)
}

fn mistake(line: Option<u64>, message: String, hint: Option<String>) -> WorkflowError {
    WorkflowError {
        line,
        field: None,
        message,
        hint,
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Spanned {
            value, referenced, ..
        } = Spanned::<Yaml>::deserialize(deserializer)?;
        Ok(Self {
            line: referenced.line(),
            value,
        })
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Spanned {
            value, referenced, ..
        } = Spanned::<String>::deserialize(deserializer)?;
        Ok(Self {
            line: referenced.line(),
            name: value,
        })
    }
}

impl<'de> Deserialize<'de> for Yaml {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(YamlVisitor)
    }
}

struct YamlVisitor;

impl<'de> Visitor<'de> for YamlVisitor {
    type Value = Yaml;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any YAML value")
    }

    fn visit_unit<E>(self) -> Result<Yaml, E> {
        Ok(Yaml::Null)
    }

    fn visit_none<E>(self) -> Result<Yaml, E> {
        Ok(Yaml::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Yaml, D::Error> {
        deserializer.deserialize_any(Self)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Yaml, E> {
        Ok(Yaml::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Yaml, E> {
        Ok(Yaml::Int(value))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Yaml, E> {
        i64::try_from(value)
            .map(Yaml::Int)
            .map_err(|_| E::custom(format!("the number {value} is too large")))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Yaml, E> {
        Ok(Yaml::Float(value))
    }

    fn visit_str<E>(self, text: &str) -> Result<Yaml, E> {
        Ok(Yaml::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Yaml, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Yaml::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Yaml, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = access.next_entry()? {
            entries.push(entry);
        }
        if entries.len() > MAX_NODES {
            return Err(A::Error::custom("a map has too many keys"));
        }
        Ok(Yaml::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nodes_and_keys_know_their_lines() {
        let node = parse("a: 1\nb:\n  c: [x,\n    2.5]\n  on: yes\nd: ~\n").expect("valid");
        let Yaml::Map(entries) = &node.value else {
            panic!("a map")
        };
        let lines: Vec<_> = entries
            .iter()
            .map(|(key, node)| (key.name.as_str(), key.line, node.line))
            .collect();
        assert_eq!(lines, [("a", 1, 1), ("b", 2, 3), ("d", 6, 6)]);
        assert_eq!(
            node.to_json(),
            json!({"a": 1, "b": {"c": ["x", 2.5], "on": "yes"}, "d": null})
        );
    }

    #[test]
    fn what_is_no_yaml_is_told_with_its_line() {
        let error = parse("a: [1\nb: 2").expect_err("a bracket is missing");
        assert_eq!(error.line, Some(2));
        assert!(
            error.message.starts_with("this is not valid YAML: "),
            "{}",
            error.message
        );
        assert!(!error.message.contains("line"), "{}", error.message);

        let error = parse("with:\n  a: {{ inputs.task }}\n").expect_err("a template without quotes");
        assert_eq!(error.line, Some(2));
        assert!(error.hint.expect("a hint").contains("quotes"));
    }

    #[test]
    fn size_is_bounded_also_through_aliases() {
        assert!(parse(&"x".repeat(MAX_TEXT + 1)).is_err());
        assert!(parse(&"[".repeat(2000)).is_err());
        let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..8 {
            let inner = vec![format!("*a{}", level - 1); 10].join(", ");
            bomb.push_str(&format!("a{level}: &a{level} [{inner}]\n"));
        }
        assert!(parse(&bomb).is_err());
    }
}
