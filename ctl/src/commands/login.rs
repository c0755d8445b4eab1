//! `agentctl login`: checks an address and a token, then stores them.

use std::{
    io::{self, IsTerminal, Read, Write},
    path::PathBuf,
};

use clap::Args;
use protocol::http::status::GetStatus;
use reqwest::header::HeaderMap;
use service::tls::Fingerprint;

use crate::{
    client::Client,
    codes::Code,
    context::{Context, Contexts, Target, check_url},
    error::CliError,
    exit::Exit,
    session::Session,
    unseen,
};

/// Store a controller's address and token
#[derive(Debug, Args)]
pub(crate) struct Login {
    /// Address of the controller, such as https://pi:8485
    #[arg(value_name = "CONTROLLER")]
    address: String,
    /// Read the token from stdin
    #[arg(long)]
    token_stdin: bool,
    /// The name to store it under; by default the host's
    #[arg(long)]
    name: Option<String>,
    /// PEM file of the CAs to trust instead of this machine's, for a proxy in front of agentd
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

impl Login {
    /// Does it.
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, CliError> {
        let url = check_url(&self.address)?;
        let file = &session.places.contexts;
        let mut stored = Contexts::load(file)?;
        let pin = match session.given_fingerprint() {
            None if self.ca.is_none() && url.starts_with("https://") => {
                self.pin(session, &url, stored.pin_of(&url)).await?
            }
            given => given,
        };
        let token = self.token(session)?;
        let ca = self.ca.map(|file| file.canonicalize().unwrap_or(file));
        let client = Client::new(Target {
            url: url.clone(),
            token: Some(token.clone()),
            pin,
            ca: ca.clone(),
            source: "login".to_owned(),
        })?;
        let status = client.call(&GetStatus {}).await?;
        let name = self.name.unwrap_or_else(|| host(&url));
        stored.put(Context {
            name: name.clone(),
            url: url.clone(),
            token,
            fingerprint: pin,
            ca,
        });
        stored.save(file)?;
        session.out.say(&format!(
            "logged in to agentd {} at {url}; stored as {name}",
            status.version
        ));
        Ok(Exit::Done)
    }

    /// Which authority to pin: none for a server that this machine trusts anyway, a known one
    /// without a question, and any other only after one.
    async fn pin(
        &self,
        session: &Session,
        url: &str,
        known: Option<Fingerprint>,
    ) -> Result<Option<Fingerprint>, CliError> {
        let anybody = Client::new(Target {
            url: url.to_owned(),
            token: None,
            pin: None,
            ca: None,
            source: "login".to_owned(),
        })?;
        if known.is_none() && anybody.get("/healthz", HeaderMap::new()).await.is_ok() {
            return Ok(None);
        }
        let shown = Client::shown_by(url).await?;
        if known == Some(shown) {
            return Ok(known);
        }
        let before = known.map_or(String::new(), |known| {
            format!("\nuntil now it was                {known}")
        });
        let facts = format!("its certificate authority is    {shown}{before}");
        if self.token_stdin || session.no_input || !io::stdin().is_terminal() {
            let sentence =
                format!("the certificate authority of {url} is not known here, and there is nobody to ask");
            return Err(CliError::new(Code::FingerprintNeeded, sentence)
                .cause(facts)
                .hint(format!(
                    "if agentd logs the same at its start: `agentctl login {url} --fingerprint {shown}`"
                )));
        }
        session
            .out
            .say(&format!("{url}: {facts}\nagentd logs it at its start."));
        write!(io::stderr(), "is it the same? [y/N] ")?;
        io::stderr().flush()?;
        let mut answer = String::new();
        io::stdin().read_line(&mut answer)?;
        if matches!(answer.trim(), "y" | "Y" | "yes") {
            return Ok(Some(shown));
        }
        Err(
            CliError::new(Code::FingerprintNeeded, "nothing was pinned, and nothing sent")
                .hint("find the fingerprint in the log of agentd: `journalctl -u agentd | grep fingerprint`"),
        )
    }

    fn token(&self, session: &Session) -> Result<String, CliError> {
        let token = if self.token_stdin {
            let mut text = String::new();
            io::stdin().read_to_string(&mut text)?;
            text
        } else if let Some(token) = session.given_token() {
            token.to_owned()
        } else if session.no_input || !io::stdin().is_terminal() {
            return Err(
                CliError::new(Code::TokenNeeded, "a token is needed, and there is nobody to ask").hint(
                    format!(
                        "pipe it in: `agentctl login {} --token-stdin < FILE`",
                        self.address
                    ),
                ),
            );
        } else {
            unseen::ask(session, "token")?
                .ok_or_else(|| CliError::new(Code::TokenNeeded, "no token was typed"))?
        };
        let token = token.trim().to_owned();
        if token.is_empty() {
            return Err(CliError::new(Code::InvalidArgument, "the token is empty")
                .hint("the admin's is in `admin.token` in the state folder of agentd"));
        }
        Ok(token)
    }
}

fn host(url: &str) -> String {
    let url = reqwest::Url::parse(url).ok();
    let host = url.as_ref().and_then(reqwest::Url::host_str);
    host.unwrap_or("controller").to_owned()
}
