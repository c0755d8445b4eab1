//! `agentctl explain`: what a code means and what to do about it, without a controller.
//!
//! The codes come from the types that use them; the page of the documentation
//! is made from the same list.

use std::fmt;

use clap::Args;
use jiff::Timestamp;
use protocol::{guard::Guard, http::problem, step::ErrorClass};
use serde::Serialize;

use crate::{
    codes::{self, Explanation},
    error::{CliError, exit_of},
    exit::Exit,
    input::closest,
    output::{
        Record,
        style::Tone,
        table::{Cell, Column},
    },
    session::Session,
};

mod api;
mod exits;
mod failures;
mod guards;
#[cfg(test)]
mod page;

/// Explain an error code, an exit code, a reason of a failure or a guard
#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// The word in brackets after `error`, an exit code, or a word that `show` or `why` names; without
    /// one, every code is listed
    code: Option<String>,
}

impl Explain {
    /// Does it.
    pub(crate) fn run(self, session: &Session) -> Result<Exit, CliError> {
        let all = all();
        let Some(wanted) = self.code else {
            session.out.list(&all, None)?;
            return Ok(Exit::Done);
        };
        let wanted = wanted.trim_start_matches("urn:agentd:problem:");
        let found: Vec<Entry> = all.iter().filter(|entry| entry.code == wanted).cloned().collect();
        match found.as_slice() {
            [] => return Err(unknown(wanted, &all)),
            [entry] => session.out.record(entry, |stream| {
                let code = stream.style.paint(&entry.code, Tone::Strong);
                entry.lines(&code)
            })?,
            several if session.out.asked_for_format() => session.out.list(several, None)?,
            several => {
                let style = session.out.stdout().style;
                for (index, entry) in several.iter().enumerate() {
                    let gap = if index == 0 { "" } else { "\n" };
                    let code = style.paint(&entry.code, Tone::Strong);
                    session
                        .out
                        .line(&format!("{gap}{}", entry.lines(&code).join("\n")))?;
                }
            }
        }
        Ok(Exit::Done)
    }
}

fn unknown(code: &str, all: &[Entry]) -> CliError {
    let error = CliError::new(
        codes::Code::Unexplained,
        format!("no error has the code {code:?}"),
    );
    match closest(code, all.iter().map(|entry| entry.code.as_str())) {
        Some(close) => error.hint(format!("did you mean `agentctl explain {close}`?")),
        None => error.hint("`agentctl explain` lists every code"),
    }
}

/// Where a code is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    /// In brackets after `error`, said by the controller; `code` of a problem of the API.
    Problem,
    /// In brackets after `error`, found by agentctl itself.
    Command,
    /// The exit code of agentctl.
    Exit,
    /// `error.class` of a step or an attempt.
    Failure,
    /// `guard` of what `why` answers.
    Guard,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Problem => "error of the controller",
            Self::Command => "error of agentctl",
            Self::Exit => "exit code",
            Self::Failure => "why a step failed",
            Self::Guard => "what a step waits for",
        })
    }
}

/// A code and what there is to know about it.
#[derive(Clone, Debug, Serialize)]
struct Entry {
    code: String,
    kind: Kind,
    /// The exit code of a command that meets it, if it ends one.
    exit: Option<u8>,
    meaning: &'static str,
    remedy: &'static str,
}

impl Entry {
    fn new(code: impl Into<String>, kind: Kind, exit: Option<Exit>, explanation: Explanation) -> Self {
        Self {
            code: code.into(),
            kind,
            exit: exit.map(|exit| exit as u8),
            meaning: explanation.meaning,
            remedy: explanation.remedy,
        }
    }

    fn lines(&self, code: &str) -> Vec<String> {
        let exit = match (self.kind, self.exit) {
            (Kind::Problem | Kind::Command, Some(exit)) => format!(", exit code {exit}"),
            _ => String::new(),
        };
        vec![
            format!("{code} ({}{exit})", self.kind),
            self.meaning.to_owned(),
            self.remedy.to_owned(),
        ]
    }
}

impl Record for Entry {
    const COLUMNS: &'static [Column] = &[
        Column::new("CODE"),
        Column::new("SEEN AS").rank(2),
        Column::new("EXIT").right().rank(1),
        Column::new("MEANING").flexible(24).rank(3),
        Column::new("REMEDY").wide().rank(4),
    ];

    fn cells(&self, _now: Timestamp) -> Vec<Cell> {
        let exit = self.exit.map(|exit| exit.to_string()).unwrap_or_default();
        vec![
            self.code.as_str().into(),
            self.kind.to_string().into(),
            exit.into(),
            self.meaning.into(),
            self.remedy.into(),
        ]
    }

    fn id(&self) -> String {
        self.code.clone()
    }
}

/// Every code there is.
fn all() -> Vec<Entry> {
    let problems = problem::Code::ALL.iter().map(|code| {
        let exit = Some(exit_of(*code));
        Entry::new(code.as_str(), Kind::Problem, exit, api::explanation(*code))
    });
    let own = codes::Code::ALL.iter().map(|code| {
        Entry::new(
            code.as_str(),
            Kind::Command,
            Some(code.exit()),
            code.explanation(),
        )
    });
    let exits = Exit::ALL.iter().map(|exit| {
        let code = (*exit as u8).to_string();
        Entry::new(code, Kind::Exit, Some(*exit), exits::explanation(*exit))
    });
    let failures = ErrorClass::ALL
        .iter()
        .map(|class| Entry::new(class.as_str(), Kind::Failure, None, failures::explanation(*class)));
    let guards = Guard::ALL
        .iter()
        .map(|guard| Entry::new(guard.as_str(), Kind::Guard, None, guards::explanation(*guard)));
    problems
        .chain(own)
        .chain(exits)
        .chain(failures)
        .chain(guards)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        documented::{in_text, understand},
        output::style::Style,
    };

    #[test]
    fn every_code_is_explained_in_sentences() {
        for entry in all() {
            assert!(
                entry.meaning.ends_with('.') && entry.remedy.ends_with('.'),
                "{}",
                entry.code
            );
        }
    }

    #[test]
    fn every_remedy_has_a_command_and_each_command_is_one_of_ours() {
        for entry in all() {
            for command in in_text(entry.meaning).chain(in_text(entry.remedy)) {
                understand(command).unwrap_or_else(|error| panic!("{}: {error}", entry.code));
            }
            let others = ["`agent-worker", "`agentd", "`git "];
            let has_one = in_text(entry.remedy).next().is_some()
                || others.iter().any(|other| entry.remedy.contains(other));
            assert!(has_one, "{} ({}): {}", entry.code, entry.kind, entry.remedy);
        }
    }

    #[test]
    fn a_slip_is_answered_with_the_nearest_code() {
        let said = |code| unknown(code, &all()).render(Style::PLAIN);
        insta::assert_snapshot!(said("no_modell"), @r#"
        error[unknown_code]: no error has the code "no_modell"
          hint:  did you mean `agentctl explain no_model`?
        "#);
        insta::assert_snapshot!(said("qqq"), @r#"
        error[unknown_code]: no error has the code "qqq"
          hint:  `agentctl explain` lists every code
        "#);
    }
}
