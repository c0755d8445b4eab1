//! The command line of `agentd`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// The controller of agentd: HTTP API, queue, state and MQTT broker in one process.
#[derive(Debug, Parser)]
#[command(version, name = "agentd")]
pub struct Cli {
    /// Configuration file; a `.local` sibling beside it wins over it.
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Folder of the state.
    #[arg(long, global = true, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Address of the HTTP API, such as 127.0.0.1:8484.
    #[arg(long, value_name = "ADDRESS")]
    pub http: Option<String>,
    /// Address of the MQTT broker, such as 127.0.0.1:1883.
    #[arg(long, value_name = "ADDRESS")]
    pub mqtt: Option<String>,
    /// Listen for programs of this machine alone: no TLS.
    #[arg(long)]
    pub local: bool,
    /// Print the merged configuration with the origin of each value, and end.
    #[arg(long)]
    pub print_config: bool,
    /// Check the configuration, and end.
    #[arg(long)]
    pub check_config: bool,
    /// What to do instead of running.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What `agentd` does instead of running.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a state folder from a backup
    Restore(Restore),
    /// Go back to the database as it was before the upgrade to a newer agentd
    UndoUpgrade,
    /// Check that the audit log of a state folder is whole
    VerifyAudit,
    /// Delete the state: jobs, logs, artifacts, tokens, the certificate authority
    Reset(Removal),
    /// Delete the state, this program and the unit that starts it
    Uninstall(Removal),
}

/// How to delete
#[derive(Debug, Args)]
pub struct Removal {
    /// Say what would go and what would stay, and end.
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask.
    #[arg(long, conflicts_with = "dry_run")]
    pub yes: bool,
}

/// Make a state folder from a backup of `agentctl backup`
#[derive(Debug, Args)]
pub struct Restore {
    /// The backup.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Move what is in the state folder aside, into a folder in it.
    #[arg(long)]
    pub replace: bool,
}
