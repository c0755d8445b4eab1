//! The page of one workflow: its graph, its inputs, its text.

use std::sync::PoisonError;

use axum::{
    extract::{Path, State},
    response::Response,
};
use indexmap::IndexMap;
use maud::html;
use protocol::{
    http::problem::{Code, Problem},
    job::StepKey,
};

use crate::{
    api::{Api, problem::ApiResult},
    workflow::model::{StepDef, StepKind, Workflow},
};

use super::{
    frame,
    graph::{self, Node},
    session::Visitor,
};

/// `GET /workflows/{name}`.
pub(super) async fn page(
    State(api): State<Api>,
    visitor: Visitor,
    Path(name): Path<String>,
) -> ApiResult<Response> {
    let found = {
        let catalog = api.catalog.read().unwrap_or_else(PoisonError::into_inner);
        catalog
            .view(&name)
            .and_then(|view| Ok((view, catalog.get(&name)?)))
    };
    let (view, workflow) = found.map_err(|problem| Problem {
        hint: problem.hint,
        ..Problem::new(Code::NotFound, problem.detail)
    })?;
    let content = html! {
        p.crumbs { a href="/settings" { "Settings" } " / " (view.name) }
        h1 { (view.name) }
        p { (view.description) }
        (graph::draw(&nodes(&workflow), "Graph of the steps"))
        @if !view.inputs.is_empty() {
            h2 { "Inputs" }
            table.list {
                thead { tr { @for head in ["Name", "Type", "Needed", "What it is"] { th scope="col" { (head) } } } }
                tbody {
                    @for input in &view.inputs {
                        tr {
                            td data-label="Name" { code { (input.name) } }
                            td data-label="Type" { (input.kind) }
                            td data-label="Needed" { (if input.required { "yes" } else { "no" }) }
                            td.wide data-label="What it is" { (input.description) }
                        }
                    }
                }
            }
        }
        @if let Some(text) = &view.text {
            h2 { "Text" }
            pre.text tabindex="0" { (text) }
        }
    };
    Ok(frame::page(&visitor, "/settings", &view.name, None, &content))
}

fn nodes(workflow: &Workflow) -> Vec<Node> {
    let mut nodes = vec![];
    collect(&workflow.steps, None, &mut nodes);
    // they run when all others have ended
    let all: Vec<String> = workflow.steps.keys().cloned().collect();
    let before = nodes.len();
    collect(&workflow.finally, None, &mut nodes);
    for node in &mut nodes[before..] {
        if node.needs.is_empty() && !node.key.contains('/') {
            node.needs.clone_from(&all);
        }
    }
    nodes
}

fn collect(steps: &IndexMap<String, StepDef>, block: Option<&StepKey>, nodes: &mut Vec<Node>) {
    let key = |name: &str| block.map_or_else(|| StepKey::top(name), |block| block.child(name));
    for (name, step) in steps {
        nodes.push(Node {
            key: key(name).to_string(),
            needs: step.needs.iter().map(|need| key(need).to_string()).collect(),
            detail: detail(step),
            ..Node::default()
        });
        if let StepKind::Block { steps, .. } = &step.kind {
            collect(steps, Some(&key(name)), nodes);
        }
    }
}

fn detail(step: &StepDef) -> String {
    match &step.kind {
        StepKind::Agent { role, .. } => format!("agent {role}"),
        other => other.name().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workflow::{catalog::Catalog, prompts::Prompts};

    #[test]
    fn the_built_in_workflow_has_a_picture_with_all_its_steps() {
        let catalog = Catalog::builtin(Prompts::builtin());
        let workflow = catalog.get("implement").expect("built in");
        let svg = graph::draw(&nodes(&workflow), "Steps").into_string();
        for part in [
            "prepare",
            "plan",
            "cycle/edit",
            "cycle/check",
            "agent review",
            "verify",
            "deliver",
        ] {
            assert!(svg.contains(part), "{part} is missing");
        }
    }
}
