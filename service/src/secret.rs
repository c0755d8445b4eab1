//! Text that must not be seen: keys, tokens, passwords.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize, Serializer};

/// What is shown instead.
const MASK: &str = "•••";

/// 64 KiB: no key is longer, and a mistyped path to a disk image must not fill the memory.
const MAX_FILE_BYTES: u64 = 64 * 1024;

/// A secret text: prints and serializes as `•••`, has no `Display`.
///
/// `==` takes as long as the texts are alike: for configurations, not for logins.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Hides a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(MASK)
    }
}

/// A secret that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The environment lacks it.
    #[error("{of} is to come from the environment variable {name}, which is not set: set it, or use a file")]
    NoVariable {
        /// What the secret is for.
        of: String,
        /// The variable.
        name: String,
    },
    /// Its file cannot be read.
    #[error("{of} is to come from the file {}: {cause}", path.display())]
    File {
        /// What the secret is for.
        of: String,
        /// The file.
        path: PathBuf,
        /// Why not.
        cause: std::io::Error,
    },
    /// It is there and empty.
    #[error("{of} is empty: write it, or take the setting out")]
    Empty {
        /// What the secret is for.
        of: String,
    },
}

/// Finds a secret that is configured as text, as the name of an environment variable, or as a
/// file (whose last line end does not count); `None` if none of them is. `of` names it in errors.
pub fn resolve(
    of: &str,
    text: Option<&str>,
    variable: Option<&str>,
    file: Option<&Path>,
) -> Result<Option<Secret>, SecretError> {
    resolve_with(of, text, variable, file, |name| std::env::var(name).ok())
}

fn resolve_with(
    of: &str,
    text: Option<&str>,
    variable: Option<&str>,
    file: Option<&Path>,
    read_variable: impl Fn(&str) -> Option<String>,
) -> Result<Option<Secret>, SecretError> {
    let found = if let Some(text) = text {
        text.to_owned()
    } else if let Some(name) = variable {
        read_variable(name).ok_or_else(|| SecretError::NoVariable {
            of: of.to_owned(),
            name: name.to_owned(),
        })?
    } else if let Some(path) = file {
        read_file(path).map_err(|cause| SecretError::File {
            of: of.to_owned(),
            path: path.to_owned(),
            cause,
        })?
    } else {
        return Ok(None);
    };
    let found = found.trim_end_matches(['\r', '\n']);
    if found.is_empty() {
        return Err(SecretError::Empty { of: of.to_owned() });
    }
    Ok(Some(Secret::new(found)))
}

fn read_file(path: &Path) -> std::io::Result<String> {
    use std::io::Read;
    let mut text = String::new();
    std::fs::File::open(path)?
        .take(MAX_FILE_BYTES)
        .read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_cannot_be_seen() {
        let secret = Secret::new("sk-very");
        assert_eq!(format!("{secret:?} {:?}", Some(&secret)), "••• Some(•••)");
        assert_eq!(serde_json::to_string(&secret).expect("text"), "\"•••\"");
        let read: Secret = serde_json::from_str("\"sk-very\"").expect("text");
        assert_eq!(read.expose(), "sk-very");
    }

    #[test]
    fn a_secret_comes_from_text_variable_or_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("key");
        std::fs::write(&file, "from-file\n").expect("written");
        let vars = |name: &str| (name == "KEY").then(|| "from-env".to_owned());
        let get = |text, variable, file| {
            resolve_with("the key", text, variable, file, vars)
                .map(|found| found.map(|secret| secret.expose().to_owned()))
                .map_err(|error| error.to_string())
        };
        assert_eq!(get(None, None, None), Ok(None));
        assert_eq!(get(Some("t"), None, None), Ok(Some("t".into())));
        assert_eq!(get(None, Some("KEY"), None), Ok(Some("from-env".into())));
        assert_eq!(get(None, None, Some(&file)), Ok(Some("from-file".into())));
        let error = get(None, Some("NOPE"), None).expect_err("not set");
        assert!(
            error.starts_with("the key is to come from the environment variable NOPE"),
            "{error}"
        );
        let absent = folder.path().join("none");
        assert!(get(None, None, Some(&absent)).is_err());
        assert_eq!(
            get(Some(""), None, None).expect_err("empty"),
            "the key is empty: write it, or take the setting out"
        );
    }
}
