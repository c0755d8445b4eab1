//! `agentctl context`: the stored controllers.

use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde::Serialize;

use crate::{
    context::Contexts,
    error::CliError,
    exit::Exit,
    output::{
        Record,
        table::{Cell, Column},
    },
    session::Session,
};

/// List, choose or forget stored controllers
#[derive(Debug, Args)]
pub(crate) struct Context {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List them
    List,
    /// Make one the current one
    Use {
        /// Its name
        name: String,
    },
    /// Forget one
    Remove {
        /// Its name
        name: String,
    },
}

impl Context {
    /// Does it.
    pub(crate) fn run(self, session: &Session) -> Result<Exit, CliError> {
        let file = &session.places.contexts;
        let mut stored = Contexts::load(file)?;
        match self.command.unwrap_or(Command::List) {
            Command::List => list(session, &stored)?,
            Command::Use { name } => {
                stored.get(&name)?;
                stored.current = Some(name.clone());
                stored.save(file)?;
                session.out.say(&format!("{name} is the current context"));
            }
            Command::Remove { name } => {
                stored.remove(&name)?;
                stored.save(file)?;
                session.out.say(&format!(
                    "{name} is forgotten here; its token still works elsewhere"
                ));
            }
        }
        Ok(Exit::Done)
    }
}

fn list(session: &Session, stored: &Contexts) -> Result<(), CliError> {
    let rows: Vec<Row> = stored
        .contexts
        .iter()
        .map(|context| Row {
            name: context.name.clone(),
            url: context.url.clone(),
            current: stored.current.as_ref() == Some(&context.name),
        })
        .collect();
    session.out.list(&rows, None)?;
    if rows.is_empty() && !session.out.for_machine() {
        session
            .out
            .say("no stored controllers; `agentctl login URL` stores one");
    }
    Ok(())
}

/// A stored controller without its token.
#[derive(Debug, Serialize)]
struct Row {
    name: String,
    url: String,
    current: bool,
}

impl Record for Row {
    const COLUMNS: &'static [Column] = &[Column::new("CURRENT"), Column::new("NAME"), Column::new("URL")];

    fn cells(&self, _now: Timestamp) -> Vec<Cell> {
        let current = if self.current { "*" } else { "" };
        vec![
            current.into(),
            self.name.as_str().into(),
            self.url.as_str().into(),
        ]
    }

    fn id(&self) -> String {
        self.name.clone()
    }
}
