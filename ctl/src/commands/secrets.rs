//! `agentctl secrets`: what steps may ask for by name. A value goes in and is never shown.

use std::{
    fs,
    io::{self, IsTerminal, Read},
    path::PathBuf,
};

use clap::{Args, Subcommand};
use jiff::Timestamp;
use protocol::{
    http::secrets::{ListSecrets, MAX_SECRET, RemoveSecret, SecretView, SetSecret},
    secret::check_secret_name,
};

use crate::{
    client::{Client, is_loopback},
    codes::Code,
    error::CliError,
    exit::Exit,
    output::{
        Record,
        relative::ago,
        table::{Cell, Column},
    },
    session::Session,
    unseen,
};

/// List, set or remove the secrets of steps
#[derive(Debug, Args)]
pub(crate) struct Secrets {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List their names, never their values
    List,
    /// Set one, or give it another value: asked for, or read from stdin
    Set(Set),
    /// Remove one
    Remove {
        /// Its name
        name: String,
    },
}

#[derive(Debug, Args)]
struct Set {
    /// Its name, such as FORGE_TOKEN
    name: String,
    /// Read the value from a file
    #[arg(long, value_name = "FILE")]
    from_file: Option<PathBuf>,
}

impl Secrets {
    /// Does it.
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, CliError> {
        let client = session.client()?;
        match self.command.unwrap_or(Command::List) {
            Command::List => {
                let page = client.call(&ListSecrets {}).await?;
                session.out.list(&page.items, page.next_cursor.as_deref())?;
                if page.items.is_empty() && !session.out.for_machine() {
                    session
                        .out
                        .say("no secrets; `agentctl secrets set NAME` makes one");
                }
                Ok(Exit::Done)
            }
            Command::Set(set) => set.run(session, &client).await,
            Command::Remove { name } => {
                client.call(&RemoveSecret { name: name.clone() }).await?;
                session.out.say(&format!("secret {name} is gone"));
                Ok(Exit::Done)
            }
        }
    }
}

impl Set {
    async fn run(self, session: &Session, client: &Client) -> Result<Exit, CliError> {
        if let Err(error) = check_secret_name(&self.name) {
            let sentence = format!("{:?} names no secret: {error}", self.name);
            return Err(CliError::new(Code::InvalidArgument, sentence));
        }
        let url = &client.target().url;
        if !url.starts_with("https://") && !is_loopback(url) {
            let sentence = format!("a secret is not sent to {url}: everybody on the way could read it");
            return Err(CliError::new(Code::InvalidArgument, sentence)
                .hint("use the https address of the controller, or run this on its machine"));
        }
        let value = self.value(session)?;
        let name = self.name;
        let view = client.call(&SetSecret { name, value }).await?;
        session.out.one(&view, &view.name, |_| vec![])?;
        session.out.say(&format!(
            "secret {} is set; a step gets it by `secrets: [{}]`",
            view.name, view.name
        ));
        Ok(Exit::Done)
    }

    fn value(&self, session: &Session) -> Result<String, CliError> {
        let text = match &self.from_file {
            Some(path) => {
                let file = fs::File::open(path).map_err(|error| CliError::file(path, "read", &error))?;
                read(file).map_err(|error| CliError::file(path, "read", &error))?
            }
            None if !io::stdin().is_terminal() => read(io::stdin())?,
            None if session.no_input => {
                let sentence = "a value is needed, and there is nobody to ask";
                let hint = format!("pipe it in: `agentctl secrets set {} < FILE`", self.name);
                return Err(CliError::new(Code::InvalidArgument, sentence).hint(hint));
            }
            None => unseen::ask(session, &format!("value of {}", self.name))?.unwrap_or_default(),
        };
        if text.trim().is_empty() {
            return Err(CliError::new(Code::InvalidArgument, "the value is empty"));
        }
        Ok(without_line_end(text))
    }
}

/// A little more than the largest: the controller says that it is too much.
fn read(from: impl Read) -> io::Result<String> {
    let mut text = String::new();
    from.take(2 * MAX_SECRET as u64).read_to_string(&mut text)?;
    Ok(text)
}

/// The end of a single line is the shell's; a key file keeps its own.
fn without_line_end(text: String) -> String {
    let line = text.trim_end_matches(['\r', '\n']);
    if line.contains('\n') {
        text
    } else {
        line.to_owned()
    }
}

impl Record for SecretView {
    const COLUMNS: &'static [Column] = &[
        Column::new("NAME"),
        Column::new("SET").right(),
        Column::new("BY"),
        Column::new("LAST USED").right().rank(1),
        Column::new("CREATED").right().rank(2),
    ];

    fn cells(&self, now: Timestamp) -> Vec<Cell> {
        let used = self.last_used_at;
        vec![
            self.name.as_str().into(),
            ago(self.set_at, now).into(),
            self.set_by.as_str().into(),
            used.map_or_else(|| "never".to_owned(), |at| ago(at, now)).into(),
            ago(self.created_at, now).into(),
        ]
    }

    fn id(&self) -> String {
        self.name.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_end_of_one_line_does_not_count() {
        for (text, value) in [("a\n", "a"), ("a\r\n", "a"), ("a", "a"), ("a\nb\n", "a\nb\n")] {
            assert_eq!(without_line_end(text.to_owned()), value);
        }
    }
}
