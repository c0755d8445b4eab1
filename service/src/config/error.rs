//! What is wrong with a configuration: place, key, value and way out, in one sentence.

use std::{io, path::PathBuf};

use super::{
    print::{flow, is_secret},
    tree::{Node, Origin},
};

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file that cannot be read.
    #[error("cannot read the configuration {}: {cause}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// Text that is no YAML.
    #[error("{place}: {problem}")]
    Syntax {
        /// Where.
        place: Origin,
        /// What the parser says.
        problem: String,
    },
    /// A key that does not exist.
    #[error("{place}: there is no setting `{key}`: {}", way_out(suggestion.as_deref(), known))]
    UnknownKey {
        /// Where.
        place: Origin,
        /// The dotted key.
        key: String,
        /// The dotted key that was probably meant.
        suggestion: Option<String>,
        /// All keys that exist there.
        known: Vec<String>,
    },
    /// A key that must be there.
    #[error("{place}: `{key}` is missing: add it")]
    MissingKey {
        /// Where the section is.
        place: Origin,
        /// The dotted key.
        key: String,
    },
    /// A value that cannot be used.
    #[error("{place}: `{key}` = {value}: {problem}")]
    Invalid {
        /// Where.
        place: Origin,
        /// The dotted key.
        key: String,
        /// What is there; masked if it is a secret.
        value: String,
        /// What is wrong, and what would be right.
        problem: String,
    },
    /// An environment variable that cannot be used at all.
    #[error("environment {name}: {problem}")]
    Environment {
        /// Its name.
        name: String,
        /// What is wrong.
        problem: &'static str,
    },
}

/// A check that failed: which key, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{key}`: {problem}")]
pub struct Invalid {
    /// The dotted key.
    pub key: String,
    /// What is wrong, and what would be right.
    pub problem: String,
}

impl Invalid {
    /// Names a key and its problem.
    pub fn new(key: impl Into<String>, problem: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            problem: problem.into(),
        }
    }
}

fn way_out(suggestion: Option<&str>, known: &[String]) -> String {
    match suggestion {
        Some(suggestion) => format!("did you mean `{suggestion}`?"),
        None if known.is_empty() => "nothing can be set there".to_owned(),
        None => format!("known here: {}", known.join(", ")),
    }
}

/// The most similar of the known names, if one is near enough to be a slip of the hand.
pub(super) fn suggest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_lowercase().replace('-', "_");
    // one slip in three letters, two at least
    let most = (name.chars().count() / 3).max(2);
    known
        .into_iter()
        .map(|known| (strsim::damerau_levenshtein(&name, known), known))
        .filter(|(distance, _)| *distance <= most)
        .min()
        .map(|(_, known)| known)
}

/// A value as errors show it: short, and masked if its key names a secret.
pub(super) fn shown(key: &str, node: &Node) -> String {
    let last = key.rsplit('.').next().unwrap_or(key);
    if is_secret(last) {
        return "•••".to_owned();
    }
    let text = flow(node);
    if text.chars().count() > 80 {
        text.chars().take(79).chain(['…']).collect()
    } else {
        text
    }
}
