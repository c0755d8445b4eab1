//! Which programs this machine has for steps, found on the search path that
//! tools get. A program that cannot say its version is not there: the shims of
//! version switchers exist without anything behind them.

use std::{path::PathBuf, sync::Arc, time::Duration};

use crate::{
    log::LogSink,
    sandbox::{Cage, Sandbox},
    steps::Stop,
    tools::{
        environment::Toolchains,
        exec::{Exec, Limits},
    },
};

/// A program that takes longer to say its version is not usable.
const PATIENCE: Duration = Duration::from_secs(10);

/// How a program is known.
struct Known {
    name: &'static str,
    /// Arguments that make it say its version; none: being on the path is enough.
    version: &'static [&'static str],
}

/// A program whose presence on the path is enough.
const fn plain(name: &'static str) -> Known {
    Known { name, version: &[] }
}

/// A program that is asked for its version.
const fn asked(name: &'static str, version: &'static [&'static str]) -> Known {
    Known { name, version }
}

/// Every program that becomes a `tool=` label.
const KNOWN: &[Known] = &[
    asked("git", &["--version"]),
    asked("cargo", &["--version"]),
    asked("go", &["version"]),
    asked("node", &["--version"]),
    asked("python3", &["--version"]),
    plain("rustc"),
    plain("npm"),
    plain("make"),
    plain("cmake"),
    plain("gcc"),
    plain("bash"),
    plain("ruff"),
    plain("eslint"),
    plain("golangci-lint"),
    plain("shellcheck"),
    plain("bwrap"),
];

/// A program of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tool {
    /// Its name.
    pub name: &'static str,
    /// Major and minor version, if it was asked.
    pub version: Option<String>,
}

/// Looks for programs; asks them only when the set on the path has changed.
pub struct ToolProbe {
    toolchains: Toolchains,
    home: PathBuf,
    sandbox: Arc<Sandbox>,
    last: Option<(Vec<PathBuf>, Vec<Tool>)>,
}

impl ToolProbe {
    /// Programs of these toolchains; those that are asked use `home`, an existing folder, and run in `sandbox`.
    pub fn new(toolchains: Toolchains, home: PathBuf, sandbox: Arc<Sandbox>) -> Self {
        Self {
            toolchains,
            home,
            sandbox,
            last: None,
        }
    }

    /// The programs that are there now.
    pub(super) async fn look(&mut self) -> Vec<Tool> {
        let on_path: Vec<(&Known, PathBuf)> = KNOWN
            .iter()
            .filter_map(|known| Some((known, self.toolchains.find(known.name)?)))
            .collect();
        let paths: Vec<PathBuf> = on_path.iter().map(|(_, path)| path.clone()).collect();
        if let Some((last_paths, tools)) = &self.last
            && *last_paths == paths
        {
            return tools.clone();
        }
        let asked = on_path.iter().map(|(known, _)| self.ask(known));
        let (tools, pytest) = tokio::join!(futures::future::join_all(asked), self.pytest());
        let tools: Vec<Tool> = tools.into_iter().flatten().chain(pytest).collect();
        self.last = Some((paths, tools.clone()));
        tools
    }

    async fn ask(&self, known: &Known) -> Option<Tool> {
        let name = known.name;
        if known.version.is_empty() {
            return Some(Tool { name, version: None });
        }
        let said = self.run(name, known.version).await?;
        let version = version_in(&said);
        Some(Tool { name, version })
    }

    /// pytest is a module: its program may belong to another Python.
    async fn pytest(&self) -> Option<Tool> {
        self.toolchains.find("python3")?;
        self.run("python3", &["-c", "import pytest"]).await?;
        Some(Tool {
            name: "pytest",
            version: None,
        })
    }

    /// What a program says, if it ends well.
    async fn run(&self, program: &str, arguments: &[&str]) -> Option<String> {
        let argv = std::iter::once(program).chain(arguments.iter().copied());
        let exec = Exec::new(argv, &self.home)
            .environment(self.toolchains.environment(&self.home))
            .limits(Limits::default().time(PATIENCE));
        // what steps cannot use there is no tool of this worker; where no step may use any, all are named
        let exec = match self.sandbox.level() {
            Some(_) => exec.cage(Cage::new(self.sandbox.clone()).write(&self.home)),
            None => exec,
        };
        match exec.run(&LogSink::discard(), &Stop::default()).await {
            Ok(result) if result.success() => {
                Some(String::from_utf8_lossy(&result.stdout.bytes()).into_owned())
            }
            Ok(result) => {
                tracing::debug!(program, "{program} {}", result.ending());
                None
            }
            Err(error) => {
                tracing::debug!(program, %error, "not usable");
                None
            }
        }
    }
}

/// Major and minor of the first version in a text: `2.47` of `git version 2.47.3`.
fn version_in(text: &str) -> Option<String> {
    text.split(|c: char| !c.is_ascii_digit() && c != '.')
        .find_map(|word| {
            let mut parts = word.split('.');
            let (major, minor) = (parts.next()?, parts.next()?);
            let number = |part: &str| !part.is_empty() && part.len() < 6;
            (number(major) && number(minor)).then(|| format!("{major}.{minor}"))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_the_first_number_with_a_dot() {
        for (text, version) in [
            ("git version 2.47.3\n", Some("2.47")),
            ("cargo 1.89.0 (c24e1064 2026-06-23)", Some("1.89")),
            ("go version go1.27 linux/arm64", Some("1.27")),
            ("v22.4.1", Some("22.4")),
            ("no number", None),
            ("3 cats.", None),
        ] {
            assert_eq!(version_in(text).as_deref(), version, "{text}");
        }
    }
}
