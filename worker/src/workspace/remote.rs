//! What a remote repository has, and getting it. Every failure names the URL,
//! the reason and the way out.

use protocol::step::{ErrorClass, StepError};

use crate::tools::git::{Git, GitError, RemoteUrl};

/// Something that a remote has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// A full ref name, or a commit.
    pub(super) name: String,
    /// The commit, where the remote's answer says it.
    pub(super) commit: Option<String>,
}

/// Finds what a branch, tag or commit means on the remote; `None` is its default branch.
pub(super) async fn resolve(
    git: &Git,
    url: &RemoteUrl,
    reference: Option<&str>,
) -> Result<Target, StepError> {
    let Some(reference) = reference else {
        let answer = list(git, url, &["--symref", "--", url.as_str(), "HEAD"]).await?;
        return match default_branch(&answer) {
            Some(target) => Ok(target),
            None if list(git, url, &["--", url.as_str()]).await?.is_empty() => Err(empty(url)),
            None => Err(StepError::new(
                ErrorClass::Workspace,
                format!("the repository {} has no default branch", url.as_str()),
            )
            .hint("name a branch with `ref`")),
        };
    };
    if is_commit(reference) {
        return Ok(Target {
            name: reference.to_owned(),
            commit: Some(reference.to_owned()),
        });
    }
    check_reference(reference)?;
    let peeled = format!("{reference}^{{}}");
    let answer = list(git, url, &["--", url.as_str(), reference, &peeled]).await?;
    match choose(&answer, reference) {
        Some(target) => Ok(target),
        None => Err(unknown(git, url, reference).await?),
    }
}

/// Fetches one ref (or commit) and answers with its commit.
pub(super) async fn fetch(git: &Git, url: &RemoteUrl, name: &str) -> Result<String, StepError> {
    let local = "refs/agentd/fetched";
    let refspec = format!("+{name}:{local}");
    let args = [
        "fetch",
        "--quiet",
        "--force",
        "--no-tags",
        "--update-shallow",
        "--no-write-fetch-head",
        "--no-auto-maintenance",
        "--recurse-submodules=no",
        "--",
        url.as_str(),
        &refspec,
    ];
    git.run(args).await.map_err(|error| unreachable(url, error))?;
    let commit = git
        .text(["rev-parse", "--verify", &format!("{local}^{{commit}}")])
        .await?;
    // keeps what was fetched while the next fetch moves the other name
    git.run(["update-ref", &format!("refs/agentd/base/{commit}"), &commit])
        .await?;
    Ok(commit)
}

/// Fetches a commit; a remote that hands out no bare commits is asked for the ref that had it.
pub(super) async fn fetch_commit(
    git: &Git,
    url: &RemoteUrl,
    commit: &str,
    reference: Option<&str>,
) -> Result<(), StepError> {
    let direct = match fetch(git, url, commit).await {
        Ok(_) => return Ok(()),
        Err(error) if error.class == ErrorClass::Killed => return Err(error),
        Err(error) => error,
    };
    let reference = reference.filter(|reference| !is_commit(reference));
    let target = resolve(git, url, reference).await?;
    fetch(git, url, &target.name).await?;
    let object = format!("{commit}^{{commit}}");
    match git.run(["cat-file", "-e", &object]).await {
        Ok(()) => Ok(()),
        Err(_) => Err(direct),
    }
}

async fn list(git: &Git, url: &RemoteUrl, args: &[&str]) -> Result<String, StepError> {
    let all = std::iter::once("ls-remote").chain(args.iter().copied());
    git.text(all).await.map_err(|error| unreachable(url, error))
}

/// Reads `ref: refs/heads/main TAB HEAD` and `<commit> TAB HEAD`.
fn default_branch(answer: &str) -> Option<Target> {
    let mut branch = None;
    let mut commit = None;
    for line in answer.lines() {
        if let Some((value, "HEAD")) = line.split_once('\t') {
            match value.strip_prefix("ref: ") {
                Some(name) => branch = Some(name.to_owned()),
                None => commit = Some(value.to_owned()),
            }
        }
    }
    let commit = commit?;
    Some(Target {
        name: branch.unwrap_or_else(|| "HEAD".to_owned()),
        commit: Some(commit),
    })
}

/// A branch wins over a tag, as `git clone --branch` has it; a full name is taken as it is.
fn choose(answer: &str, reference: &str) -> Option<Target> {
    let refs: Vec<(&str, &str)> = answer
        .lines()
        .filter_map(|line| line.split_once('\t').map(|(commit, name)| (name, commit)))
        .collect();
    let commit_of = |name: &str| {
        refs.iter()
            .find(|(known, _)| *known == name)
            .map(|(_, commit)| (*commit).to_owned())
    };
    [
        format!("refs/heads/{reference}"),
        format!("refs/tags/{reference}"),
        reference.to_owned(),
    ]
    .into_iter()
    .find_map(|name| {
        let commit = commit_of(&name)?;
        let commit = commit_of(&format!("{name}^{{}}")).unwrap_or(commit);
        Some(Target {
            name,
            commit: Some(commit),
        })
    })
}

fn is_commit(reference: &str) -> bool {
    matches!(reference.len(), 40 | 64) && reference.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// git's own rules for ref names, as far as they matter for a pattern on a command line.
fn check_reference(reference: &str) -> Result<(), StepError> {
    let bad = |c: char| c.is_control() || c.is_whitespace() || "~^:?*[\\".contains(c);
    if !reference.is_empty()
        && reference.len() <= 250
        && !reference.starts_with(['-', '/', '.'])
        && !reference.contains("..")
        && !reference.contains("@{")
        && !reference.chars().any(bad)
    {
        return Ok(());
    }
    let shown: String = reference.chars().take(80).collect();
    Err(StepError::new(
        ErrorClass::Spec,
        format!("`ref` {shown:?} is no name of a branch, tag or commit"),
    ))
}

fn empty(url: &RemoteUrl) -> StepError {
    StepError::new(
        ErrorClass::Workspace,
        format!("the repository {} is empty: it has no commit yet", url.as_str()),
    )
    .hint("make a first commit and push it")
}

async fn unknown(git: &Git, url: &RemoteUrl, reference: &str) -> Result<StepError, StepError> {
    let answer = list(git, url, &["--heads", "--tags", "--refs", "--", url.as_str()]).await?;
    if answer.is_empty() {
        return Ok(empty(url));
    }
    let names: Vec<&str> = answer
        .lines()
        .filter_map(|line| {
            line.split_once("\trefs/heads/")
                .or(line.split_once("\trefs/tags/"))
        })
        .map(|(_, name)| name)
        .take(8)
        .collect();
    Ok(StepError::new(
        ErrorClass::Workspace,
        format!(
            "the repository {} has no branch, tag or commit {reference:?}",
            url.as_str()
        ),
    )
    .hint(format!("it has, for example: {}", names.join(", "))))
}

fn unreachable(url: &RemoteUrl, error: GitError) -> StepError {
    let GitError::Failed { said, ending, .. } = error else {
        return error.into();
    };
    let reason = if ending.contains("time limit") {
        ending
    } else {
        said
    };
    let hints = [
        (
            "resolve host",
            "check the address, and that this worker can resolve names",
        ),
        (
            "ertificate",
            "check the server's certificate and this worker's CA certificates",
        ),
        (
            "Authentication failed",
            "the repository needs credentials; use ssh with a key of the worker's user",
        ),
        (
            "could not read Username",
            "the repository needs credentials or does not exist; use ssh with a key of the worker's user",
        ),
        (
            "Permission denied",
            "the worker's user needs an ssh key that the server accepts",
        ),
        (
            "Host key verification failed",
            "connect to the server once by hand as the worker's user, to accept its host key",
        ),
        ("not found", "check the address"),
        ("does not appear to be a git repository", "check the address"),
        (
            "time limit",
            "a larger repository can come as a bundle: `--repo PATH`",
        ),
    ];
    let hint = hints
        .iter()
        .find(|(sign, _)| reason.contains(sign))
        .map(|(_, hint)| *hint);
    StepError::new(
        ErrorClass::Workspace,
        format!("the repository {} cannot be fetched: {reason}", url.as_str()),
    )
    .hint(hint.unwrap_or("check that this worker reaches the server"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_branch_is_read_from_the_symref() {
        let answer = "ref: refs/heads/trunk\tHEAD\nc0ffee\tHEAD";
        let target = default_branch(answer).unwrap();
        assert_eq!(
            (target.name.as_str(), target.commit.as_deref()),
            ("refs/heads/trunk", Some("c0ffee"))
        );
        assert_eq!(default_branch(""), None);
    }

    #[test]
    fn a_branch_wins_over_a_tag_and_tags_are_peeled() {
        let answer = "1\trefs/heads/x/v1\n2\trefs/tags/v1\n3\trefs/tags/v1^{}";
        assert_eq!(choose(answer, "v1").unwrap().commit.as_deref(), Some("3"));
        let both = format!("{answer}\n4\trefs/heads/v1");
        assert_eq!(choose(&both, "v1").unwrap().commit.as_deref(), Some("4"));
        assert_eq!(choose(answer, "v2"), None);
    }

    #[test]
    fn odd_references_are_refused() {
        for bad in ["", "-x", "a..b", "a*", "a b", "HEAD@{1}", "x^{}"] {
            assert!(check_reference(bad).is_err(), "{bad:?}");
        }
        assert!(check_reference("feature/über-1.0").is_ok());
    }
}
