//! The configuration of `agent-worker`: its sections, their checks, its layers.
//!
//! The defaults are the committed file `configs/worker.yaml` itself. Read once by
//! `app`; sections travel, the whole does not.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::{Path, PathBuf},
};

use protocol::{
    label::Labels,
    provider::ProviderConfig,
    sandbox::{self, SandboxLevel},
};
use serde::{
    Deserialize, Deserializer,
    de::{self, SeqAccess, Visitor},
};
use service::{
    config::{ConfigError, Invalid, Layers, Settings, null_as_empty},
    obs::log::LogConfig,
    secret::{self, Secret, SecretError},
};

/// The committed file: every key, with its default.
pub const DEFAULTS: &str = include_str!("../../configs/worker.yaml");

/// Start of the environment variables that set keys.
pub const ENV_PREFIX: &str = "AGENT_WORKER_";

/// 256: more steps at a time than any one machine can run.
const MAX_SLOTS: u32 = 256;

/// All settings of a worker.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the state lives; `None` is for [`service::state_dir::locate`] to decide.
    pub state_dir: Option<PathBuf>,
    /// Base URL of the controller; `None` is the one that joining stored.
    pub controller: Option<String>,
    /// How many attempts it takes at a time.
    pub slots: u32,
    /// At which levels tools run.
    pub sandbox: SandboxConfig,
    /// Whether repositories on this machine's disk may be cloned by URL.
    pub allow_file_urls: bool,
    /// Added to what is detected, and stronger than it.
    #[serde(deserialize_with = "labels")]
    pub labels: Labels,
    /// Model servers that this machine reaches by itself.
    #[serde(deserialize_with = "null_as_empty")]
    pub providers: BTreeMap<String, ProviderConfig>,
    /// Log lines.
    pub log: LogConfig,
}

/// At which levels tools run, and what they may reach.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SandboxConfig {
    /// The allowed levels.
    pub allow: BTreeSet<SandboxLevel>,
    /// Further folders that tools may read.
    #[serde(deserialize_with = "null_as_empty")]
    pub read_only: Vec<PathBuf>,
    /// Hosts that steps may ask for; `packages` stands for the machine's package sources.
    #[serde(deserialize_with = "null_as_empty")]
    pub network: Vec<String>,
}

impl Default for Config {
    /// What `configs/worker.yaml` says.
    fn default() -> Self {
        Layers::new(DEFAULTS)
            .and_then(|layers| layers.read())
            .expect("a test reads the built-in configuration")
    }
}

impl Config {
    /// Defaults, the file (and its `.local` sibling) if one is named, and the environment of
    /// this process; flags go on top before [`Layers::read`].
    pub fn layers(file: Option<&Path>) -> Result<Layers, ConfigError> {
        let mut layers = Layers::new(DEFAULTS)?;
        if let Some(file) = file {
            layers = layers.file(file)?;
        }
        layers.environment(ENV_PREFIX, std::env::vars_os())
    }

    /// The key of a provider of this machine, read now; `None` if it is unknown or needs none.
    pub fn provider_key(&self, name: &str) -> Result<Option<Secret>, SecretError> {
        let Some(provider) = self.providers.get(name) else {
            return Ok(None);
        };
        secret::resolve(
            &format!("the key of provider `{name}`"),
            provider.api_key.as_deref(),
            provider.api_key_env.as_deref(),
            provider.api_key_file.as_deref(),
        )
    }
}

impl Settings for Config {
    fn check(&self) -> Result<(), Invalid> {
        if let Some(url) = &self.controller {
            let host = url
                .strip_prefix("http://")
                .or_else(|| url.strip_prefix("https://"));
            if host.is_none_or(|rest| rest.is_empty() || rest.starts_with(['/', ':'])) {
                return Err(Invalid::new(
                    "controller",
                    "expected http:// or https:// and a host, such as http://127.0.0.1:8484",
                ));
            }
        }
        if !(1..=MAX_SLOTS).contains(&self.slots) {
            return Err(Invalid::new("slots", format!("expected 1 to {MAX_SLOTS}")));
        }
        if self.sandbox.allow.is_empty() {
            return Err(Invalid::new(
                "sandbox.allow",
                "without a level nothing can run: name strong, basic or none",
            ));
        }
        for (i, folder) in self.sandbox.read_only.iter().enumerate() {
            if !folder.is_absolute() {
                return Err(Invalid::new(
                    format!("sandbox.read_only[{i}]"),
                    "expected a whole path, starting with /",
                ));
            }
        }
        for (i, entry) in self.sandbox.network.iter().enumerate() {
            if let Some(mistake) = sandbox::network_mistake(entry) {
                return Err(Invalid::new(format!("sandbox.network[{i}]"), mistake));
            }
        }
        if self.labels.values(sandbox::LABEL).next().is_some() {
            return Err(Invalid::new(
                format!("labels.{}", sandbox::LABEL),
                "this label says what was probed and cannot be set; see `sandbox.allow`",
            ));
        }
        for (key, value) in self.labels.iter() {
            if !is_label_part(key) || !is_label_part(value) {
                return Err(Invalid::new(
                    format!("labels.{key}"),
                    "keys and values have 1 to 100 letters, digits and . _ - / : + @",
                ));
            }
        }
        for (name, provider) in &self.providers {
            // the name becomes the label `llm=NAME`
            if !is_label_part(name) {
                return Err(Invalid::new(
                    format!("providers.{name}"),
                    "a name has 1 to 100 letters, digits and . _ -",
                ));
            }
            provider.check().map_err(|invalid| {
                Invalid::new(format!("providers.{name}.{}", invalid.field), invalid.problem)
            })?;
        }
        self.log.check()
    }
}

fn is_label_part(text: &str) -> bool {
    (1..=100).contains(&text.len())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "._-/:+@".contains(c))
}

/// `key: value` or `key: [values]`; numbers and booleans are read as text.
fn labels<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Labels, D::Error> {
    let configured: Option<BTreeMap<String, LabelValues>> = Option::deserialize(deserializer)?;
    let mut labels = Labels::default();
    for (key, LabelValues(values)) in configured.unwrap_or_default() {
        for value in values {
            labels.insert(key.clone(), value);
        }
    }
    Ok(labels)
}

struct LabelValues(Vec<String>);

impl<'de> Deserialize<'de> for LabelValues {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(LabelVisitor)
    }
}

struct LabelVisitor;

impl<'de> Visitor<'de> for LabelVisitor {
    type Value = LabelValues;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text or a list of texts")
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<LabelValues, E> {
        Ok(LabelValues(vec![value.to_owned()]))
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<LabelValues, E> {
        self.visit_str(&value.to_string())
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<LabelValues, E> {
        self.visit_str(&value.to_string())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<LabelValues, A::Error> {
        let mut values = Vec::new();
        while let Some(LabelValues(inner)) = items.next_element()? {
            values.extend(inner);
        }
        Ok(LabelValues(values))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Config, String> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("w.yaml");
        std::fs::write(&path, text).expect("written");
        let layers = Layers::new(DEFAULTS).and_then(|layers| layers.file(&path));
        layers.and_then(|layers| layers.read()).map_err(|error| {
            error
                .to_string()
                .replace(&format!("{}/", folder.path().display()), "")
        })
    }

    #[test]
    fn the_committed_file_is_the_default() {
        let config = Config::default();
        assert_eq!(read(DEFAULTS), Ok(config.clone()));
        assert_eq!((config.slots, config.controller), (2, None));
        let allowed: Vec<SandboxLevel> = config.sandbox.allow.iter().copied().collect();
        assert_eq!(allowed, [SandboxLevel::Basic, SandboxLevel::Strong]);
        assert_eq!(config.sandbox.network, ["packages"]);
        assert!(config.providers.is_empty());
        assert!(!config.allow_file_urls);
    }

    #[test]
    fn the_examples_of_the_committed_file_are_valid() {
        // an example line begins with `#` and no space
        let examples: Vec<String> = DEFAULTS
            .lines()
            .map(|line| match line.trim_start().strip_prefix('#') {
                Some(example) if !example.is_empty() && !example.starts_with(' ') => format!("  {example}"),
                _ => line.to_owned(),
            })
            .collect();
        let config = read(&examples.join("\n")).expect("valid examples");
        assert_eq!(config.providers["local"].base_url(), "http://127.0.0.1:11434");
        assert!(config.labels.has("room", "attic") && config.labels.has("gpu", "cuda"));
    }

    #[test]
    fn labels_may_be_texts_numbers_and_lists() {
        let config = read("labels: {cpus: 8, gpu: [a, b], fast: true}").expect("valid");
        assert_eq!(config.labels.to_string(), "cpus=8 fast=true gpu=a gpu=b");
    }

    #[test]
    fn mistakes_are_named_with_their_way_out() {
        for (text, expected) in [
            ("slots: 0", "w.yaml:1: `slots` = 0: expected 1 to 256"),
            (
                "slot: 3",
                "w.yaml:1: there is no setting `slot`: did you mean `slots`?",
            ),
            (
                "controller: pi:8484",
                "w.yaml:1: `controller` = \"pi:8484\": expected http:// or https:// and a host, such as http://127.0.0.1:8484",
            ),
            (
                "sandbox:\n  allow: [stong]\n",
                "w.yaml:2: `sandbox.allow[0]` = \"stong\": expected one of none, basic, strong: did you mean strong?",
            ),
            (
                "sandbox:\n  allow: []\n",
                "w.yaml:2: `sandbox.allow` = []: without a level nothing can run: name strong, basic or none",
            ),
            (
                "sandbox: {read_only: [opt]}",
                "w.yaml:1: `sandbox.read_only[0]` = \"opt\": expected a whole path, starting with /",
            ),
            (
                "sandbox: {network: [\"https://x.org\"]}",
                "w.yaml:1: `sandbox.network[0]` = \"https://x.org\": a host is named without scheme and path, such as crates.example.org",
            ),
            (
                "labels: {sandbox: strong}",
                "w.yaml:1: `labels.sandbox` = \"strong\": this label says what was probed and cannot be set; see `sandbox.allow`",
            ),
            (
                "labels: {room: the attic}",
                "w.yaml:1: `labels.room` = \"the attic\": keys and values have 1 to 100 letters, digits and . _ - / : + @",
            ),
        ] {
            assert_eq!(read(text).expect_err(text), expected);
        }
    }
}
