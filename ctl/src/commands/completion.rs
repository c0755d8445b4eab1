//! `agentctl completion`: the completion script of a shell.

use clap::{Args, CommandFactory};
use clap_complete::aot::{Shell, generate};

use crate::{cli::Cli, error::CliError, exit::Exit, session::Session};

/// Print the completion script of a shell
///
/// For bash: `agentctl completion bash > ~/.local/share/bash-completion/completions/agentctl`
#[derive(Debug, Args)]
pub(crate) struct Completion {
    /// bash, zsh, fish, elvish or powershell
    #[arg(value_enum)]
    shell: Shell,
}

impl Completion {
    /// Does it.
    pub(crate) fn run(self, session: &Session) -> Result<Exit, CliError> {
        let mut script = Vec::new();
        generate(self.shell, &mut Cli::command(), "agentctl", &mut script);
        session.out.bytes(&script)?;
        Ok(Exit::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_shells_complete_the_verbs() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut script = Vec::new();
            generate(shell, &mut Cli::command(), "agentctl", &mut script);
            let script = String::from_utf8(script).expect("UTF-8");
            assert!(script.contains("join-token"), "{shell}");
        }
    }
}
