//! `agentctl backup`: fetches everything that a controller needs to go on elsewhere.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

use clap::Args;
use jiff::Timestamp;
use protocol::http::backup::BACKUP_PATH;
use reqwest::{Method, Response};
use serde_json::json;
use tempfile::NamedTempFile;

use crate::{client::Client, error::CliError, exit::Exit, output::relative::bytes, session::Session};

/// Back the controller up while it runs: database, logs, artifacts, configuration
///
/// `agentd restore FILE --state-dir DIR` makes a controller from it. The file holds hashes of tokens and
/// no keys of providers, but everything that jobs have made: keep it safe.
#[derive(Debug, Args)]
pub(crate) struct Backup {
    /// Where to; `agentd-<date>.tar` here if missing. An existing file is never replaced
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
}

impl Backup {
    /// Does it.
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, CliError> {
        let client = session.client()?;
        let path = self.to.unwrap_or_else(|| {
            let date = Timestamp::now().strftime("%Y%m%d-%H%M%SZ");
            PathBuf::from(format!("agentd-{date}.tar"))
        });
        if path.exists() {
            let error = io::Error::from(io::ErrorKind::AlreadyExists);
            return Err(CliError::file(&path, "write", &error).hint("name another file with --to"));
        }
        let response = client.send(client.request(Method::POST, BACKUP_PATH)).await?;
        let size = save(&client, response, &path).await?;
        let answer = json!({"file": path, "size": size});
        let line = format!("backed up to {} ({})", path.display(), bytes(size));
        session
            .out
            .one(&answer, &path.to_string_lossy(), |_| vec![line])?;
        Ok(Exit::Done)
    }
}

/// Writes the body to a new file in one move: one that broke off leaves none.
async fn save(client: &Client, mut response: Response, path: &Path) -> Result<u64, CliError> {
    let unwritable = |error: io::Error| CliError::file(path, "write", &error);
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let mut file = NamedTempFile::new_in(folder.unwrap_or(Path::new("."))).map_err(unwritable)?;
    let mut size = 0;
    while let Some(chunk) = response
        .chunk()
        .await
        .map_err(|error| client.unreachable(&error))?
    {
        size += chunk.len() as u64;
        file.write_all(&chunk).map_err(unwritable)?;
    }
    file.as_file().sync_all().map_err(unwritable)?;
    file.persist_noclobber(path)
        .map_err(|error| unwritable(error.error))?;
    Ok(size)
}
