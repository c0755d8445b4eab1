//! `agentctl workers`: what is seen of workers and what is wanted of them.

use clap::{Args, Subcommand};
use jiff::Timestamp;
use protocol::{
    http::workers::{
        CreateJoinToken, DrainWorker, GetWorker, ListWorkers, PauseWorker, RemoveWorker, ResumeWorker,
        WorkerView,
    },
    worker::Wanted,
};

use crate::{
    client::Client,
    error::CliError,
    exit::Exit,
    output::{
        Record, Stream,
        relative::{ago, bytes},
        style::{Tone, worker_tone},
        table::{Cell, Column},
        text::one_line,
    },
    session::Session,
};

/// List workers, or change what is wanted of one
#[derive(Debug, Args)]
pub(crate) struct Workers {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List them
    List,
    /// Show one with its labels and models
    Show(Named),
    /// Give it nothing new
    Pause(Named),
    /// Give it nothing new, and let it finish what it runs
    Drain(Named),
    /// Give it steps again
    Resume(Named),
    /// Forget it: its credential opens nothing any more
    Remove(Named),
    /// Make a token that lets one worker join within 15 minutes
    JoinToken,
}

#[derive(Debug, Args)]
struct Named {
    /// The worker's name
    #[arg(add = crate::live::workers())]
    name: String,
}

impl Workers {
    /// Does it.
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, CliError> {
        let client = session.client()?;
        match self.command.unwrap_or(Command::List) {
            Command::List => list(session, &client).await,
            Command::Show(Named { name }) => show(session, &client.call(&GetWorker { name }).await?),
            Command::Pause(Named { name }) => changed(session, &client.call(&PauseWorker { name }).await?),
            Command::Drain(Named { name }) => changed(session, &client.call(&DrainWorker { name }).await?),
            Command::Resume(Named { name }) => changed(session, &client.call(&ResumeWorker { name }).await?),
            Command::Remove(Named { name }) => remove(session, &client, name).await,
            Command::JoinToken => join_token(session, &client).await,
        }
    }
}

async fn list(session: &Session, client: &Client) -> Result<Exit, CliError> {
    let page = client.call(&ListWorkers {}).await?;
    session.out.list(&page.items, page.next_cursor.as_deref())?;
    if page.items.is_empty() && !session.out.for_machine() {
        session
            .out
            .say("no workers; `agentctl workers join-token` prints the line that joins one");
    }
    Ok(Exit::Done)
}

fn show(session: &Session, worker: &WorkerView) -> Result<Exit, CliError> {
    let now = Timestamp::now();
    session.out.record(worker, |stream| human(worker, now, stream))?;
    Ok(Exit::Done)
}

fn changed(session: &Session, worker: &WorkerView) -> Result<Exit, CliError> {
    let line = format!("{} is {}", worker.name, state(worker));
    session.out.record(worker, |_| vec![line])?;
    Ok(Exit::Done)
}

async fn remove(session: &Session, client: &Client, name: String) -> Result<Exit, CliError> {
    client.call(&RemoveWorker { name: name.clone() }).await?;
    session
        .out
        .say(&format!("{name} is removed; what it ran goes to other workers"));
    Ok(Exit::Done)
}

async fn join_token(session: &Session, client: &Client) -> Result<Exit, CliError> {
    let made = client.call(&CreateJoinToken {}).await?;
    let command = format!("agent-worker join {}", made.token);
    session.out.one(&made, &made.token, |_| vec![command])?;
    session.out.say(&format!(
        "good for one worker; expires {}",
        ago(made.expires_at, Timestamp::now())
    ));
    Ok(Exit::Done)
}

/// Seen and wanted in one word or two.
fn state(worker: &WorkerView) -> String {
    match worker.wanted {
        Wanted::Active => worker.state.to_string(),
        wanted => format!("{}, {wanted}", worker.state),
    }
}

fn current(worker: &WorkerView) -> String {
    let steps = worker.current.iter();
    let texts: Vec<String> = steps.map(|on| format!("{} {}", on.job.number, on.step)).collect();
    texts.join(", ")
}

fn human(worker: &WorkerView, now: Timestamp, stream: Stream) -> Vec<String> {
    let mut lines = vec![format!(
        "{}  {}",
        stream.style.paint(&worker.name, Tone::Strong),
        stream.style.paint(&state(worker), worker_tone(worker.state))
    )];
    let mut fact = |name: &str, value: String| {
        let name = stream.style.paint(&format!("{name:<9}"), Tone::Dim);
        lines.push(format!("{name} {}", one_line(&value)));
    };
    fact("id", worker.id.to_string());
    fact("version", worker.version.clone());
    fact(
        "slots",
        format!("{} of {} in use", worker.slots_used, worker.slots),
    );
    let now_running = current(worker);
    fact(
        "now",
        if now_running.is_empty() {
            "idle".to_owned()
        } else {
            now_running
        },
    );
    let load = worker.load;
    let (memory, disk) = (bytes(load.memory_available), bytes(load.disk_free));
    fact(
        "load",
        format!("{:.2}, {memory} of memory and {disk} of disk free", load.load1),
    );
    fact("joined", ago(worker.joined_at, now));
    fact(
        "seen",
        worker
            .last_seen_at
            .map_or_else(|| "never".to_owned(), |at| ago(at, now)),
    );
    for model in &worker.models {
        let loaded = if model.loaded { ", loaded" } else { "" };
        fact("model", format!("{} ({}{loaded})", model.model, model.provider));
    }
    for (key, value) in worker.labels.iter() {
        fact("label", format!("{key}={value}"));
    }
    lines
}

impl Record for WorkerView {
    const COLUMNS: &'static [Column] = &[
        Column::new("NAME"),
        Column::new("STATE"),
        Column::new("SLOTS").right(),
        Column::new("NOW").flexible(16).rank(2),
        Column::new("LOAD").right().rank(4),
        Column::new("DISK FREE").right().rank(5),
        Column::new("MODELS").right().rank(3),
        Column::new("SEEN").right().rank(1),
        Column::new("VERSION").wide().rank(6),
        Column::new("LABELS").wide().rank(7),
        Column::new("ID").wide().rank(8),
    ];

    fn cells(&self, now: Timestamp) -> Vec<Cell> {
        let seen = self.last_seen_at.map(|at| ago(at, now));
        vec![
            self.name.as_str().into(),
            Cell::toned(state(self), worker_tone(self.state)),
            format!("{}/{}", self.slots_used, self.slots).into(),
            current(self).into(),
            format!("{:.2}", self.load.load1).into(),
            bytes(self.load.disk_free).into(),
            self.models.len().to_string().into(),
            seen.unwrap_or_default().into(),
            self.version.as_str().into(),
            self.labels.to_string().into(),
            self.id.to_string().into(),
        ]
    }

    fn id(&self) -> String {
        self.name.clone()
    }
}
