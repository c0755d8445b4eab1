//! `POST /v1/jobs`: everything is checked before anything is written.

use std::sync::Arc;

use axum::{
    Extension, Json,
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use protocol::{
    http::{
        jobs::SubmitJob,
        problem::{Code, Problem},
    },
    id::{JobId, JobNumber},
    job::JobState,
    spec::RepoSource,
    usage::Usage,
};
use schemars::JsonSchema;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::{
    engine::{EngineError, SubmitKey, Submitted},
    orchestrator::{World, models, scope, world::Job},
    state::{artifacts, views},
    workflow::{
        inputs,
        model::{StepDef, StepKind, Workflow},
        template, trifecta,
    },
};

use super::{
    Api,
    auth::Caller,
    extract::{decode, read},
    jobs::note,
    problem::{ApiError, ApiResult},
    secrets,
};

/// Jobs of one batch, at most.
const BATCH: usize = 1000;
/// Characters of an idempotency key, at most.
const KEY_CHARS: usize = 255;

/// One job: 201 when it is on disk, 200 when the same request had made it before.
pub(super) async fn submit(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    request: Request,
) -> ApiResult<Response> {
    let body = read(request, api.body_limit).await?;
    let key = idempotency_key(&headers, &caller, &body)?;
    let wish: SubmitJob = decode(&body)?;
    let job = check(&api, wish).await?;
    let submitted = enter(&api, &caller, job, key).await?;
    let id = submitted.id;
    let view = match submitted.view {
        Some(view) => Some(*view),
        None => {
            let read = api.readers.query(move |connection| views::job(connection, id));
            read.await?
        }
    };
    let status = if submitted.existed {
        StatusCode::OK
    } else {
        StatusCode::CREATED
    };
    let location = format!("/v1/jobs/{}", submitted.number);
    Ok((status, [(header::LOCATION, location)], Json(view)).into_response())
}

/// Takes the job in, and writes down the exceptions that its workflow asks for.
async fn enter(api: &Api, caller: &Caller, job: Job, key: Option<SubmitKey>) -> ApiResult<Submitted> {
    let exceptions = trifecta::exceptions(&job.workflow, job.repo.is_some());
    let submitted = api.engine.submit(job, key).await?;
    if !submitted.existed {
        for (step, reason) in exceptions {
            let object = format!("job {}, step {step}: {reason}", submitted.number);
            note(api, caller, "job.trifecta", &object, "allowed".to_owned()).await?;
        }
    }
    Ok(submitted)
}

/// One entry of a batch's answer, in the order of the request.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
enum BatchEntry {
    Job { number: JobNumber, id: JobId },
    Problem(Box<Problem>),
}

/// The answer to a batch.
#[derive(Serialize, JsonSchema)]
pub(super) struct BatchAnswer {
    items: Vec<BatchEntry>,
}

/// Many jobs in one call: each stands for itself, and all that are taken share few transactions.
pub(super) async fn batch(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> ApiResult<Json<BatchAnswer>> {
    let body = read(request, api.body_limit).await?;
    let wishes: Vec<SubmitJob> = decode(&body)?;
    if wishes.len() > BATCH {
        let problem = Problem::new(
            Code::TooLarge,
            format!("a batch has at most {BATCH} jobs, not {}", wishes.len()),
        );
        return Err(problem.hint("send several batches").into());
    }
    let mut entering = Vec::with_capacity(wishes.len());
    for wish in wishes {
        entering.push(match check(&api, wish).await {
            Ok(job) => Ok(enter(&api, &caller, job, None)),
            Err(error) => Err(error),
        });
    }
    let items = futures::future::join_all(entering.into_iter().map(|entering| async {
        let entered = match entering {
            Ok(entering) => entering.await,
            Err(error) => Err(error),
        };
        match entered {
            Ok(Submitted { number, id, .. }) => BatchEntry::Job { number, id },
            Err(error) => BatchEntry::Problem(Box::new(error.problem().clone())),
        }
    }))
    .await;
    Ok(Json(BatchAnswer { items }))
}

fn idempotency_key(headers: &HeaderMap, caller: &Caller, body: &[u8]) -> ApiResult<Option<SubmitKey>> {
    let Some(value) = headers.get("idempotency-key") else {
        return Ok(None);
    };
    let key = value.to_str().unwrap_or_default();
    if key.is_empty() || key.len() > KEY_CHARS {
        let problem = Problem::new(
            Code::InvalidField,
            format!("the Idempotency-Key must have 1 to {KEY_CHARS} printable ASCII characters"),
        );
        return Err(problem.field("Idempotency-Key", key).into());
    }
    Ok(caller.token().map(|token| SubmitKey {
        token,
        key: key.to_owned(),
        body_sha256: Sha256::digest(body).into(),
    }))
}

/// A wish becomes a job, or a problem that names what is wrong with it.
async fn check(api: &Api, wish: SubmitJob) -> ApiResult<Job> {
    let workflow = {
        let catalog = api
            .catalog
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        catalog.get(&wish.workflow)?
    };
    let inputs = inputs::check_inputs(&workflow, wish.inputs)?;
    let repo = check_repo(api, &workflow, wish.repo, wish.reference).await?;
    check_trifecta(&workflow, repo.is_some())?;
    check_models(api, &workflow).await?;
    secrets::check(api, &workflow).await?;
    let title = wish
        .title
        .map_or_else(|| inputs::title(&workflow, &inputs), |title| clip(&title));
    // it is shown everywhere, and begins commit messages
    let title = api.mask.apply(&title).into_owned();
    let base = match &repo {
        Some(RepoSource::Bundle { head, .. }) => Some(head.clone()),
        _ => None,
    };
    let mut job = Job {
        id: JobId::new(),
        number: 0,
        state: JobState::Queued,
        priority: wish.priority.unwrap_or(workflow.priority),
        budget: wish.budget.or_else(|| workflow.budget.map(|rule| rule.caps)),
        workflow,
        inputs,
        title,
        labels: wish.labels,
        repo,
        base,
        group: None,
        created_at: api.clock.wall(),
        started_at: None,
        ended_at: None,
        reason: None,
        cancel_requested: false,
        overdue: false,
        revived_at: None,
        usage: Usage::default(),
        steps: vec![],
    };
    job.group = group_of(&job)?;
    Ok(job)
}

/// A repository that the workflow does not need makes its steps' input untrusted all the same.
fn check_trifecta(workflow: &Workflow, repo: bool) -> ApiResult<()> {
    let Some((step, why)) = trifecta::refused(workflow, repo) else {
        return Ok(());
    };
    let detail = format!(
        "step {step} of workflow {} has secrets and `network`, and {why}: it may have at most two of three",
        workflow.name
    );
    Err(Problem::new(Code::InvalidWorkflow, detail)
        .field("repo", true)
        .hint(trifecta::WAY_OUT)
        .into())
}

/// One line of at most 120 characters.
fn clip(title: &str) -> String {
    let line = title.lines().next().unwrap_or_default();
    line.chars().filter(|c| !c.is_control()).take(120).collect()
}

fn group_of(job: &Job) -> ApiResult<Option<String>> {
    let Some(rule) = &job.workflow.concurrency else {
        return Ok(None);
    };
    let group = template::render_text(&rule.group, &scope::of_job(job)).map_err(|error| {
        Problem::new(
            Code::InvalidWorkflow,
            format!("`concurrency.group` cannot be evaluated: {error}"),
        )
    })?;
    Ok(Some(group))
}

async fn check_repo(
    api: &Api,
    workflow: &Workflow,
    repo: Option<RepoSource>,
    wished_ref: Option<String>,
) -> ApiResult<Option<RepoSource>> {
    let repo = match repo {
        None if workflow.needs_repo() => {
            let detail = format!(
                "workflow {} works on a repository, and none was given",
                workflow.name
            );
            let problem = Problem::new(Code::MissingInput, detail).field("repo", serde_json::Value::Null);
            return Err(problem.hint("give one: agentctl run --repo . …").into());
        }
        None => return Ok(None),
        Some(RepoSource::Url { url, reference }) => {
            check_url(&url, api.allow_file_urls)?;
            RepoSource::Url {
                url,
                reference: wished_ref.or(reference),
            }
        }
        Some(bundle) => bundle,
    };
    if let RepoSource::Bundle { blob, head, .. } = &repo {
        if head.len() < 40 || !head.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            let problem = Problem::new(Code::InvalidField, "the head of a bundle is a whole commit id");
            return Err(problem.field("repo.head", head.as_str()).into());
        }
        let sha256 = blob.sha256;
        let at = api.clock.wall();
        let is_here = api
            .engine
            .write(move |connection| artifacts::claim_blob(connection, &sha256, at))
            .await?;
        if !is_here {
            let detail = format!("the bundle {sha256} was not uploaded");
            let problem = Problem::new(Code::MissingBlob, detail).field("repo.sha256", sha256.to_string());
            return Err(problem.hint("upload it first: PATCH /v1/blobs/{sha256}").into());
        }
    }
    Ok(Some(repo))
}

/// Schemes https and ssh (also as `user@host:path`); file only by leave of the configuration.
fn check_url(url: &str, allow_file: bool) -> ApiResult<()> {
    let refuse = |detail: String, hint: &str| -> ApiResult<()> {
        Err(Problem::new(Code::InvalidField, detail)
            .field("repo.url", url)
            .hint(hint)
            .into())
    };
    if url.starts_with('-') || url.chars().any(|c| c.is_control() || c == ' ') || url.len() > 2000 {
        return refuse(
            "the repository's URL has characters that no URL has".to_owned(),
            "give an https or ssh URL",
        );
    }
    let scp_form = !url.contains("://")
        && url
            .split_once(':')
            .is_some_and(|(host, path)| host.contains('@') && !host.contains('/') && !path.is_empty());
    match url.split_once("://").map(|(scheme, _)| scheme) {
        Some("https" | "ssh") => Ok(()),
        Some("file") if allow_file => Ok(()),
        Some("file") => refuse(
            "file:// URLs are not allowed here".to_owned(),
            "send the repository with --repo PATH, or set `allow_file_urls: true` in agentd's configuration",
        ),
        Some(scheme) => refuse(
            format!("repositories are reached by https or ssh, not by {scheme}"),
            "give an https or ssh URL",
        ),
        None if scp_form => Ok(()),
        None => refuse(
            format!("{url:?} is no URL of a repository"),
            "give an https or ssh URL, or send a local folder with agentctl run --repo PATH",
        ),
    }
}

/// Every agent of the workflow has a model, or a worker might bring one.
async fn check_models(api: &Api, workflow: &Arc<Workflow>) -> ApiResult<()> {
    if agents_of(workflow).is_empty() {
        return Ok(());
    }
    let workflow = workflow.clone();
    let missing = api
        .engine
        .inspect(move |world, _| missing_model(world, &workflow))
        .await;
    match missing.map_err(|error: EngineError| ApiError::from(error))? {
        None => Ok(()),
        Some(problem) => Err(problem.into()),
    }
}

fn missing_model(world: &World, workflow: &Workflow) -> Option<Problem> {
    for (def, role) in agents_of(workflow) {
        match models::alias_of(&world.models, def) {
            Some(alias) if !world.models.aliases.contains_key(alias) => {
                let known: Vec<&str> = world.models.aliases.keys().map(String::as_str).collect();
                let known = if known.is_empty() {
                    "none is configured".to_owned()
                } else {
                    known.join(", ")
                };
                let detail = format!("no model alias is named {alias:?}, which agent {role} wants ({known})");
                let problem = Problem::new(Code::UnknownModel, detail).field("model", alias);
                return Some(problem.hint("add it under `models:` in agentd's configuration"));
            }
            None if !world.workers.values().any(|worker| !worker.models.is_empty()) => {
                let detail =
                    format!("agent {role} has no model: none is configured, and no worker reaches one");
                let hint = if world.models.aliases.is_empty() {
                    "add `providers:` and `models:` to agentd's configuration, or run Ollama on a worker"
                } else {
                    "say under `agents:` in agentd's configuration which alias each role uses"
                };
                return Some(Problem::new(Code::NoModel, detail).hint(hint));
            }
            _ => {}
        }
    }
    None
}

fn agents_of(workflow: &Workflow) -> Vec<(&StepDef, &str)> {
    let mut agents = vec![];
    collect_agents(
        workflow.steps.values().chain(workflow.finally.values()),
        &mut agents,
    );
    agents
}

fn collect_agents<'a>(steps: impl Iterator<Item = &'a StepDef>, found: &mut Vec<(&'a StepDef, &'a str)>) {
    for def in steps {
        match &def.kind {
            StepKind::Agent { role, .. } => found.push((def, role)),
            StepKind::Block { steps, .. } => collect_agents(steps.values(), found),
            StepKind::Run { .. } | StepKind::Use(_) | StepKind::Approval(_) => {}
        }
    }
}
