//! `agentctl dashboard`: a link that logs a browser in.

use clap::Args;
use protocol::http::login_links::CreateLoginLink;
use serde::Serialize;

use crate::{error::CliError, exit::Exit, session::Session};

/// Print a link that logs a browser in once
#[derive(Debug, Args)]
pub(crate) struct Dashboard {}

/// The link, whole.
#[derive(Debug, Serialize)]
struct Link {
    url: String,
    expires_in_s: u64,
}

impl Dashboard {
    /// Does it.
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, CliError> {
        let target = session.target()?;
        let base = target.url.trim_end_matches('/').to_owned();
        let made = session.client()?.call(&CreateLoginLink {}).await?;
        let link = Link {
            url: format!("{base}{}", made.path),
            expires_in_s: made.expires_in_s,
        };
        session.out.one(&link, &link.url, |_| vec![link.url.clone()])?;
        session.out.say(&format!(
            "good for one login within {} minutes; it has the rights of your token",
            link.expires_in_s / 60
        ));
        Ok(Exit::Done)
    }
}
