//! Runs `git` in a fixed environment: no prompt, no pager, no hook, no
//! variable of a surrounding git command, messages in English.

use std::{
    ffi::{OsStr, OsString},
    io,
    os::unix::ffi::OsStringExt,
    path::{Path, PathBuf},
    process::{Output, Stdio},
};

use tokio::process::Command;

use crate::{codes::Code, error::CliError};

/// Settings that a repository or a user may have and that must not matter here.
const FIXED: [&str; 5] = [
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "commit.gpgSign=false",
    "gc.auto=0",
    // one thread packs the same objects into the same bytes: a repeated upload finds them there
    "pack.threads=1",
];

/// Git in one folder.
#[derive(Clone, Debug)]
pub(crate) struct Git {
    folder: PathBuf,
    variables: Vec<(OsString, OsString)>,
}

impl Git {
    /// Git in that folder.
    pub(crate) fn at(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            variables: Vec::new(),
        }
    }

    /// The same with a variable of git set.
    pub(crate) fn with(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    /// Runs it, whatever its exit code.
    pub(crate) async fn output<S: AsRef<OsStr>>(&self, args: &[S]) -> Result<Output, CliError> {
        let mut command = Command::new("git");
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("GIT_") {
                command.env_remove(name);
            }
        }
        command
            .current_dir(&self.folder)
            .env("LC_ALL", "C")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_OPTIONAL_LOCKS", "0")
            .env("GIT_PAGER", "cat")
            .envs(self.variables.iter().cloned())
            .args(FIXED.iter().flat_map(|setting| ["-c", setting]))
            .args(args)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command.output().await.map_err(|error| self.cannot_start(&error))
    }

    /// Runs it and answers its stdout; another exit code than 0 is an error.
    pub(crate) async fn run<S: AsRef<OsStr>>(&self, args: &[S]) -> Result<Vec<u8>, CliError> {
        let output = self.output(args).await?;
        if output.status.success() {
            Ok(output.stdout)
        } else {
            Err(failed(args, &output))
        }
    }

    /// The same, as one line of text.
    pub(crate) async fn line<S: AsRef<OsStr>>(&self, args: &[S]) -> Result<String, CliError> {
        let bytes = self.run(args).await?;
        Ok(String::from_utf8_lossy(&bytes).trim_end().to_owned())
    }

    /// The same, as a path: names are bytes.
    pub(crate) async fn path<S: AsRef<OsStr>>(&self, args: &[S]) -> Result<PathBuf, CliError> {
        let mut bytes = self.run(args).await?;
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
        }
        Ok(PathBuf::from(OsString::from_vec(bytes)))
    }

    /// The full id of a commit; `None` if there is none of that name.
    pub(crate) async fn commit(&self, name: &str) -> Result<Option<String>, CliError> {
        let wanted = format!("{name}^{{commit}}");
        let args = ["rev-parse", "--verify", "--quiet", "--end-of-options", &wanted];
        let output = self.output(&args).await?;
        let id = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        Ok((output.status.success() && !id.is_empty()).then_some(id))
    }

    fn cannot_start(&self, error: &io::Error) -> CliError {
        if error.kind() == io::ErrorKind::NotFound && self.folder.is_dir() {
            CliError::new(Code::GitMissing, "git was not found")
                .hint("install it, such as with `sudo apt install git`")
        } else {
            CliError::file(&self.folder, "run git in", error)
        }
    }
}

/// A git command that failed, with git's own words.
pub(crate) fn failed<S: AsRef<OsStr>>(args: &[S], output: &Output) -> CliError {
    let words: Vec<_> = args.iter().map(|arg| arg.as_ref().to_string_lossy()).collect();
    let sentence = format!("`git {}` failed", words.join(" "));
    CliError::new(Code::GitFailed, sentence).cause(said(output))
}

/// What git said.
pub(crate) fn said(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let text = text.trim();
    if text.is_empty() {
        output.status.to_string()
    } else {
        text.to_owned()
    }
}

/// Whether a `--repo` means a URL that workers clone, and not a folder here.
pub(crate) fn is_url(text: &str) -> bool {
    let scp = || {
        let (host, path) = text.split_once(':')?;
        let plain = !host.is_empty() && !host.contains('/') && !path.starts_with('/');
        Some(plain && !Path::new(text).exists())
    };
    text.contains("://") || scp().unwrap_or(false)
}
