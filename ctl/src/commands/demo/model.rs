//! Which model the demonstration uses: a configured one, an Ollama on this
//! machine, or a recorded conversation.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;

use super::sample;
use crate::error::CliError;

/// Where an Ollama of this machine listens.
const OLLAMA: &str = "http://127.0.0.1:11434/api/tags";
/// A server on this machine answers within milliseconds, or is none.
const PROBE: Duration = Duration::from_secs(2);

/// Who answers.
#[derive(Debug)]
pub(super) enum Model {
    /// What a configuration of agentd names.
    Configured(PathBuf),
    /// Models of an Ollama on this machine.
    Ollama(Vec<String>),
    /// The conversation that ships with the sample.
    Replay,
}

impl Model {
    /// Looks for one.
    pub(super) async fn find(config: Option<PathBuf>, replay: bool) -> Self {
        match config {
            Some(config) => Self::Configured(config),
            None if replay => Self::Replay,
            None => match ollama().await {
                models if models.is_empty() => Self::Replay,
                models => Self::Ollama(models),
            },
        }
    }

    /// One honest line.
    pub(super) fn line(&self) -> String {
        match self {
            Self::Configured(config) => format!("as configured in {}", config.display()),
            Self::Ollama(models) => format!("Ollama on this machine ({})", models.join(", ")),
            Self::Replay => "none asked: a recorded conversation plays it; all else is real".to_owned(),
        }
    }

    /// The configuration of agentd that goes with it, written into `folder`.
    pub(super) fn config(&self, folder: &Path) -> Result<Option<PathBuf>, CliError> {
        match self {
            Self::Configured(config) => Ok(Some(config.clone())),
            // agentd takes what the workers find by themselves
            Self::Ollama(_) => Ok(None),
            Self::Replay => {
                let recording = folder.join("conversation.ndjson");
                let path = serde_json::Value::from(recording.to_string_lossy()).to_string();
                let config = folder.join("agentd.yaml");
                let text = format!(
                    "providers:\n  demo: {{kind: replay, path: {path}}}\nmodels:\n  demo: [{{provider: demo, \
                     model: scripted, window: 32768, protocol: search_replace}}]\n"
                );
                let write = |path: &Path, text: &str| {
                    fs::write(path, text).map_err(|error| CliError::file(path, "write", &error))
                };
                write(&recording, &sample::recording())?;
                write(&config, &text)?;
                Ok(Some(config))
            }
        }
    }
}

/// The models of an Ollama on this machine; none if there is no Ollama.
async fn ollama() -> Vec<String> {
    #[derive(Deserialize)]
    struct Tags {
        models: Vec<Tag>,
    }
    #[derive(Deserialize)]
    struct Tag {
        name: String,
    }
    let ask = async {
        let client = reqwest::Client::builder().no_proxy().timeout(PROBE).build()?;
        client.get(OLLAMA).send().await?.json::<Tags>().await
    };
    let tags = ask.await.map(|tags| tags.models).unwrap_or_default();
    tags.into_iter().map(|tag| tag.name).collect()
}
