//! `agentctl submit`: hands a job in and prints its number. `run` and
//! `retry --new` hand theirs in the same way.

use std::path::{Path, PathBuf};

use clap::Args;
use protocol::{
    http::{
        jobs::{Budget, JobView, SubmitJob},
        problem,
        workflows::{GetWorkflow, ListWorkflows, WorkflowView},
    },
    spec::RepoSource,
};
use serde_json::{Map, Value};
use tokio::time::{Duration, sleep};
use uuid::Uuid;

use crate::{
    client::Client,
    codes::Code,
    error::{CliError, Origin},
    exit::Exit,
    input::{Input, closest, collect},
    repo::{Bundle, Wanted, git::is_url},
    session::Session,
};

/// The workflow of a task that names none.
pub(super) const DEFAULT_WORKFLOW: &str = "implement";
/// The workflow that takes a command after `--`.
const COMMAND_WORKFLOW: &str = "run";
/// How often a submit is sent while no answer comes; the key makes repeats harmless.
const MOST_SENDS: u32 = 4;

/// Submit a job and print its number
#[derive(Debug, Args)]
pub(crate) struct Submit {
    #[command(flatten)]
    job: JobArgs,
}

impl Submit {
    /// Does it.
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, CliError> {
        let client = session.client()?;
        let job = self.job.submit(session, &client).await?;
        let number = job.number.to_string();
        session.out.one(&job, &job.id.to_string(), |_| vec![number])?;
        Ok(Exit::Done)
    }
}

/// What makes a job.
#[derive(Debug, Args)]
pub(crate) struct JobArgs {
    /// A task in words for `implement`, or a workflow, or a workflow and its task
    #[arg(value_name = "WORKFLOW|TASK", num_args = 0..=2, add = crate::live::workflows())]
    words: Vec<String>,
    /// The repository: a folder (its HEAD is sent) or a URL (workers clone it); by default the current folder
    #[arg(long, value_name = "PATH|URL")]
    repo: Option<String>,
    /// Branch, tag or commit to start from
    #[arg(long = "ref", value_name = "REF")]
    reference: Option<String>,
    /// Send uncommitted changes along, as one commit
    #[arg(long)]
    dirty: bool,
    /// An input of the workflow: NAME=TEXT, NAME=@FILE or NAME:=JSON
    #[arg(short, long = "input", value_name = "NAME=VALUE")]
    inputs: Vec<Input>,
    /// A title; made from the task if missing
    #[arg(long)]
    title: Option<String>,
    /// Higher goes first
    #[arg(long, allow_negative_numbers = true)]
    priority: Option<i32>,
    /// For filters: NAME=VALUE
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = pair)]
    labels: Vec<(String, String)>,
    /// Most US dollars that it may cost
    #[arg(long, value_name = "USD")]
    max_cost: Option<f64>,
    /// Most tokens that it may use
    #[arg(long, value_name = "TOKENS")]
    max_tokens: Option<u64>,
    /// A command for the workflow `run`
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

impl JobArgs {
    /// Checks what can be checked here, sends the repository, submits.
    pub(crate) async fn submit(self, session: &Session, client: &Client) -> Result<JobView, CliError> {
        let (workflow, task) = choose(client, &self.words, !self.command.is_empty()).await?;
        let inputs = self.inputs(&workflow, task)?;
        let repo = if workflow.needs_repo || self.repo.is_some() {
            Some(self.repository(session, client).await?)
        } else {
            None
        };
        let is_url = matches!(repo, Some(RepoSource::Url { .. }));
        let request = SubmitJob {
            workflow: workflow.name,
            inputs,
            repo,
            reference: self.reference.filter(|_| is_url),
            title: self.title,
            priority: self.priority,
            labels: self.labels.into_iter().collect(),
            budget: (self.max_cost.is_some() || self.max_tokens.is_some()).then_some(Budget {
                usd: self.max_cost,
                tokens: self.max_tokens,
            }),
        };
        send(client, &request).await
    }

    fn inputs(&self, workflow: &WorkflowView, task: Option<String>) -> Result<Map<String, Value>, CliError> {
        let mut inputs = collect(&self.inputs, workflow)?;
        if let Some(task) = task {
            if inputs.contains_key("task") {
                let error = CliError::new(Code::InvalidArgument, "the task is given twice");
                return Err(error.hint("leave out `--input task=…` or the words"));
            }
            inputs.insert("task".to_owned(), task.into());
        }
        if !self.command.is_empty() {
            inputs.insert("command".to_owned(), self.command.clone().into());
        }
        let blank = |value: &Value| value.as_str().is_some_and(|text| text.trim().is_empty());
        let missing = workflow
            .inputs
            .iter()
            .find(|input| input.required && inputs.get(&input.name).is_none_or(blank));
        match missing {
            Some(input) => Err(missing_input(workflow, &input.name)),
            None => Ok(inputs),
        }
    }

    async fn repository(&self, session: &Session, client: &Client) -> Result<RepoSource, CliError> {
        match self.repo.as_deref() {
            Some(url) if is_url(url) => Ok(RepoSource::Url {
                url: url.to_owned(),
                reference: self.reference.clone(),
            }),
            path => {
                let wanted = Wanted {
                    reference: self.reference.clone(),
                    dirty: self.dirty,
                };
                send_repository(session, client, Path::new(path.unwrap_or(".")), &wanted).await
            }
        }
    }
}

/// Bundles a repository of this machine, says what is special about it, and sends it.
pub(super) async fn send_repository(
    session: &Session,
    client: &Client,
    path: &Path,
    wanted: &Wanted,
) -> Result<RepoSource, CliError> {
    let path: PathBuf = path.canonicalize().map_err(|error| {
        CliError::file(path, "open the repository", &error)
            .hint("name a folder or a URL with `--repo PATH|URL`")
    })?;
    let bundle = Bundle::make(&path, wanted).await?;
    for note in &bundle.notes {
        session.out.say(&format!("note: {note}"));
    }
    bundle.upload(client).await
}

/// Submits until an answer comes.
pub(super) async fn send(client: &Client, request: &SubmitJob) -> Result<JobView, CliError> {
    let key = Uuid::new_v4().to_string();
    let mut sends = 1;
    loop {
        match client.call_once(request, &key).await {
            Err(error) if error.exit() == Exit::Unreachable && sends < MOST_SENDS => {
                sleep(Duration::from_millis(100 << sends)).await;
                sends += 1;
            }
            answer => return answer,
        }
    }
}

/// Which workflow is meant, and its task.
async fn choose(
    client: &Client,
    words: &[String],
    has_command: bool,
) -> Result<(WorkflowView, Option<String>), CliError> {
    match words {
        [] if has_command => Ok((named(client, COMMAND_WORKFLOW).await?, None)),
        [] => Err(
            CliError::new(Code::InvalidArgument, "a task or a workflow is missing")
                .hint("say what should be done: `agentctl run \"make the failing test pass\"`"),
        ),
        [workflow] if has_command => Ok((named(client, workflow).await?, None)),
        [word] => {
            let known = if may_name_a_workflow(word) {
                find(client, word).await?
            } else {
                None
            };
            match known {
                Some(workflow) => Ok((workflow, None)),
                None => Ok((named(client, DEFAULT_WORKFLOW).await?, Some(word.clone()))),
            }
        }
        [workflow, task, ..] => Ok((named(client, workflow).await?, Some(task.clone()))),
    }
}

fn may_name_a_workflow(word: &str) -> bool {
    !word.is_empty()
        && word
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

async fn find(client: &Client, name: &str) -> Result<Option<WorkflowView>, CliError> {
    let unknown = [problem::Code::NotFound, problem::Code::UnknownWorkflow].map(Origin::Api);
    match client
        .call(&GetWorkflow {
            name: name.to_owned(),
        })
        .await
    {
        Ok(workflow) => Ok(Some(workflow)),
        Err(error) if unknown.contains(&error.origin()) => Ok(None),
        Err(error) => Err(error),
    }
}

async fn named(client: &Client, name: &str) -> Result<WorkflowView, CliError> {
    if let Some(workflow) = find(client, name).await? {
        return Ok(workflow);
    }
    let all = client.call(&ListWorkflows {}).await?;
    Err(unknown_workflow(name, &all.items))
}

fn unknown_workflow(name: &str, known: &[WorkflowView]) -> CliError {
    let names = known.iter().map(|workflow| workflow.name.as_str());
    let mut problem = problem::Problem::new(
        problem::Code::UnknownWorkflow,
        format!("no workflow is named {name:?}"),
    );
    problem.hint = closest(name, names.clone()).map(|close| format!("did you mean `{close}`?"));
    let all = || format!("there are {}", names.collect::<Vec<_>>().join(", "));
    let hint = problem.hint.take().unwrap_or_else(all);
    problem.hint(hint).into()
}

fn missing_input(workflow: &WorkflowView, input: &str) -> CliError {
    let name = &workflow.name;
    let hint = match input {
        "task" => format!("say it: `agentctl run {name} \"…\"`"),
        "command" => format!("write it after two dashes: `agentctl run {name} -- cargo test`"),
        _ => format!("add `--input {input}=…`"),
    };
    problem::Problem::new(
        problem::Code::MissingInput,
        format!("the workflow {name} needs the input {input:?}, and it is missing or empty"),
    )
    .hint(hint)
    .into()
}

#[cfg(test)]
mod tests;
