//! The caller's repository: what is sent of it, and the branch that comes back.
//! Neither the index nor the work tree of the caller is ever touched.

mod apply;
pub(crate) mod git;
mod snapshot;
mod upload;

use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use protocol::{artifact::BlobRef, spec::RepoSource};
use tempfile::TempDir;

pub(crate) use self::apply::Applied;
use self::git::Git;
use crate::{client::Client, codes::Code, error::CliError};

/// Which state of a repository is meant.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    /// Branch, tag or commit; HEAD if missing.
    pub(crate) reference: Option<String>,
    /// Whether uncommitted changes come along, as one commit.
    pub(crate) dirty: bool,
}

/// A bundle on its way, and what should be said about it.
#[derive(Debug)]
pub(crate) struct Bundle {
    folder: TempDir,
    head: String,
    branch: Option<String>,
    name: String,
    /// For the caller, one sentence each.
    pub(crate) notes: Vec<String>,
}

impl Bundle {
    /// Bundles a commit of the repository around `path`.
    pub(crate) async fn make(path: &Path, wanted: &Wanted) -> Result<Self, CliError> {
        let repository = Repository::open(path).await?;
        let (head, branch) = repository.resolve(wanted).await?;
        let mut notes = Vec::new();
        let folder = tempfile::Builder::new().prefix("agentctl-").tempdir()?;
        let commit = repository.snapshot(&folder, &head, wanted, &mut notes).await?;
        repository.write_bundle(&folder, &commit).await?;
        Ok(Self {
            folder,
            head: commit,
            branch,
            name: repository.name(),
            notes,
        })
    }

    /// Sends it; what is there already is not sent again.
    pub(crate) async fn upload(self, client: &Client) -> Result<RepoSource, CliError> {
        let blob: BlobRef = upload::send(client, &bundle_file(&self.folder)).await?;
        Ok(RepoSource::Bundle {
            blob,
            head: self.head,
            branch: self.branch,
            name: self.name,
        })
    }
}

fn bundle_file(folder: &TempDir) -> PathBuf {
    folder.path().join("repository.bundle")
}

/// A repository on this machine.
pub(crate) struct Repository {
    /// The work tree, or the git directory of a bare repository.
    root: PathBuf,
    bare: bool,
    shallow: bool,
}

impl Repository {
    /// The repository around a path.
    pub(crate) async fn open(path: &Path) -> Result<Self, CliError> {
        let git = Git::at(path);
        let args = ["rev-parse", "--is-bare-repository", "--is-shallow-repository"];
        let output = git.output(&args).await?;
        if !output.status.success() {
            return Err(not_a_repository(path, &git::said(&output)));
        }
        let answer = String::from_utf8_lossy(&output.stdout);
        let mut answers = answer.lines().map(|line| line == "true");
        let (bare, shallow) = (answers.next() == Some(true), answers.next() == Some(true));
        let question = if bare {
            "--absolute-git-dir"
        } else {
            "--show-toplevel"
        };
        let root = git.path(&["rev-parse", question]).await?;
        Ok(Self { root, bare, shallow })
    }

    /// Git in it.
    pub(crate) fn git(&self) -> Git {
        Git::at(&self.root)
    }

    /// The folder's name without `.git`.
    fn name(&self) -> String {
        let name = self.root.file_name().unwrap_or(OsStr::from_bytes(b"repository"));
        let name = name.to_string_lossy();
        name.strip_suffix(".git").unwrap_or(&name).to_owned()
    }

    /// The commit that is meant, and its branch.
    async fn resolve(&self, wanted: &Wanted) -> Result<(String, Option<String>), CliError> {
        let git = self.git();
        let Some(head) = git.commit("HEAD").await? else {
            let sentence = format!("the repository {} has no commit yet", self.root.display());
            return Err(CliError::new(Code::EmptyRepository, sentence)
                .hint("make a first one: `git add -A && git commit -m start`"));
        };
        let Some(name) = &wanted.reference else {
            let branch = git
                .output(&["symbolic-ref", "--quiet", "--short", "HEAD"])
                .await?;
            let branch = String::from_utf8_lossy(&branch.stdout).trim().to_owned();
            return Ok((head, (!branch.is_empty()).then_some(branch)));
        };
        if wanted.dirty {
            return Err(CliError::new(
                Code::InvalidArgument,
                "--dirty takes the changes on top of HEAD, so it does not go with --ref",
            )
            .hint("leave one of them out"));
        }
        let commit = git.commit(name).await?.ok_or_else(|| self.unknown(name))?;
        let full = format!("refs/heads/{name}");
        let is_branch = git.commit(&full).await?.is_some();
        Ok((commit, is_branch.then(|| name.clone())))
    }

    fn unknown(&self, name: &str) -> CliError {
        let sentence = format!(
            "the repository {} has no commit named {name:?}",
            self.root.display()
        );
        let hint = if self.shallow {
            "it is a shallow clone: `git fetch --unshallow` brings the rest"
        } else {
            "`git branch --all` and `git tag` list the names; `git fetch` brings new ones"
        };
        CliError::new(Code::UnknownRef, sentence).hint(hint)
    }
}

fn not_a_repository(path: &Path, said: &str) -> CliError {
    let path = path.display();
    if said.contains("not a git repository") {
        return CliError::new(
            Code::NotARepository,
            format!("{path} is not inside a git repository"),
        )
        .hint(
            "name one with `--repo PATH|URL`, or make one: `git init && git add -A && git commit -m start`",
        );
    }
    // such as an unsafe owner: git's own words tell what to do
    CliError::new(
        Code::GitFailed,
        format!("git cannot read the repository at {path}"),
    )
    .cause(said)
}

#[cfg(test)]
mod tests;
