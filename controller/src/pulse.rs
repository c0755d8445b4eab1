//! Shows systemd that agentd works, not only that it lives.
//!
//! One beat goes the way of real work: a request to our own HTTP listener, a commit by the
//! database's writer, a message through the MQTT broker to a private topic and back. Only then
//! is the watchdog fed. The route of the beat is no part of the API: it exists only under a
//! service manager, on the plain listener, and for whoever holds a secret that never leaves this
//! process; everybody else gets the answer of an unknown route. Owned by `app`. Must not do
//! anything for other callers.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::any,
};
use protocol::worker::{Wanted, WorkerState};
use service::{clock::SharedClock, supervisor::Supervisor};
use subtle::ConstantTimeEq;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    api::problem::not_found,
    broker::Echo,
    credentials::new_secret,
    engine::{Engine, EngineError},
    orchestrator::World,
    state::meta,
};

/// The route of a beat.
const ROUTE: &str = "/pulse";
/// How often the line for people is looked at.
const LOOK: Duration = Duration::from_secs(10);
/// How soon a beat that did not come back is tried again.
const AGAIN: Duration = Duration::from_secs(2);
/// How long one beat may take.
const BEAT: Duration = Duration::from_secs(30);
/// Enough for the first line of an answer.
const ANSWER: usize = 64;

/// What a beat passes through.
#[derive(Clone)]
pub struct Pulse {
    engine: Engine,
    echo: Echo,
    clock: SharedClock,
    secret: Arc<str>,
}

/// A beat that came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Beat {
    /// All the way.
    Whole,
    /// The writer answered that the disk is full: a restart would not mend that.
    DiskFull,
}

/// Why a beat did not come back.
#[derive(Debug, thiserror::Error)]
enum Miss {
    #[error("no answer within {} s", BEAT.as_secs())]
    TimedOut,
    #[error("the HTTP listener: {0}")]
    Io(#[from] io::Error),
    #[error("the answer was {0:?}")]
    Answer(String),
}

impl Pulse {
    /// A pulse with a secret of its own.
    pub fn new(engine: Engine, echo: Echo, clock: SharedClock) -> Self {
        let secret = new_secret("").into();
        Self {
            engine,
            echo,
            clock,
            secret,
        }
    }

    /// What the plain HTTP listener serves besides the API.
    pub fn router(&self) -> Router {
        Router::new().route(ROUTE, any(answer)).with_state(self.clone())
    }

    /// Says that agentd is ready once the first beat came back, then feeds the watchdog and keeps
    /// the line for people up to date, until `stop`. `address` is where the plain listener is.
    pub async fn run(self, address: SocketAddr, supervisor: Arc<Supervisor>, stop: CancellationToken) {
        let every = supervisor.patience().map(|patience| patience / 3);
        let (mut line, mut full, mut is_ready) = (String::new(), false, false);
        let mut due = Some(Instant::now());
        loop {
            let mut wait = LOOK;
            if due.is_some_and(|due| due <= Instant::now()) {
                match self.beat(address).await {
                    Ok(beat) => {
                        if !is_ready {
                            supervisor.ready();
                            info!("told the service manager that agentd is ready");
                        }
                        supervisor.works();
                        (is_ready, full) = (true, beat == Beat::DiskFull);
                        due = every.map(|every| Instant::now() + every);
                    }
                    Err(miss) => {
                        warn!("the watchdog is not fed, as a beat did not come back: {miss}");
                        wait = AGAIN;
                    }
                }
            }
            if let Ok(now) = self.engine.inspect(move |world, _| line_of(world, full)).await
                && now != line
            {
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

    /// Once all the way.
    async fn beat(&self, address: SocketAddr) -> Result<Beat, Miss> {
        let status = timeout(BEAT, self.ask(address))
            .await
            .map_err(|_| Miss::TimedOut)??;
        match status.split(' ').nth(1) {
            Some("204") => Ok(Beat::Whole),
            Some("507") => Ok(Beat::DiskFull),
            _ => Err(Miss::Answer(status)),
        }
    }

    /// The first line of the answer to a request of our own.
    async fn ask(&self, address: SocketAddr) -> io::Result<String> {
        let mut stream = TcpStream::connect(address).await?;
        let request = format!(
            "POST {ROUTE} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {}\r\nContent-Length: 0\r\n\
             Connection: close\r\n\r\n",
            self.secret
        );
        stream.write_all(request.as_bytes()).await?;
        let mut answer = vec![];
        stream.take(ANSWER as u64).read_to_end(&mut answer).await?;
        let answer = String::from_utf8_lossy(&answer);
        Ok(answer.lines().next().unwrap_or_default().to_owned())
    }

    /// The rest of the way, from the listener's inside.
    async fn go_round(&self) -> StatusCode {
        let now = self.clock.wall().to_string();
        let written = self
            .engine
            .write(move |connection| meta::set(connection, meta::PULSE, &now));
        let status = match written.await {
            Ok(()) => StatusCode::NO_CONTENT,
            Err(EngineError::State(error)) if error.is_full() => StatusCode::INSUFFICIENT_STORAGE,
            Err(error) => {
                warn!(%error, "the database's writer refused a beat");
                return StatusCode::INTERNAL_SERVER_ERROR;
            }
        };
        if self.echo.comes_back().await {
            status
        } else {
            StatusCode::GATEWAY_TIMEOUT
        }
    }
}

/// Answers our own request alone.
async fn answer(State(pulse): State<Pulse>, headers: HeaderMap) -> Response {
    let shown = headers.get(header::AUTHORIZATION);
    let shown = shown.and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
    let is_ours = shown.is_some_and(|shown| bool::from(shown.ct_eq(pulse.secret.as_bytes())));
    if is_ours {
        return pulse.go_round().await.into_response();
    }
    not_found("route", ROUTE, "see /openapi.json").into_response()
}

/// How it goes, for `systemctl status`.
fn line_of(world: &World, disk_is_full: bool) -> String {
    let workers = || {
        world
            .workers
            .values()
            .filter(|worker| worker.wanted != Wanted::Removed)
    };
    let online = workers()
        .filter(|worker| worker.state == WorkerState::Online)
        .count();
    let running: u64 = workers().map(|worker| u64::from(worker.used)).sum();
    let paused = if world.paused { "; paused" } else { "" };
    let full = if disk_is_full {
        "; the disk is full: nothing can be accepted"
    } else {
        ""
    };
    format!(
        "{online} of {} workers online, {running} steps run, {} wait{paused}{full}",
        workers().count(),
        world.ready.len()
    )
}
