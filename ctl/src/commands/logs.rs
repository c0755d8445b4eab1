//! `agentctl logs`: what steps said, also while they say it.

use std::collections::HashSet;

use clap::Args;
use futures::{StreamExt, stream::BoxStream};
use protocol::{
    event::{Event, EventKind},
    http::jobs::{GetJob, JobView},
    id::JobRef,
    job::StepKey,
};
use serde_json::Value;
use tokio::{sync::mpsc, task::JoinSet};

use self::source::{Line, Source};
use crate::{
    client::Client,
    codes::Code,
    error::CliError,
    exit::Exit,
    job::JobName,
    output::{
        style::Tone,
        text::{clean, one_line},
    },
    session::Session,
    sse::{Signal, job_events},
};

pub(super) mod source;

/// Lines that wait to be printed: a slow terminal slows the reading down.
const WAITING_LINES: usize = 1024;

/// Print the log of a job or a step
#[derive(Debug, Args)]
pub(crate) struct Logs {
    /// Number, UUID, @last or @failed
    #[arg(add = crate::live::jobs())]
    job: JobName,
    /// Only this step
    step: Option<StepKey>,
    /// Go on as the log grows, until the job ends
    #[arg(short, long)]
    follow: bool,
    /// Another attempt than the last one
    #[arg(long, value_name = "NUMBER", requires = "step", conflicts_with = "follow")]
    attempt: Option<u32>,
    /// Begin each line with its time and stream
    #[arg(short, long)]
    timestamps: bool,
}

impl Logs {
    /// Does it.
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, CliError> {
        let client = session.client()?;
        let job = self.job.get(&client).await?;
        self.check(&job)?;
        let printer = Printer {
            session,
            named: self.step.is_none(),
            timestamps: self.timestamps,
        };
        let chosen = |key: &StepKey| self.step.as_ref().is_none_or(|step| step == key);
        let steps = job
            .steps
            .iter()
            .filter(|step| chosen(&step.key) && step.attempt > 0);
        // what still grows is printed after what has ended
        let ended = steps
            .clone()
            .filter(|step| step.state.is_terminal() || !self.follow);
        for step in ended {
            let number = self.attempt.unwrap_or(step.attempt);
            print(&printer, Source::new(&client, &job, &step.key, number, false)).await?;
        }
        if self.follow && !job.state.is_terminal() {
            let seen = steps.filter(|step| step.state.is_terminal());
            let seen = seen.map(|step| (step.key.clone(), step.attempt)).collect();
            Following::new(client, &job, self.step.clone(), seen)
                .run(&printer)
                .await?;
        }
        Ok(Exit::Done)
    }

    /// A step that is named must exist, and have begun unless it is waited for.
    fn check(&self, job: &JobView) -> Result<(), CliError> {
        let Some(key) = &self.step else { return Ok(()) };
        let number = job.number;
        let step = job.steps.iter().find(|step| step.key == *key);
        match step {
            Some(step) if step.attempt > 0 || self.follow => Ok(()),
            Some(_) => Err(CliError::new(
                Code::NoLog,
                format!("the step {key} of job {number} has not begun"),
            )
            .hint(format!("`agentctl logs -f {number} '{key}'` waits for it"))),
            // later rounds of a loop come into being as they begin
            None if self.follow && !job.state.is_terminal() => Ok(()),
            None => Err(
                CliError::new(Code::NoLog, format!("job {number} has no step {key}"))
                    .hint(format!("`agentctl show {number}` lists its steps")),
            ),
        }
    }
}

/// Prints one log to its end.
async fn print(printer: &Printer<'_>, source: Source) -> Result<(), CliError> {
    let (lines, mut printed) = mpsc::channel(WAITING_LINES);
    let read = source.read(lines);
    let write = async {
        while let Some(line) = printed.recv().await {
            printer.print(&line)?;
        }
        Ok(())
    };
    let (read, written) = tokio::join!(read, write);
    written.and(read)
}

/// All logs of a job as they grow.
struct Following {
    client: Client,
    job: JobRef,
    step: Option<StepKey>,
    /// Attempts whose log is read or was printed.
    seen: HashSet<(StepKey, u32)>,
    readers: JoinSet<Result<(), CliError>>,
    ended: bool,
}

impl Following {
    fn new(client: Client, job: &JobView, step: Option<StepKey>, seen: HashSet<(StepKey, u32)>) -> Self {
        Self {
            client,
            job: JobRef::Number(job.number),
            step,
            seen,
            readers: JoinSet::new(),
            ended: false,
        }
    }

    async fn run(mut self, printer: &Printer<'_>) -> Result<(), CliError> {
        let (sender, mut lines) = mpsc::channel(WAITING_LINES);
        let mut events: BoxStream<'_, _> = job_events(self.client.clone(), self.job, None).boxed();
        while !(self.ended && self.readers.is_empty()) {
            tokio::select! {
                // lines first: the end of a reader must not overtake its last ones
                biased;
                Some(line) = lines.recv() => printer.print(&line)?,
                Some(done) = self.readers.join_next() => done.map_err(std::io::Error::other)??,
                signal = events.next(), if !self.ended => match signal.transpose()? {
                    Some(Signal::Event(event)) => self.take(&event, &sender),
                    Some(Signal::Closed | Signal::Back) => self.look().await?,
                    Some(Signal::Lost(error)) => printer.session.out.say(&format!("{error}: trying again …")),
                    None => self.ended = true,
                },
            }
        }
        drop(sender);
        while let Some(line) = lines.recv().await {
            printer.print(&line)?;
        }
        Ok(())
    }

    /// Starts to read the log of an attempt that began.
    fn take(&mut self, event: &Event, sender: &mpsc::Sender<Line>) {
        let state = event.data.get("state").and_then(Value::as_str);
        let number = event.data.get("number").and_then(Value::as_u64).unwrap_or(1) as u32;
        let (EventKind::StepState, Some(step), Some("running")) = (event.kind, &event.step, state) else {
            return;
        };
        let wanted = self.step.as_ref().is_none_or(|wanted| wanted == step);
        // blocks run too, but on no worker
        if wanted && event.attempt.is_some() && self.seen.insert((step.clone(), number)) {
            let source = Source::of(&self.client, self.job, step, number, true);
            self.readers.spawn(source.read(sender.clone()));
        }
    }

    /// Whether the job has ended: the stream also closes when the controller stops.
    async fn look(&mut self) -> Result<(), CliError> {
        match self.client.call(&GetJob { job: self.job }).await {
            Ok(job) => self.ended = job.state.is_terminal(),
            Err(error) if error.exit() == Exit::Unreachable => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// Prints lines of logs.
struct Printer<'a> {
    session: &'a Session,
    /// Whether a line begins with the name of its step.
    named: bool,
    timestamps: bool,
}

impl Printer<'_> {
    fn print(&self, line: &Line) -> Result<(), CliError> {
        let out = &self.session.out;
        let style = out.stdout().style;
        let (head, text) = line.parts();
        let mut printed = String::new();
        if self.named {
            printed.push_str(&style.paint(&format!("{} ", line.step), Tone::Dim));
        }
        if self.timestamps && !head.is_empty() {
            printed.push_str(&style.paint(&format!("{} ", one_line(head)), Tone::Dim));
        }
        printed.push_str(&clean(text));
        Ok(out.line(&printed)?)
    }
}
