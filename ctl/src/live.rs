//! What a shell completes with: jobs, workers and workflows of the controller that
//! the environment names. Whatever goes wrong, nothing is completed and nothing said.

use std::{future::Future, time::Duration};

use clap::Parser;
use clap_complete::engine::{ArgValueCandidates, CompletionCandidate};
use protocol::http::{jobs::ListJobs, workers::ListWorkers, workflows::ListWorkflows};

use crate::{cli::Cli, client::Client, output::text::one_line, session::Session};

/// Nobody waits longer than this for a shell.
const PATIENCE: Duration = Duration::from_secs(2);
/// Jobs that are offered.
const JOBS: u32 = 30;

/// The newest jobs by number, with their states and titles, and the names for some of them.
pub(crate) fn jobs() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let newest = ask(async |client| {
            let list = ListJobs {
                limit: Some(JOBS),
                ..ListJobs::default()
            };
            let page = client.call(&list).await.ok()?;
            Some(page.items)
        });
        let numbers = newest.into_iter().flatten().enumerate().map(|(order, job)| {
            let about = format!("{} · {}", job.state, one_line(&job.title));
            candidate(job.number.to_string(), about).display_order(Some(order))
        });
        let named = [
            ("@last", "the newest job"),
            ("@failed", "the newest job that failed"),
        ];
        let named = named.map(|(name, about)| candidate(name, about).display_order(Some(JOBS as usize)));
        numbers.chain(named).collect()
    })
}

/// The workers by name.
pub(crate) fn workers() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let workers = ask(async |client| Some(client.call(&ListWorkers {}).await.ok()?.items));
        let workers = workers.into_iter().flatten();
        workers
            .map(|worker| candidate(worker.name, worker.state.as_str()))
            .collect()
    })
}

/// The workflows by name.
pub(crate) fn workflows() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let workflows = ask(async |client| Some(client.call(&ListWorkflows {}).await.ok()?.items));
        let workflows = workflows.into_iter().flatten();
        workflows
            .map(|workflow| candidate(workflow.name, one_line(&workflow.description)))
            .collect()
    })
}

fn candidate(value: impl Into<std::ffi::OsString>, about: impl AsRef<str>) -> CompletionCandidate {
    let about = about.as_ref();
    CompletionCandidate::new(value).help((!about.is_empty()).then(|| about.to_owned().into()))
}

/// Asks the controller of this environment.
fn ask<T, F: Future<Output = Option<T>>>(question: impl FnOnce(Client) -> F) -> Option<T> {
    // the command line that is being typed is not whole: only the environment counts
    let global = Cli::try_parse_from(["agentctl", "status"]).ok()?.global;
    // before the client, which needs what it installs
    let runtime = crate::start().ok()?;
    let client = Session::new(global).client().ok()?;
    runtime.block_on(async {
        let answer = tokio::time::timeout(PATIENCE, question(client)).await;
        answer.ok().flatten()
    })
}
