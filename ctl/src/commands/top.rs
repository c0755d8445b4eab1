//! `agentctl top`: jobs, workers and a log on one screen that keeps itself fresh.
//!
//! This file moves what was read and pressed to the picture ([`state`]) and the
//! picture to the terminal ([`view`], [`screen`]).

use std::{
    pin::Pin,
    time::{Duration, Instant},
};

use clap::Args;
use crossterm::event;
use futures::future::BoxFuture;
use jiff::Timestamp;
use protocol::http::{
    jobs::{CancelJob, ExplainJob},
    workers::{PauseWorker, ResumeWorker},
};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{MissedTickBehavior, interval},
};

use crate::{client::Client, codes::Code, error::CliError, exit::Exit, session::Session};

mod read;
mod screen;
mod state;
mod view;

use read::{News, Wanted};
use screen::Screen;
use state::{Action, Top};

/// How often keys are looked at.
const TICK: Duration = Duration::from_millis(50);
/// How long what was read stays fresh.
const FRESH: Duration = Duration::from_secs(1);

/// Jobs, workers and logs on one screen
#[derive(Debug, Args)]
pub(crate) struct TopCommand {}

impl TopCommand {
    /// Does it.
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, CliError> {
        let stream = session.out.stdout();
        if !stream.redraws || session.out.for_machine() {
            let sentence = "`top` needs a terminal on which it can draw";
            let hint = "`agentctl ps`, `agentctl workers` and `agentctl logs` print the same once";
            return Err(CliError::new(Code::TerminalNeeded, sentence).hint(hint));
        }
        let client = session.client()?;
        // what cannot be read at the start is an error and not a picture
        let first = read::news(client.clone(), Wanted::default()).await?;
        let mut screen = Screen::open(stream.style.colors())?;
        let ended = Watch::new(client, first).run(&mut screen).await;
        screen.close()?;
        ended
    }
}

type Answer<T> = Option<BoxFuture<'static, Result<T, CliError>>>;

struct Watch {
    client: Client,
    top: Top,
    reading: Answer<News>,
    /// What a key has asked the controller to do.
    acting: Answer<String>,
    read_at: Instant,
}

impl Watch {
    fn new(client: Client, first: News) -> Self {
        let mut top = Top::default();
        top.take(first);
        Self {
            client,
            top,
            reading: None,
            acting: None,
            // the log of the first job is wanted at once
            read_at: Instant::now().checked_sub(FRESH).unwrap_or_else(Instant::now),
        }
    }

    async fn run(mut self, screen: &mut Screen) -> Result<Exit, CliError> {
        let mut terminations = signal(SignalKind::terminate())?;
        let mut hangups = signal(SignalKind::hangup())?;
        let mut interrupts = signal(SignalKind::interrupt())?;
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut changed = true;
        loop {
            if changed || self.top.drawn_at.is_none_or(|at| at.elapsed() >= FRESH) {
                screen.draw(|frame, colors| view::draw(frame, &self.top, Timestamp::now(), colors))?;
                self.top.drawn_at = Some(Instant::now());
            }
            changed = tokio::select! {
                news = poll(&mut self.reading) => self.read(news)?,
                said = poll(&mut self.acting) => self.acted(said),
                _ = terminations.recv() => return Ok(Exit::Interrupted),
                _ = hangups.recv() => return Ok(Exit::Interrupted),
                _ = interrupts.recv() => return Ok(Exit::Interrupted),
                _ = ticks.tick() => match self.keys()? {
                    Some(changed) => changed,
                    None => return Ok(Exit::Done),
                },
            };
        }
    }

    /// What was pressed; `None` ends it.
    fn keys(&mut self) -> Result<Option<bool>, CliError> {
        let mut changed = false;
        while event::poll(Duration::ZERO)? {
            changed = true;
            match self.top.press(&event::read()?) {
                Action::None => {}
                Action::Quit => return Ok(None),
                Action::Refresh => self.read_at = Instant::now().checked_sub(FRESH).unwrap_or(self.read_at),
                action => self.act(action),
            }
        }
        if self.reading.is_none() && self.read_at.elapsed() >= FRESH {
            let news = read::news(self.client.clone(), self.top.wanted());
            self.reading = Some(Box::pin(news));
        }
        Ok(Some(changed))
    }

    fn read(&mut self, news: Result<News, CliError>) -> Result<bool, CliError> {
        self.reading = None;
        self.read_at = Instant::now();
        match news {
            Ok(news) => self.top.take(news),
            // a restart of the controller is no reason to leave
            Err(error) if error.exit() == Exit::Unreachable => {
                self.top.lost = Some(error.to_string());
            }
            Err(error) => return Err(error),
        }
        Ok(true)
    }

    fn act(&mut self, action: Action) {
        let client = self.client.clone();
        self.acting = match action {
            Action::Cancel(job) => Some(Box::pin(async move {
                client.call(&CancelJob { job }).await?;
                Ok(format!("job {job} is being cancelled"))
            })),
            Action::Why(job) => Some(Box::pin(async move {
                let why = client.call(&ExplainJob { job }).await?;
                let hint = why
                    .hint
                    .or_else(|| why.steps.into_iter().find_map(|step| step.hint));
                let hint = hint.map_or_else(String::new, |hint| format!(" · {hint}"));
                Ok(format!("{}{hint}", why.summary))
            })),
            Action::Pause(name) => Some(Box::pin(async move {
                let worker = client.call(&PauseWorker { name }).await?;
                Ok(format!("{} is paused: it finishes what it has", worker.name))
            })),
            Action::Resume(name) => Some(Box::pin(async move {
                let worker = client.call(&ResumeWorker { name }).await?;
                Ok(format!("{} takes steps again", worker.name))
            })),
            Action::None | Action::Quit | Action::Refresh => None,
        };
    }

    fn acted(&mut self, said: Result<String, CliError>) -> bool {
        self.acting = None;
        self.read_at = Instant::now().checked_sub(FRESH).unwrap_or(self.read_at);
        self.top.said = Some(said.unwrap_or_else(|error| error.to_string()));
        true
    }
}

/// Waits for what may not be there.
async fn poll<T>(future: &mut Answer<T>) -> Result<T, CliError> {
    match future {
        Some(future) => Pin::new(future).await,
        None => std::future::pending().await,
    }
}
