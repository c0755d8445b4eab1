//! Labels of workers and what steps require of them.

use std::{collections::BTreeMap, collections::BTreeSet, fmt};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a worker has: each key may have several values (`tool=cargo`, `tool=git`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Labels(BTreeMap<String, BTreeSet<String>>);

impl Labels {
    /// Adds one value to a key.
    pub fn insert(&mut self, key: impl Into<String>, value: impl Into<String>) {
        self.0.entry(key.into()).or_default().insert(value.into());
    }

    /// Replaces all values of a key by one: what a person configures wins over what was detected.
    pub fn set(&mut self, key: impl Into<String>, value: impl Into<String>) {
        self.0.insert(key.into(), BTreeSet::from([value.into()]));
    }

    /// Whether the worker has this very `key=value`.
    pub fn has(&self, key: &str, value: &str) -> bool {
        self.0.get(key).is_some_and(|values| values.contains(value))
    }

    /// The values of a key, in order.
    pub fn values<'a>(&'a self, key: &str) -> impl Iterator<Item = &'a str> {
        self.0.get(key).into_iter().flatten().map(String::as_str)
    }

    /// All pairs, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .flat_map(|(key, values)| values.iter().map(move |value| (key.as_str(), value.as_str())))
    }

    /// The requirements that these labels do not meet.
    pub fn missing(&self, requires: &Requires) -> Requires {
        Requires(
            requires
                .0
                .iter()
                .filter(|(key, value)| !self.has(key, value))
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect(),
        )
    }
}

impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_pairs(f, self.iter())
    }
}

/// What a step needs: every pair must be among the worker's labels.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Requires(pub BTreeMap<String, String>);

impl Requires {
    /// Nothing is asked for.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Requires {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_pairs(
            f,
            self.0.iter().map(|(key, value)| (key.as_str(), value.as_str())),
        )
    }
}

fn write_pairs<'a>(
    f: &mut fmt::Formatter<'_>,
    pairs: impl Iterator<Item = (&'a str, &'a str)>,
) -> fmt::Result {
    for (index, (key, value)) in pairs.enumerate() {
        let separator = if index == 0 { "" } else { " " };
        write!(f, "{separator}{key}={value}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_many_values_and_requirements_name_what_is_missing() {
        let mut labels = Labels::default();
        labels.insert("tool", "git");
        labels.insert("tool", "cargo");
        labels.insert("os", "linux");
        let requires = Requires(BTreeMap::from([
            ("tool".into(), "cargo".into()),
            ("gpu".into(), "yes".into()),
        ]));
        assert_eq!(labels.missing(&requires).to_string(), "gpu=yes");
        assert_eq!(labels.to_string(), "os=linux tool=cargo tool=git");
        labels.set("tool", "make");
        assert_eq!(labels.values("tool").collect::<Vec<_>>(), ["make"]);
    }
}
