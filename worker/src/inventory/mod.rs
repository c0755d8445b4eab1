//! What this machine has: labels, tools, models and load. Looked at once at
//! the start and every few minutes after that.

mod load;
mod models;
mod tools;

use std::{path::PathBuf, sync::Arc, time::Duration};

use protocol::{
    label::Labels,
    model::ProviderDefinition,
    sandbox::{self, SandboxLevel, UNAVAILABLE},
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use load::load;
pub use models::ModelProbe;
pub(crate) use models::local_ollama;
pub use tools::{Tool, ToolProbe};

use crate::{sandbox::Sandbox, session::Introduction, tools::environment::Toolchains};

/// How often the machine is looked at again: models come and go, but slowly.
const AGAIN: Duration = Duration::from_secs(300);

/// What is asked of the machine.
pub struct Inventory {
    tools: ToolProbe,
    models: ModelProbe,
    configured: Labels,
    folder: PathBuf,
    sandbox: Arc<Sandbox>,
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// For the controller.
    pub introduction: Introduction,
    /// Programs with their versions, for people.
    pub tools: Vec<Tool>,
}

impl Inventory {
    /// `own` are this machine's configured providers, `configured` its configured
    /// labels; `folder` is the state folder, whose disk counts; tools are looked for in `sandbox`.
    pub fn new(
        toolchains: Toolchains,
        own: &[ProviderDefinition],
        configured: Labels,
        folder: PathBuf,
        sandbox: Arc<Sandbox>,
    ) -> Self {
        Self {
            tools: ToolProbe::new(toolchains, folder.join("scratch"), sandbox.clone()),
            models: ModelProbe::new(own),
            configured,
            folder,
            sandbox,
        }
    }

    /// Looks at everything.
    pub async fn look(&mut self) -> Found {
        let (tools, models) = tokio::join!(self.tools.look(), self.models.look());
        let mut labels = Labels::default();
        labels.insert("os", std::env::consts::OS);
        labels.insert("arch", std::env::consts::ARCH);
        labels.insert("cpus", cpus().to_string());
        labels.insert("memory", load::memory_gib().to_string());
        for tool in &tools {
            labels.insert("tool", tool.name);
        }
        for model in &models {
            labels.insert("llm", model.provider.as_str());
        }
        overlay(&mut labels, &self.configured);
        let level = self.sandbox.level().map_or(UNAVAILABLE, SandboxLevel::as_str);
        labels.set(sandbox::LABEL, level);
        for controller in self.sandbox.controllers() {
            labels.insert(sandbox::COUNTED, *controller);
        }
        let introduction = Introduction {
            labels,
            models,
            load: load(&self.folder),
        };
        Found { introduction, tools }
    }

    /// Looks again every few minutes and tells when something has changed.
    pub async fn keep_looking(mut self, told: watch::Sender<Introduction>, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(AGAIN) => {}
                () = stop.cancelled() => return,
            }
            let found = self.look().await.introduction;
            told.send_if_modified(|known| {
                let changed = known.labels != found.labels || known.models != found.models;
                if changed {
                    tracing::info!(labels = %found.labels, "this machine has changed");
                    *known = found;
                }
                changed
            });
        }
    }
}

/// What a person configures replaces what was detected, key by key.
fn overlay(labels: &mut Labels, configured: &Labels) {
    let mut last = None;
    for (key, value) in configured.iter() {
        if last == Some(key) {
            labels.insert(key, value);
        } else {
            labels.set(key, value);
        }
        last = Some(key);
    }
}

/// Processors that this process may use.
pub fn cpus() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

impl Found {
    /// One line for people: `8 cores, git 2.47, cargo 1.89, ollama with 3 models`.
    pub fn summary(&self) -> String {
        let cores = match cpus() {
            1 => "1 core".to_owned(),
            count => format!("{count} cores"),
        };
        let mut parts = vec![cores];
        parts.extend(self.tools.iter().filter_map(|tool| {
            let version = tool.version.as_ref()?;
            Some(format!("{} {version}", tool.name))
        }));
        let models = &self.introduction.models;
        let mut providers: Vec<&str> = models.iter().map(|model| model.provider.as_str()).collect();
        providers.dedup();
        for provider in providers {
            let count = models.iter().filter(|model| model.provider == provider).count();
            let noun = if count == 1 { "model" } else { "models" };
            parts.push(format!("{provider} with {count} {noun}"));
        }
        parts.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use protocol::model::ReachableModel;

    use super::*;

    #[test]
    fn what_is_configured_replaces_what_was_detected() {
        let (mut labels, mut configured) = (Labels::default(), Labels::default());
        labels.insert("os", "linux");
        labels.insert("gpu", "none");
        configured.insert("gpu", "a");
        configured.insert("gpu", "b");
        overlay(&mut labels, &configured);
        assert_eq!(labels.to_string(), "gpu=a gpu=b os=linux");
    }

    #[test]
    fn the_summary_names_versions_and_counts_models() {
        let model = |provider: &str, model: &str| ReachableModel {
            provider: provider.into(),
            model: model.into(),
            loaded: false,
            window: None,
        };
        let tool = |name, version: Option<&str>| Tool {
            name,
            version: version.map(str::to_owned),
        };
        let found = Found {
            introduction: Introduction {
                models: vec![model("lan", "a"), model("lan", "b"), model("ollama", "c")],
                ..Introduction::default()
            },
            tools: vec![tool("git", Some("2.47")), tool("make", None)],
        };
        let summary = found.summary();
        assert!(
            summary.ends_with("git 2.47, lan with 2 models, ollama with 1 model"),
            "{summary}"
        );
    }
}
