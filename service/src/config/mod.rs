//! Layered configuration: built-in defaults < a file < its `.local` sibling <
//! environment < flags.
//!
//! Owns merging, provenance and the errors that name a place; knows nothing of
//! what the settings mean. The fields of a typed struct decide which keys exist;
//! see [`Settings`].

mod error;
mod overrides;
mod print;
mod read;
mod tree;

#[cfg(test)]
mod tests;

use std::{
    ffi::OsString,
    io::{ErrorKind, Read},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Deserializer, de::DeserializeOwned};

pub use self::{
    error::{ConfigError, Invalid},
    tree::Origin,
};
use self::{overrides::Override, tree::Node};

/// 1 MiB: a hundred times the longest configuration that a person would write.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// A typed configuration that checks itself.
pub trait Settings: DeserializeOwned {
    /// Checks what types alone cannot say; names the key at fault.
    fn check(&self) -> Result<(), Invalid>;
}

/// The layers, merged so far, each leaf with its origin. Not `Debug`: they hold secrets.
#[derive(Clone)]
pub struct Layers {
    root: Node,
}

impl Layers {
    /// Starts with the built-in defaults: YAML text that names every key.
    pub fn new(defaults: &str) -> Result<Self, ConfigError> {
        let root = tree::parse(defaults, &Origin::Default)?;
        Ok(Self { root })
    }

    /// Lays a file on top, and then its sibling `NAME.local.EXT` if there is one.
    pub fn file(mut self, path: &Path) -> Result<Self, ConfigError> {
        let text = read_file(path).map_err(|cause| ConfigError::Read {
            path: path.to_owned(),
            cause,
        })?;
        self.root.merge(tree::parse(&text, &Origin::file(path))?);
        let local = local_sibling(path);
        match read_file(&local) {
            Ok(text) => self.root.merge(tree::parse(&text, &Origin::file(&local))?),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(cause) => return Err(ConfigError::Read { path: local, cause }),
        }
        Ok(self)
    }

    /// Lays the variables on top whose name starts with `prefix`: `PREFIX` + `HTTP__LISTEN`
    /// sets `http.listen`; the value is a YAML scalar, a list separated by commas, or YAML
    /// in brackets or braces.
    pub fn environment(
        mut self,
        prefix: &str,
        vars: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, ConfigError> {
        for set in overrides::from_environment(prefix, vars)? {
            set.apply(&mut self.root);
        }
        Ok(self)
    }

    /// Lays one flag on top: `--http`, `http.listen`, `127.0.0.1:0`.
    pub fn flag(mut self, flag: &str, key: &str, value: impl Into<String>) -> Self {
        let path = key.split('.').map(str::to_owned).collect();
        Override::new(Origin::Flag(flag.to_owned()), path, value.into()).apply(&mut self.root);
        self
    }

    /// Reads the merged layers as `T` and checks them.
    pub fn read<T: Settings>(&self) -> Result<T, ConfigError> {
        let settings: T = read::read(&self.root)?;
        settings.check().map_err(|invalid| {
            let node = self.root.nearest(&invalid.key);
            ConfigError::Invalid {
                place: node.origin.clone(),
                value: error::shown(&invalid.key, node),
                key: invalid.key,
                problem: invalid.problem,
            }
        })?;
        Ok(settings)
    }

    /// Where the value of a dotted key comes from.
    pub fn origin(&self, key: &str) -> &Origin {
        &self.root.nearest(key).origin
    }

    /// The merged configuration as YAML, each value with its origin, secrets masked.
    pub fn print(&self) -> String {
        print::print(&self.root)
    }
}

/// Reads `null` as the empty value: `providers:` with nothing below it.
pub fn null_as_empty<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// `config.yaml` → `config.local.yaml`.
fn local_sibling(path: &Path) -> PathBuf {
    let mut name = path.file_stem().unwrap_or_default().to_owned();
    name.push(".local");
    if let Some(extension) = path.extension() {
        name.push(".");
        name.push(extension);
    }
    path.with_file_name(name)
}

fn read_file(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(path)?
        .take(MAX_FILE_BYTES + 1)
        .read_to_string(&mut text)?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(std::io::Error::other("it is larger than 1 MiB"));
    }
    Ok(text)
}
