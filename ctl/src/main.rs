//! `agentctl`: everything that a person does with agentd, over its HTTP API.

mod cli;
mod client;
mod codes;
mod commands;
mod context;
#[cfg(test)]
mod documented;
mod error;
mod exit;
mod follow;
mod input;
mod job;
mod live;
mod output;
mod repo;
mod session;
mod sse;
mod unseen;

use clap::{CommandFactory, Parser};
use clap_complete::CompleteEnv;

use crate::{cli::Cli, commands::completion, error::CliError, exit::Exit, session::Session};

fn main() -> Exit {
    // a shell asks what could come next: answers and ends
    CompleteEnv::with_factory(Cli::command)
        .var(completion::ASKS)
        .complete();
    let cli = Cli::parse();
    let session = Session::new(cli.global);
    let result = start().and_then(|runtime| runtime.block_on(cli.command.run(&session)));
    match result {
        Ok(exit) => exit,
        Err(error) => {
            tell(&session, &error);
            error.exit()
        }
    }
}

fn start() -> Result<tokio::runtime::Runtime, CliError> {
    service::tls::install();
    Ok(tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?)
}

fn tell(session: &Session, error: &CliError) {
    if error.is_reader_gone() {
        return;
    }
    let out = &session.out;
    if out.for_machine() {
        out.say(&error.to_json());
    } else {
        out.say(&error.render(out.stderr().style));
    }
}
