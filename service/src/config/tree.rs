//! The tree of settings: values with their origin, read from YAML, merged.

use std::{fmt, path::Path, sync::Arc};

use indexmap::IndexMap;
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Number;
use serde_saphyr::Spanned;

use super::error::ConfigError;

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Built in.
    Default,
    /// A line (from 1) of a file.
    File {
        /// Which.
        path: Arc<Path>,
        /// Where in it.
        line: u64,
    },
    /// An environment variable, by name.
    Environment(String),
    /// A flag, by name.
    Flag(String),
}

impl Origin {
    /// The first line of a file.
    pub(super) fn file(path: &Path) -> Self {
        Self::File {
            path: path.into(),
            line: 1,
        }
    }

    fn at_line(&self, line: u64) -> Self {
        match self {
            Self::File { path, .. } => Self::File {
                path: path.clone(),
                line,
            },
            other => other.clone(),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("built-in default"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// One value with its origin. Not `Debug`: it may be a secret.
#[derive(Clone)]
pub(super) struct Node {
    /// Who set it last.
    pub(super) origin: Origin,
    /// The text of an environment variable or a flag, whose type only the reader knows.
    pub(super) text: Option<String>,
    /// What it says.
    pub(super) value: Value,
}

/// What a [`Node`] says.
#[derive(Clone)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Node>),
    Map(IndexMap<String, Node>),
}

impl Node {
    /// Lays `over` on top: maps are merged key by key, everything else is replaced.
    pub(super) fn merge(&mut self, over: Self) {
        match (&mut self.value, over.value) {
            (Value::Map(base), Value::Map(entries)) => {
                self.origin = over.origin;
                for (key, node) in entries {
                    match base.get_mut(&key) {
                        Some(below) => below.merge(node),
                        None => {
                            base.insert(key, node);
                        }
                    }
                }
            }
            (below, value) => {
                *below = value;
                self.origin = over.origin;
                self.text = over.text;
            }
        }
    }

    /// The node of a dotted key, or the deepest one on the way to it.
    pub(super) fn nearest(&self, key: &str) -> &Self {
        let mut node = self;
        for part in key.split(['.', '[']) {
            let below = match &node.value {
                Value::Map(entries) => entries.get(part),
                Value::List(items) => part
                    .trim_end_matches(']')
                    .parse()
                    .ok()
                    .and_then(|index: usize| items.get(index)),
                _ => None,
            };
            let Some(below) = below else { break };
            node = below;
        }
        node
    }
}

/// Parses YAML; an empty text is an empty map.
pub(super) fn parse(text: &str, source: &Origin) -> Result<Node, ConfigError> {
    let parsed: Spanned<Parsed> = serde_saphyr::from_str(text).map_err(|error| {
        let line = error.location().map_or(1, |location| location.line());
        ConfigError::Syntax {
            place: source.at_line(line),
            // without the snippet: the line may hold a secret
            problem: match error.without_snippet() {
                serde_saphyr::Error::DuplicateMappingKey { key: Some(key), .. } => {
                    format!("`{key}` is there twice: keep one")
                }
                other => other.to_string(),
            },
        }
    })?;
    let node = locate(parsed, source);
    match node.value {
        Value::Map(_) => Ok(node),
        Value::Null => Ok(Node {
            value: Value::Map(IndexMap::new()),
            ..node
        }),
        _ => Err(ConfigError::Syntax {
            place: node.origin,
            problem: "expected `key: value` lines".to_owned(),
        }),
    }
}

/// Parses one YAML value such as `5`, `true`, `~`, `[a, b]`; `None` if it is no YAML.
pub(super) fn parse_value(text: &str, source: &Origin) -> Option<Value> {
    let parsed: Spanned<Parsed> = serde_saphyr::from_str(text).ok()?;
    Some(locate(parsed, source).value)
}

/// YAML with lines, before it knows its file.
enum Parsed {
    Leaf(Value),
    List(Vec<Spanned<Parsed>>),
    Map(Vec<(Spanned<String>, Spanned<Parsed>)>),
}

fn locate(parsed: Spanned<Parsed>, source: &Origin) -> Node {
    let line = parsed.referenced.line();
    let value = match parsed.value {
        Parsed::Leaf(value) => value,
        Parsed::List(items) => Value::List(items.into_iter().map(|item| locate(item, source)).collect()),
        Parsed::Map(entries) => Value::Map(
            entries
                .into_iter()
                .map(|(key, entry)| {
                    let mut node = locate(entry, source);
                    // the key's line, not that of the block below it
                    node.origin = source.at_line(key.referenced.line());
                    (key.value, node)
                })
                .collect(),
        ),
    };
    Node {
        origin: source.at_line(line),
        text: None,
        value,
    }
}

impl<'de> Deserialize<'de> for Parsed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ParsedVisitor)
    }
}

struct ParsedVisitor;

impl<'de> Visitor<'de> for ParsedVisitor {
    type Value = Parsed;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Parsed, E> {
        Ok(Parsed::Leaf(Value::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Parsed, E> {
        Ok(Parsed::Leaf(Value::Bool(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Parsed, E> {
        Ok(Parsed::Leaf(Value::Number(value.into())))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Parsed, E> {
        Ok(Parsed::Leaf(Value::Number(value.into())))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Parsed, E> {
        let number = Number::from_f64(value).ok_or_else(|| E::custom("expected a finite number"))?;
        Ok(Parsed::Leaf(Value::Number(number)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Parsed, E> {
        Ok(Parsed::Leaf(Value::Text(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Parsed, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Parsed::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Parsed, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Parsed::Map(map))
    }
}
