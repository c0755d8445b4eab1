//! What `top` shows and what keys do to it: no terminal, no network.

use std::{collections::VecDeque, time::Instant};

use crossterm::event::{Event, KeyCode, KeyEventKind, KeyModifiers};
use protocol::{
    http::{jobs::JobView, status::Status, workers::WorkerView},
    id::JobRef,
    worker::Wanted as WantedOfWorker,
};

use super::read::{LINES, News, Place, Wanted};

/// What keys move in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Pane {
    /// The list of jobs.
    #[default]
    Jobs,
    /// The list of workers.
    Workers,
    /// The log.
    Log,
}

/// What a key asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Nothing outside the picture.
    None,
    /// To leave.
    Quit,
    /// To read at once.
    Refresh,
    /// To cancel a job.
    Cancel(JobRef),
    /// To explain a job.
    Why(JobRef),
    /// To pause a worker.
    Pause(String),
    /// To let a worker take steps again.
    Resume(String),
}

/// The picture before it is drawn.
#[derive(Debug, Default)]
pub(super) struct Top {
    pub(super) status: Option<Status>,
    pub(super) jobs: Vec<JobView>,
    pub(super) workers: Vec<WorkerView>,
    /// The chosen job, which stays chosen when others come.
    pub(super) job: Option<u64>,
    /// The chosen worker.
    pub(super) worker: Option<String>,
    pub(super) pane: Pane,
    /// Where the log's lines are from.
    pub(super) place: Option<Place>,
    pub(super) lines: VecDeque<String>,
    /// Lines between the log's end and what is shown.
    pub(super) back: usize,
    /// A job that is about to be cancelled, if the next key says so.
    pub(super) asked: Option<u64>,
    /// What the last action has led to.
    pub(super) said: Option<String>,
    /// Why nothing could be read, since it was last.
    pub(super) lost: Option<String>,
    pub(super) drawn_at: Option<Instant>,
}

impl Top {
    /// What was read replaces what was there.
    pub(super) fn take(&mut self, news: News) {
        self.status = Some(news.status);
        self.jobs = news.jobs;
        self.workers = news.workers;
        self.lost = None;
        if self
            .job
            .is_none_or(|number| self.jobs.iter().all(|job| job.number != number))
        {
            self.choose_job(self.jobs.first().map(|job| job.number));
        }
        let known = |name: &String| self.workers.iter().any(|worker| worker.name == *name);
        if !self.worker.as_ref().is_some_and(known) {
            self.worker = self.workers.first().map(|worker| worker.name.clone());
        }
        let Some((place, lines)) = news.log else {
            return;
        };
        if self.job.map(JobRef::Number) != Some(place.job) {
            // another one was chosen meanwhile
            return;
        }
        if !self
            .place
            .as_ref()
            .is_some_and(|before| place.goes_on_from(before))
        {
            self.lines.clear();
            self.back = 0;
        }
        if self.back > 0 {
            self.back += lines.len();
        }
        self.lines.extend(lines);
        while self.lines.len() > LINES {
            self.lines.pop_front();
        }
        self.back = self.back.min(self.lines.len());
        self.place = Some(place);
    }

    /// What is to be read next.
    pub(super) fn wanted(&self) -> Wanted {
        Wanted {
            job: self.job.map(JobRef::Number),
            place: self.place.clone(),
        }
    }

    /// What a key does.
    pub(super) fn press(&mut self, event: &Event) -> Action {
        let Event::Key(key) = event else {
            return Action::None;
        };
        if key.kind == KeyEventKind::Release {
            return Action::None;
        }
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return if key.code == KeyCode::Char('c') {
                Action::Quit
            } else {
                Action::None
            };
        }
        if let Some(number) = self.asked.take() {
            return match key.code {
                KeyCode::Char('y' | 'Y') => Action::Cancel(JobRef::Number(number)),
                _ => Action::None,
            };
        }
        self.said = None;
        match key.code {
            KeyCode::Char('q') | KeyCode::Esc => Action::Quit,
            KeyCode::Tab => self.go_to(match self.pane {
                Pane::Jobs => Pane::Workers,
                Pane::Workers => Pane::Log,
                Pane::Log => Pane::Jobs,
            }),
            KeyCode::BackTab => self.go_to(match self.pane {
                Pane::Jobs => Pane::Log,
                Pane::Workers => Pane::Jobs,
                Pane::Log => Pane::Workers,
            }),
            KeyCode::Up | KeyCode::Char('k') => self.step(-1),
            KeyCode::Down | KeyCode::Char('j') => self.step(1),
            KeyCode::PageUp => self.step(-10),
            KeyCode::PageDown => self.step(10),
            KeyCode::Home => self.step(isize::MIN),
            KeyCode::End => self.step(isize::MAX),
            KeyCode::Char(letter) => self.command(letter),
            _ => Action::None,
        }
    }

    fn command(&mut self, letter: char) -> Action {
        let job = self.job.map(JobRef::Number);
        let worker = self
            .workers
            .iter()
            .find(|worker| Some(&worker.name) == self.worker.as_ref());
        match (letter, self.pane) {
            ('c', _) => {
                let open = |job: &&JobView| Some(job.number) == self.job && !job.state.is_terminal();
                self.asked = self.jobs.iter().find(open).map(|job| job.number);
                if self.asked.is_none() {
                    self.said = Some("that job has ended".to_owned());
                }
                Action::None
            }
            ('w', _) => job.map_or(Action::None, Action::Why),
            ('p', Pane::Workers) => worker.map_or(Action::None, |worker| match worker.wanted {
                WantedOfWorker::Active => Action::Pause(worker.name.clone()),
                _ => Action::Resume(worker.name.clone()),
            }),
            ('r', _) => Action::Refresh,
            _ => Action::None,
        }
    }

    fn go_to(&mut self, pane: Pane) -> Action {
        self.pane = pane;
        Action::None
    }

    fn step(&mut self, by: isize) -> Action {
        match self.pane {
            Pane::Jobs => {
                let at = self.jobs.iter().position(|job| Some(job.number) == self.job);
                let next = moved(at, by, self.jobs.len()).map(|index| self.jobs[index].number);
                if next != self.job {
                    self.choose_job(next);
                    return Action::Refresh;
                }
            }
            Pane::Workers => {
                let chosen = |worker: &WorkerView| Some(&worker.name) == self.worker.as_ref();
                let at = self.workers.iter().position(chosen);
                let next = moved(at, by, self.workers.len());
                self.worker = next.map(|index| self.workers[index].name.clone());
            }
            Pane::Log => {
                let back = isize::try_from(self.back).unwrap_or(isize::MAX);
                let back = back.saturating_sub(by).max(0).unsigned_abs();
                self.back = back.min(self.lines.len());
            }
        }
        Action::None
    }

    fn choose_job(&mut self, number: Option<u64>) {
        self.job = number;
        self.place = None;
        self.lines.clear();
        self.back = 0;
    }
}

/// The index `by` further, within the list.
fn moved(at: Option<usize>, by: isize, length: usize) -> Option<usize> {
    let last = length.checked_sub(1)?;
    Some(at.unwrap_or(0).saturating_add_signed(by).min(last))
}
