//! Which models this machine reaches by itself: those of its own configured
//! providers, and of an Ollama that runs on it.

use std::time::Duration;

use protocol::model::{ProviderDefinition, ProviderKind, ReachableModel, Timeouts};

use crate::llm::{self, SharedProvider};

/// Where an Ollama listens when nobody said otherwise.
const LOCAL_OLLAMA: &str = "http://127.0.0.1:11434";
/// A provider that does not answer within this is not there.
const PATIENCE: Duration = Duration::from_secs(3);
/// More models of one provider are not told: a Hello must fit into a message.
const MAX_MODELS: usize = 100;

/// The providers to ask.
pub struct ModelProbe {
    providers: Vec<(String, SharedProvider)>,
}

impl ModelProbe {
    /// Asks these providers, and an Ollama on this machine unless one of them is an Ollama.
    pub fn new(own: &[ProviderDefinition]) -> Self {
        let mut definitions: Vec<ProviderDefinition> = own
            .iter()
            .filter(|provider| provider.kind != ProviderKind::Replay)
            .cloned()
            .collect();
        if !definitions
            .iter()
            .any(|provider| provider.kind == ProviderKind::Ollama)
        {
            definitions.push(local_ollama());
        }
        let http = match llm::http_client() {
            Ok(http) => http,
            Err(error) => {
                tracing::warn!(%error, "no model can be looked for");
                return Self { providers: vec![] };
            }
        };
        let connect = |definition: ProviderDefinition| match llm::connect(&definition, &http, None) {
            Ok(provider) => Some((definition.name, provider)),
            Err(error) => {
                tracing::warn!(%error, provider = definition.name, "a configured provider cannot be used");
                None
            }
        };
        let providers = definitions.into_iter().filter_map(connect).collect();
        Self { providers }
    }

    /// Asks all of them at once.
    pub(super) async fn look(&self) -> Vec<ReachableModel> {
        let asked = self.providers.iter().map(|(name, provider)| async move {
            match tokio::time::timeout(PATIENCE, provider.models()).await {
                Ok(Ok(mut models)) => {
                    models.sort_by(|a, b| a.model.cmp(&b.model));
                    models.truncate(MAX_MODELS);
                    models
                }
                Ok(Err(error)) => {
                    tracing::debug!(%error, provider = name, "no models");
                    vec![]
                }
                Err(_late) => {
                    tracing::debug!(provider = name, "no answer about models");
                    vec![]
                }
            }
        });
        futures::future::join_all(asked).await.concat()
    }
}

/// The Ollama of this machine, whether it runs or not.
pub(crate) fn local_ollama() -> ProviderDefinition {
    ProviderDefinition {
        name: "ollama".to_owned(),
        kind: ProviderKind::Ollama,
        base_url: LOCAL_OLLAMA.to_owned(),
        api_key: None,
        recording: None,
        timeouts: Timeouts::default(),
    }
}
