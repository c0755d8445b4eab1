//! `agentctl completion`: what a shell needs in order to complete commands, and live
//! values with them.

use clap::{Args, ValueEnum};
use clap_complete::env::Shells;

use crate::{codes::Code, error::CliError, exit::Exit, session::Session};

/// The variable in which a shell asks this program.
pub(crate) const ASKS: &str = "AGENTCTL_COMPLETE";

/// A shell that can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
    Elvish,
    Powershell,
}

impl Shell {
    const fn name(self) -> &'static str {
        match self {
            Self::Bash => "bash",
            Self::Zsh => "zsh",
            Self::Fish => "fish",
            Self::Elvish => "elvish",
            Self::Powershell => "powershell",
        }
    }
}

/// Print the completion script of a shell
///
/// For bash: `agentctl completion bash > ~/.local/share/bash-completion/completions/agentctl`. The script asks
/// agentctl itself, so that job numbers and names of workers and workflows are completed too.
#[derive(Debug, Args)]
pub(crate) struct Completion {
    /// bash, zsh, fish, elvish or powershell
    #[arg(value_enum)]
    shell: Shell,
}

impl Completion {
    /// Does it.
    pub(crate) fn run(self, session: &Session) -> Result<Exit, CliError> {
        session.out.bytes(&script(self.shell)?)?;
        Ok(Exit::Done)
    }
}

fn script(shell: Shell) -> Result<Vec<u8>, CliError> {
    let shells = Shells::builtins();
    let name = shell.name();
    let completer = shells.completer(name).ok_or_else(|| {
        CliError::new(
            Code::InvalidArgument,
            format!("nothing is known about the shell {name}"),
        )
    })?;
    let mut script = Vec::new();
    completer.write_registration(ASKS, "agentctl", "agentctl", "agentctl", &mut script)?;
    Ok(script)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shell_is_told_whom_to_ask() {
        for shell in Shell::value_variants() {
            let script = String::from_utf8(script(*shell).expect("known")).expect("UTF-8");
            assert!(
                script.contains(ASKS) && script.contains("agentctl"),
                "{shell:?}: {script}"
            );
        }
    }
}
