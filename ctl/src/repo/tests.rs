use std::{fs, os::unix::ffi::OsStrExt};

use super::{git::is_url, *};
use crate::output::style::Style;

/// A repository with one commit of `a.txt` on `main`.
async fn repository() -> (TempDir, Git) {
    let folder = tempfile::tempdir().expect("a folder");
    let git = git_in(folder.path());
    git.run(&["init", "--quiet", "--initial-branch=main", "."])
        .await
        .expect("init");
    commit(&git, folder.path(), "a.txt", "one\n").await;
    (folder, git)
}

fn git_in(folder: &Path) -> Git {
    Git::at(folder)
        .with("GIT_AUTHOR_NAME", "t")
        .with("GIT_AUTHOR_EMAIL", "t@localhost")
        .with("GIT_COMMITTER_NAME", "t")
        .with("GIT_COMMITTER_EMAIL", "t@localhost")
}

async fn commit(git: &Git, folder: &Path, name: &str, text: &str) {
    fs::write(folder.join(name), text).expect("written");
    git.run(&["add", "--all"]).await.expect("add");
    git.run(&["commit", "--quiet", "-m", "change"])
        .await
        .expect("commit");
}

fn said(error: CliError, folder: &Path) -> String {
    let folder = folder.canonicalize().expect("there");
    error
        .render(Style::PLAIN)
        .replace(folder.to_str().expect("UTF-8"), "FOLDER")
}

/// Clones a bundle as a worker does.
async fn unbundle(bundle: &Bundle) -> (TempDir, Git) {
    let folder = tempfile::tempdir().expect("a folder");
    let git = git_in(folder.path());
    git.run(&["init", "--quiet", "."]).await.expect("init");
    let file = bundle_file(&bundle.folder);
    let file = file.to_str().expect("UTF-8");
    git.run(&["fetch", "--quiet", file, "HEAD"])
        .await
        .expect("a whole bundle");
    git.run(&["checkout", "--quiet", &bundle.head])
        .await
        .expect("the named commit");
    (folder, git)
}

#[tokio::test]
async fn head_is_bundled_and_changes_are_named() {
    let (folder, git) = repository().await;
    fs::write(folder.path().join("a.txt"), "two\n").expect("written");
    fs::write(folder.path().join(OsStr::from_bytes(b"b\xff.txt")), "new\n").expect("written");
    let status = git.run(&["status", "--porcelain"]).await.expect("status");

    let clean = Bundle::make(folder.path(), &Wanted::default())
        .await
        .expect("bundled");
    assert_eq!(clean.branch.as_deref(), Some("main"));
    insta::assert_snapshot!(clean.notes.join("\n"), @"not included: 2 uncommitted changes (a.txt, b�.txt); --dirty sends them along");
    let (copy, _) = unbundle(&clean).await;
    assert_eq!(fs::read(copy.path().join("a.txt")).expect("there"), b"one\n");

    let wanted = Wanted {
        dirty: true,
        ..Wanted::default()
    };
    let dirty = Bundle::make(folder.path(), &wanted).await.expect("bundled");
    insta::assert_snapshot!(dirty.notes.join("\n"), @"included as one commit: 2 uncommitted changes (a.txt, b�.txt)");
    let (copy, copied) = unbundle(&dirty).await;
    assert_eq!(fs::read(copy.path().join("a.txt")).expect("there"), b"two\n");
    assert!(copy.path().join(OsStr::from_bytes(b"b\xff.txt")).exists());
    let parent = copied.commit("HEAD^").await.expect("git runs");
    assert_eq!(
        parent,
        git.commit("HEAD").await.expect("git runs"),
        "on top of HEAD"
    );

    let again = git.run(&["status", "--porcelain"]).await.expect("status");
    assert_eq!(again, status, "index and work tree are as they were");
    let same = Bundle::make(folder.path(), &wanted).await.expect("bundled");
    assert_eq!(same.head, dirty.head, "the same files give the same commit");
    let bytes = |bundle: &Bundle| fs::read(bundle_file(&bundle.folder)).expect("there");
    assert_eq!(bytes(&same), bytes(&dirty), "and the same bundle");
}

#[tokio::test]
async fn a_ref_a_bare_repository_and_a_shallow_clone_can_be_sent() {
    let (folder, git) = repository().await;
    git.run(&["tag", "v1"]).await.expect("tag");
    commit(&git, folder.path(), "a.txt", "two\n").await;
    let wanted = Wanted {
        reference: Some("v1".into()),
        ..Wanted::default()
    };
    let old = Bundle::make(folder.path(), &wanted).await.expect("bundled");
    assert_eq!(Some(old.head.clone()), git.commit("v1").await.expect("git runs"));

    let other = tempfile::tempdir().expect("a folder");
    let url = format!("file://{}", folder.path().display());
    let outside = git_in(other.path());
    outside
        .run(&["clone", "--quiet", "--bare", &url, "x.git"])
        .await
        .expect("clone");
    let bare = Bundle::make(&other.path().join("x.git"), &Wanted::default())
        .await
        .expect("bundled");
    assert_eq!(bare.name, "x");

    outside
        .run(&["clone", "--quiet", "--depth=1", &url, "y"])
        .await
        .expect("clone");
    let shallow = Bundle::make(&other.path().join("y"), &Wanted::default())
        .await
        .expect("bundled");
    insta::assert_snapshot!(shallow.notes.join("\n"), @"the clone is shallow: its files are sent without history; `git fetch --unshallow` brings it");
    let (copy, _) = unbundle(&shallow).await;
    assert_eq!(fs::read(copy.path().join("a.txt")).expect("there"), b"two\n");
}

#[tokio::test]
async fn what_cannot_be_sent_is_said_with_a_way_out() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().canonicalize().expect("there");
    let error = Bundle::make(&path, &Wanted::default())
        .await
        .expect_err("no repository");
    assert_eq!(error.exit(), crate::exit::Exit::Usage);
    insta::assert_snapshot!(said(error, &path), @r"
    error[not_a_repository]: FOLDER is not inside a git repository
      hint:  name one with `--repo PATH|URL`, or make one: `git init && git add -A && git commit -m start`
    ");
    git_in(&path).run(&["init", "--quiet", "."]).await.expect("init");
    let error = Bundle::make(&path, &Wanted::default())
        .await
        .expect_err("no commit");
    insta::assert_snapshot!(said(error, &path), @r"
    error[empty_repository]: the repository FOLDER has no commit yet
      hint:  make a first one: `git add -A && git commit -m start`
    ");

    let (folder, _) = repository().await;
    let path = folder.path().canonicalize().expect("there");
    let wanted = |dirty| Wanted {
        reference: Some("--all".into()),
        dirty,
    };
    let error = Bundle::make(&path, &wanted(false))
        .await
        .expect_err("no such ref");
    insta::assert_snapshot!(said(error, &path), @r#"
    error[unknown_ref]: the repository FOLDER has no commit named "--all"
      hint:  `git branch --all` and `git tag` list the names; `git fetch` brings new ones
    "#);
    let error = Bundle::make(&path, &wanted(true)).await.expect_err("both");
    insta::assert_snapshot!(said(error, &path), @r"
    error[invalid_argument]: --dirty takes the changes on top of HEAD, so it does not go with --ref
      hint:  leave one of them out
    ");
}

#[tokio::test]
async fn a_branch_is_made_once_and_guarded_afterwards() {
    let (folder, git) = repository().await;
    let base = git.commit("HEAD").await.expect("git runs").expect("there");
    let worker = tempfile::tempdir().expect("a folder");
    let theirs = git_in(worker.path());
    let from = folder.path().to_str().expect("UTF-8");
    theirs.run(&["clone", "--quiet", from, "."]).await.expect("clone");
    theirs
        .run(&["checkout", "--quiet", "-b", "agentd/7"])
        .await
        .expect("branch");
    commit(&theirs, worker.path(), "a.txt", "two\n").await;
    let range = format!("{base}..agentd/7");
    theirs
        .run(&["bundle", "create", "--quiet", "r.bundle", &range])
        .await
        .expect("bundle");
    let bundle = worker.path().join("r.bundle");

    // the base hangs on no branch any more
    git.run(&["commit", "--quiet", "--amend", "--allow-empty", "-m", "other"])
        .await
        .expect("amend");
    git.run(&["reflog", "expire", "--expire=now", "--all"])
        .await
        .expect("reflog");
    let here = Repository::open(folder.path()).await.expect("a repository");
    let apply = |force| here.apply(&bundle, Some(&base), "agentd/7", force);
    assert_eq!(apply(false).await.expect("applied"), Applied::Made);
    assert_eq!(apply(false).await.expect("applied"), Applied::Same);
    assert_eq!(fs::read(folder.path().join("a.txt")).expect("there"), b"one\n");
    assert_eq!(
        git.line(&["for-each-ref", "refs/agentd"]).await.expect("refs"),
        ""
    );

    git.run(&["branch", "--force", "agentd/7", "main"])
        .await
        .expect("branch");
    let error = apply(false).await.expect_err("another commit");
    insta::assert_snapshot!(said(error, folder.path()), @r"
    error[branch_differs]: the branch agentd/7 has commits that are not the job's
      hint:  rename it with `git branch -m agentd/7 NAME`, or replace it with `--force`
    ");
    git.run(&["switch", "--quiet", "agentd/7"]).await.expect("switch");
    let error = apply(true).await.expect_err("checked out");
    insta::assert_snapshot!(said(error, folder.path()), @r"
    error[branch_differs]: the branch agentd/7 is checked out, so it cannot be moved
      hint:  go to another branch first: `git switch -`
    ");
    git.run(&["switch", "--quiet", "main"]).await.expect("switch");
    assert_eq!(apply(true).await.expect("applied"), Applied::Made);

    let (stranger, _) = repository().await;
    let stranger_git = Repository::open(stranger.path()).await.expect("a repository");
    let missing = "0123456789012345678901234567890123456789";
    let error = stranger_git
        .apply(&bundle, Some(missing), "agentd/7", false)
        .await
        .expect_err("no base");
    insta::assert_snapshot!(said(error, stranger.path()), @r"
    error[missing_base]: the repository FOLDER lacks the commit 0123456789012345678901234567890123456789 that the job started from
      hint:  fetch it (`git fetch --all`), or go to the clone that the job was submitted from: `--repo PATH`
    ");
}

#[test]
fn urls_are_told_from_folders() {
    for url in [
        "https://example.org/x.git",
        "ssh://git@h/x",
        "git@example.org:team/x.git",
        "file:///srv/x",
    ] {
        assert!(is_url(url), "{url}");
    }
    for path in [".", "../x", "/srv/a:b", "dir/a:b", "plain"] {
        assert!(!is_url(path), "{path}");
    }
}
