//! `agentctl explain`: what an error code means and what to do about it.

use clap::Args;
use jiff::Timestamp;
use protocol::http::problem;
use serde::Serialize;

use crate::{
    codes::{self, Explanation},
    error::{CliError, exit_of},
    exit::Exit,
    input::closest,
    output::{
        Record,
        table::{Cell, Column},
    },
    session::Session,
};

mod api;

/// Explain an error code
#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// The word in brackets after `error`; without one, every code is listed
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
        let found = all.iter().find(|entry| entry.code == wanted);
        let entry = found.ok_or_else(|| unknown(wanted, &all))?;
        session.out.record(entry, |_| {
            vec![
                format!("{} (exit code {})", entry.code, entry.exit),
                entry.meaning.to_owned(),
                entry.remedy.to_owned(),
            ]
        })?;
        Ok(Exit::Done)
    }
}

fn unknown(code: &str, all: &[Entry]) -> CliError {
    let error = CliError::new(
        codes::Code::Unexplained,
        format!("no error has the code {code:?}"),
    );
    match closest(code, all.iter().map(|entry| entry.code)) {
        Some(close) => error.hint(format!("did you mean `agentctl explain {close}`?")),
        None => error.hint("`agentctl explain` lists every code"),
    }
}

/// A code and what there is to know about it.
#[derive(Debug, Serialize)]
struct Entry {
    code: &'static str,
    exit: u8,
    meaning: &'static str,
    remedy: &'static str,
}

impl Entry {
    fn new(code: &'static str, exit: Exit, explanation: Explanation) -> Self {
        Self {
            code,
            exit: exit as u8,
            meaning: explanation.meaning,
            remedy: explanation.remedy,
        }
    }
}

impl Record for Entry {
    const COLUMNS: &'static [Column] = &[
        Column::new("CODE"),
        Column::new("EXIT").right().rank(1),
        Column::new("MEANING").flexible(24).rank(2),
        Column::new("REMEDY").wide().rank(3),
    ];

    fn cells(&self, _now: Timestamp) -> Vec<Cell> {
        vec![
            self.code.into(),
            self.exit.to_string().into(),
            self.meaning.into(),
            self.remedy.into(),
        ]
    }

    fn id(&self) -> String {
        self.code.to_owned()
    }
}

/// The codes of the API, then those of the command line.
fn all() -> Vec<Entry> {
    let api = problem::Code::ALL
        .iter()
        .map(|code| Entry::new(code.as_str(), exit_of(*code), api::explanation(*code)));
    let own = codes::Code::ALL
        .iter()
        .map(|code| Entry::new(code.as_str(), code.exit(), code.explanation()));
    api.chain(own).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::style::Style;

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
