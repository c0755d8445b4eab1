//! Data on stdout, talk on stderr; the only module that writes to either.

pub(crate) mod documents;
mod id;
mod json;
mod live;
mod plain;
pub(crate) mod progress;
pub(crate) mod relative;
pub(crate) mod style;
pub(crate) mod table;
pub(crate) mod text;
pub(crate) mod tree;
mod yaml;

use std::{
    env,
    io::{self, IsTerminal, Write},
};

use jiff::Timestamp;
use serde::Serialize;

use self::{
    style::{ColorChoice, Style},
    table::{Cell, Column, Table},
};

/// The version of what `-o json|jsonl|yaml` prints; it changes when a field is renamed or removed.
pub(crate) const SCHEMA_VERSION: u32 = 1;

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people, fitted to the terminal.
    Table,
    /// The same with every column.
    Wide,
    /// One JSON document.
    Json,
    /// One JSON document a line.
    Jsonl,
    /// One YAML document.
    Yaml,
    /// Only ids or names, one a line.
    Id,
}

/// A thing that commands list or show.
pub(crate) trait Record: Serialize {
    /// The columns of its table.
    const COLUMNS: &'static [Column];
    /// Its cells, one a column.
    fn cells(&self, now: Timestamp) -> Vec<Cell>;
    /// What `-o id` prints: the full id, or the name where that is the id.
    fn id(&self) -> String;
}

/// Where results and talk go, and in which manner.
#[derive(Debug)]
pub(crate) struct Out {
    /// What `-o` asked for.
    format: Option<Format>,
    results: io::Stdout,
    talk: io::Stderr,
    stdout: Stream,
    stderr: Stream,
}

/// What is known about one output stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stream {
    /// Whether a person looks at it.
    pub(crate) terminal: bool,
    /// Whether what stands on it can be drawn over.
    pub(crate) redraws: bool,
    /// How it is painted.
    pub(crate) style: Style,
}

impl Out {
    /// Looks at both streams and at the environment.
    pub(crate) fn new(format: Option<Format>, color: ColorChoice) -> Self {
        let dumb = env::var("TERM").is_ok_and(|term| term == "dumb");
        let stream = |terminal| Stream {
            terminal,
            redraws: terminal && !dumb,
            style: Style::decide(color, terminal, |name| env::var(name).ok()),
        };
        let (results, talk) = (io::stdout(), io::stderr());
        Self {
            format,
            stdout: stream(results.is_terminal()),
            stderr: stream(talk.is_terminal()),
            results,
            talk,
        }
    }

    /// Whether a program reads what is printed.
    pub(crate) fn for_machine(&self) -> bool {
        matches!(
            self.format,
            Some(Format::Json | Format::Jsonl | Format::Yaml | Format::Id)
        )
    }

    /// Whether `-o` was given at all.
    pub(crate) fn asked_for_format(&self) -> bool {
        self.format.is_some()
    }

    /// Stdout's manner.
    pub(crate) fn stdout(&self) -> Stream {
        self.stdout
    }

    /// Stderr's manner.
    pub(crate) fn stderr(&self) -> Stream {
        self.stderr
    }

    /// One line of result.
    pub(crate) fn line(&self, text: &str) -> io::Result<()> {
        writeln!(self.results.lock(), "{text}")
    }

    /// Bytes of result, as they are.
    pub(crate) fn bytes(&self, bytes: &[u8]) -> io::Result<()> {
        let mut stdout = self.results.lock();
        stdout.write_all(bytes)?;
        stdout.flush()
    }

    /// One line of talk. That nobody listens is no reason to stop.
    pub(crate) fn say(&self, text: &str) {
        let _ = writeln!(self.talk.lock(), "{text}");
    }

    /// A list in the format that was asked for.
    pub(crate) fn list<T: Record>(&self, items: &[T], next_cursor: Option<&str>) -> io::Result<()> {
        match self.format.unwrap_or(Format::Table) {
            Format::Table | Format::Wide => self.table(items),
            Format::Json => self.line(&json::list(items, next_cursor)),
            Format::Jsonl => items.iter().try_for_each(|item| self.line(&json::line(item))),
            Format::Yaml => self.line(&yaml::list(items, next_cursor)),
            Format::Id => id::print(self, items),
        }
    }

    /// One thing in the format that was asked for; `human` writes it for people.
    pub(crate) fn one<T: Serialize>(
        &self,
        item: &T,
        id: &str,
        human: impl FnOnce(Stream) -> Vec<String>,
    ) -> io::Result<()> {
        match self.format.unwrap_or(Format::Table) {
            Format::Table | Format::Wide => {
                let lines = human(self.stdout);
                lines.iter().try_for_each(|line| self.line(line))
            }
            Format::Json => self.line(&json::document(item)),
            Format::Jsonl => self.line(&json::line(item)),
            Format::Yaml => self.line(&yaml::document(item)),
            Format::Id => self.line(id),
        }
    }

    /// The same for a record.
    pub(crate) fn record<T: Record>(
        &self,
        item: &T,
        human: impl FnOnce(Stream) -> Vec<String>,
    ) -> io::Result<()> {
        self.one(item, &item.id(), human)
    }

    /// A table without rows would be a puzzle: the command says what is missing.
    fn table<T: Record>(&self, items: &[T]) -> io::Result<()> {
        if items.is_empty() {
            return Ok(());
        }
        let now = Timestamp::now();
        let rows = items.iter().map(|item| item.cells(now)).collect();
        let wide = self.format == Some(Format::Wide);
        let columns = self.stdout.columns().filter(|_| !wide);
        let lines = Table::new(T::COLUMNS, rows).render(columns, wide, self.stdout.style);
        lines.iter().try_for_each(|line| self.line(line))
    }
}

impl Stream {
    /// The width to fit into; `None` where nothing has to fit.
    pub(crate) fn columns(&self) -> Option<usize> {
        self.terminal.then(|| usize::from(terminal_size().0))
    }
}

/// Columns and rows of the terminal; 80 × 24 if it does not say.
pub(crate) fn terminal_size() -> (u16, u16) {
    match crossterm::terminal::size() {
        Ok((columns, rows)) if columns > 0 && rows > 0 => (columns, rows),
        _ => (80, 24),
    }
}
