//! Providers as configurations name them: the same shape on controller and worker.
//!
//! Only data and checks; whoever needs a key reads it from where this says.

use std::path::PathBuf;

use serde::Deserialize;

use crate::{
    artifact::BlobRef,
    model::{ProviderDefinition, ProviderKind, Timeouts},
};

/// One entry of `providers:`.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProviderConfig {
    /// The dialect that it speaks.
    pub kind: ProviderKind,
    /// Where it is; see [`Self::base_url`] for what is used without.
    #[serde(default)]
    pub base_url: Option<String>,
    /// The key itself.
    #[serde(default)]
    pub api_key: Option<String>,
    /// The environment variable that holds the key.
    #[serde(default)]
    pub api_key_env: Option<String>,
    /// The file that holds the key.
    #[serde(default)]
    pub api_key_file: Option<PathBuf>,
    /// The recording of a `replay` provider.
    #[serde(default)]
    pub path: Option<PathBuf>,
    /// How long it may take.
    #[serde(default)]
    pub timeouts: Timeouts,
}

/// The longest time that a provider may be given, in seconds: a day.
const LONGEST_S: u64 = 86_400;

/// What is wrong with a provider: the field at fault, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct InvalidProvider {
    /// Such as `base_url`.
    pub field: &'static str,
    /// What is wrong, and what would be right.
    pub problem: String,
}

impl ProviderConfig {
    /// Checks that the fields fit the kind and each other.
    pub fn check(&self) -> Result<(), InvalidProvider> {
        let invalid = |field, problem: &str| {
            Err(InvalidProvider {
                field,
                problem: problem.to_owned(),
            })
        };
        let keys = [
            self.api_key.is_some(),
            self.api_key_env.is_some(),
            self.api_key_file.is_some(),
        ];
        if keys.iter().filter(|given| **given).count() > 1 {
            return invalid(
                "api_key",
                "name the key once: api_key, api_key_env or api_key_file",
            );
        }
        let Timeouts {
            first_byte_s,
            silence_s,
            answer_s,
        } = self.timeouts;
        if [first_byte_s, silence_s, answer_s]
            .iter()
            .any(|seconds| !(1..=LONGEST_S).contains(seconds))
        {
            return invalid("timeouts", "each is 1 to 86400 seconds");
        }
        if self.kind == ProviderKind::Replay {
            return match (&self.path, &self.base_url) {
                (None, _) => invalid("path", "a replay provider needs the path of its recording"),
                (_, Some(_)) => invalid("base_url", "a replay provider has a path and no address"),
                (Some(_), None) => Ok(()),
            };
        }
        if self.path.is_some() {
            return invalid("path", "only a replay provider has one");
        }
        let url = self.base_url();
        if url.is_empty() {
            return invalid("base_url", "write the server's address, such as https://host/v1");
        }
        let host = url
            .strip_prefix("http://")
            .or_else(|| url.strip_prefix("https://"));
        match host {
            Some(rest) if !rest.is_empty() && !rest.starts_with(['/', ':']) => Ok(()),
            _ => invalid(
                "base_url",
                "expected http:// or https:// and a host, such as http://gpu-box:11434",
            ),
        }
    }

    /// The configured address without a final slash, else the one where this kind of server
    /// usually is; empty for an OpenAI-compatible one, which is nowhere in particular.
    pub fn base_url(&self) -> &str {
        let usual = match self.kind {
            ProviderKind::Ollama => "http://127.0.0.1:11434",
            ProviderKind::Anthropic => "https://api.anthropic.com",
            ProviderKind::Openai | ProviderKind::Replay => "",
        };
        self.base_url.as_deref().unwrap_or(usual).trim_end_matches('/')
    }

    /// Whether a key is configured in any way.
    pub fn has_key(&self) -> bool {
        self.api_key.is_some() || self.api_key_env.is_some() || self.api_key_file.is_some()
    }

    /// What a call needs: this, the key once it was read, and a replay's recording as a blob.
    pub fn definition(
        &self,
        name: &str,
        api_key: Option<String>,
        recording: Option<BlobRef>,
    ) -> ProviderDefinition {
        ProviderDefinition {
            name: name.to_owned(),
            kind: self.kind,
            base_url: self.base_url().to_owned(),
            api_key,
            recording,
            timeouts: self.timeouts,
        }
    }
}

impl std::fmt::Debug for ProviderConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProviderConfig")
            .field("kind", &self.kind)
            .field("base_url", &self.base_url)
            .field("api_key", &self.api_key.as_ref().map(|_| "•••"))
            .field("api_key_env", &self.api_key_env)
            .field("api_key_file", &self.api_key_file)
            .field("path", &self.path)
            .field("timeouts", &self.timeouts)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn provider(json: &str) -> ProviderConfig {
        serde_json::from_str(json).expect("the fields exist")
    }

    #[test]
    fn a_provider_is_where_its_kind_usually_is() {
        let url = |json| provider(json).base_url().to_owned();
        assert_eq!(url(r#"{"kind":"ollama"}"#), "http://127.0.0.1:11434");
        assert_eq!(url(r#"{"kind":"anthropic"}"#), "https://api.anthropic.com");
        assert_eq!(
            url(r#"{"kind":"openai","base_url":"http://h/v1/"}"#),
            "http://h/v1"
        );
    }

    #[test]
    fn fields_must_fit_the_kind() {
        for (json, field) in [
            (r#"{"kind":"openai"}"#, "base_url"),
            (r#"{"kind":"openai","base_url":"h:80"}"#, "base_url"),
            (r#"{"kind":"openai","base_url":"https:///v1"}"#, "base_url"),
            (r#"{"kind":"replay"}"#, "path"),
            (
                r#"{"kind":"replay","path":"a","base_url":"http://h"}"#,
                "base_url",
            ),
            (r#"{"kind":"ollama","path":"a"}"#, "path"),
            (r#"{"kind":"ollama","timeouts":{"silence_s":0}}"#, "timeouts"),
            (r#"{"kind":"ollama","timeouts":{"answer_s":86401}}"#, "timeouts"),
            (r#"{"kind":"ollama","api_key":"a","api_key_env":"B"}"#, "api_key"),
        ] {
            let error = provider(json).check().expect_err(json);
            assert_eq!(error.field, field, "{json}");
        }
        for json in [
            r#"{"kind":"replay","path":"a.ndjson"}"#,
            r#"{"kind":"anthropic","api_key_env":"KEY"}"#,
        ] {
            assert_eq!(provider(json).check(), Ok(()), "{json}");
        }
    }

    #[test]
    fn a_key_cannot_be_printed() {
        let provider = provider(r#"{"kind":"ollama","api_key":"sk-secret"}"#);
        assert!(provider.has_key() && !format!("{provider:?}").contains("sk-secret"));
    }
}
