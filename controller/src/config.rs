//! The configuration of `agentd`: its sections, their checks, its layers.
//!
//! The defaults are the committed file `configs/config.yaml` itself. Read once by
//! `app`; sections travel, the whole does not.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use protocol::{
    artifact::BlobRef,
    model::{Candidate, ProviderDefinition},
    provider::ProviderConfig,
};
use serde::Deserialize;
use service::{
    config::{ConfigError, Invalid, Layers, Settings, null_as_empty},
    obs::log::LogConfig,
    secret::{self, Secret, SecretError},
};

use crate::certificates;

/// The committed file: every key, with its default.
pub const DEFAULTS: &str = include_str!("../../configs/config.yaml");

/// Start of the environment variables that set keys.
pub const ENV_PREFIX: &str = "AGENTD_";

/// All settings of the controller.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the state lives; `None` is for [`service::state_dir::locate`] to decide.
    pub state_dir: Option<PathBuf>,
    /// The HTTP API.
    pub http: Listen,
    /// The embedded broker.
    pub mqtt: Listen,
    /// Model servers by name.
    #[serde(deserialize_with = "null_as_empty")]
    pub providers: BTreeMap<String, ProviderConfig>,
    /// Alias → candidates, best first.
    #[serde(deserialize_with = "null_as_empty")]
    pub models: BTreeMap<String, Vec<Candidate>>,
    /// What each role uses.
    #[serde(deserialize_with = "null_as_empty")]
    pub agents: BTreeMap<String, AgentConfig>,
    /// Bounds of time, number and size.
    pub limits: Limits,
    /// What is kept.
    pub retention: Retention,
    /// Log lines.
    pub log: LogConfig,
    /// Folders with the owner's workflow files.
    #[serde(deserialize_with = "null_as_empty")]
    pub workflows: Vec<PathBuf>,
    /// Whether other machines are told by multicast DNS where this one is.
    pub announce: bool,
    /// Whether repositories may be named by `file://` URLs.
    pub allow_file_urls: bool,
    /// Whether live log lines are published at `agentd/log`.
    pub mqtt_public_log: bool,
}

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listen {
    /// Without encryption: loopback only; port 0 takes a free one.
    #[serde(deserialize_with = "address")]
    pub listen: SocketAddr,
    /// With TLS, for other machines; `None` is off.
    pub tls: Option<TlsListen>,
}

/// Where a server listens with TLS.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsListen {
    /// Any address of this machine.
    #[serde(deserialize_with = "address")]
    pub listen: SocketAddr,
    /// Further host names for the certificate.
    #[serde(default, deserialize_with = "null_as_empty")]
    pub names: Vec<String>,
}

/// What a role uses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentConfig {
    /// A model alias.
    #[serde(default)]
    pub model: Option<String>,
    /// A file that replaces the built-in prompt.
    #[serde(default)]
    pub prompt: Option<PathBuf>,
}

/// Bounds of time (seconds), number and size (bytes); `configs/config.yaml` says what each means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// From an offer to its repetition.
    pub offer_s: u64,
    /// How long a silent attempt counts as alive.
    pub lease_s: u64,
    /// How long after that a command may come back.
    pub grace_command_s: u64,
    /// How long after that an agent may come back.
    pub grace_agent_s: u64,
    /// How often a step may lose its worker.
    pub infra_retries: u32,
    /// Time limit of one check command.
    pub check_s: u64,
    /// From the polite to the hard end of a cancelled attempt.
    pub cancel_grace_s: u64,
    /// MQTT connections at a time.
    pub mqtt_connections: u32,
    /// HTTP connections at a time.
    pub http_connections: u32,
    /// How long one stays open without a request.
    pub http_idle_s: u64,
    /// Largest request body, uploads excepted.
    pub body_bytes: u64,
    /// What is kept of one step's log.
    pub log_bytes: u64,
    /// Largest artifact or bundle.
    pub blob_bytes: u64,
    /// Artifacts of one job in all.
    pub job_bytes: u64,
    /// What one worker may upload within a day.
    pub worker_bytes: u64,
    /// Room on the disk that uploads leave free.
    pub free_bytes: u64,
    /// How long a worker's certificate lives.
    pub certificate_s: u64,
}

/// What is kept; `None` is for ever, or without bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retention {
    /// Days that finished jobs are kept.
    pub jobs_days: Option<u32>,
    /// Days that events are kept.
    pub events_days: Option<u32>,
    /// Days that rows of the audit log are kept.
    pub audit_days: Option<u32>,
    /// Bytes of artifacts and logs in all.
    pub bytes: Option<u64>,
}

impl Default for Config {
    /// What `configs/config.yaml` says.
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

    /// The key of a provider, read now; `None` if the provider is unknown or needs none.
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

    /// What a worker needs to call a provider, its key included; `None` if it is unknown here.
    /// `recording` is a replay's recording in the blob store.
    pub fn provider_definition(
        &self,
        name: &str,
        recording: Option<BlobRef>,
    ) -> Result<Option<ProviderDefinition>, SecretError> {
        let Some(provider) = self.providers.get(name) else {
            return Ok(None);
        };
        let key = self.provider_key(name)?.map(|key| key.expose().to_owned());
        Ok(Some(provider.definition(name, key, recording)))
    }

    /// What is allowed but probably not meant; one sentence each, for the log.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        for (alias, candidates) in &self.models {
            for (i, candidate) in candidates.iter().enumerate() {
                let provider = &candidate.provider;
                if !self.providers.contains_key(provider) {
                    warnings.push(format!(
                        "models.{alias}[{i}]: provider `{provider}` is not defined here: only workers that define it can use this model"
                    ));
                }
            }
        }
        for (name, provider) in &self.providers {
            if let Err(error) = self.provider_key(name) {
                warnings.push(format!("providers.{name}: {error}"));
            }
            if provider.has_key() && sends_in_the_clear(provider.base_url()) {
                warnings.push(format!(
                    "providers.{name}.base_url: its key travels unencrypted: use https"
                ));
            }
        }
        warnings
    }

    fn check_names(&self) -> Result<(), Invalid> {
        let sections = [
            ("providers", self.providers.keys().collect::<Vec<_>>()),
            ("models", self.models.keys().collect()),
            ("agents", self.agents.keys().collect()),
        ];
        for (section, names) in sections {
            for name in names {
                if !is_name(name) {
                    return Err(Invalid::new(
                        format!("{section}.{name}"),
                        "a name has 1 to 64 of a-z, A-Z, 0-9 and . _ -, and starts with a letter or digit",
                    ));
                }
            }
        }
        Ok(())
    }

    fn check_models(&self) -> Result<(), Invalid> {
        for (name, provider) in &self.providers {
            provider.check().map_err(|invalid| {
                Invalid::new(format!("providers.{name}.{}", invalid.field), invalid.problem)
            })?;
        }
        for (alias, candidates) in &self.models {
            if candidates.is_empty() {
                return Err(Invalid::new(
                    format!("models.{alias}"),
                    "name at least one candidate, such as [{provider: lan, model: NAME}]",
                ));
            }
            for (i, candidate) in candidates.iter().enumerate() {
                // a prompt with one file in it does not fit below
                if candidate.window < 1024 {
                    return Err(Invalid::new(
                        format!("models.{alias}[{i}].window"),
                        "the least is 1024 tokens",
                    ));
                }
            }
        }
        for (role, agent) in &self.agents {
            let Some(model) = &agent.model else { continue };
            if !self.models.contains_key(model) {
                let known: Vec<_> = self.models.keys().map(String::as_str).collect();
                let known = if known.is_empty() {
                    "models is empty: add it there".to_owned()
                } else {
                    format!("models has {}", known.join(", "))
                };
                return Err(Invalid::new(
                    format!("agents.{role}.model"),
                    format!("there is no such model: {known}"),
                ));
            }
        }
        Ok(())
    }
}

impl Settings for Config {
    fn check(&self) -> Result<(), Invalid> {
        for (section, listen) in [("http", &self.http), ("mqtt", &self.mqtt)] {
            if !listen.listen.ip().is_loopback() {
                return Err(Invalid::new(
                    format!("{section}.listen"),
                    format!(
                        "without TLS only this machine may connect: use 127.0.0.1:{}",
                        listen.listen.port()
                    ),
                ));
            }
            let names = listen.tls.iter().flat_map(|tls| &tls.names);
            for (i, name) in names.enumerate() {
                if !certificates::is_name(name) {
                    return Err(Invalid::new(
                        format!("{section}.tls.names[{i}]"),
                        "expected a host name or an IP address, such as pi.lan",
                    ));
                }
            }
        }
        self.limits.check()?;
        self.log.check()?;
        self.check_names()?;
        self.check_models()
    }
}

impl Limits {
    /// The least and the most of each: what still works, and what is surely a slip.
    fn check(&self) -> Result<(), Invalid> {
        const DAY: u64 = 86_400;
        const TIB: u64 = 1 << 40;
        for (key, value, least, most) in [
            ("offer_s", self.offer_s, 1, 3600),
            ("lease_s", self.lease_s, 1, 3600),
            ("grace_command_s", self.grace_command_s, 0, DAY),
            ("grace_agent_s", self.grace_agent_s, 0, DAY),
            ("infra_retries", u64::from(self.infra_retries), 0, 1000),
            ("check_s", self.check_s, 1, DAY),
            ("cancel_grace_s", self.cancel_grace_s, 0, 3600),
            ("mqtt_connections", u64::from(self.mqtt_connections), 1, 10_000),
            ("http_connections", u64::from(self.http_connections), 8, 10_000),
            ("http_idle_s", self.http_idle_s, 20, 86_400),
            ("body_bytes", self.body_bytes, 1024, 1 << 30),
            ("log_bytes", self.log_bytes, 65_536, TIB),
            ("blob_bytes", self.blob_bytes, 65_536, TIB),
            ("job_bytes", self.job_bytes, 65_536, 1024 * TIB),
            ("worker_bytes", self.worker_bytes, 65_536, 1024 * TIB),
            ("free_bytes", self.free_bytes, 0, 1024 * TIB),
            ("certificate_s", self.certificate_s, 10, 3650 * DAY),
        ] {
            if !(least..=most).contains(&value) {
                return Err(Invalid::new(
                    format!("limits.{key}"),
                    format!("expected {least} to {most}"),
                ));
            }
        }
        Ok(())
    }
}

/// `IP:port`, or `localhost:port`.
fn address<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    let numeric = match text.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}"),
        None => text,
    };
    numeric.parse().map_err(|_| {
        serde::de::Error::custom("expected an IP address and a port, such as 127.0.0.1:8484 or [::1]:8484")
    })
}

fn is_name(text: &str) -> bool {
    text.len() <= 64
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
}

/// Whether a URL is plain HTTP to another machine.
fn sends_in_the_clear(url: &str) -> bool {
    let Some(rest) = url.strip_prefix("http://") else {
        return false;
    };
    let authority = rest.split('/').next().unwrap_or(rest);
    let here = ["localhost", "127.", "[::1]"];
    !here.iter().any(|host| authority.starts_with(host))
}

#[cfg(test)]
mod tests;
