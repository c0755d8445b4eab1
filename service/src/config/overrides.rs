//! Single values from the environment and from flags.

use std::ffi::OsString;

use indexmap::IndexMap;

use super::{
    error::ConfigError,
    tree::{Node, Origin, Value, parse_value},
};

/// One value for one key.
pub(super) struct Override {
    origin: Origin,
    path: Vec<String>,
    text: String,
}

impl Override {
    pub(super) fn new(origin: Origin, path: Vec<String>, text: String) -> Self {
        Self { origin, path, text }
    }

    /// Puts the value into the tree, making maps on the way.
    pub(super) fn apply(self, root: &mut Node) {
        let value = parse_value(&self.text, &self.origin).unwrap_or_else(|| Value::Text(self.text.clone()));
        let node = Node {
            origin: self.origin.clone(),
            text: Some(self.text),
            value,
        };
        let mut below = root;
        for part in self.path {
            if !matches!(below.value, Value::Map(_)) {
                below.value = Value::Map(IndexMap::new());
                below.text = None;
            }
            below.origin = self.origin.clone();
            let Value::Map(entries) = &mut below.value else {
                unreachable!("made a map just above");
            };
            let key = spelled(entries, part);
            below = entries.entry(key).or_insert_with(|| Node {
                origin: self.origin.clone(),
                text: None,
                value: Value::Null,
            });
        }
        below.merge(node);
    }
}

/// The key as the layers below spell it: variable names know neither small letters nor hyphens.
fn spelled(entries: &IndexMap<String, Node>, part: String) -> String {
    if entries.contains_key(&part) {
        return part;
    }
    let same = |key: &&String| key.to_lowercase().replace(['-', '.'], "_") == part;
    entries.keys().find(same).cloned().unwrap_or(part)
}

/// The variables with the prefix, sorted by name.
pub(super) fn from_environment(
    prefix: &str,
    vars: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Vec<Override>, ConfigError> {
    let mut found = Vec::new();
    for (name, value) in vars {
        let Some(name) = name.to_str() else { continue };
        let Some(key) = name.strip_prefix(prefix) else {
            continue;
        };
        let wrong = |problem| ConfigError::Environment {
            name: name.to_owned(),
            problem,
        };
        let path: Vec<String> = key.split("__").map(str::to_lowercase).collect();
        if path.iter().any(String::is_empty) {
            return Err(wrong(
                "names no setting: write the prefix, then keys joined by two underscores",
            ));
        }
        let value = value.into_string().map_err(|_| wrong("is not UTF-8 text"))?;
        found.push(Override::new(Origin::Environment(name.to_owned()), path, value));
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}
