//! The task that owns the machine and the outbox: turns what happens into
//! inputs and carries out the effects. It never waits for the network or the
//! disk: what takes time is polled beside everything else.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use protocol::{
    codec,
    id::AttemptId,
    message::{Bye, FromWorker, LogTail, ToWorker},
    worker::Load,
};
use service::tasks::{OnExit, Tasks};
use tokio::{
    sync::{Notify, mpsc, watch},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{
    event::{Effect, Input, Introduction},
    machine::Machine,
};
use crate::{
    attempt::{Attempts, Report},
    journal::{Journal, Record},
    link::{Connection, Link, LinkEnds, Synced},
    outbox::Outbox,
    telemetry,
};

/// A Hello is said again after this long, then twice as long, up to the longest.
const FIRST_HELLO: Duration = Duration::from_secs(2);
const LONGEST_HELLO: Duration = Duration::from_secs(30);
/// How long the process may take to stop cleanly; systemd and people expect 5 s.
const STOP_WITHIN: Duration = Duration::from_secs(4);
/// How long unacknowledged results hold up the end after everything was said.
const ACK_PATIENCE: Duration = Duration::from_secs(1);
/// How long the farewell to the broker may take.
const FAREWELL: Duration = Duration::from_secs(1);
/// Inputs that are taken before what they want said is sent.
const ROUND: usize = 64;

/// What the session is made of.
pub struct SessionParts {
    /// What decides.
    pub machine: Machine,
    /// What says.
    pub outbox: Outbox,
    /// The connection.
    pub link: LinkEnds,
    /// What remembers.
    pub journal: Journal,
    /// Attempts that the journal forgot.
    pub forgotten: mpsc::Receiver<Vec<AttemptId>>,
    /// What executes.
    pub attempts: Attempts,
    /// What attempts say.
    pub reports: mpsc::Receiver<Report>,
    /// Pieces of live logs.
    pub tails: mpsc::Receiver<LogTail>,
    /// Where the controller is, for people.
    pub controller: String,
    /// What this machine has.
    pub introduction: watch::Receiver<Introduction>,
    /// How busy it is.
    pub load: Box<dyn Fn() -> Load + Send + Sync>,
}

/// The running session.
pub struct Session {
    machine: Machine,
    outbox: Outbox,
    messages: mpsc::Receiver<Bytes>,
    connection: watch::Receiver<Connection>,
    room: Arc<Notify>,
    synced: Synced,
    journal: Journal,
    forgotten: mpsc::Receiver<Vec<AttemptId>>,
    attempts: Attempts,
    reports: mpsc::Receiver<Report>,
    tails: mpsc::Receiver<LogTail>,
    controller: String,
    introduction: watch::Receiver<Introduction>,
    load: Box<dyn Fn() -> Load + Send + Sync>,
    began: Instant,
    pending: FuturesUnordered<BoxFuture<'static, Option<Input>>>,
    hello: Option<(Instant, Duration)>,
    refused: Option<String>,
    renew_at: Instant,
    stopping: Option<Instant>,
}

impl Session {
    /// A session that has not begun.
    pub fn new(parts: SessionParts) -> Self {
        let now = Instant::now();
        Self {
            machine: parts.machine,
            outbox: parts.outbox,
            messages: parts.link.messages,
            connection: parts.link.connection,
            room: parts.link.room,
            synced: parts.link.synced,
            journal: parts.journal,
            forgotten: parts.forgotten,
            attempts: parts.attempts,
            reports: parts.reports,
            tails: parts.tails,
            controller: parts.controller,
            introduction: parts.introduction,
            load: parts.load,
            began: now,
            pending: FuturesUnordered::new(),
            hello: None,
            refused: None,
            renew_at: now,
            stopping: None,
        }
    }

    /// Runs until `stop`, then stops what runs, says what is left to say, and disconnects.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            if stop.is_cancelled() && self.stopping.is_none() {
                self.stopping = Some(Instant::now());
                telemetry::stopping(self.machine.active() as usize);
                self.take(Input::Stopping);
            }
            self.outbox.flush(self.now_ms());
            if self.has_stopped() {
                break;
            }
            self.turn(&stop).await;
        }
        let bye = FromWorker::Bye(Bye {
            why: "stopped".to_owned(),
        });
        self.outbox.push(bye, self.now_ms());
        self.outbox.flush(self.now_ms());
        self.outbox.disconnect();
        self.attempts.close();
    }

    /// Waits for the next thing to happen and takes it.
    async fn turn(&mut self, stop: &CancellationToken) {
        let hello_at = self.hello.map_or_else(far_away, |(at, _)| at);
        let due_at = self.due_at();
        let stop_at = self
            .stopping
            .map_or_else(far_away, |_| Instant::now() + ACK_PATIENCE / 4);
        tokio::select! {
            Ok(()) = self.connection.changed() => self.connection_changed(),
            Some(payload) = self.messages.recv() => self.received_all(payload),
            Some(input) = self.pending.next(), if !self.pending.is_empty() => {
                let ready = std::iter::from_fn(|| self.pending.next().now_or_never().flatten());
                let inputs: Vec<_> = std::iter::once(input).chain(ready.take(ROUND)).flatten().collect();
                for input in inputs {
                    self.take(input);
                }
            }
            Some(report) = self.reports.recv() => self.reported(report),
            Some(tail) = self.tails.recv() => self.outbox.tail(&tail),
            Some(gone) = self.forgotten.recv() => self.take(Input::Forgotten(gone)),
            () = self.room.notified() => {}
            () = sleep_until(hello_at) => self.say_hello(),
            () = sleep_until(self.renew_at) => self.renew(),
            () = sleep_until(due_at) => {}
            () = sleep_until(stop_at) => {}
            Ok(()) = self.introduction.changed() => self.say_hello_once(),
            () = stop.cancelled(), if self.stopping.is_none() => {}
        }
    }

    fn now_ms(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }

    fn due_at(&self) -> Instant {
        match self.outbox.queue().due_at_ms() {
            Some(at_ms) if self.connection.borrow().up => self.began + Duration::from_millis(at_ms),
            _ => far_away(),
        }
    }

    fn has_stopped(&self) -> bool {
        let Some(since) = self.stopping else {
            return false;
        };
        let quiet = self.machine.active() == 0 && self.pending.is_empty();
        let connected = self.connection.borrow().up;
        let said = self.outbox.queue().is_empty() || !connected || since.elapsed() > ACK_PATIENCE;
        quiet && said || since.elapsed() > STOP_WITHIN
    }

    fn connection_changed(&mut self) {
        let connection = *self.connection.borrow_and_update();
        if connection.up {
            self.take(Input::Connected(connection.number));
        } else {
            self.outbox.disconnected();
            self.hello = None;
            self.take(Input::Disconnected);
        }
    }

    fn received_all(&mut self, first: Bytes) {
        let mut next = Some(first);
        for _ in 0..ROUND {
            let Some(payload) = next else {
                return;
            };
            self.received(&payload);
            next = self.messages.try_recv().ok();
        }
        if let Some(payload) = next {
            self.received(&payload);
        }
    }

    fn received(&mut self, payload: &[u8]) {
        match codec::decode::<ToWorker>(payload) {
            Ok(envelope) => self.take(Input::Received(Box::new(envelope))),
            Err(error) => telemetry::message_dropped(&error),
        }
    }

    fn reported(&mut self, report: Report) {
        match report {
            Report::Progress(progress) => self.take(Input::Progress(progress)),
            Report::Turn(checkpoint) => self.take(Input::Turn(checkpoint)),
            Report::TurnSent(checkpoint) => self.take(Input::TurnSent(checkpoint)),
            Report::Ended(result) => {
                self.attempts.ended(result.attempt);
                self.take(Input::Ended(result));
            }
            // who gave up meanwhile does not want the answer
            Report::Beat(done) => drop(done.send(())),
        }
    }

    fn take(&mut self, input: Input) {
        for effect in self.machine.step(input, self.now_ms()) {
            self.carry_out(effect);
        }
        let next = Instant::now() + Duration::from_millis(self.machine.renew_every_ms());
        self.renew_at = self.renew_at.min(next);
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Begin(session) => self.outbox.begin(session),
            Effect::Greet => {
                self.hello = Some((Instant::now(), FIRST_HELLO));
                self.say_hello();
            }
            Effect::Synced {
                epoch,
                spread_ms,
                log_bytes,
            } => self.now_synced(epoch, spread_ms, log_bytes),
            Effect::Refused(why) => self.refused(why),
            Effect::Epoch(epoch) => self.outbox.set_epoch(epoch),
            Effect::Say(message) => {
                if let FromWorker::Reject(reject) = &message {
                    telemetry::attempt_rejected(reject.attempt, &reject.detail);
                }
                self.outbox.push(message, self.now_ms());
            }
            Effect::Settled(attempt) => self.outbox.settle(attempt),
            Effect::Write(record) => self.write(record),
            Effect::Start(assign) => self.attempts.start(*assign),
            Effect::Stop {
                attempt,
                why,
                kill_after_ms,
            } => {
                telemetry::attempt_cancelled(attempt, why);
                let kill_after = Duration::from_millis(kill_after_ms);
                self.attempts.stop(attempt, why, kill_after);
            }
            Effect::Recall(attempt) => self.recall(attempt),
            Effect::Upload { attempt, missing } => {
                self.pending.push(self.attempts.upload_again(attempt, missing));
            }
            Effect::ResumeLog(attempt, from) => self.attempts.resume_log(attempt, from),
            Effect::Ignored(why) => tracing::trace!(?why, "ignored"),
        }
    }

    /// Tells each reason once, until another is given or the controller takes this worker.
    fn refused(&mut self, why: String) {
        if self.refused.as_ref() != Some(&why) {
            telemetry::refused(&self.controller, &why);
            self.refused = Some(why);
        }
    }

    fn now_synced(&mut self, epoch: u64, spread_ms: u64, log_bytes: u64) {
        if self.hello.take().is_some() {
            telemetry::connected(&self.controller);
        }
        self.refused = None;
        self.synced.set(epoch);
        self.attempts.set_log_bytes(log_bytes);
        let spread = Duration::from_millis(spread_ms).mul_f64(rand::random());
        self.renew_at = Instant::now() + spread;
    }

    fn write(&self, record: Record) {
        let journal = self.journal.clone();
        self.pending.push(Box::pin(async move {
            let kind = Written::of(&record);
            match (kind, journal.write(record).await) {
                (Written::Accepted(attempt), Ok(())) => Some(Input::AcceptWritten(attempt)),
                (Written::Accepted(attempt), Err(error)) => {
                    Some(Input::AcceptNotWritten(attempt, error.to_string()))
                }
                (Written::Result(attempt), outcome) => {
                    if let Err(error) = outcome {
                        tracing::error!(%error, %attempt, "a result is kept in memory only: it is lost if this process ends");
                    }
                    Some(Input::ResultWritten(attempt))
                }
                (Written::Other, outcome) => {
                    if let Err(error) = outcome {
                        tracing::warn!(%error, "a note in the journal was not written");
                    }
                    None
                }
            }
        }));
    }

    fn recall(&self, attempt: AttemptId) {
        let journal = self.journal.clone();
        self.pending.push(Box::pin(async move {
            match journal.recall(attempt).await {
                Ok(result) => result.map(Input::Recalled),
                Err(error) => {
                    tracing::warn!(%error, %attempt, "a result could not be read again");
                    None
                }
            }
        }));
    }

    fn say_hello(&mut self) {
        self.say_hello_once();
        if let Some((at, wait)) = &mut self.hello {
            *at = Instant::now() + jitter(*wait);
            *wait = (2 * *wait).min(LONGEST_HELLO);
        }
    }

    fn say_hello_once(&mut self) {
        let mut introduction = self.introduction.borrow_and_update().clone();
        introduction.load = (self.load)();
        self.take(Input::HelloDue(Box::new(introduction)));
    }

    fn renew(&mut self) {
        let every = Duration::from_millis(self.machine.renew_every_ms());
        self.renew_at = Instant::now() + jitter(every);
        let load = (self.load)();
        self.take(Input::RenewDue(load));
    }
}

/// What a write means for the machine.
#[derive(Clone, Copy)]
enum Written {
    Accepted(AttemptId),
    Result(AttemptId),
    Other,
}

impl Written {
    fn of(record: &Record) -> Self {
        match record {
            Record::Accepted { attempt, .. } => Self::Accepted(*attempt),
            Record::Result(result) => Self::Result(result.attempt),
            Record::Opened { .. }
            | Record::Epoch(_)
            | Record::Checkpoint(_)
            | Record::Acked { .. }
            | Record::Barred { .. } => Self::Other,
        }
    }
}

/// The same time, ± 20 %.
fn jitter(wait: Duration) -> Duration {
    wait.mul_f64(0.8 + 0.4 * rand::random::<f64>())
}

/// A time that does not come.
fn far_away() -> Instant {
    Instant::now() + Duration::from_secs(24 * 3600)
}

/// Starts link and session; the link outlives the session, so that the last words go out.
pub fn spawn(tasks: &Tasks, link: Link, session: Session, stop: &CancellationToken) {
    let (hang_up, hung_up) = (CancellationToken::new(), CancellationToken::new());
    let (asked, over) = (hang_up.clone(), hung_up.clone());
    tasks.spawn("link", OnExit::StopProcess, async move {
        link.run(asked).await;
        over.cancel();
    });
    let stop = stop.clone();
    tasks.spawn("session", OnExit::StopProcess, async move {
        session.run(stop).await;
        let farewell = tokio::time::timeout(FAREWELL, hung_up.cancelled()).await;
        if farewell.is_err() {
            tracing::debug!("the broker did not hear the farewell");
        }
        hang_up.cancel();
    });
}
