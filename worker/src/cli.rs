//! The command line of `agent-worker`, and the little that it prints.

use std::{
    io::{self, Write as _},
    path::PathBuf,
};

use clap::{Args, Parser, Subcommand};

/// Runs steps for an agentd controller on this machine.
#[derive(Debug, Parser)]
#[command(name = "agent-worker", version, about, after_help = JOINING)]
pub struct Cli {
    /// What to do; nothing means: work for the controller that was joined.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// A configuration file; `--print-config` shows what it may hold
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where credential, journal, logs and work trees live
    #[arg(long, global = true, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Show the merged configuration and where each value comes from, and end
    #[arg(long)]
    pub print_config: bool,
    /// Check the configuration and end
    #[arg(long)]
    pub check_config: bool,
}

const JOINING: &str = "\
To join: run `agentctl workers join-token` where the controller is, and here the line that it prints.";

/// What `agent-worker` does besides working.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Join a controller with a one-time token, then work for it
    Join(Join),
    /// Wait for the end of the worker that started this, then end what it left
    #[command(hide = true)]
    Guard,
}

/// Arguments of `join`.
#[derive(Debug, Args)]
pub struct Join {
    /// The token, as `agentctl workers join-token` printed it; without it controllers of this network are
    /// looked for and the token is asked for
    pub token: Option<String>,
    /// The name of this worker; the machine's own name if it is left out
    #[arg(long)]
    pub name: Option<String>,
    /// Join even though this worker has a credential; the old one is forgotten
    #[arg(long)]
    pub force: bool,
}

/// Prints for people or scripts, on standard output.
#[expect(clippy::print_stdout, reason = "this is what the command line prints with")]
pub fn say(text: &str) {
    println!("{text}");
}

/// Asks a person, or the script that feeds standard input, for one line.
#[expect(clippy::print_stdout, reason = "this is what the command line prints with")]
pub fn ask(question: &str) -> io::Result<String> {
    print!("{question}");
    io::stdout().flush()?;
    let mut line = String::new();
    io::stdin().read_line(&mut line)?;
    Ok(line)
}

/// Says why the program ends, on standard error.
#[expect(clippy::print_stderr, reason = "this is what the command line prints with")]
pub fn complain(error: &anyhow::Error) {
    eprintln!("agent-worker: {error:#}");
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
        let cli =
            Cli::try_parse_from(["agent-worker", "join", "agj1.x", "--state-dir", "/s"]).expect("valid");
        assert_eq!(cli.state_dir, Some(PathBuf::from("/s")));
        assert!(matches!(
            cli.command,
            Some(Command::Join(Join { force: false, .. }))
        ));
    }
}
