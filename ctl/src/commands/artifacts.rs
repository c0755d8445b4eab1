//! `agentctl artifacts`: what a job has made, and how to get it.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};
use jiff::Timestamp;
use protocol::{
    artifact::Sha256,
    http::{
        jobs::{ArtifactView, ListArtifacts, artifact_path},
        problem,
    },
    id::JobRef,
};
use reqwest::{Response, header::HeaderMap};
use sha2::{Digest, Sha256 as Hasher};
use tempfile::NamedTempFile;

use crate::{
    client::Client,
    codes::Code,
    error::{CliError, Origin},
    exit::Exit,
    job::JobName,
    output::{
        Record,
        relative::{ago, bytes},
        table::{Cell, Column},
        text::clean,
    },
    session::Session,
};

/// List or fetch a job's artifacts
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Artifacts {
    /// Number, UUID, @last or @failed
    #[arg(required = true)]
    job: Option<JobName>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Fetch one
    Get(Get),
}

#[derive(Debug, Args)]
struct Get {
    /// Number, UUID, @last or @failed
    #[arg(add = crate::live::jobs())]
    job: JobName,
    /// `STEP/NAME`, or `patch`, `bundle`, `report`
    name: String,
    /// Write it to this file instead of stdout
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
}

impl Artifacts {
    /// Does it.
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, CliError> {
        let client = session.client()?;
        match (self.command, self.job) {
            (Some(Command::Get(get)), _) => get.run(session, &client).await,
            (None, Some(job)) => {
                let job = job.resolve(&client).await?;
                let page = client.call(&ListArtifacts { job }).await?;
                session.out.list(&page.items, page.next_cursor.as_deref())?;
                if page.items.is_empty() && !session.out.for_machine() {
                    session.out.say(&format!("job {job} has no artifacts yet"));
                }
                Ok(Exit::Done)
            }
            (None, None) => Err(CliError::new(Code::InvalidArgument, "a job is missing")),
        }
    }
}

impl Get {
    async fn run(self, session: &Session, client: &Client) -> Result<Exit, CliError> {
        let job = self.job.resolve(client).await?;
        let response = fetch(client, job, &self.name, HeaderMap::new()).await?;
        match &self.to {
            None => print(session, client, response).await,
            Some(path) => {
                save(client, response, path).await?;
                session.out.say(&format!("written to {}", path.display()));
                Ok(Exit::Done)
            }
        }
    }
}

/// Asks for the bytes of an artifact.
pub(super) async fn fetch(
    client: &Client,
    job: JobRef,
    name: &str,
    headers: HeaderMap,
) -> Result<Response, CliError> {
    client.get(&artifact_path(job, name), headers).await
}

/// A missing artifact of `deliver` means that the job is not there yet.
pub(super) fn no_result(error: CliError, job: JobRef, what: &str) -> CliError {
    if error.origin() != Origin::Api(problem::Code::NotFound) {
        return error;
    }
    CliError::new(Code::NoResult, format!("job {job} has not delivered {what}"))
        .cause(error.to_string())
        .hint(format!("`agentctl show {job}` says how far it is"))
}

/// Prints bytes as they come; on a terminal, without control sequences.
pub(super) async fn print(
    session: &Session,
    client: &Client,
    mut response: Response,
) -> Result<Exit, CliError> {
    if session.out.stdout().terminal {
        let body = client.read(response, usize::MAX).await?;
        let text = String::from_utf8_lossy(&body);
        session.out.line(clean(&text).trim_end())?;
        return Ok(Exit::Done);
    }
    while let Some(chunk) = response
        .chunk()
        .await
        .map_err(|error| client.unreachable(&error))?
    {
        session.out.bytes(&chunk)?;
    }
    Ok(Exit::Done)
}

/// Writes the body to a file in one move, and checks its hash against the ETag.
pub(super) async fn save(client: &Client, mut response: Response, path: &Path) -> Result<(), CliError> {
    let etag = response.headers().get(reqwest::header::ETAG);
    let expected: Option<Sha256> = etag
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.trim_matches('"').parse().ok());
    let unwritable = |error: io::Error| CliError::file(path, "write", &error);
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let mut file = NamedTempFile::new_in(folder.unwrap_or(Path::new("."))).map_err(unwritable)?;
    let mut hasher = Hasher::new();
    while let Some(chunk) = response
        .chunk()
        .await
        .map_err(|error| client.unreachable(&error))?
    {
        hasher.update(&chunk);
        file.write_all(&chunk).map_err(unwritable)?;
    }
    let actual = Sha256(hasher.finalize().into());
    if let Some(expected) = expected.filter(|expected| *expected != actual) {
        let sentence = format!("the artifact arrived damaged: sha256 {actual} instead of {expected}");
        return Err(CliError::new(Code::UnexpectedAnswer, sentence).hint("try again"));
    }
    file.persist(path).map_err(|error| unwritable(error.error))?;
    Ok(())
}

impl Record for ArtifactView {
    const COLUMNS: &'static [Column] = &[
        Column::new("NAME"),
        Column::new("SIZE").right(),
        Column::new("STEP").rank(2),
        Column::new("CREATED").right().rank(1),
        Column::new("SHA256").wide().rank(3),
    ];

    fn cells(&self, now: Timestamp) -> Vec<Cell> {
        vec![
            self.name.as_str().into(),
            bytes(self.file.size).into(),
            self.step.as_str().into(),
            ago(self.created_at, now).into(),
            self.file.sha256.to_string().into(),
        ]
    }

    fn id(&self) -> String {
        self.name.clone()
    }
}
