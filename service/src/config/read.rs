//! From the tree to a typed struct, with errors that know key and place.

use std::fmt;

use serde::{
    de::{
        self, DeserializeOwned, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess,
        Unexpected, Visitor,
        value::{MapAccessDeserializer, StrDeserializer},
    },
    forward_to_deserialize_any,
};

use super::{
    error::{ConfigError, shown, suggest},
    print::is_secret,
    tree::{Node, Origin, Value, parse_value},
};

/// Reads a tree as `T`.
pub(super) fn read<T: DeserializeOwned>(root: &Node) -> Result<T, ConfigError> {
    T::deserialize(root).map_err(|error| error.finish(root))
}

/// An error on its way up; each level adds its key in front.
#[derive(Debug)]
pub(super) struct ReadError {
    problem: Problem,
    /// Keys, innermost first.
    keys: Vec<String>,
    /// Origin and value of the innermost node.
    found: Option<(Origin, String)>,
}

#[derive(Debug)]
enum Problem {
    Other(String),
    UnknownKey {
        name: String,
        known: &'static [&'static str],
    },
    Missing(&'static str),
}

impl ReadError {
    fn from(problem: Problem) -> Self {
        Self {
            problem,
            keys: Vec::new(),
            found: None,
        }
    }

    fn below(mut self, key: String, node: &Node) -> Self {
        self.found
            .get_or_insert_with(|| (node.origin.clone(), shown(&key, node)));
        self.keys.push(key);
        self
    }

    fn finish(self, root: &Node) -> ConfigError {
        let key = join(self.keys.iter().rev());
        let (place, value) = self.found.unwrap_or_else(|| (root.origin.clone(), String::new()));
        match self.problem {
            Problem::Missing(name) => ConfigError::MissingKey {
                place,
                key: join(self.keys.iter().rev().map(String::as_str).chain([name])),
            },
            Problem::UnknownKey { name, known } => {
                let section = self.keys.iter().skip(1).rev().map(String::as_str);
                ConfigError::UnknownKey {
                    place,
                    key,
                    suggestion: suggest(&name, known.iter().copied()).map(|near| join(section.chain([near]))),
                    known: known.iter().map(|&name| name.to_owned()).collect(),
                }
            }
            Problem::Other(_) if self.keys.first().is_some_and(|key| is_secret(key)) => {
                ConfigError::Invalid {
                    place,
                    key,
                    value,
                    problem: "expected text in quotes".to_owned(),
                }
            }
            Problem::Other(problem) => ConfigError::Invalid {
                place,
                key,
                value,
                problem,
            },
        }
    }
}

/// What a Rust type wants, in words for people.
fn in_words(expected: &dyn de::Expected) -> String {
    let rust = expected.to_string();
    let words = match rust.as_str() {
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65535",
        "u32" | "u64" | "usize" => "a whole number, 0 or more",
        "a boolean" => "true or false",
        "a string" => "text (put it in quotes)",
        "f32" | "f64" => "a number",
        "a sequence" => "a list",
        rust if rust.starts_with("struct ") => "a map",
        rust => rust,
    };
    words.to_owned()
}

/// `limits.lease_s`, `models.large[0].window`.
fn join<'a, S: AsRef<str> + ?Sized + 'a>(keys: impl IntoIterator<Item = &'a S>) -> String {
    let mut path = String::new();
    for key in keys {
        let key = key.as_ref();
        if !path.is_empty() && !key.starts_with('[') {
            path.push('.');
        }
        path.push_str(key);
    }
    path
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.problem {
            Problem::Other(text) => f.write_str(text),
            Problem::UnknownKey { name, .. } => write!(f, "there is no setting `{name}`"),
            Problem::Missing(name) => write!(f, "`{name}` is missing"),
        }
    }
}

impl std::error::Error for ReadError {}

impl de::Error for ReadError {
    fn custom<T: fmt::Display>(text: T) -> Self {
        Self::from(Problem::Other(text.to_string()))
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        // the value itself is shown before this text
        let kind = match found {
            Unexpected::Bool(_) => "true or false",
            Unexpected::Unsigned(_) | Unexpected::Signed(_) => "a whole number",
            Unexpected::Float(_) => "a number with a fraction",
            Unexpected::Str(_) => "text",
            Unexpected::Unit | Unexpected::Option => "nothing",
            Unexpected::Seq => "a list",
            Unexpected::Map => "a map",
            _ => "something else",
        };
        let expected = in_words(expected);
        Self::custom(format_args!("this is {kind}, expected {expected}"))
    }

    fn invalid_value(_: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::custom(format_args!("out of range: expected {}", in_words(expected)))
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        let hint = suggest(variant, expected.iter().copied())
            .map(|near| format!(": did you mean {near}?"))
            .unwrap_or_default();
        Self::custom(format_args!("expected one of {}{hint}", expected.join(", ")))
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self::from(Problem::UnknownKey {
            name: field.to_owned(),
            known: expected,
        })
    }

    fn missing_field(field: &'static str) -> Self {
        Self::from(Problem::Missing(field))
    }
}

impl<'de> Deserializer<'de> for &Node {
    type Error = ReadError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match &self.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Number(number) => match (number.as_u64(), number.as_i64()) {
                (Some(value), _) => visitor.visit_u64(value),
                (None, Some(value)) => visitor.visit_i64(value),
                (None, None) => visitor.visit_f64(number.as_f64().unwrap_or(f64::NAN)),
            },
            Value::Text(text) => visitor.visit_str(text),
            Value::List(items) => visitor.visit_seq(Items {
                items: items.iter(),
                index: 0,
            }),
            Value::Map(entries) => visitor.visit_map(Entries {
                entries: entries.iter(),
                current: None,
            }),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match &self.text {
            // `AGENTD_X=12` is text where text is wanted
            Some(text) => visitor.visit_str(text),
            None => self.deserialize_any(visitor),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match (&self.value, &self.text) {
            (Value::List(_), _) | (_, None) => self.deserialize_any(visitor),
            // `AGENTD_X=a,b` is a list where a list is wanted
            (_, Some(text)) => {
                let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
                let items: Vec<Node> = parts
                    .map(|part| Node {
                        origin: self.origin.clone(),
                        text: Some(part.to_owned()),
                        value: parse_value(part, &self.origin)
                            .unwrap_or_else(|| Value::Text(part.to_owned())),
                    })
                    .collect();
                visitor.visit_seq(Items {
                    items: items.iter(),
                    index: 0,
                })
            }
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        match &self.value {
            Value::Text(text) => visitor.visit_enum(StrDeserializer::new(text)),
            Value::Map(entries) => visitor.visit_enum(MapAccessDeserializer::new(Entries {
                entries: entries.iter(),
                current: None,
            })),
            _ => self.deserialize_any(visitor),
        }
    }

    /// Any key that the struct does not have is a mistake here, also of types that ignore it on the wire.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        if let Value::Map(entries) = &self.value {
            let unknown = entries.iter().find(|(key, _)| !fields.contains(&key.as_str()));
            if let Some((key, node)) = unknown {
                return Err(de::Error::unknown_field(key, fields))
                    .map_err(|error: ReadError| error.below(key.clone(), node));
            }
        }
        self.deserialize_any(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit
        unit_struct tuple tuple_struct map identifier ignored_any
    }
}

struct Items<'a> {
    items: std::slice::Iter<'a, Node>,
    index: usize,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = ReadError;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, ReadError> {
        let Some(node) = self.items.next() else {
            return Ok(None);
        };
        let key = format!("[{}]", self.index);
        self.index += 1;
        seed.deserialize(node)
            .map(Some)
            .map_err(|error| error.below(key, node))
    }
}

struct Entries<'a> {
    entries: indexmap::map::Iter<'a, String, Node>,
    current: Option<(&'a String, &'a Node)>,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = ReadError;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, ReadError> {
        self.current = self.entries.next();
        let Some((key, node)) = self.current else {
            return Ok(None);
        };
        let name: StrDeserializer<'_, ReadError> = key.as_str().into_deserializer();
        seed.deserialize(name)
            .map(Some)
            .map_err(|error| error.below(key.clone(), node))
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, ReadError> {
        let (key, node) = self
            .current
            .take()
            .expect("serde asks for a value after its key only");
        seed.deserialize(node)
            .map_err(|error| error.below(key.clone(), node))
    }
}
