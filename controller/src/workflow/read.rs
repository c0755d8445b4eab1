//! Typed reading of a YAML tree: each reader takes what it can use, notes every
//! mistake with its line, field and way out, and goes on.

use std::collections::BTreeMap;

use protocol::{duration::Millis, http::workflows::WorkflowError};

use super::{
    suggest,
    yaml::{Node, Yaml},
};

/// The mistakes found so far, and the lines of the fields that were read.
#[derive(Default)]
pub(super) struct Mistakes {
    errors: Vec<WorkflowError>,
    lines: BTreeMap<String, u64>,
}

impl Mistakes {
    /// Notes a mistake; the line is that of the field or of what surrounds it.
    pub(super) fn add(&mut self, field: &str, message: impl Into<String>, hint: Option<String>) {
        let line = self.line(field);
        let field = (!field.is_empty()).then(|| field.to_owned());
        let error = WorkflowError {
            line,
            field,
            message: message.into(),
            hint,
        };
        if !self.errors.contains(&error) {
            self.errors.push(error);
        }
    }

    /// Where a field was read, or the nearest field around it.
    fn line(&self, field: &str) -> Option<u64> {
        let mut path = field;
        loop {
            if let Some(line) = self.lines.get(path) {
                return Some(*line);
            }
            path = path.rsplit_once(['.', '[']).map_or("", |(outer, _)| outer);
            if path.is_empty() {
                return self.lines.get("").copied();
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.errors.is_empty()
    }

    /// All of them, in the order of the text.
    pub(super) fn into_errors(mut self) -> Vec<WorkflowError> {
        self.errors.sort_by_key(|error| error.line);
        self.errors
    }
}

/// A value, and the path by which people find it, such as `steps.edit.needs`.
#[derive(Clone)]
pub(super) struct Field<'a> {
    pub(super) path: String,
    pub(super) node: &'a Node,
}

impl<'a> Field<'a> {
    /// The whole document.
    pub(super) fn root(node: &'a Node, mistakes: &mut Mistakes) -> Self {
        mistakes.lines.insert(String::new(), node.line);
        Self {
            path: String::new(),
            node,
        }
    }

    fn wrong(&self, expected: &str, hint: Option<String>, mistakes: &mut Mistakes) {
        let found = self.node.value.kind();
        mistakes.add(&self.path, format!("expected {expected}, found {found}"), hint);
    }

    /// A map's entries by name.
    pub(super) fn section(&self, expected: &str, mistakes: &mut Mistakes) -> Option<Section<'a>> {
        let Yaml::Map(entries) = &self.node.value else {
            self.wrong(expected, None, mistakes);
            return None;
        };
        let mut section = Section {
            path: self.path.clone(),
            entries: Vec::new(),
        };
        for (key, node) in entries {
            let path = section.path_of(&key.name);
            if section.entries.iter().any(|(name, _)| *name == key.name) {
                mistakes.lines.insert(path.clone(), key.line);
                mistakes.add(&path, format!("`{}` is given twice", key.name), None);
                continue;
            }
            mistakes.lines.insert(path.clone(), key.line);
            section.entries.push((&key.name, Field { path, node }));
        }
        Some(section)
    }

    /// A list's items.
    pub(super) fn items(&self, expected: &str, mistakes: &mut Mistakes) -> Option<Vec<Self>> {
        let Yaml::List(nodes) = &self.node.value else {
            let hint = matches!(self.node.value, Yaml::Text(_)).then(|| "write a list: [a, b]".to_owned());
            self.wrong(expected, hint, mistakes);
            return None;
        };
        let items = nodes.iter().enumerate().map(|(index, node)| {
            let path = format!("{}[{index}]", self.path);
            mistakes.lines.insert(path.clone(), node.line);
            Self { path, node }
        });
        Some(items.collect())
    }

    /// Text as it stands.
    pub(super) fn text(&self, mistakes: &mut Mistakes) -> Option<String> {
        if let Yaml::Text(text) = &self.node.value {
            return Some(text.clone());
        }
        self.wrong("text", None, mistakes);
        None
    }

    /// Text, or a whole number or truth value that is clear as text.
    pub(super) fn plain(&self, mistakes: &mut Mistakes) -> Option<String> {
        match &self.node.value {
            Yaml::Text(text) => Some(text.clone()),
            Yaml::Int(value) => Some(value.to_string()),
            Yaml::Bool(value) => Some(value.to_string()),
            _ => {
                self.wrong("text", Some("put the value into quotes".to_owned()), mistakes);
                None
            }
        }
    }

    /// A list of texts as they stand.
    pub(super) fn texts(&self, expected: &str, mistakes: &mut Mistakes) -> Option<Vec<String>> {
        let items = self.items(expected, mistakes)?;
        Some(items.iter().filter_map(|item| item.text(mistakes)).collect())
    }

    /// `true` or `false`.
    pub(super) fn truth(&self, mistakes: &mut Mistakes) -> Option<bool> {
        if let Yaml::Bool(value) = self.node.value {
            return Some(value);
        }
        self.wrong("true or false", None, mistakes);
        None
    }

    /// A whole number between bounds.
    pub(super) fn int(&self, min: i64, max: i64, mistakes: &mut Mistakes) -> Option<i64> {
        let Yaml::Int(value) = self.node.value else {
            self.wrong("a whole number", None, mistakes);
            return None;
        };
        if (min..=max).contains(&value) {
            return Some(value);
        }
        mistakes.add(
            &self.path,
            format!("{value} is not between {min} and {max}"),
            None,
        );
        None
    }

    /// A number above zero.
    pub(super) fn positive(&self, mistakes: &mut Mistakes) -> Option<f64> {
        let value = match self.node.value {
            Yaml::Int(value) => value as f64,
            Yaml::Float(value) => value,
            _ => {
                self.wrong("a number", None, mistakes);
                return None;
            }
        };
        if value > 0.0 {
            return Some(value);
        }
        mistakes.add(&self.path, format!("{value} is not above 0"), None);
        None
    }

    /// A length of time such as `10m`, above zero and at most `max`.
    pub(super) fn duration(&self, max: Millis, mistakes: &mut Mistakes) -> Option<Millis> {
        let Yaml::Text(text) = &self.node.value else {
            let hint = "write a number and a unit, such as 90s, 10m or 2h".to_owned();
            self.wrong("a duration", Some(hint), mistakes);
            return None;
        };
        parse_duration(&self.path, text, max, mistakes)
    }

    /// One of a few words.
    pub(super) fn one_of<T: Copy>(&self, words: &[(&str, T)], mistakes: &mut Mistakes) -> Option<T> {
        let text = self.text(mistakes)?;
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
            return Some(*value);
        }
        let known = words.iter().map(|(word, _)| *word);
        let list = known.clone().collect::<Vec<_>>().join(", ");
        let hint = suggest::closest(&text, known).map(|name| format!("did you mean `{name}`?"));
        mistakes.add(&self.path, format!("`{text}` is not one of {list}"), hint);
        None
    }
}

/// Parses a duration that is part of the field `path`.
pub(super) fn parse_duration(path: &str, text: &str, max: Millis, mistakes: &mut Mistakes) -> Option<Millis> {
    match text.parse::<Millis>() {
        Ok(Millis(0)) => mistakes.add(path, format!("{text} is no time at all"), None),
        Ok(value) if value > max => mistakes.add(path, format!("{text} is longer than {max}"), None),
        Ok(value) => return Some(value),
        Err(error) => mistakes.add(path, error.to_string(), None),
    }
    None
}

/// The entries of a map.
pub(super) struct Section<'a> {
    pub(super) path: String,
    entries: Vec<(&'a str, Field<'a>)>,
}

impl<'a> Section<'a> {
    pub(super) fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.path)
        }
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.entries.iter().any(|(key, _)| *key == name)
    }

    pub(super) fn get(&self, name: &str) -> Option<&Field<'a>> {
        self.entries
            .iter()
            .find(|(key, _)| *key == name)
            .map(|(_, field)| field)
    }

    /// The entry, or a mistake.
    pub(super) fn required(&self, name: &str, mistakes: &mut Mistakes) -> Option<&Field<'a>> {
        let field = self.get(name);
        if field.is_none() {
            mistakes.add(&self.path, format!("`{name}` is missing"), None);
        }
        field
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = (&'a str, &Field<'a>)> {
        self.entries.iter().map(|(name, field)| (*name, field))
    }

    /// Notes every key that is neither known nor planned; `later` are those of the format that this version lacks.
    pub(super) fn allow(&self, known: &[&str], later: &[&str], mistakes: &mut Mistakes) {
        for (name, field) in &self.entries {
            if known.contains(name) {
                continue;
            }
            if later.contains(name) {
                mistakes.add(
                    &field.path,
                    format!("`{name}` is not supported yet in this version"),
                    None,
                );
            } else {
                let hint = suggest::hint(name, known.iter().copied());
                mistakes.add(&field.path, format!("unknown key `{name}`"), hint);
            }
        }
    }
}
