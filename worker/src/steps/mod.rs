//! What a step of each kind does, one line an arm; the context that it gets
//! and what it leaves behind.

pub mod agent;
mod check;
mod command;
mod deliver;
mod documents;
mod measure;
mod prepare;
mod secrets;
mod verify;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

pub use secrets::SecretSource;

use futures::future::BoxFuture;
use protocol::{
    artifact::{ArtifactRef, BlobRef},
    message::{Assign, CancelReason},
    model::ProviderDefinition,
    spec::{ModelUsed, StepSpec, ToolStep, Work, WorkspaceResult},
    step::{Outcome, StepError},
    usage::Usage,
};
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;

use crate::{
    agents::memory::Transcript,
    log::{LogSink, Mask},
    sandbox::Cage,
    tools::exec::ExecError,
    workspace::Workspaces,
};

/// Executes a step. Everything that goes wrong is in the output.
pub async fn run(cx: &StepContext) -> StepOutput {
    let done = match &cx.spec.work {
        Work::Agent(work) => Ok(agent::run(cx, work).await),
        Work::Run(command) => command::run(cx, command).await,
        Work::Use(ToolStep::Prepare) => prepare::run(cx).await,
        Work::Use(ToolStep::Check) => check::run(cx).await,
        Work::Use(ToolStep::Verify) => verify::run(cx).await,
        Work::Use(ToolStep::Deliver) => deliver::run(cx).await,
    };
    done.unwrap_or_else(StepOutput::failed)
}

/// The controller's blobs, as steps see them.
pub trait Blobs: Send + Sync {
    /// A local file with the bytes, verified by their hash; kept in a cache.
    fn fetch(&self, blob: BlobRef) -> BoxFuture<'_, Result<PathBuf, StepError>>;
    /// Uploads a file, resuming what is already there.
    fn store<'a>(&'a self, file: &'a Path) -> BoxFuture<'a, Result<BlobRef, StepError>>;
}

/// How an agent gets the providers of its attempt; keys stay in this process's memory.
pub trait ProviderSource: Send + Sync {
    /// The definitions for the candidates of the attempt; this machine's own entries win by name.
    fn providers(&self) -> BoxFuture<'_, Result<Vec<ProviderDefinition>, StepError>>;
}

/// Takes the finished turns of an agent, so that another attempt can go on from them.
pub trait Checkpoints: Send + Sync {
    /// Writes down what was said so far, and what this attempt used for it. Comes back when the
    /// controller has it; when that takes too long, it goes there beside what follows.
    fn save<'a>(&'a self, transcript: &'a Transcript, usage: Usage) -> BoxFuture<'a, ()>;
}

/// Takes how far an attempt is: (fraction, note, usage so far, model). Throttled by the link.
pub type ProgressSink = Arc<dyn Fn(Option<f32>, &str, Usage, Option<ModelUsed>) + Send + Sync>;

/// Why and when an attempt must stop.
#[derive(Clone, Default)]
pub struct Stop {
    /// Cancelled: stop politely now; children get `kill_after` before the hard end.
    pub token: CancellationToken,
    reason: Arc<std::sync::OnceLock<(CancelReason, std::time::Duration)>>,
}

impl Stop {
    /// Asks for the end; only the first reason counts.
    pub fn request(&self, reason: CancelReason, kill_after: std::time::Duration) {
        let _ = self.reason.set((reason, kill_after));
        self.token.cancel();
    }

    /// Why, if the end was asked for.
    pub fn reason(&self) -> Option<CancelReason> {
        self.reason.get().map(|(reason, _)| *reason)
    }

    /// How long children have between SIGTERM and SIGKILL; 10 s if nobody said.
    pub fn kill_after(&self) -> std::time::Duration {
        self.reason
            .get()
            .map_or(std::time::Duration::from_secs(10), |(_, after)| *after)
    }
}

/// Everything that a step may use.
pub struct StepContext {
    /// What was assigned: job, step key, attempt, limits, inputs.
    pub assign: Assign,
    /// What to do.
    pub spec: StepSpec,
    /// The attempt's log.
    pub log: LogSink,
    /// How far it is.
    pub progress: ProgressSink,
    /// Where an agent's finished turns go.
    pub checkpoints: Arc<dyn Checkpoints>,
    /// The controller's blobs.
    pub blobs: Arc<dyn Blobs>,
    /// The providers of the attempt.
    pub providers: Arc<dyn ProviderSource>,
    /// The secrets that the step names.
    pub secrets: Arc<dyn SecretSource>,
    /// Hides what nobody may see in what is written down.
    pub mask: Mask,
    /// The work trees of this worker.
    pub workspaces: Arc<Workspaces>,
    /// A private folder of this attempt, removed after it.
    pub scratch: PathBuf,
    /// When to stop.
    pub stop: Stop,
}

impl StepContext {
    /// The cage of this step's tools, in which nothing may be written yet.
    pub fn cage(&self) -> Result<Cage, StepError> {
        let sandbox = self.workspaces.sandbox();
        let fits = sandbox.check(self.spec.sandbox);
        fits.map_err(|error| StepError::from(ExecError::from(error)))?;
        Ok(Cage::new(sandbox.clone()))
    }
}

/// What a step leaves behind; becomes the attempt's result.
#[derive(Clone, Debug)]
pub struct StepOutput {
    /// How it ended.
    pub outcome: Outcome,
    /// Why not well.
    pub error: Option<StepError>,
    /// Exit code of a command.
    pub exit: Option<i32>,
    /// What later steps may read.
    pub outputs: Map<String, Value>,
    /// Files, already uploaded.
    pub artifacts: Vec<ArtifactRef>,
    /// What model calls cost.
    pub usage: Usage,
    /// The model that answered.
    pub model: Option<ModelUsed>,
    /// The branch after a writing step.
    pub workspace: Option<WorkspaceResult>,
    /// Things worth knowing, for people.
    pub notes: Vec<String>,
    /// Time spent waiting for models, in milliseconds.
    pub model_ms: u64,
}

impl StepOutput {
    /// Ended well, with nothing to show yet.
    pub fn ok() -> Self {
        Self {
            outcome: Outcome::Ok,
            error: None,
            exit: None,
            outputs: Map::new(),
            artifacts: vec![],
            usage: Usage::default(),
            model: None,
            workspace: None,
            notes: vec![],
            model_ms: 0,
        }
    }

    /// Ended badly.
    pub fn failed(error: StepError) -> Self {
        Self {
            outcome: Outcome::Failed,
            error: Some(error),
            ..Self::ok()
        }
    }
}

#[cfg(test)]
mod tests;
