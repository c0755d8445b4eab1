//! Shows systemd that the worker works, not only that it lives.
//!
//! A beat asks those without whom nothing goes on: the session's task, the journal's thread, and
//! the link, which must have moved when it had to. A controller that cannot be reached is no
//! fault of this process: waiting for it counts as work. Owned by `app`.

use std::{sync::Arc, time::Duration};

use protocol::id::AttemptId;
use service::supervisor::Supervisor;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    attempt::Report,
    journal::Journal,
    link::{Connection, Progress},
    telemetry,
};

/// How often the line for people is looked at.
const LOOK: Duration = Duration::from_secs(10);
/// How soon a beat that failed is tried again.
const AGAIN: Duration = Duration::from_secs(2);
/// How long each of them may take to answer.
const BEAT: Duration = Duration::from_secs(20);

/// Whom a beat asks.
pub struct Pulse {
    /// The way to the session.
    pub reports: mpsc::Sender<Report>,
    /// What remembers.
    pub journal: Journal,
    /// Whether the link moves.
    pub progress: Progress,
    /// The state of the connection.
    pub connection: watch::Receiver<Connection>,
    /// Where the controller is, for people.
    pub controller: String,
}

/// Who did not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Miss {
    /// The session's task.
    #[error("the session")]
    Session,
    /// The journal's thread.
    #[error("the journal")]
    Journal,
    /// The link's task.
    #[error("the link to the controller")]
    Link,
}

impl Pulse {
    /// Says that the worker is ready once everybody answers, then feeds the watchdog and keeps the
    /// line for people up to date, until `stop`.
    pub async fn run(self, supervisor: Arc<Supervisor>, stop: CancellationToken) {
        let every = supervisor.patience().map(|patience| patience / 3);
        let (mut line, mut is_ready) = (String::new(), false);
        let mut due = Some(Instant::now());
        loop {
            let mut wait = LOOK;
            if due.is_some_and(|due| due <= Instant::now()) {
                match self.beat().await {
                    Ok(()) => {
                        if !is_ready {
                            supervisor.ready();
                        }
                        supervisor.works();
                        is_ready = true;
                        due = every.map(|every| Instant::now() + every);
                    }
                    Err(miss) => {
                        telemetry::pulse_missed(miss);
                        wait = AGAIN;
                    }
                }
            }
            let now = self.line();
            if now != line {
                supervisor.status(&now);
                line = now;
            }
            let until_due = due.map_or(LOOK, |due| due.saturating_duration_since(Instant::now()));
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(wait.min(until_due.max(AGAIN))) => {}
            }
        }
    }

    async fn beat(&self) -> Result<(), Miss> {
        let session = async {
            let (done, answer) = oneshot::channel();
            self.reports.send(Report::Beat(done)).await.is_ok() && answer.await.is_ok()
        };
        if timeout(BEAT, session).await != Ok(true) {
            return Err(Miss::Session);
        }
        // no attempt has this name: only the journal's answer counts
        match timeout(BEAT, self.journal.recall(AttemptId::new())).await {
            Ok(Ok(_)) => {}
            Ok(Err(_)) | Err(_) => return Err(Miss::Journal),
        }
        if self.progress.is_overdue() {
            return Err(Miss::Link);
        }
        Ok(())
    }

    fn line(&self) -> String {
        let how = if self.connection.borrow().up {
            "connected to"
        } else {
            "no connection yet to"
        };
        format!("{how} {}", self.controller)
    }
}
