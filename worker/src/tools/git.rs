//! git, as this project uses it: plumbing on git directories of our own.
//!
//! No command here reads a repository's own configuration, hooks, filters or
//! attributes as instructions: the git directory is ours, its `info/attributes`
//! overrules every `.gitattributes`, system and user configuration are cut off,
//! and what tools see as `.git` is never read.

mod url;

use std::{
    ffi::{OsStr, OsString},
    fs::{self, File},
    io::{self, Read as _, Seek as _},
    path::{Path, PathBuf},
    time::Duration,
};

use protocol::step::{ErrorClass, StepError};

pub use self::url::{InvalidUrl, RemoteUrl};
use super::{
    environment::Toolchains,
    exec::{Environment, Exec, ExecError, ExecResult, Limits, Output},
};
use crate::{log::LogSink, steps::Stop};

/// Author and committer of every commit of ours.
const NAME: &str = "agentd";
const EMAIL: &str = "agentd@localhost";

/// Most bytes that an answer of git may have where it is read into memory.
const MOST_BYTES: u64 = 64 << 20;

/// A local git command works on what is on disk; longer than this it hangs.
const LOCAL_TIME: Duration = Duration::from_secs(600);

/// Said on every command line, so that nothing depends on what a git directory says.
const FIXED: [&str; 17] = [
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.autocrlf=false",
    "core.safecrlf=false",
    "core.attributesFile=/dev/null",
    "core.excludesFile=/dev/null",
    "core.fileMode=true",
    "core.symlinks=true",
    "core.quotePath=false",
    "diff.ignoreSubmodules=all",
    "submodule.recurse=false",
    "fetch.recurseSubmodules=false",
    "commit.gpgSign=false",
    "credential.helper=",
    "gc.auto=0",
    "maintenance.auto=false",
    "checkout.workers=0",
];

/// Makes every path plain bytes, whatever a `.gitattributes` says; this file has the last word.
const ATTRIBUTES: &str = "* -text -ident !filter !working-tree-encoding !eol !diff !merge\n";

/// Never part of a change, also where the repository forgot to ignore them: what tools leave behind.
const EXCLUDES: &str = "node_modules/\n__pycache__/\n*.pyc\n.pytest_cache/\n.mypy_cache/\n.ruff_cache/\n.venv/\n\
                        target/debug/\ntarget/release/\n";

/// Why a git command did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// It did not start.
    #[error(transparent)]
    Start(#[from] ExecError),
    /// It failed.
    #[error("git {command} {ending}: {said}")]
    Failed {
        /// Such as `read-tree`.
        command: String,
        /// Such as `exited with 128`.
        ending: String,
        /// What it said last.
        said: String,
    },
    /// The attempt was stopped.
    #[error("git {0} was stopped")]
    Stopped(String),
    /// A file could not be read or written.
    #[error("git {command}: {source}")]
    File {
        /// Such as `diff`.
        command: String,
        /// What the system said.
        source: io::Error,
    },
}

impl From<GitError> for StepError {
    fn from(error: GitError) -> Self {
        let message = error.to_string();
        match error {
            GitError::Start(start) => start.into(),
            GitError::Failed { .. } => Self::new(ErrorClass::Workspace, message),
            GitError::Stopped(_) => Self::new(ErrorClass::Killed, message),
            GitError::File { .. } => Self::new(ErrorClass::Infra, message),
        }
    }
}

/// git on one git directory of ours, by default without a work tree.
#[derive(Clone)]
pub struct Git {
    dir: PathBuf,
    environment: Environment,
    work_tree: Option<PathBuf>,
    limits: Limits,
    stop: Stop,
}

impl Git {
    /// git on the directory `dir`; a stop of the attempt ends its commands.
    pub fn new(dir: &Path, toolchains: &Toolchains, stop: &Stop) -> Self {
        let mut environment = Environment::new();
        let fixed = [
            ("HOME", OsStr::new("/nonexistent")),
            ("PATH", toolchains.path()),
            ("LC_ALL", OsStr::new("C")),
            ("GIT_CONFIG_NOSYSTEM", OsStr::new("1")),
            ("GIT_CONFIG_GLOBAL", OsStr::new("/dev/null")),
            ("GIT_ATTR_NOSYSTEM", OsStr::new("1")),
            ("GIT_TERMINAL_PROMPT", OsStr::new("0")),
            ("GIT_ASKPASS", OsStr::new("/bin/false")),
            ("SSH_ASKPASS", OsStr::new("/bin/false")),
            ("GIT_ALLOW_PROTOCOL", OsStr::new("none")),
            ("GIT_LITERAL_PATHSPECS", OsStr::new("1")),
            ("GIT_NO_LAZY_FETCH", OsStr::new("1")),
            ("GIT_NO_REPLACE_OBJECTS", OsStr::new("1")),
            ("GIT_AUTHOR_NAME", OsStr::new(NAME)),
            ("GIT_AUTHOR_EMAIL", OsStr::new(EMAIL)),
            ("GIT_COMMITTER_NAME", OsStr::new(NAME)),
            ("GIT_COMMITTER_EMAIL", OsStr::new(EMAIL)),
        ];
        environment.extend(fixed.map(|(name, value)| (name.into(), value.to_owned())));
        Self {
            dir: dir.to_owned(),
            environment,
            work_tree: None,
            limits: Limits::default().time(LOCAL_TIME),
            stop: stop.clone(),
        }
    }

    /// The same with a work tree and the index that belongs to it.
    pub fn with_tree(&self, tree: &Path, index: &Path) -> Self {
        let mut git = self.clone();
        git.work_tree = Some(tree.to_owned());
        git.environment.insert("GIT_INDEX_FILE".into(), index.into());
        git
    }

    /// The same, allowed to talk to this remote for so long. Only ssh sees the user's home,
    /// for its keys and known hosts.
    pub fn with_remote(&self, url: &RemoteUrl, toolchains: &Toolchains, time: Duration) -> Self {
        let mut git = self.clone();
        let mut set = |name: &str, value: &OsStr| git.environment.insert(name.into(), value.to_owned());
        set("GIT_ALLOW_PROTOCOL", OsStr::new(url.protocol()));
        if url.protocol() == "ssh" {
            set("HOME", toolchains.user_home().as_os_str());
            set(
                "GIT_SSH_COMMAND",
                OsStr::new("ssh -oBatchMode=yes -oConnectTimeout=30"),
            );
            if let Some(socket) = std::env::var_os("SSH_AUTH_SOCK") {
                set("SSH_AUTH_SOCK", &socket);
            }
        }
        git.environment.extend(toolchains.network_environment());
        git.limits = git.limits.time(time);
        git
    }

    /// The git directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Makes the git directory, bare and empty, if it is not there.
    pub async fn init(&self) -> Result<(), GitError> {
        if self.dir.join("HEAD").is_file() {
            return Ok(());
        }
        let at = |source| GitError::File {
            command: "init".to_owned(),
            source,
        };
        fs::create_dir_all(&self.dir).map_err(at)?;
        self.run([
            "init",
            "--quiet",
            "--bare",
            "--template=",
            "--initial-branch=none",
        ])
        .await?;
        fs::create_dir_all(self.dir.join("info")).map_err(at)?;
        fs::write(self.dir.join("info/attributes"), ATTRIBUTES).map_err(at)?;
        fs::write(self.dir.join("info/exclude"), EXCLUDES).map_err(at)
    }

    /// Runs a command and reads what it answers.
    pub async fn bytes<A: AsRef<OsStr>>(
        &self,
        args: impl IntoIterator<Item = A>,
    ) -> Result<Vec<u8>, GitError> {
        let args: Vec<OsString> = args.into_iter().map(|arg| arg.as_ref().to_owned()).collect();
        let command = name_of(&args);
        let at = |source| GitError::File {
            command: command.clone(),
            source,
        };
        let mut file = tempfile::tempfile().map_err(at)?;
        self.execute(args, None, file.try_clone().map_err(at)?).await?;
        file.rewind().map_err(at)?;
        let mut bytes = Vec::new();
        file.take(MOST_BYTES).read_to_end(&mut bytes).map_err(at)?;
        Ok(bytes)
    }

    /// Runs a command and reads its answer as one line or more of text, trimmed.
    pub async fn text<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Result<String, GitError> {
        let bytes = self.bytes(args).await?;
        Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
    }

    /// Runs a command for its effect.
    pub async fn run<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Result<(), GitError> {
        self.bytes(args).await.map(drop)
    }

    /// Runs a command whose answer goes into a file.
    pub async fn to_file<A: AsRef<OsStr>>(
        &self,
        args: impl IntoIterator<Item = A>,
        file: &Path,
    ) -> Result<(), GitError> {
        let args: Vec<OsString> = args.into_iter().map(|arg| arg.as_ref().to_owned()).collect();
        let output = File::create(file).map_err(|source| GitError::File {
            command: name_of(&args),
            source,
        })?;
        self.execute(args, None, output).await
    }

    /// Runs a command that reads these bytes.
    pub async fn feed<A: AsRef<OsStr>>(
        &self,
        args: impl IntoIterator<Item = A>,
        input: &[u8],
    ) -> Result<(), GitError> {
        let args: Vec<OsString> = args.into_iter().map(|arg| arg.as_ref().to_owned()).collect();
        let command = name_of(&args);
        let prepare = || {
            let mut file = tempfile::tempfile()?;
            io::Write::write_all(&mut file, input)?;
            file.rewind()?;
            Ok((file, tempfile::tempfile()?))
        };
        let (file, output) = prepare().map_err(|source| GitError::File { command, source })?;
        self.execute(args, Some(file), output).await
    }

    async fn execute(&self, args: Vec<OsString>, input: Option<File>, output: File) -> Result<(), GitError> {
        let command = name_of(&args);
        let mut argv: Vec<OsString> = vec!["git".into(), "--no-pager".into()];
        argv.extend(FIXED.iter().flat_map(|setting| ["-c".into(), (*setting).into()]));
        argv.push(joined("--git-dir=", &self.dir));
        if let Some(tree) = &self.work_tree {
            argv.push(joined("--work-tree=", tree));
        }
        argv.extend(args);
        let folder = self.work_tree.as_deref().unwrap_or(&self.dir);
        let mut exec = Exec::new(argv, folder)
            .environment(self.environment.clone())
            .limits(self.limits)
            .output(Output::File(output));
        if let Some(input) = input {
            exec = exec.input(input);
        }
        let result = exec.run(&LogSink::discard(), &self.stop).await?;
        if result.success() {
            Ok(())
        } else if self.stop.token.is_cancelled() {
            Err(GitError::Stopped(command))
        } else {
            Err(GitError::Failed {
                command,
                ending: result.ending(),
                said: last_words(&result),
            })
        }
    }
}

/// The subcommand, for messages.
fn name_of(args: &[OsString]) -> String {
    args.first()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

fn joined(option: &str, path: &Path) -> OsString {
    let mut text = OsString::from(option);
    text.push(path);
    text
}

/// The `fatal:` and `error:` lines, else the last line.
fn last_words(result: &ExecResult) -> String {
    let text = result.stderr.tail_text(4096);
    let strip = |line: &str| {
        let line = line
            .strip_prefix("fatal: ")
            .or_else(|| line.strip_prefix("error: "))?;
        Some(line.trim().to_owned())
    };
    let words: Vec<String> = text.lines().filter_map(strip).take(3).collect();
    if words.is_empty() {
        text.lines().last().unwrap_or("it said nothing").to_owned()
    } else {
        words.join("; ")
    }
}
