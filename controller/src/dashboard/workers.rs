//! The page of workers: what they are, what they do, and what is wanted of them.

use axum::{
    extract::{Path, State},
    response::{IntoResponse, Redirect, Response},
};
use jiff::Timestamp;
use maud::{Markup, html};
use protocol::{
    http::{tokens::Scope, workers::WorkerView},
    worker::Wanted,
};

use crate::{
    api::{
        Api,
        jobs::note,
        joining::make_join_token,
        problem::ApiResult,
        workers::{roster, want},
    },
    state::events,
};

use super::{
    frame::{self, Live},
    parts,
    session::{Nothing, Signed, Visitor},
    words,
};

/// `GET /workers`.
pub(super) async fn page(State(api): State<Api>, visitor: Visitor) -> ApiResult<Response> {
    show(&api, &visitor, None).await
}

async fn show(api: &Api, visitor: &Visitor, join: Option<&str>) -> ApiResult<Response> {
    let seq = api.readers.query(events::last_seq).await?;
    let workers = api.engine.inspect(|world, _| roster(world)).await?;
    let live = Live {
        seq,
        follows: "workers".to_owned(),
    };
    let now = api.clock.wall();
    let content = html! {
        h1 { "Workers" }
        @if let Some(line) = join {
            div.joined role="status" {
                p { "Run this within 15 minutes on the machine that is to join. It is shown only now." }
                pre { code { (line) } }
            }
        }
        section #workers data-live aria-label="Workers" {
            @if workers.is_empty() {
                (frame::empty("No worker yet. This prints the line that joins one:", "agentctl workers join-token"))
            }
            div.cards { @for worker in &workers { (card(visitor, worker, now)) } }
        }
        @if visitor.may(Scope::Admin) { div.actions { (frame::button(visitor, "/workers/join-line", "Make a join line", "primary")) } }
    };
    Ok(frame::page(visitor, "/workers", "Workers", Some(&live), &content))
}

fn card(visitor: &Visitor, worker: &WorkerView, now: Timestamp) -> Markup {
    let load = &worker.load;
    html! {
        article.card data-worker=(worker.name) {
            h2 { (worker.name) }
            p.line {
                (parts::state(worker.state.as_str()))
                @if worker.wanted != Wanted::Active { " " (parts::state(worker.wanted.as_str())) }
            }
            (parts::facts(&[
                ("Slots", html! {
                    (worker.slots_used) " of " (worker.slots) " "
                    meter min="0" max=(worker.slots.max(1)) value=(worker.slots_used) aria-label="Slots in use" {}
                }),
                ("Now", html! {
                    @for step in &worker.current { a href={ "/jobs/" (step.job.number) } { (step.job.number) " " (step.step) } " " }
                    @if worker.current.is_empty() { "–" }
                }),
                ("Load", html! { (format!("{:.1}", load.load1)) }),
                ("Memory free", html! { (words::size(load.memory_available)) }),
                ("Disk free", html! { (words::size(load.disk_free)) }),
                ("Last heard", html! { @if let Some(at) = worker.last_seen_at { (parts::ago(at, now)) } @else { "never" } }),
                ("Version", html! { (worker.version) }),
            ]))
            details id={ "labels-" (worker.name) } {
                summary { "Labels" }
                p.labels { @for (key, value) in worker.labels.iter() { code { (key) "=" (words::clipped(value, 80)) } " " } }
            }
            details id={ "models-" (worker.name) } {
                summary { (worker.models.len()) " models of its own" }
                ul {
                    @for model in &worker.models {
                        li { (model.model) " at " (model.provider) @if model.loaded { " (loaded)" } }
                    }
                }
            }
            @if visitor.may(Scope::Admin) { (buttons(visitor, worker)) }
        }
    }
}

fn buttons(visitor: &Visitor, worker: &WorkerView) -> Markup {
    let at = |verb: &str| format!("/workers/{}/{verb}", worker.name);
    html! {
        div.actions {
            @if worker.wanted == Wanted::Active {
                (frame::button(visitor, &at("pause"), "Pause", ""))
                (frame::button(visitor, &at("drain"), "Drain", ""))
            } @else {
                (frame::button(visitor, &at("resume"), "Resume", "primary"))
            }
        }
    }
}

async fn change(api: &Api, visitor: &Visitor, name: &str, wanted: Wanted) -> ApiResult<Response> {
    want(api, &visitor.caller, name, wanted).await?;
    Ok(Redirect::to("/workers").into_response())
}

pub(super) async fn pause(
    State(api): State<Api>,
    Path(name): Path<String>,
    Signed { visitor, .. }: Signed<Nothing>,
) -> ApiResult<Response> {
    change(&api, &visitor, &name, Wanted::Paused).await
}

pub(super) async fn drain(
    State(api): State<Api>,
    Path(name): Path<String>,
    Signed { visitor, .. }: Signed<Nothing>,
) -> ApiResult<Response> {
    change(&api, &visitor, &name, Wanted::Draining).await
}

pub(super) async fn resume(
    State(api): State<Api>,
    Path(name): Path<String>,
    Signed { visitor, .. }: Signed<Nothing>,
) -> ApiResult<Response> {
    change(&api, &visitor, &name, Wanted::Active).await
}

/// The only time that the line is shown.
pub(super) async fn join_line(
    State(api): State<Api>,
    Signed { visitor, .. }: Signed<Nothing>,
) -> ApiResult<Response> {
    let (id, created) = make_join_token(&api).await?;
    note(&api, &visitor.caller, "worker.join_token", &id, "ok".to_owned()).await?;
    let line = format!("agent-worker join {}", created.token);
    show(&api, &visitor, Some(&line)).await
}
