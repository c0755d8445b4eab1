//! Executes attempts: one task owns one attempt from its start to its result.
//! The result is complete when it is reported: log and artifacts are up. The
//! session decides what to start, writes results down and says them.

mod checkpoint;
mod outcome;
mod run;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use futures::future::BoxFuture;
use protocol::{
    artifact::Sha256,
    id::AttemptId,
    message::{Assign, CancelReason, Checkpoint, LogTail, Progress, StepResult},
    model::ProviderDefinition,
};
use service::{
    clock::SharedClock,
    tasks::{OnExit, Tasks},
};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::{
    folder,
    log::Mask,
    session::Input,
    steps::{StepContext, StepOutput, Stop},
    upload::{BlobCache, Controller, LogUpload},
    workspace::Workspaces,
};

/// Bytes of spools that are kept for a controller that lost a log: 512 MiB.
const MAX_SPOOLS: u64 = 512 << 20;
/// As long as the journal keeps results: 24 h.
const MAX_SPOOL_AGE: Duration = Duration::from_secs(24 * 3600);

/// How often old files are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(600);

/// What executes a step; a script in tests.
pub type StepRunner = Arc<dyn Fn(StepContext) -> BoxFuture<'static, StepOutput> + Send + Sync>;

/// What attempts say to the session.
#[derive(Debug)]
pub enum Report {
    /// An attempt got on.
    Progress(Progress),
    /// A turn of an attempt's agent is finished and kept on this machine.
    Turn(Box<Checkpoint>),
    /// The controller has what a checkpoint names.
    TurnSent(Box<Checkpoint>),
    /// An attempt ended.
    Ended(Box<StepResult>),
    /// No attempt: whether the session still takes what it is told.
    Beat(oneshot::Sender<()>),
}

/// What all attempts share.
pub struct Workshop {
    /// What executes steps.
    pub runner: StepRunner,
    /// The controller's API.
    pub controller: Controller,
    /// Blobs on this machine.
    pub blobs: BlobCache,
    /// Work trees.
    pub workspaces: Arc<Workspaces>,
    /// This machine's own providers.
    pub providers: Vec<ProviderDefinition>,
    /// Hides in whatever an attempt writes down what this worker knows: its own credential, keys of
    /// providers, and secrets that any attempt got.
    pub mask: Mask,
    /// The folder of private folders.
    pub scratch: PathBuf,
    /// The folder of log spools.
    pub spools: PathBuf,
    /// Tells the time in log lines.
    pub clock: SharedClock,
    /// To the session.
    pub reports: mpsc::Sender<Report>,
    /// Pieces of live logs, dropped when there is no room.
    pub tails: mpsc::Sender<LogTail>,
    /// Largest log of a step, as the controller says.
    pub log_bytes: AtomicU64,
}

impl Workshop {
    /// Removes old spools, blobs, work trees and mirrors, now and then until `stop`.
    pub async fn keep_small(self: Arc<Self>, stop: CancellationToken) {
        loop {
            let now = SystemTime::UNIX_EPOCH
                + Duration::from_millis(self.clock.wall_ms().try_into().unwrap_or_default());
            folder::sweep(self.spools.clone(), MAX_SPOOLS, MAX_SPOOL_AGE, now).await;
            self.blobs.sweep(now).await;
            let workspaces = self.workspaces.clone();
            match tokio::task::spawn_blocking(move || workspaces.prune()).await {
                Ok(pruned) => tracing::debug!(?pruned, "looked for old work trees"),
                Err(error) => tracing::warn!(%error, "old work trees could not be removed"),
            }
            tokio::select! {
                () = tokio::time::sleep(SWEEP_EVERY) => {}
                () = stop.cancelled() => return,
            }
        }
    }
}

/// The attempts that run here.
pub struct Attempts {
    workshop: Arc<Workshop>,
    running: HashMap<AttemptId, Stop>,
    tasks: Tasks,
    /// Ends what serves ended attempts, such as uploads that go on.
    closing: CancellationToken,
}

impl Attempts {
    /// None yet.
    pub fn new(workshop: Arc<Workshop>, tasks: Tasks) -> Self {
        Self {
            workshop,
            running: HashMap::new(),
            tasks,
            closing: CancellationToken::new(),
        }
    }

    /// Executes an attempt; its end comes as [`Report::Ended`].
    pub fn start(&mut self, assign: Assign) {
        let stop = Stop::default();
        self.running.insert(assign.attempt, stop.clone());
        let workshop = self.workshop.clone();
        let closing = self.closing.clone();
        let life = run::attempt(workshop, assign, stop, closing);
        self.tasks.spawn("attempt", OnExit::Log, life);
    }

    /// Asks an attempt to end.
    pub fn stop(&self, attempt: AttemptId, why: CancelReason, kill_after: Duration) {
        if let Some(stop) = self.running.get(&attempt) {
            stop.request(why, kill_after);
        }
    }

    /// An attempt has ended.
    pub fn ended(&mut self, attempt: AttemptId) {
        self.running.remove(&attempt);
    }

    /// The controller said how large a log may be; counts for attempts that start later.
    pub fn set_log_bytes(&self, bytes: u64) {
        self.workshop.log_bytes.store(bytes, Ordering::Relaxed);
    }

    /// Uploads blobs again that the controller misses.
    pub fn upload_again(
        &self,
        attempt: AttemptId,
        missing: Vec<Sha256>,
    ) -> BoxFuture<'static, Option<Input>> {
        let (blobs, closing) = (self.workshop.blobs.clone(), self.closing.clone());
        Box::pin(async move {
            match blobs.upload_again(&missing, &closing).await {
                Ok(Ok(())) => Some(Input::Uploaded(attempt)),
                Ok(Err(gone)) => Some(Input::BlobsGone(attempt, gone.to_string())),
                Err(error) => {
                    // the result is said again later, and the controller asks again
                    tracing::warn!(%attempt, %error, "blobs that the controller lacks could not be uploaded");
                    None
                }
            }
        })
    }

    /// Sends the rest of the log of an attempt that has ended.
    pub fn resume_log(&self, attempt: AttemptId, from: u64) {
        let path = self.workshop.spools.join(attempt.to_string());
        if self.running.contains_key(&attempt) || !path.exists() {
            return;
        }
        let mut upload = LogUpload::new(self.workshop.controller.clone(), attempt, from);
        let closing = self.closing.clone();
        self.tasks.spawn("log", OnExit::Log, async move {
            let read = |offset, max| run::read_file(&path, offset, max);
            tokio::select! {
                sent = upload.catch_up(read) => if let Err(error) = sent {
                    tracing::info!(%attempt, %error, "the rest of a log could not be sent");
                },
                () = closing.cancelled() => {}
            }
        });
    }

    /// Ends what still serves ended attempts.
    pub fn close(self) {
        self.closing.cancel();
    }
}
