//! The command line: flags that every command has, and one variant a verb.
//! The match only routes.

use clap::{Args, Parser, Subcommand};
use service::tls::Fingerprint;

use crate::{
    commands::{
        apply, approve, artifacts, audit, backup, cancel, completion, context, dashboard, demo, diff, doctor,
        explain, login, logs, ps, reject, report, resume, retry, run, salvage, secrets, show, status, submit,
        tokens, top, topics, wait, watch, why, workers, workflows,
    },
    error::CliError,
    exit::Exit,
    output::{Format, progress::ProgressChoice, style::ColorChoice},
    session::Session,
};

const EXIT_CODES: &str = "\
Exit codes: 0 done, 1 the command failed, 2 usage, 3 the job failed, 4 not authorised, 5 not found,
6 controller unreachable, 7 --timeout passed, 8 waits for a person, 9 cancelled, 10 a budget stopped it,
130 interrupted. A job is named by number, UUID, @last or @failed.";

/// Gives tasks to agentd and brings back verified patches.
#[derive(Debug, Parser)]
#[command(name = "agentctl", version, after_help = EXIT_CODES, disable_help_subcommand = true)]
pub(crate) struct Cli {
    /// What every command takes.
    #[command(flatten)]
    pub(crate) global: Global,
    /// The command.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Flags of every command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Everywhere")]
pub(crate) struct Global {
    /// Address of the controller
    #[arg(long, global = true, env = "AGENTCTL_URL", value_name = "URL")]
    pub(crate) url: Option<String>,
    /// API token
    #[arg(
        long,
        global = true,
        env = "AGENTCTL_TOKEN",
        hide_env_values = true,
        value_name = "TOKEN"
    )]
    pub(crate) token: Option<String>,
    /// Fingerprint of the controller's certificate authority, as agentd logs it at its start
    #[arg(long, global = true, env = "AGENTCTL_FINGERPRINT", value_name = "SHA256")]
    pub(crate) fingerprint: Option<Fingerprint>,
    /// A stored controller, instead of the current one
    #[arg(long, global = true, env = "AGENTCTL_CONTEXT", value_name = "NAME")]
    pub(crate) context: Option<String>,
    /// How results are printed
    #[arg(short = 'o', long, global = true, value_enum, value_name = "FORMAT")]
    pub(crate) output: Option<Format>,
    /// When to use colour
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        value_name = "WHEN",
        hide_possible_values = true
    )]
    pub(crate) color: ColorChoice,
    /// How a job that goes on is shown
    #[arg(long, global = true, value_enum, default_value_t, value_name = "HOW")]
    pub(crate) progress: ProgressChoice,
    /// Never ask for anything
    #[arg(long, global = true)]
    pub(crate) no_input: bool,
}

/// Every verb.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Submit a job and look on until it ends
    Run(run::Run),
    /// Submit a job and print its number
    Submit(submit::Submit),
    /// List jobs, newest first
    Ps(ps::Ps),
    /// Show a job with its steps and attempts
    Show(show::Show),
    /// Look on until a job ends
    Watch(watch::Watch),
    /// Wait silently until a job ends
    Wait(wait::Wait),
    /// Print the log of a job or a step
    Logs(logs::Logs),
    /// Explain what a job waits for
    Why(why::Why),
    /// Stop a job
    Cancel(cancel::Cancel),
    /// Run what failed again
    Retry(retry::Retry),
    /// Let a parked job go on
    Resume(resume::Resume),
    /// Apply the late outcome of an attempt as its step's result
    Salvage(salvage::Salvage),
    /// Let a step that waits for a person go on
    Approve(approve::Approve),
    /// Refuse a step that waits for a person
    Reject(reject::Reject),
    /// Print a job's patch, and nothing else
    Diff(diff::Diff),
    /// Make a job's branch in the local repository
    Apply(apply::Apply),
    /// List or fetch a job's artifacts
    Artifacts(artifacts::Artifacts),
    /// Print a job's report
    Report(report::Report),
    /// List workers, or change what is wanted of one
    Workers(workers::Workers),
    /// List, show, check or store workflows
    Workflows(workflows::Workflows),
    /// Print the AsyncAPI document of the MQTT topics
    Topics(topics::Topics),
    /// List, create or remove API tokens
    Tokens(tokens::Tokens),
    /// List, set or remove the secrets of steps
    Secrets(secrets::Secrets),
    /// List who did what, or check that the record is whole
    Audit(audit::Audit),
    /// Back the controller up while it runs
    Backup(backup::Backup),
    /// Show the controller at a glance
    Status(status::Status),
    /// Jobs, workers and logs on one screen
    Top(top::TopCommand),
    /// Print a link that logs a browser into the dashboard
    Dashboard(dashboard::Dashboard),
    /// Check everything that a job needs
    Doctor(doctor::Doctor),
    /// Store a controller's address and token
    Login(login::Login),
    /// List, choose or forget stored controllers
    Context(context::Context),
    /// Print the completion script of a shell
    Completion(completion::Completion),
    /// Show all of it on a small sample, on this machine alone
    Demo(demo::Demo),
    /// Explain an error code
    Explain(explain::Explain),
}

impl Command {
    /// Does it.
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, CliError> {
        match self {
            Self::Run(command) => command.run(session).await,
            Self::Submit(command) => command.run(session).await,
            Self::Ps(command) => command.run(session).await,
            Self::Show(command) => command.run(session).await,
            Self::Watch(command) => command.run(session).await,
            Self::Wait(command) => command.run(session).await,
            Self::Logs(command) => command.run(session).await,
            Self::Why(command) => command.run(session).await,
            Self::Cancel(command) => command.run(session).await,
            Self::Retry(command) => command.run(session).await,
            Self::Resume(command) => command.run(session).await,
            Self::Salvage(command) => command.run(session).await,
            Self::Approve(command) => command.run(session).await,
            Self::Reject(command) => command.run(session).await,
            Self::Diff(command) => command.run(session).await,
            Self::Apply(command) => command.run(session).await,
            Self::Artifacts(command) => command.run(session).await,
            Self::Report(command) => command.run(session).await,
            Self::Workers(command) => command.run(session).await,
            Self::Workflows(command) => command.run(session).await,
            Self::Topics(command) => command.run(session).await,
            Self::Tokens(command) => command.run(session).await,
            Self::Secrets(command) => command.run(session).await,
            Self::Audit(command) => command.run(session).await,
            Self::Backup(command) => command.run(session).await,
            Self::Status(command) => command.run(session).await,
            Self::Top(command) => command.run(session).await,
            Self::Dashboard(command) => command.run(session).await,
            Self::Doctor(command) => command.run(session).await,
            Self::Login(command) => command.run(session).await,
            Self::Context(command) => command.run(session),
            Self::Completion(command) => command.run(session),
            Self::Demo(command) => command.run(session).await,
            Self::Explain(command) => command.run(session),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_command_after_two_dashes_is_not_ours_to_read() {
        let cli = Cli::try_parse_from(["agentctl", "run", "run", "--", "cargo", "test", "-o", "x"]);
        let Command::Run(run) = cli.expect("valid").command else {
            panic!("another command")
        };
        assert_eq!(run.job.command, ["cargo", "test", "-o", "x"]);
    }
}
