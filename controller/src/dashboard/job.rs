//! The page of one job: what it does, why it waits, what it has put out, and what a person may do about it.

mod actions;
mod steps;

use std::collections::HashMap;

use axum::{extract::State, response::Response};
use jiff::Timestamp;
use maud::{Markup, html};
use protocol::{
    http::{
        jobs::{ArtifactView, JobView, StepView, Why, artifact_path, log_path},
        query,
        tokens::Scope,
    },
    id::JobRef,
    job::{JobState, StepKey},
    step::StepState,
};
use serde::Deserialize;

use crate::{
    api::{
        Api,
        artifacts::{blocking, io_problem},
        extract::{OfJob, Params},
        jobs::explained,
        problem::{ApiResult, not_found},
    },
    orchestrator::approval::tag,
    state::{artifacts, events, load, views},
};

use super::{
    assets, diff, documents,
    frame::{self, Live},
    parts,
    session::Visitor,
    words,
};

pub(super) use actions::{approve, cancel, reject, resume, retry};

/// Bytes of a patch that are shown; a larger one is only a download.
const MOST_PATCH: u64 = 2 << 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wish {
    /// The step whose log is shown.
    step: Option<StepKey>,
    /// Which attempt of it; the last one if nobody says.
    attempt: Option<u32>,
}

/// What is in the page.
struct Shown {
    job: JobView,
    why: Option<Why>,
    artifacts: Vec<ArtifactView>,
    /// What stands for what is shown for a decision, by step.
    tags: HashMap<StepKey, String>,
    now: Timestamp,
}

/// `GET /jobs/{job}`.
pub(super) async fn page(
    State(api): State<Api>,
    visitor: Visitor,
    job: OfJob,
    Params(wish): Params<Wish>,
) -> ApiResult<Response> {
    let (seq, shown) = read(&api, &job).await?;
    let live = Live {
        seq,
        follows: job.number.to_string(),
    };
    let title = format!("{} {}", shown.job.number, words::clipped(&shown.job.title, 60));
    let content = content(&visitor, &shown, &wish);
    Ok(frame::page(&visitor, "/", &title, Some(&live), &content))
}

async fn read(api: &Api, job: &OfJob) -> ApiResult<(u64, Shown)> {
    let limits = api.engine.inspect(|world, now| (world.limits, now)).await?;
    let (id, number) = (job.id, job.number);
    let found = api.readers.query(move |connection| {
        // the events first: what comes after them is told again
        let seq = events::last_seq(connection)?;
        let Some(view) = views::job(connection, id)? else {
            return Ok(None);
        };
        let mut tags = HashMap::new();
        if view.steps.iter().any(|step| step.state == StepState::Awaiting)
            && let Some(job) = load::job(connection, id, &limits.0, limits.1)?
        {
            let tagged = job
                .steps
                .iter()
                .filter_map(|step| Some((step.key.clone(), tag(&job, step)?)));
            tags = tagged.collect();
        }
        Ok(Some((seq, view, tags, artifacts::of_job(connection, id)?)))
    });
    let found = found.await?;
    let (seq, view, tags, artifacts) =
        found.ok_or_else(|| not_found("job", number, "it was removed a moment ago"))?;
    let why = match view.state {
        state if state.is_terminal() => None,
        _ => explained(api, job).await.ok(),
    };
    let shown = Shown {
        job: view,
        why,
        artifacts,
        tags,
        now: api.clock.wall(),
    };
    Ok((seq, shown))
}

fn content(visitor: &Visitor, shown: &Shown, wish: &Wish) -> Markup {
    let job = &shown.job;
    html! {
        section #head data-live aria-label="The job" { (head(visitor, shown)) }
        section #asked data-live aria-label="What is asked of you" {
            @for step in job.steps.iter().filter(|step| step.state == StepState::Awaiting) {
                (asked(visitor, shown, step))
            }
        }
        section #graph data-live aria-label="Steps" {
            h2 { "Steps" }
            (steps::picture(job))
            (steps::table(job, shown.now))
        }
        section #timeline data-live aria-label="Timeline" {
            h2 { "Timeline" }
            (steps::timeline(job, shown.now))
        }
        (log(job, wish))
        section #results data-live aria-label="Results" { (results(shown)) }
    }
}

fn head(visitor: &Visitor, shown: &Shown) -> Markup {
    let job = &shown.job;
    let repo = job.repo.as_ref();
    html! {
        p.crumbs { a href="/" { "Jobs" } " / " (job.number) }
        h1 { (job.title) }
        p.line { (parts::state(job.state.as_str())) @if let Some(reason) = &job.reason { " " span.reason { (reason) } } }
        (parts::facts(&[
            ("Workflow", html! { a href={ "/workflows/" (protocol::http::encode(&job.workflow)) } { (job.workflow) } }),
            ("Repository", html! {
                @if let Some(repo) = repo {
                    (repo.name) @if let Some(base) = &repo.base { " " code { (words::clipped(base, 10)) } }
                } @else { "–" }
            }),
            ("Accepted", parts::ago(job.created_at, shown.now)),
            ("Took", parts::elapsed(job.started_at, job.ended_at, shown.now)),
            ("Steps", html! { (job.steps_done) " of " (job.steps_total) }),
            ("Tokens", html! { (words::tokens(&job.usage)) }),
            ("Cost", html! { (words::money(job.usage.cost_microusd)) }),
        ]))
        (buttons(visitor, job))
        @if let Some(why) = shown.why.as_ref().filter(|_| job.state != JobState::Running) { (waits_for(why)) }
        @if !job.inputs.is_empty() {
            details #inputs { summary { "Inputs" } (documents::draw(&job.inputs)) }
        }
    }
}

fn buttons(visitor: &Visitor, job: &JobView) -> Markup {
    let at = |verb: &str| format!("/jobs/{}/{verb}", job.number);
    html! {
        @if visitor.may(Scope::Run) {
            div.actions {
                @if job.state == JobState::Parked { (frame::button(visitor, &at("resume"), "Resume", "primary")) }
                @if matches!(job.state, JobState::Failed | JobState::Cancelled) { (frame::button(visitor, &at("retry"), "Retry", "")) }
                @if !job.state.is_terminal() {
                    (frame::grave_button(visitor, &at("cancel"), "Cancel", "Cancel this job? What runs is stopped."))
                }
            }
        }
    }
}

fn waits_for(why: &Why) -> Markup {
    html! {
        div.why {
            h2 { "Why it does not go on" }
            p { (why.summary) }
            @if !why.steps.is_empty() {
                details #why {
                    summary { "Step by step" }
                    ul {
                        @for step in &why.steps {
                            li {
                                b { (step.step) } ": " (step.reason)
                                @if let Some(hint) = &step.hint { p.hint { (hint) } }
                                @if !step.workers.is_empty() {
                                    ul { @for worker in &step.workers { li { (worker.worker) ": " (worker.lacks) } } }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn asked(visitor: &Visitor, shown: &Shown, step: &StepView) -> Markup {
    let approval = step.approval.as_ref();
    let by_key = |key: &StepKey| shown.job.steps.iter().find(|step| step.key == *key);
    html! {
        div.asked {
            h2 { "Step " (step.key) " waits for you" }
            @if let Some(approval) = approval {
                p { "Until " (words::moment(approval.wait.until)) ". Silence means: " (approval.on_timeout.participle()) "." }
                @for step in approval.show.iter().filter_map(by_key) { (documents::draw(&step.outputs)) }
            }
            @if visitor.may(Scope::Approve) {
                form method="post" action={ "/jobs/" (shown.job.number) "/approve" } {
                    (frame::signature(visitor))
                    input type="hidden" name="step" value=(step.key);
                    input type="hidden" name="seen" value=(shown.tags.get(&step.key).map_or("", String::as_str));
                    label for={ "reason-" (step.key) } { "Reason (optional)" }
                    input id={ "reason-" (step.key) } name="reason" maxlength="2000";
                    button.primary type="submit" { "Approve" }
                    button.danger type="submit" formaction={ "/jobs/" (shown.job.number) "/reject" } { "Reject" }
                }
            } @else {
                p.hint { "Your token may not decide: it lacks the scope approve." }
            }
        }
    }
}

/// The place of the log, for the script; without it there is the whole log as text.
fn log(job: &JobView, wish: &Wish) -> Markup {
    let logged: Vec<&StepView> = job.steps.iter().filter(|step| step.attempt > 0).collect();
    let telling = |wanted: fn(&StepView) -> bool| logged.iter().rev().find(|step| wanted(step)).copied();
    let named = wish
        .step
        .as_ref()
        .and_then(|key| logged.iter().find(|step| step.key == *key).copied());
    let step = named
        .or_else(|| telling(|step| step.state.is_open()))
        .or_else(|| telling(|step| step.state == StepState::Failed))
        .or_else(|| telling(|_| true));
    html! {
        section #log aria-label="Log" {
            h2 { "Log" }
            @if let Some(step) = step {
                @let attempt = wish.attempt.filter(|number| (1..=step.attempt).contains(number)).unwrap_or(step.attempt);
                @let raw = log_path(JobRef::Number(job.number), &step.key, Some(attempt), 0, false);
                form.filters method="get" action={ "/jobs/" (job.number) "#log" } data-choose {
                    label {
                        "Step "
                        select name="step" {
                            @for other in &logged { option value=(other.key) selected[other.key == step.key] { (other.key) } }
                        }
                    }
                    @if step.attempt > 1 {
                        label {
                            "Attempt "
                            select name="attempt" {
                                @for number in 1..=step.attempt { option value=(number) selected[number == attempt] { (number) } }
                            }
                        }
                    }
                    noscript { button type="submit" { "Show" } }
                    a href=(raw) download={ "job-" (job.number) "-" (step.key.name()) "-" (attempt) ".log" } { "Download" }
                }
                div.log data-job=(job.number) data-step=(step.key) data-attempt=(attempt) {}
                noscript { p { "Without its script this page shows no log: " a href=(raw) { "as text" } } }
                script type="module" src=(assets::path("log.js")) {}
            } @else {
                p.hint { "Nothing has run yet." }
            }
        }
    }
}

fn results(shown: &Shown) -> Markup {
    let job = &shown.job;
    let outputs = || job.steps.iter().filter(|step| !step.outputs.is_empty());
    let has_patch = shown.artifacts.iter().any(|artifact| is_patch(&artifact.name));
    html! {
        @if has_patch {
            h2 { "Diff" }
            details #patch data-load={ "/jobs/" (job.number) "/diff" } {
                summary { "What was changed" }
                p { a href={ "/jobs/" (job.number) "/diff" } { "Show it" } }
            }
            p.hint { "To have it as a branch of your repository: " code { "agentctl apply " (job.number) } }
        }
        @if outputs().next().is_some() {
            h2 { "Results" }
            @for step in outputs() {
                details id={ "of-" (step.key) } {
                    summary { (step.key) }
                    (documents::draw(&step.outputs))
                }
            }
        }
        @if !shown.artifacts.is_empty() {
            h2 { "Artifacts" }
            table.list {
                thead { tr { @for head in ["Name", "Size", "Made"] { th scope="col" { (head) } } } }
                tbody {
                    @for artifact in &shown.artifacts {
                        tr {
                            td data-label="Name" { a href=(artifact_path(JobRef::Number(job.number), &artifact.name)) download { (artifact.name) } }
                            td.number data-label="Size" { (words::size(artifact.file.size)) }
                            td data-label="Made" { (parts::ago(artifact.created_at, shown.now)) }
                        }
                    }
                }
            }
        }
    }
}

fn is_patch(name: &str) -> bool {
    name == "patch" || name.ends_with("/patch")
}

/// `GET /jobs/{job}/diff`: a page, of which the job's page takes the content.
pub(super) async fn patch(State(api): State<Api>, visitor: Visitor, job: OfJob) -> ApiResult<Response> {
    let id = job.id;
    let found = api
        .readers
        .query(move |connection| artifacts::find(connection, id, "patch"))
        .await?;
    let artifact = found.ok_or_else(|| not_found("patch of job", job.number, "it has not delivered yet"))?;
    let (path, size) = (api.blobs.path(&artifact.file.sha256), artifact.file.size);
    let files = if size > MOST_PATCH {
        vec![]
    } else {
        let read = blocking(move || std::fs::read(path)).await?;
        let bytes = read.map_err(|error| io_problem(&error))?;
        diff::parse(&String::from_utf8_lossy(&bytes))
    };
    let link = artifact_path(JobRef::Number(job.number), &artifact.name);
    let content = html! {
        p.crumbs { a href="/" { "Jobs" } " / " a href={ "/jobs/" (job.number) } { (job.number) } " / Diff" }
        h1 { "What job " (job.number) " changed" }
        div #diff {
            p { a href=(link) download { "Download the patch" } " (" (words::size(size)) ")" }
            @if size > MOST_PATCH { p.hint { "It is too large to be shown." } }
            (diff::draw(&files))
        }
    };
    let title = format!("Diff of job {}", job.number);
    Ok(frame::page(&visitor, "/", &title, None, &content))
}

/// The address of a step's log within a job's page.
fn log_of(job: &JobView, step: &StepKey, attempt: Option<u32>) -> String {
    let pairs = [
        ("step", Some(step.to_string())),
        ("attempt", attempt.map(|number| number.to_string())),
    ];
    format!("/jobs/{}{}#log", job.number, query(&pairs))
}
