//! The steps of a job: as a graph, as a table with their attempts, as a timeline.

use jiff::Timestamp;
use maud::{Markup, html};
use protocol::{
    http::jobs::{AttemptView, JobView, StepView},
    job::StepKey,
    step::StepState,
};

use crate::dashboard::{
    graph::{self, Node},
    parts,
    timeline::{self, Bar, Spent},
    words,
};

use super::log_of;

pub(super) fn picture(job: &JobView) -> Markup {
    let nodes: Vec<Node> = job.steps.iter().map(|step| node(job, step)).collect();
    graph::draw(&nodes, "Graph of the steps")
}

fn node(job: &JobView, step: &StepView) -> Node {
    let took = step
        .started_at
        .zip(step.ended_at)
        .map(|(from, to)| words::span(to.duration_since(from)));
    let detail: Vec<String> = [step.worker.clone(), took].into_iter().flatten().collect();
    Node {
        key: step.key.to_string(),
        needs: step.needs.iter().map(ToString::to_string).collect(),
        state: Some(step.state.as_str()),
        detail: if detail.is_empty() {
            step.kind.clone()
        } else {
            detail.join(" · ")
        },
        href: (step.attempt > 0).then(|| log_of(job, &step.key, None)),
    }
}

pub(super) fn table(job: &JobView, now: Timestamp) -> Markup {
    html! {
        table.list {
            thead {
                tr {
                    @for head in ["Step", "State", "Worker", "Model", "Took", "Tokens", "Cost"] { th scope="col" { (head) } }
                }
            }
            tbody {
                // a block is what its steps are
                @for step in job.steps.iter().filter(|step| step.kind != "steps" || !has_steps(job, step)) { (row(job, step, now)) }
            }
        }
    }
}

fn has_steps(job: &JobView, block: &StepView) -> bool {
    job.steps
        .iter()
        .any(|step| step.key.parent() == Some(block.key.as_str()))
}

fn row(job: &JobView, step: &StepView, now: Timestamp) -> Markup {
    let model = step.model.as_ref().map_or("–", |model| model.model.as_str());
    let goes_on = !step.state.is_terminal();
    html! {
        tr data-step=(step.key) {
            td.wide data-label="Step" {
                @if step.attempt > 0 { a href=(log_of(job, &step.key, None)) { (step.key) } } @else { (step.key) }
                " " small.kind { (step.kind) }
                @if let Some(error) = step.error.as_ref().filter(|_| step.state != StepState::Succeeded) {
                    small.reason { (words::clipped(&error.message, 400)) }
                    @if let Some(hint) = &error.hint { small.hint { (hint) } }
                } @else if let Some(note) = step.note.as_ref().filter(|_| goes_on) {
                    small { (words::clipped(note, 200)) }
                }
                @if step.attempts.len() > 1 { (attempts(job, step, now)) }
            }
            td data-label="State" { (parts::state(step.state.as_str())) }
            td data-label="Worker" { (step.worker.as_deref().unwrap_or("–")) }
            td data-label="Model" { (model) }
            td data-label="Took" { (parts::elapsed(step.started_at, step.ended_at, now)) }
            td.number data-label="Tokens" { (words::tokens(&step.usage)) }
            td.number data-label="Cost" { (words::money(step.usage.cost_microusd)) }
        }
    }
}

fn attempts(job: &JobView, step: &StepView, now: Timestamp) -> Markup {
    html! {
        details id={ "attempts-" (step.key) } {
            summary { (step.attempts.len()) " attempts" }
            ul.plain { @for attempt in &step.attempts { (one_attempt(job, step, attempt, now)) } }
        }
    }
}

fn one_attempt(job: &JobView, step: &StepView, attempt: &AttemptView, now: Timestamp) -> Markup {
    html! {
        li {
            a href=(log_of(job, &step.key, Some(attempt.number))) { "#" (attempt.number) } " "
            (parts::state(attempt.state.as_str())) " on " (attempt.worker) ", "
            (parts::elapsed(attempt.started_at, attempt.ended_at, now))
            @if let Some(error) = &attempt.error { small.reason { (words::clipped(&error.message, 400)) } }
            @if let Some(late) = attempt.late_outcome { small { "came too late: " (late) } }
            @for note in &attempt.notes { small { (words::clipped(note, 300)) } }
        }
    }
}

pub(super) fn timeline(job: &JobView, now: Timestamp) -> Markup {
    let bars: Vec<Bar> = job.steps.iter().flat_map(|step| bars(job, step, now)).collect();
    html! {
        @if bars.is_empty() { p.hint { "Nothing has run yet." } }
        (timeline::draw(&bars))
    }
}

/// What each attempt's time went into: from when it could have begun until it began, and what it then did.
fn bars(job: &JobView, step: &StepView, now: Timestamp) -> Vec<Bar> {
    let ended = |key: &StepKey| {
        job.steps
            .iter()
            .find(|step| step.key == *key)
            .and_then(|step| step.ended_at)
    };
    let mut could_begin = step
        .needs
        .iter()
        .filter_map(ended)
        .max()
        .unwrap_or(job.created_at);
    let spent = if step.kind == "agent" {
        Spent::Model
    } else {
        Spent::Tool
    };
    let mut bars = vec![];
    for attempt in &step.attempts {
        let end = attempt.ended_at.unwrap_or(now);
        let begin = attempt.started_at.unwrap_or(end);
        // needs of a step inside of a block may have ended long before its round
        let wait = could_begin.max(attempt.offered_at.min(begin));
        let mut push = |spent, from: Timestamp, to: Timestamp| {
            if from < to || spent != Spent::Waiting {
                bars.push(Bar {
                    worker: attempt.worker.clone(),
                    spent,
                    says: format!("{} #{}", step.key, attempt.number),
                    from,
                    to: to.max(from),
                });
            }
        };
        let from = if step.needs.is_empty() && step.key.parent().is_some() {
            wait
        } else {
            could_begin
        };
        push(Spent::Waiting, from, begin);
        if attempt.started_at.is_some() {
            push(spent, begin, end);
        }
        could_begin = end;
    }
    bars
}
