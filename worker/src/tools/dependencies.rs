//! Fetches what a repository depends on, before its own code runs: with network,
//! without secrets, into the repository's private home, where later steps find it.
//!
//! Nothing of the repository is executed here (install scripts are off). A fetch that
//! fails is noted; the checks then say what is missing.

mod go;
mod python;

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use protocol::step::{ErrorClass, StepError};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{
    environment::Toolchains,
    exec::{Environment, Exec, ExecError, Limits},
};
use crate::{log::LogSink, sandbox::Cage, steps::Stop};

/// Longest fetch: a slow line and a large lock file.
const FETCH_TIME: Duration = Duration::from_secs(600);

/// What checks need besides the files.
#[derive(Debug, Default)]
pub struct Dependencies {
    /// Folders to put in front of the search path, such as a virtual environment's.
    pub path: Vec<PathBuf>,
    /// Things worth knowing.
    pub notes: Vec<String>,
}

impl Dependencies {
    /// The environment of checks.
    pub fn environment(&self, toolchains: &Toolchains, home: &Path) -> Environment {
        let mut environment = toolchains.environment(home);
        if let Some(venv) = self.path.first().and_then(|bin| bin.parent()) {
            environment.insert("VIRTUAL_ENV".into(), venv.into());
            let folders = self
                .path
                .iter()
                .cloned()
                .chain(std::env::split_paths(toolchains.path()));
            if let Ok(path) = std::env::join_paths(folders) {
                environment.insert("PATH".into(), path);
            }
        }
        environment
    }
}

/// What a fetch may use.
pub struct Fetcher<'a> {
    /// The files.
    pub root: &'a Path,
    /// The private home of the repository's tools.
    pub home: &'a Path,
    /// A folder of the worker's own, in which no repository's tools write.
    pub own: &'a Path,
    /// This machine's toolchains.
    pub toolchains: &'a Toolchains,
    /// The cage of the repository's tools.
    pub cage: Cage,
    /// Hosts that the step asks for.
    pub network: &'a [String],
    /// The attempt's log.
    pub log: &'a LogSink,
    /// When to stop.
    pub stop: &'a Stop,
}

impl Fetcher<'_> {
    /// Makes sure that everything is here; what was fetched before is not fetched again.
    pub async fn ensure(&self) -> Result<Dependencies, StepError> {
        let mut dependencies = Dependencies::default();
        self.cargo(&mut dependencies).await?;
        self.npm(&mut dependencies).await?;
        self.go(&mut dependencies).await?;
        python::ensure(self, &mut dependencies).await?;
        Ok(dependencies)
    }

    async fn cargo(&self, dependencies: &mut Dependencies) -> Result<(), StepError> {
        if !self.has("Cargo.toml") {
            return Ok(());
        }
        let lock = self.text("Cargo.lock");
        let manifest = self.text("Cargo.toml").unwrap_or_default();
        let (argv, names): (&[&str], bool) = match &lock {
            Some(lock) => (&["cargo", "fetch", "--locked"], lock.contains("source = ")),
            None => (
                &["cargo", "fetch"],
                manifest.contains("dependencies") || manifest.contains("[workspace"),
            ),
        };
        if names {
            let key = format!("cargo {}", lock.unwrap_or(manifest));
            self.once(&key, argv, dependencies).await?;
        }
        Ok(())
    }

    async fn npm(&self, dependencies: &mut Dependencies) -> Result<(), StepError> {
        let lock = self
            .text("package-lock.json")
            .or_else(|| self.text("npm-shrinkwrap.json"));
        let manifest = self.text("package.json").unwrap_or_default();
        let options = [
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
            "--prefer-offline",
            "--fetch-retries=1",
            "--fetch-timeout=30000",
        ];
        let (mut argv, needed) = match &lock {
            Some(lock) => (vec!["npm", "ci"], lock.contains("\"node_modules/")),
            None => (
                vec!["npm", "install", "--no-package-lock"],
                names_dependencies(&manifest),
            ),
        };
        if !needed {
            return Ok(());
        }
        argv.extend(options);
        // the packages lie in the tree: a fresh tree needs them again, from the cache
        let mark = self.root.join("node_modules").join(".agentd");
        let key = digest(&lock.unwrap_or(manifest));
        if fs::read_to_string(&mark).is_ok_and(|known| known == key) {
            return Ok(());
        }
        if self.fetch(&argv, dependencies).await? {
            fs::write(&mark, key).map_err(|error| self.home_error(&error))?;
        }
        Ok(())
    }

    async fn go(&self, dependencies: &mut Dependencies) -> Result<(), StepError> {
        let Some(manifest) = self.text("go.mod") else {
            return Ok(());
        };
        go::warm(self).await;
        if !manifest.contains("require") {
            return Ok(());
        }
        let key = format!("go {manifest}{}", self.text("go.sum").unwrap_or_default());
        self.once(&key, &["go", "mod", "download"], dependencies).await
    }

    /// Fetches unless the same was fetched into this home before.
    async fn once(&self, key: &str, argv: &[&str], dependencies: &mut Dependencies) -> Result<(), StepError> {
        let mark = self.home.join("fetched").join(digest(key));
        if mark.exists() {
            return Ok(());
        }
        if self.fetch(argv, dependencies).await? {
            let written = fs::create_dir_all(self.home.join("fetched")).and_then(|()| fs::write(&mark, b""));
            written.map_err(|error| self.home_error(&error))?;
        }
        Ok(())
    }

    /// Runs a fetch; a failure becomes a note and `false`.
    async fn fetch<A: AsRef<str>>(
        &self,
        argv: &[A],
        dependencies: &mut Dependencies,
    ) -> Result<bool, StepError> {
        let argv: Vec<&str> = argv.iter().map(AsRef::as_ref).collect();
        let command: String = argv.iter().take(3).copied().collect::<Vec<_>>().join(" ");
        self.log.info(&format!("fetching dependencies: {command}"));
        let mut environment = self
            .toolchains
            .fetch_environment(self.home)
            .map_err(|error| self.home_error(&error))?;
        environment.insert("CARGO_NET_RETRY".into(), "1".into());
        let exec = Exec::new(argv, self.root)
            .cage(self.cage.clone().reach(self.network, self.log))
            .environment(environment)
            .limits(Limits::default().time(FETCH_TIME));
        let why = match exec.run(self.log, self.stop).await {
            Ok(result) if result.success() => return Ok(true),
            Ok(_) if self.stop.token.is_cancelled() => {
                return Err(StepError::new(
                    ErrorClass::Killed,
                    "fetching dependencies was stopped",
                ));
            }
            Ok(result) => format!(
                "it {}: {}",
                result.ending(),
                last_line(&result.stderr.tail_text(2048))
            ),
            Err(error @ ExecError::NotFound { .. }) => error.to_string(),
            Err(error) => return Err(error.into()),
        };
        let note = format!("dependencies were not fetched by `{command}`: {why}");
        self.log.info(&note);
        dependencies.notes.push(note);
        Ok(false)
    }

    fn has(&self, name: &str) -> bool {
        self.root.join(name).is_file()
    }

    fn text(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.root.join(name)).ok()
    }

    fn home_error(&self, error: &std::io::Error) -> StepError {
        let message = format!("this worker cannot use {}: {error}", self.home.display());
        StepError::new(ErrorClass::Infra, message)
    }
}

fn names_dependencies(package: &str) -> bool {
    let package: Value = serde_json::from_str(package).unwrap_or_default();
    ["dependencies", "devDependencies"]
        .iter()
        .any(|key| package[*key].as_object().is_some_and(|named| !named.is_empty()))
}

fn digest(text: &str) -> String {
    hex::encode(&Sha256::digest(text)[..12])
}

fn last_line(text: &str) -> &str {
    text.lines()
        .rev()
        .find(|line| !line.trim().is_empty())
        .unwrap_or("it said nothing")
}

#[cfg(test)]
mod tests;
