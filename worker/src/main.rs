//! `agent-worker`: parses the command line, builds the runtime, and says why
//! it ended.

use std::{process::ExitCode, sync::Arc};

use clap::Parser;
use worker::{
    app, cli, leftovers,
    sandbox::{forward, group, inside},
    steps,
};

/// Threads for what computes; the rest waits. More would only cost memory.
const THREADS: usize = 2;
/// Threads for files and hashes.
const BLOCKING_THREADS: usize = 16;

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    match words.next().as_ref().and_then(|word| word.to_str()) {
        Some(group::WORD) => return group::enter(words),
        Some(inside::WORD) => return inside::become_tool(words),
        Some(forward::WORD) => return forward::forward(words),
        _ => {}
    }
    let arguments = cli::Cli::parse();
    if let (Some(cli::Command::Guard), Some(folder)) = (&arguments.command, &arguments.state_dir) {
        leftovers::guard(folder);
        return ExitCode::SUCCESS;
    }
    service::tasks::end_process_on_panic();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .max_blocking_threads(BLOCKING_THREADS)
        .enable_all()
        .build();
    let runner: worker::attempt::StepRunner =
        Arc::new(|context| Box::pin(async move { steps::run(&context).await }));
    let outcome = runtime.map_err(anyhow::Error::from).and_then(|runtime| {
        let outcome = runtime.block_on(app::run(arguments, runner));
        // what still blocks must not hold up the end
        runtime.shutdown_background();
        outcome
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            cli::complain(&error);
            ExitCode::FAILURE
        }
    }
}
