//! `agentctl tokens`: API tokens of people and programs.

use clap::{Args, Subcommand};
use jiff::Timestamp;
use protocol::{
    duration::Millis,
    http::tokens::{CreateToken, ListTokens, RemoveToken, Scope, TokenView},
};

use crate::{
    client::Client,
    error::CliError,
    exit::Exit,
    output::{
        Record,
        relative::ago,
        table::{Cell, Column},
    },
    session::Session,
};

/// List, create or remove API tokens
#[derive(Debug, Args)]
pub(crate) struct Tokens {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List them, without their secrets
    List,
    /// Make one; its secret is shown this once
    Create(Create),
    /// Make one useless
    Remove {
        /// Name or id
        name: String,
    },
}

#[derive(Debug, Args)]
struct Create {
    /// For people; unique
    name: String,
    /// What it allows: read, run, approve, admin; separated by commas
    #[arg(
        long = "scope",
        value_delimiter = ',',
        default_value = "read",
        value_name = "SCOPES"
    )]
    scopes: Vec<Scope>,
    /// Life, such as 30d; for ever if missing
    #[arg(long, value_name = "TIME")]
    expires: Option<Millis>,
}

impl Tokens {
    /// Does it.
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, CliError> {
        let client = session.client()?;
        match self.command.unwrap_or(Command::List) {
            Command::List => {
                let page = client.call(&ListTokens {}).await?;
                session.out.list(&page.items, page.next_cursor.as_deref())?;
                Ok(Exit::Done)
            }
            Command::Create(create) => create.run(session, &client).await,
            Command::Remove { name } => {
                client.call(&RemoveToken { name: name.clone() }).await?;
                session.out.say(&format!("token {name} opens nothing any more"));
                Ok(Exit::Done)
            }
        }
    }
}

impl Create {
    async fn run(self, session: &Session, client: &Client) -> Result<Exit, CliError> {
        let call = CreateToken {
            name: self.name,
            scopes: self.scopes,
            expires_in_s: self.expires.map(|life| life.0.div_ceil(1000)),
        };
        let made = client.call(&call).await?;
        session
            .out
            .one(&made, &made.view.id.to_string(), |_| vec![made.token.clone()])?;
        session.out.say("this is the only time that it is shown");
        Ok(Exit::Done)
    }
}

impl Record for TokenView {
    const COLUMNS: &'static [Column] = &[
        Column::new("NAME"),
        Column::new("SCOPES"),
        Column::new("CREATED").right().rank(2),
        Column::new("EXPIRES").right(),
        Column::new("LAST USED").right().rank(1),
        Column::new("ID").wide().rank(3),
    ];

    fn cells(&self, now: Timestamp) -> Vec<Cell> {
        let scopes: Vec<&str> = self.scopes.iter().map(|scope| scope.as_str()).collect();
        let or =
            |time: Option<Timestamp>, none: &str| time.map_or_else(|| none.to_owned(), |at| ago(at, now));
        vec![
            self.name.as_str().into(),
            scopes.join(",").into(),
            ago(self.created_at, now).into(),
            or(self.expires_at, "never").into(),
            or(self.last_used_at, "never").into(),
            self.id.to_string().into(),
        ]
    }

    fn id(&self) -> String {
        self.id.to_string()
    }
}
