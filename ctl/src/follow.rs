//! Looking on while a job goes on: events in, a view kept fresh, Ctrl-C and
//! `--timeout` obeyed. Decides nothing about the job except what a person's
//! second Ctrl-C asks for.

use std::{
    future::pending,
    io,
    pin::Pin,
    time::{Duration, Instant},
};

use futures::{StreamExt, future::BoxFuture, stream::BoxStream};
use jiff::Timestamp;
use protocol::{
    duration::Millis,
    event::{Event, EventKind},
    http::jobs::{CancelJob, GetJob, JobView},
    id::JobRef,
};
use serde_json::Value;
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{Interval, MissedTickBehavior, interval, sleep_until},
};

use crate::{
    client::Client,
    codes::Code,
    error::CliError,
    exit::Exit,
    job,
    output::progress::{Progress, progress},
    session::Session,
    sse::{Signal, job_events},
};

/// How often the view is looked at; also the least time between two reads of the job.
const TICK: Duration = Duration::from_millis(100);
/// How long a second Ctrl-C is waited for.
const SECOND_CTRL_C: Duration = Duration::from_millis(1500);
/// How long after the job stands still its last events are waited for.
const LAST_EVENTS: Duration = Duration::from_secs(1);

/// Shows the job until it does not go on, and answers with its exit code.
pub(crate) async fn follow(
    session: &Session,
    client: &Client,
    job: JobView,
    timeout: Option<Millis>,
) -> Result<Exit, CliError> {
    let progress = progress(session.progress, &session.out);
    follow_with(session, progress, client, job, timeout).await
}

/// The same, shown in a manner of the caller's choice.
pub(crate) async fn follow_with(
    session: &Session,
    mut progress: Box<dyn Progress>,
    client: &Client,
    job: JobView,
    timeout: Option<Millis>,
) -> Result<Exit, CliError> {
    let (job, ending) = look_on(progress.as_mut(), client, job, timeout).await?;
    progress.end(&job, &job::closing(&job, Timestamp::now()))?;
    drop(progress);
    if session.out.asked_for_format() {
        session.out.record(&job, |_| vec![])?;
    }
    let number = job.number;
    match ending {
        Ending::Still(exit) => Ok(exit),
        Ending::Left => {
            let again = format!("`agentctl watch {number}` comes back to it");
            session
                .out
                .say(&format!("detached: job {number} goes on; {again}"));
            Ok(Exit::Interrupted)
        }
        Ending::TimedOut(limit) => {
            let sentence = format!("job {number} has not ended within {limit}");
            let hint = format!("it goes on: `agentctl watch {number}`, or `agentctl cancel {number}`");
            Err(CliError::new(Code::TimeoutPassed, sentence).hint(hint))
        }
    }
}

/// Shows the job until it does not go on or nobody wants to see it.
pub(crate) async fn look_on(
    progress: &mut dyn Progress,
    client: &Client,
    job: JobView,
    timeout: Option<Millis>,
) -> Result<(JobView, Ending), CliError> {
    Watch::new(client.clone(), job, timeout).run(progress).await
}

/// Why nobody looks on any more.
pub(crate) enum Ending {
    /// The job does not go on by itself.
    Still(Exit),
    /// Ctrl-C.
    Left,
    /// `--timeout` passed.
    TimedOut(Millis),
}

type Answer = Result<JobView, CliError>;

struct Watch {
    client: Client,
    id: JobRef,
    job: JobView,
    events: BoxStream<'static, Result<Signal, CliError>>,
    /// The job is being read again.
    reading: Option<BoxFuture<'static, Answer>>,
    /// The job is being cancelled.
    cancelling: Option<BoxFuture<'static, Answer>>,
    /// Something happened since it was read.
    stale: bool,
    /// The server has said all there is.
    closed: bool,
    /// Since when the job stands still.
    still: Option<(Exit, Instant)>,
    deadline: Option<(Instant, Millis)>,
    leaving: Leaving,
}

/// What Ctrl-C has led to.
enum Leaving {
    No,
    /// At that time, unless it comes a second time.
    At(Instant),
    /// With the job: it is being cancelled.
    Cancelling,
}

impl Watch {
    fn new(client: Client, job: JobView, timeout: Option<Millis>) -> Self {
        let id = JobRef::Number(job.number);
        Self {
            events: job_events(client.clone(), id, None).boxed(),
            client,
            id,
            reading: None,
            cancelling: None,
            stale: false,
            closed: false,
            still: None,
            deadline: timeout.map(|limit| (Instant::now() + limit.duration(), limit)),
            leaving: Leaving::No,
            job,
        }
    }

    async fn run(mut self, progress: &mut dyn Progress) -> Result<(JobView, Ending), CliError> {
        if let Some(exit) = Exit::of_job(&self.job) {
            return Ok((self.job, Ending::Still(exit)));
        }
        let mut interrupts = signal(SignalKind::interrupt())?;
        let mut terminations = signal(SignalKind::terminate())?;
        let mut ticks = ticks();
        loop {
            tokio::select! {
                signal = self.events.next(), if !self.closed => self.take(signal, progress)?,
                answer = poll(&mut self.reading) => self.read(answer)?,
                answer = poll(&mut self.cancelling) => self.cancelled(answer)?,
                _ = interrupts.recv() => if let Some(ending) = self.interrupted(progress)? {
                    return Ok((self.job, ending));
                },
                _ = terminations.recv() => return Ok((self.job, Ending::Left)),
                () = until(self.deadline) => {
                    let limit = self.deadline.map(|(_, limit)| limit).unwrap_or_default();
                    return Ok((self.job, Ending::TimedOut(limit)));
                }
                _ = ticks.tick() => {
                    progress.show(&self.job)?;
                    if let Some(ending) = self.tick() {
                        return Ok((self.job, ending));
                    }
                }
            }
        }
    }

    /// What came out of the event stream.
    fn take(
        &mut self,
        signal: Option<Result<Signal, CliError>>,
        progress: &mut dyn Progress,
    ) -> Result<(), CliError> {
        match signal.transpose()? {
            Some(Signal::Event(event)) => {
                apply(&event, &mut self.job);
                self.stale |= event.kind != EventKind::Progress;
                if let Some((_, since)) = &mut self.still {
                    *since = Instant::now();
                }
                progress.event(&event)?;
            }
            Some(Signal::Lost(error)) => {
                progress.notice(Some(&format!("{error}: trying again …")))?;
            }
            Some(Signal::Back) => {
                self.stale = true;
                progress.notice(None)?;
            }
            Some(Signal::Closed) => {
                self.stale = true;
                // only a job that goes on has more to say: after a restart of the controller
                self.closed = self.still.is_some();
            }
            None => self.closed = true,
        }
        Ok(())
    }

    /// The job as the controller sees it.
    fn read(&mut self, answer: Answer) -> Result<(), CliError> {
        self.reading = None;
        match answer {
            Ok(job) => {
                self.job = job;
                self.still = match (Exit::of_job(&self.job), self.still) {
                    (Some(exit), Some((_, since))) => Some((exit, since)),
                    (Some(exit), None) => Some((exit, Instant::now())),
                    (None, _) => None,
                };
            }
            // the event stream says that it is lost, and when it is back
            Err(error) if error.exit() == Exit::Unreachable => self.stale = true,
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn cancelled(&mut self, answer: Answer) -> Result<(), CliError> {
        self.cancelling = None;
        self.stale = true;
        answer.map(|_| ())
    }

    fn interrupted(&mut self, progress: &mut dyn Progress) -> io::Result<Option<Ending>> {
        match self.leaving {
            Leaving::No => {
                progress.notice(Some("leaving; Ctrl-C again cancels the job"))?;
                self.leaving = Leaving::At(Instant::now() + SECOND_CTRL_C);
            }
            Leaving::At(_) => {
                progress.notice(Some("cancelling the job; Ctrl-C again leaves at once"))?;
                let (client, job) = (self.client.clone(), self.id);
                let call = async move { client.call(&CancelJob { job }).await };
                self.cancelling = Some(Box::pin(call));
                self.leaving = Leaving::Cancelling;
            }
            Leaving::Cancelling => return Ok(Some(Ending::Left)),
        }
        Ok(None)
    }

    fn tick(&mut self) -> Option<Ending> {
        if let Leaving::At(at) = self.leaving
            && Instant::now() >= at
        {
            return Some(Ending::Left);
        }
        if let Some((exit, since)) = self.still
            && (self.closed || since.elapsed() >= LAST_EVENTS)
        {
            return Some(Ending::Still(exit));
        }
        if self.stale && self.reading.is_none() {
            self.stale = false;
            let (client, job) = (self.client.clone(), self.id);
            self.reading = Some(Box::pin(async move { client.call(&GetJob { job }).await }));
        }
        None
    }
}

fn ticks() -> Interval {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Waits for what may not be there.
async fn poll<T>(future: &mut Option<BoxFuture<'static, T>>) -> T {
    match future {
        Some(future) => Pin::new(future).await,
        None => pending().await,
    }
}

async fn until(deadline: Option<(Instant, Millis)>) {
    match deadline {
        Some((at, _)) => sleep_until(at.into()).await,
        None => pending().await,
    }
}

/// What an event says at once; the next read of the job says the rest.
fn apply(event: &Event, job: &mut JobView) {
    let text = |key: &str| event.data.get(key).and_then(Value::as_str);
    let step = event.step.as_ref();
    let step = step.and_then(|key| job.steps.iter_mut().find(|step| step.key == *key));
    let Some(step) = step else { return };
    match event.kind {
        EventKind::StepState => {
            if let Some(state) = text("state").and_then(|state| state.parse().ok()) {
                step.state = state;
            }
        }
        EventKind::Progress => {
            if let Some(note) = text("note") {
                step.note = Some(note.to_owned());
            }
            let usage = event.data.get("usage").cloned();
            if let Some(usage) = usage.and_then(|usage| serde_json::from_value(usage).ok()) {
                step.usage = usage;
            }
        }
        _ => {}
    }
}
