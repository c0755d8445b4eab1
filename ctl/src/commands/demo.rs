//! `agentctl demo`: a controller and two workers on this machine turn a task
//! into a patch, and leave nothing running.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use jiff::Timestamp;
use protocol::{
    http::{
        jobs::{JobView, SubmitJob},
        workers::{CreateJoinToken, ListWorkers, WorkerView},
    },
    id::JobRef,
    job::JobState,
    worker::WorkerState,
};
use reqwest::{Method, header::HeaderMap};
use tempfile::TempDir;
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{sleep, timeout},
};

use self::{
    model::Model,
    processes::{Processes, program},
};
use super::{
    apply::BUNDLE,
    artifacts::{fetch, save},
    diff::{paint, patch},
    submit::{DEFAULT_WORKFLOW, send},
};
use crate::{
    client::Client,
    codes::Code,
    context::{Target, local_url},
    error::CliError,
    exit::Exit,
    follow::{Ending, look_on},
    job::closing,
    output::{progress::progress, style::Tone},
    repo::{Bundle, Repository, Wanted},
    session::Session,
};

mod model;
mod processes;
mod sample;
mod story;

/// How long each process may take until it is ready.
const START: Duration = Duration::from_secs(30);
/// How often it is asked whether it is.
const ASK: Duration = Duration::from_millis(50);
/// Any port of this machine that is free.
const FREE_PORT: &str = "127.0.0.1:0";
/// The folder of the processes' state; it goes when they have ended.
const STATE: &str = "state";
/// The folder of what the processes said; it stays if something went wrong.
const LOGS: &str = "logs";
/// The workers: verify goes to another one than edit.
const WORKERS: [&str; 2] = ["worker-1", "worker-2"];

/// Show all of it on a small sample, on this machine alone
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// A configuration of agentd that names models; without one, an Ollama of this machine or a recording answers
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Play the recorded conversation even if there is a model
    #[arg(long, conflicts_with = "config")]
    replay: bool,
}

impl Demo {
    /// Does it.
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, CliError> {
        let folder = tempfile::Builder::new().prefix("agentd-demo-").tempdir()?;
        let stage = Stage {
            session,
            root: folder.path().to_owned(),
            model: Model::find(self.config, self.replay).await,
        };
        let mut processes = Processes::default();
        let mut interrupts = signal(SignalKind::interrupt())?;
        let mut terminations = signal(SignalKind::terminate())?;
        let result = tokio::select! {
            result = stage.play(&mut processes) => result,
            _ = interrupts.recv() => Ok(Exit::Interrupted),
            _ = terminations.recv() => Ok(Exit::Interrupted),
        };
        processes.stop().await;
        match result {
            Ok(Exit::Interrupted) => {
                session.out.say("interrupted: everything is stopped and removed");
                Ok(Exit::Interrupted)
            }
            Ok(Exit::Done) => {
                let root = folder.keep();
                fs::remove_dir_all(root.join(STATE))?;
                fs::remove_dir_all(root.join(LOGS))?;
                Ok(Exit::Done)
            }
            Ok(exit) => {
                keep_logs(session, folder);
                Ok(exit)
            }
            Err(error) => {
                keep_logs(session, folder);
                Err(error)
            }
        }
    }
}

fn keep_logs(session: &Session, folder: TempDir) {
    let logs = folder.keep().join(LOGS);
    session
        .out
        .say(&format!("the logs of all three are in {}", logs.display()));
}

/// The folder, the model, and whom it is shown to.
struct Stage<'a> {
    session: &'a Session,
    root: PathBuf,
    model: Model,
}

impl Stage<'_> {
    /// The whole demonstration; what it starts is in `processes`.
    async fn play(&self, processes: &mut Processes) -> Result<Exit, CliError> {
        let out = &self.session.out;
        for folder in [STATE, LOGS, sample::NAME] {
            fs::create_dir(self.root.join(folder))?;
        }
        let repository = self.root.join(sample::NAME);
        sample::write(&repository).await?;
        let root = self.root.display();
        out.line(&format!(
            "a controller and two workers on this machine, in {root}"
        ))?;
        out.line(&format!("model: {}", self.model.line()))?;
        let client = self.controller(processes).await?;
        let workers = self.workers(processes, &client).await?;
        out.line(&sandbox_line(&workers))?;
        out.line(&format!("task: {}", sample::TASK))?;
        out.line("")?;
        let job = submit(&client, &repository).await?;
        let mut progress = progress(self.session.progress, out);
        let (job, ending) = guarded(processes, look_on(progress.as_mut(), &client, job, None)).await?;
        let Ending::Still(exit) = ending else {
            return Ok(Exit::Interrupted);
        };
        progress.end(&job, &[])?;
        drop(progress);
        self.tell(&client, &job, &repository).await?;
        Ok(exit)
    }

    /// Starts the controller and waits until it is ready.
    async fn controller(&self, processes: &mut Processes) -> Result<Client, CliError> {
        let state = self.state("agentd");
        let config = self.model.config(&self.root.join(STATE))?;
        let config = config.as_deref().map(text).transpose()?;
        let mut args = vec![
            "--state-dir",
            text(&state)?,
            "--local",
            "--http",
            FREE_PORT,
            "--mqtt",
            FREE_PORT,
        ];
        args.extend(config.iter().flat_map(|config| ["--config", config]));
        processes.start("agentd", &program("agentd")?, &args, &self.root.join(LOGS))?;
        let ready = async {
            loop {
                if let (Some(url), Ok(token)) =
                    (local_url(&state), fs::read_to_string(state.join("admin.token")))
                {
                    let client = Client::new(Target {
                        url,
                        token: Some(token.trim().to_owned()),
                        pin: None,
                        ca: None,
                        source: "the demonstration's own".to_owned(),
                    })?;
                    if client.send(client.request(Method::GET, "/readyz")).await.is_ok() {
                        return Ok(client);
                    }
                }
                sleep(ASK).await;
            }
        };
        guarded(processes, in_time("agentd", ready)).await
    }

    /// Joins the workers and waits until both are there.
    async fn workers(&self, processes: &mut Processes, client: &Client) -> Result<Vec<WorkerView>, CliError> {
        let worker = program("agent-worker")?;
        for name in WORKERS {
            let made = client.call(&CreateJoinToken {}).await?;
            let state = self.state(name);
            let args = ["--state-dir", text(&state)?, "join", &made.token, "--name", name];
            processes.start(name, &worker, &args, &self.root.join(LOGS))?;
        }
        let there = async {
            loop {
                let page = client.call(&ListWorkers {}).await?;
                let online = page
                    .items
                    .iter()
                    .filter(|worker| worker.state == WorkerState::Online);
                if online.count() == WORKERS.len() {
                    return Ok(page.items);
                }
                sleep(ASK).await;
            }
        };
        guarded(processes, in_time("a worker", there)).await
    }

    fn state(&self, name: &str) -> PathBuf {
        self.root.join(STATE).join(name)
    }

    /// Plan, checks, verdict and patch; where they are; how to go on.
    async fn tell(&self, client: &Client, job: &JobView, repository: &Path) -> Result<(), CliError> {
        let out = &self.session.out;
        let style = out.stdout().style;
        let mut lines = vec![String::new()];
        lines.extend(story::documents(job, style));
        let mut next = "agentctl demo".to_owned();
        if job.state == JobState::Succeeded {
            let number = JobRef::Number(job.number);
            let patch = patch(client, number).await?;
            let file = self.root.join("change.patch");
            fs::write(&file, &patch).map_err(|error| CliError::file(&file, "write", &error))?;
            lines.push(style.paint("patch", Tone::Strong));
            // unindented, so that it can be copied
            lines.extend(
                String::from_utf8_lossy(&patch)
                    .lines()
                    .map(|line| paint(line, style)),
            );
            let branch = self.apply(client, job, repository).await?;
            lines.push(String::new());
            lines.push(format!("patch:  {}", file.display()));
            lines.push(format!("branch: {branch} in {}", repository.display()));
            lines.push(
                "yours:  agentd, then agent-worker join TOKEN, then agentctl run \"…\" in your repository"
                    .to_owned(),
            );
            next = format!("cd {} && git switch {branch} && cargo test", repository.display());
        }
        let [result, error, _] = closing(job, Timestamp::now());
        lines.extend([result, error, format!("next: {next}")]);
        Ok(lines.iter().try_for_each(|line| out.line(line))?)
    }

    /// Makes the job's branch in the sample, as `agentctl apply` would.
    async fn apply(&self, client: &Client, job: &JobView, repository: &Path) -> Result<String, CliError> {
        let response = fetch(client, JobRef::Number(job.number), BUNDLE, HeaderMap::new()).await?;
        let bundle = self.root.join(STATE).join("job.bundle");
        save(client, response, &bundle).await?;
        let branch = format!("agentd/{}", job.number);
        let base = job.repo.as_ref().and_then(|repo| repo.base.as_deref());
        Repository::open(repository)
            .await?
            .apply(&bundle, base, &branch, false)
            .await?;
        Ok(branch)
    }
}

/// Hands the sample in with its task.
async fn submit(client: &Client, repository: &Path) -> Result<JobView, CliError> {
    let bundle = Bundle::make(repository, &Wanted::default()).await?;
    let request = SubmitJob {
        workflow: DEFAULT_WORKFLOW.to_owned(),
        inputs: [("task".to_owned(), sample::TASK.into())].into_iter().collect(),
        repo: Some(bundle.upload(client).await?),
        ..SubmitJob::default()
    };
    send(client, &request).await
}

/// What stands between the sample and this machine.
fn sandbox_line(workers: &[WorkerView]) -> String {
    let levels = workers.iter().flat_map(|worker| worker.labels.values("sandbox"));
    match levels.max() {
        Some("none") | None => {
            "sandbox: none: tools run as you, in process groups of their own with limits and a bare environment".to_owned()
        }
        Some(level) => format!("sandbox: {level}"),
    }
}

/// Work that makes no sense any more when a process has ended.
async fn guarded<T>(
    processes: &mut Processes,
    work: impl Future<Output = Result<T, CliError>>,
) -> Result<T, CliError> {
    tokio::select! {
        result = work => result,
        error = processes.unexpected_end() => Err(error),
    }
}

async fn in_time<T>(what: &str, work: impl Future<Output = Result<T, CliError>>) -> Result<T, CliError> {
    timeout(START, work).await.unwrap_or_else(|_| {
        let sentence = format!("{what} is not ready after {} s", START.as_secs());
        Err(CliError::new(Code::DemoFailed, sentence))
    })
}

/// A path as an argument.
fn text(path: &Path) -> Result<&str, CliError> {
    path.to_str().ok_or_else(|| {
        CliError::new(
            Code::DemoFailed,
            format!("the path {} is not UTF-8", path.display()),
        )
    })
}
