//! The first page: jobs, with what waits for a person on top.

use std::collections::HashMap;

use axum::{
    Extension,
    extract::State,
    response::{IntoResponse, Redirect, Response},
};
use jiff::Timestamp;
use maud::{Markup, html};
use protocol::{
    http::{
        jobs::{JobView, ListJobs},
        query,
        tokens::Scope,
    },
    id::JobId,
    job::JobState,
};
use serde::Deserialize;

use crate::{
    api::{Api, auth::Caller, extract::Params, problem::ApiResult},
    orchestrator::world::Step,
    state::{events, views},
};

use super::{
    frame::{self, Live},
    parts,
    session::Visitor,
    words,
};

/// Jobs of a page.
const ROWS: u32 = 50;
/// Jobs that wait for a person and are shown on top, at most.
const ON_TOP: u32 = 20;

#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {
    #[serde(default)]
    state: String,
    #[serde(default)]
    workflow: String,
    #[serde(default)]
    search: String,
    cursor: Option<String>,
}

impl Filter {
    fn is_empty(&self) -> bool {
        self.state.is_empty() && self.workflow.is_empty() && self.search.is_empty() && self.cursor.is_none()
    }

    fn list(&self) -> ListJobs {
        ListJobs {
            state: self.state.parse().ok().into_iter().collect(),
            workflow: (!self.workflow.is_empty())
                .then(|| self.workflow.clone())
                .into_iter()
                .collect(),
            search: (!self.search.is_empty()).then(|| self.search.clone()),
            cursor: self.cursor.clone(),
            limit: Some(ROWS),
        }
    }

    /// The same jobs from a number downwards.
    fn older(&self, cursor: u64) -> String {
        let some = |text: &String| (!text.is_empty()).then(|| text.clone());
        let pairs = [
            ("state", some(&self.state)),
            ("workflow", some(&self.workflow)),
            ("search", some(&self.search)),
            ("cursor", Some(cursor.to_string())),
        ];
        format!("/{}", query(&pairs))
    }
}

/// What is in the page.
struct Shown {
    seq: u64,
    asking: Vec<JobView>,
    jobs: Vec<JobView>,
    next: Option<u64>,
    workflows: Vec<String>,
    /// On which workers the open ones run.
    workers: HashMap<JobId, Vec<String>>,
    now: Timestamp,
}

/// `GET /`: open to everybody, who are led to the login unless they have been there.
pub(super) async fn page(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Params(filter): Params<Filter>,
) -> ApiResult<Response> {
    let visitor = Visitor { caller };
    if !visitor.may(Scope::Read) {
        return Ok(Redirect::to("/login").into_response());
    }
    let shown = read(&api, &filter).await?;
    let live = Live {
        seq: shown.seq,
        follows: "jobs".to_owned(),
    };
    Ok(frame::page(
        &visitor,
        "/",
        "Jobs",
        Some(&live),
        &content(&filter, &shown),
    ))
}

async fn read(api: &Api, filter: &Filter) -> ApiResult<Shown> {
    let (list, on_top) = (filter.list(), filter.is_empty());
    let asking = ListJobs {
        state: vec![JobState::Waiting, JobState::Parked],
        limit: Some(ON_TOP),
        ..ListJobs::default()
    };
    let query = api.readers.query(move |connection| {
        // the events first: what comes after them is told again
        let seq = events::last_seq(connection)?;
        let asking = if on_top {
            views::jobs(connection, &asking)?.0
        } else {
            vec![]
        };
        Ok((seq, asking, views::jobs(connection, &list)?))
    });
    let (seq, asking, (jobs, next)) = query.await?;
    let shown: Vec<JobId> = asking.iter().chain(&jobs).map(|job| job.id).collect();
    let workers = api.engine.inspect(move |world, _| {
        let mut workers: HashMap<JobId, Vec<String>> = HashMap::new();
        for job in shown.iter().filter_map(|id| world.jobs.get(id)) {
            let open = job
                .steps
                .iter()
                .filter_map(Step::current)
                .filter(|attempt| attempt.state.is_open());
            let mut names: Vec<String> = open.map(|attempt| attempt.worker_name.clone()).collect();
            names.sort_unstable();
            names.dedup();
            workers.insert(job.id, names);
        }
        workers
    });
    let workflows = {
        let catalog = api
            .catalog
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        catalog.list().into_iter().map(|workflow| workflow.name).collect()
    };
    Ok(Shown {
        seq,
        asking,
        jobs,
        next,
        workflows,
        workers: workers.await?,
        now: api.clock.wall(),
    })
}

fn content(filter: &Filter, shown: &Shown) -> Markup {
    html! {
        h1 { "Jobs" }
        section #asking data-live aria-label="Jobs that wait for a person" {
            @if !shown.asking.is_empty() {
                h2 { "Waiting for you" }
                (table(&shown.asking, shown, "asking"))
            }
        }
        (filters(filter, &shown.workflows))
        section #jobs data-live aria-label="Jobs" {
            @if shown.jobs.is_empty() {
                @if filter.is_empty() {
                    (frame::empty("No job yet. Give one, from the folder of a git repository:", "agentctl run \"Make the failing test pass\""))
                } @else {
                    (frame::empty("No job is like that. All of them:", "agentctl ps"))
                }
            } @else {
                (table(&shown.jobs, shown, "all"))
            }
            @if let Some(next) = shown.next {
                p.more { a href=(filter.older(next)) { "Older jobs" } }
            }
        }
    }
}

fn filters(filter: &Filter, workflows: &[String]) -> Markup {
    html! {
        form.filters method="get" action="/" role="search" {
            label { "Title " input type="search" name="search" value=(filter.search); }
            label {
                "State "
                select name="state" {
                    option value="" { "any" }
                    @for state in JobState::ALL {
                        option value=(state.as_str()) selected[state.as_str() == filter.state] { (state.as_str()) }
                    }
                }
            }
            label {
                "Workflow "
                select name="workflow" {
                    option value="" { "any" }
                    @for name in workflows {
                        option value=(name) selected[*name == filter.workflow] { (name) }
                    }
                }
            }
            button type="submit" { "Filter" }
            @if !filter.is_empty() { a href="/" { "All jobs" } }
        }
    }
}

fn table(jobs: &[JobView], shown: &Shown, name: &str) -> Markup {
    html! {
        table.list data-name=(name) {
            thead {
                tr {
                    @for head in ["Job", "State", "Title", "Workflow", "Worker", "Accepted", "Took", "Tokens", "Cost"] {
                        th scope="col" { (head) }
                    }
                }
            }
            tbody { @for job in jobs { (row(job, shown)) } }
        }
    }
}

fn row(job: &JobView, shown: &Shown) -> Markup {
    let workers = shown
        .workers
        .get(&job.id)
        .map(|names| names.join(", "))
        .unwrap_or_default();
    html! {
        tr data-job=(job.number) {
            td data-label="Job" { a href={ "/jobs/" (job.number) } { (job.number) } }
            td data-label="State" {
                (parts::state(job.state.as_str()))
                @if !job.state.is_terminal() {
                    " " small { (job.steps_done) "/" (job.steps_total) }
                }
            }
            td.wide data-label="Title" {
                a href={ "/jobs/" (job.number) } { (words::clipped(&job.title, 120)) }
                @if let Some(reason) = &job.reason { small.reason { (words::clipped(reason, 200)) } }
            }
            td data-label="Workflow" { (job.workflow) }
            td data-label="Worker" { @if workers.is_empty() { "–" } @else { (workers) } }
            td data-label="Accepted" { (parts::ago(job.created_at, shown.now)) }
            td data-label="Took" { (parts::elapsed(job.started_at, job.ended_at, shown.now)) }
            td.number data-label="Tokens" { (words::tokens(&job.usage)) }
            td.number data-label="Cost" { (words::money(job.usage.cost_microusd)) }
        }
    }
}
