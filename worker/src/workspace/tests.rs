use std::{
    ffi::OsStr,
    fs,
    os::unix::{ffi::OsStrExt as _, fs::PermissionsExt as _},
};

use protocol::step::ErrorClass;

use super::*;
use crate::testing::{Bench, commit, git, write};

impl Bench {
    pub(crate) fn caller<'a>(&'a self, stop: &'a Stop) -> Caller<'a> {
        Caller {
            blobs: &*self.blobs,
            log: &self.log,
            stop,
        }
    }

    async fn open(&self, wanted: &WorkspaceRef) -> Workspace {
        let stop = Stop::default();
        let opened = self.workspaces.open(wanted, self.job, self.caller(&stop)).await;
        opened.expect("it opens")
    }
}

#[tokio::test]
async fn a_change_travels_to_another_worker_by_bundle() {
    let bench = Bench::new();
    let repository = bench
        .repository("repo", &[("a.txt", "one\n"), ("sub/b.txt", "two\n")])
        .await;
    let base = git(&repository, &["rev-parse", "HEAD"]).await;
    let wanted = Bench::workspace(&repository, None);
    let mut workspace = bench.open(&wanted).await;
    assert_eq!(workspace.base(), base);
    assert_eq!(
        fs::read_to_string(workspace.root().join("sub/b.txt")).unwrap(),
        "two\n"
    );
    assert_eq!(workspace.commit_all("nothing").await.unwrap(), None);

    write(&workspace.root().join("a.txt"), "changed\n");
    fs::write(workspace.root().join("bin"), b"\0\xff\0").unwrap();
    fs::write(workspace.root().join(OsStr::from_bytes(b"\xffname")), "x").unwrap();
    fs::set_permissions(
        workspace.root().join("sub/b.txt"),
        fs::Permissions::from_mode(0o755),
    )
    .unwrap();
    let head = workspace.commit_all("a change").await.unwrap().expect("a commit");
    let result = workspace
        .result(&*bench.blobs, &bench.folder.path().join("s"))
        .await
        .unwrap();
    assert_eq!((&result.base, &result.commit), (&base, &head));
    assert_eq!(workspace.stat(&base, &head).await.unwrap().files, 4);

    let other = Bench::another_worker(&bench.folder.path().join("other"));
    let next = WorkspaceRef {
        base: Some(base.clone()),
        commit: Some(head.clone()),
        bundle: result.bundle,
        ..wanted
    };
    let stop = Stop::default();
    let there = other.open(&next, bench.job, bench.caller(&stop)).await.unwrap();
    assert_eq!(fs::read(there.root().join("bin")).unwrap(), b"\0\xff\0");
    assert!(there.root().join(OsStr::from_bytes(b"\xffname")).exists());
    let mode = fs::metadata(there.root().join("sub/b.txt"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o111, 0o111);

    // the patch brings a plain clone to the same tree
    let patch = bench.folder.path().join("patch");
    there.diff(&base, &head, &patch).await.unwrap();
    git(&repository, &["apply", "--index", patch.to_str().unwrap()]).await;
    let here = git(&repository, &["write-tree"]).await;
    assert_eq!(
        here,
        there
            .git
            .text(["rev-parse", &format!("{head}^{{tree}}")])
            .await
            .unwrap()
    );
    // and the author is agentd
    let author = there
        .git
        .text(["log", "-1", "--format=%an <%ae>", &head])
        .await
        .unwrap();
    assert_eq!(author, "agentd <agentd@localhost>");
}

#[tokio::test]
async fn a_tree_is_reused_reset_and_never_shared() {
    let bench = Bench::new();
    let files = [("a.txt", "one\n"), (".gitignore", "cache/\n")];
    let repository = bench.repository("repo", &files).await;
    let wanted = Bench::workspace(&repository, None);
    let first = bench.open(&wanted).await;
    let second = bench.open(&wanted).await;
    assert_ne!(first.root(), second.root());
    let root = first.root();
    write(&root.join("a.txt"), "changed\n");
    write(&root.join("new.txt"), "x");
    write(&root.join("cache/x"), "kept");
    fs::create_dir_all(root.join("nested/.git")).unwrap();
    drop(first);
    let again = bench.open(&wanted).await;
    assert_eq!(again.root(), root);
    assert_eq!(fs::read_to_string(root.join("a.txt")).unwrap(), "one\n");
    assert!(!root.join("new.txt").exists());
    assert!(root.join("cache/x").exists());
    drop(again);
    // damage that a killed worker may leave
    fs::write(root.parent().unwrap().join("index"), "rubbish").unwrap();
    fs::write(root.parent().unwrap().join("index.lock"), "").unwrap();
    let mended = bench.open(&wanted).await;
    assert_eq!(fs::read_to_string(mended.root().join("a.txt")).unwrap(), "one\n");
}

#[tokio::test]
async fn nothing_in_a_repository_or_tree_is_taken_as_an_instruction() {
    let bench = Bench::new();
    let repository = bench.repository("repo", &[("a.txt", "one\r\n")]).await;
    let trap = bench.folder.path().join("trap");
    let evil = format!("touch {}", trap.display());
    write(
        &repository.join(".gitattributes"),
        "* filter=evil diff=evil merge=evil text eol=crlf ident\n",
    );
    write(&repository.join("id.txt"), "$Id$\n");
    git(
        &repository,
        &[
            "-c",
            "core.autocrlf=false",
            "-c",
            "core.attributesFile=/dev/null",
            "add",
            "-A",
        ],
    )
    .await;
    commit(&repository, "attributes").await;
    let wanted = Bench::workspace(&repository, None);
    let mut workspace = bench.open(&wanted).await;
    let root = workspace.root();
    assert_eq!(fs::read_to_string(root.join("id.txt")).unwrap(), "$Id$\n");
    // a tool plants configuration, hooks and a fake submodule
    workspace.show_git().await.unwrap();
    let config = format!(
        "[core]\n\tfsmonitor = \"{evil}; false\"\n\thooksPath = hooks\n[filter \"evil\"]\n\tclean = {evil}\n\tsmudge = {evil}\n[diff \"evil\"]\n\tcommand = {evil}\n\ttextconv = {evil}\n"
    );
    fs::write(root.join(".git/config"), &config).unwrap();
    write(&root.join("planted/a"), "x");
    git(&root.join("planted"), &["init", "-q"]).await;
    commit(&root.join("planted"), "inner").await;
    write(&root.join("planted/.git/config"), &config);
    write(&root.join("a.txt"), "two\r\n");
    let head = workspace.commit_all("change").await.unwrap().expect("a commit");
    assert_eq!(
        workspace
            .file_at(&head, Path::new("a.txt"))
            .await
            .unwrap()
            .unwrap(),
        b"two\r\n"
    );
    assert_eq!(
        workspace.changed_paths(workspace.base(), &head).await.unwrap(),
        [PathBuf::from("a.txt")]
    );
    workspace
        .diff(&workspace.base, &head, &bench.folder.path().join("p"))
        .await
        .unwrap();
    workspace.reset().await.unwrap();
    assert!(!trap.exists(), "an instruction of the repository was followed");
    assert!(
        bench
            .lines
            .lock()
            .unwrap()
            .iter()
            .any(|line| line.contains("planted"))
    );
}

#[tokio::test]
async fn submodules_stay_pointers_and_what_is_planted_there_is_not_run() {
    let bench = Bench::new();
    let inner = bench.repository("inner", &[("x", "x")]).await;
    let repository = bench.repository("repo", &[("a.txt", "one\n")]).await;
    let url = format!("file://{}", inner.display());
    git(&repository, &["submodule", "--quiet", "add", &url, "sub"]).await;
    commit(&repository, "with a submodule").await;
    let wanted = Bench::workspace(&repository, None);
    let stop = Stop::default();
    let resolved = bench
        .workspaces
        .resolve(&wanted.source, bench.caller(&stop))
        .await
        .unwrap();
    assert!(
        resolved.notes.iter().any(|note| note.contains("1 submodules")),
        "{resolved:?}"
    );
    let mut workspace = bench.open(&wanted).await;
    let sub = workspace.root().join("sub");
    assert!(fs::read_dir(&sub).unwrap().next().is_none());
    let trap = bench.folder.path().join("trap");
    git(&sub, &["init", "-q"]).await;
    commit(&sub, "planted").await;
    fs::write(
        sub.join(".git/config"),
        format!("[core]\n\tfsmonitor = \"touch {}; false\"\n", trap.display()),
    )
    .unwrap();
    write(&workspace.root().join("a.txt"), "two\n");
    workspace.commit_all("change").await.unwrap().expect("a commit");
    assert!(!trap.exists());
}

#[tokio::test]
async fn tools_see_one_commit_without_remote_and_hooks() {
    let bench = Bench::new();
    let repository = bench.repository("repo", &[("a.txt", "one\n")]).await;
    write(&repository.join("a.txt"), "two\n");
    commit(&repository, "second").await;
    let workspace = bench.open(&Bench::workspace(&repository, None)).await;
    workspace.show_git().await.unwrap();
    let root = workspace.root();
    assert_eq!(git(&root, &["rev-list", "--count", "HEAD"]).await, "1");
    assert_eq!(git(&root, &["status", "--porcelain"]).await, "");
    assert_eq!(git(&root, &["remote"]).await, "");
    assert_eq!(git(&root, &["branch", "--show-current"]).await, "agentd/42");
    assert!(!root.join(".git/hooks").exists());
    git(&root, &["fsck", "--strict"]).await;
}

#[tokio::test]
async fn bundles_of_the_caller_are_imported() {
    let bench = Bench::new();
    let repository = bench.repository("repo", &[("a.txt", "one\n")]).await;
    let head = git(&repository, &["rev-parse", "HEAD"]).await;
    let file = bench.folder.path().join("b.bundle");
    git(
        &repository,
        &["bundle", "create", "-q", file.to_str().unwrap(), "HEAD", "main"],
    )
    .await;
    let source = |blob, head: &str| RepoSource::Bundle {
        blob,
        head: head.to_owned(),
        branch: Some("main".to_owned()),
        name: "repo".to_owned(),
    };
    let blob = bench.blobs.store(&file).await.unwrap();
    let stop = Stop::default();
    let wanted = WorkspaceRef {
        source: source(blob, &head),
        ..Bench::workspace(&repository, None)
    };
    let workspace = bench.open(&wanted).await;
    assert_eq!(workspace.head(), head);
    let other = "ab".repeat(20);
    let error = bench
        .workspaces
        .resolve(&source(blob, &other), bench.caller(&stop))
        .await
        .unwrap_err();
    assert!(error.message.contains("does not contain commit"), "{error}");
    fs::write(&file, "no bundle").unwrap();
    let rubbish = bench.blobs.store(&file).await.unwrap();
    let error = bench
        .workspaces
        .resolve(&source(rubbish, &other), bench.caller(&stop))
        .await
        .unwrap_err();
    assert!(error.message.contains("cannot be read"), "{error}");
    assert_eq!(error.class, ErrorClass::Workspace);
}

#[tokio::test]
async fn what_cannot_be_fetched_says_why() {
    let bench = Bench::new();
    let stop = Stop::default();
    let empty = bench.folder.path().join("empty");
    fs::create_dir(&empty).unwrap();
    git(&empty, &["init", "-q", "-b", "main"]).await;
    let repository = bench.repository("repo", &[("a.txt", "one\n")]).await;
    git(&repository, &["tag", "-a", "v1", "-m", "v1"]).await;
    let source = |path: &Path, reference: Option<&str>| RepoSource::Url {
        url: format!("file://{}", path.display()),
        reference: reference.map(str::to_owned),
    };
    let resolve = async |source: RepoSource| bench.workspaces.resolve(&source, bench.caller(&stop)).await;
    let message = async |source| resolve(source).await.unwrap_err().message;
    assert!(message(source(&empty, None)).await.contains("is empty"));
    assert!(message(source(&empty, Some("main"))).await.contains("is empty"));
    assert!(
        message(source(Path::new("/no/such"), None))
            .await
            .contains("cannot be fetched")
    );
    let error = resolve(source(&repository, Some("nope"))).await.unwrap_err();
    assert!(
        error.message.contains("no branch, tag or commit \"nope\""),
        "{error}"
    );
    assert!(error.hint.unwrap().contains("main"));
    let head = git(&repository, &["rev-parse", "HEAD"]).await;
    for reference in ["main", "v1", "refs/tags/v1", head.as_str()] {
        assert_eq!(
            resolve(source(&repository, Some(reference))).await.unwrap().base,
            head,
            "{reference}"
        );
    }
    let strange = RepoSource::Url {
        url: "ext::sh -c evil".to_owned(),
        reference: None,
    };
    assert_eq!(resolve(strange).await.unwrap_err().class, ErrorClass::Spec);
    let unreachable = RepoSource::Url {
        url: "https://127.0.0.1:1/x.git".to_owned(),
        reference: None,
    };
    assert!(
        message(unreachable)
            .await
            .contains("https://127.0.0.1:1/x.git cannot be fetched")
    );
}

#[tokio::test]
async fn a_fresh_tree_takes_the_patch_and_the_original_tests() {
    let bench = Bench::new();
    let files = [("a.txt", "one\n"), ("test_a.py", "original\n")];
    let repository = bench.repository("repo", &files).await;
    let mut workspace = bench.open(&Bench::workspace(&repository, None)).await;
    write(&workspace.root().join("a.txt"), "two\n");
    write(&workspace.root().join("test_a.py"), "weakened\n");
    write(&workspace.root().join("test_b.py"), "new\n");
    let head = workspace.commit_all("change").await.unwrap().unwrap();
    let patch = bench.folder.path().join("patch");
    workspace.diff(&workspace.base, &head, &patch).await.unwrap();
    let stop = Stop::default();
    let folder = bench.folder.path().join("fresh");
    let wanted = Bench::workspace(&repository, Some(workspace.base()));
    let fresh = bench
        .workspaces
        .open_fresh(&wanted, &folder, bench.caller(&stop))
        .await
        .unwrap();
    fresh.apply(&patch).await.unwrap();
    assert!(fresh.is_at(&head).await.unwrap());
    fresh
        .restore(fresh.base(), &["test_a.py".into(), "test_b.py".into()])
        .await
        .unwrap();
    assert!(!fresh.is_at(&head).await.unwrap());
    assert_eq!(
        fs::read_to_string(fresh.root().join("test_a.py")).unwrap(),
        "original\n"
    );
    assert!(!fresh.root().join("test_b.py").exists());
    assert_eq!(fs::read_to_string(fresh.root().join("a.txt")).unwrap(), "two\n");
}

#[tokio::test]
async fn old_trees_go_and_used_ones_stay() {
    let bench = Bench::new();
    let repository = bench.repository("repo", &[("a.txt", "one\n")]).await;
    let wanted = Bench::workspace(&repository, None);
    let (used, free) = (bench.open(&wanted).await, bench.open(&wanted).await);
    let (used_root, free_root) = (used.root(), free.root());
    drop(free);
    let long_ago = std::time::SystemTime::now() - Duration::from_secs(30 * 24 * 3600);
    for root in [&used_root, &free_root] {
        let file = fs::File::options()
            .write(true)
            .open(root.parent().unwrap().join("used"))
            .unwrap();
        file.set_modified(long_ago).unwrap();
    }
    assert_eq!(bench.workspaces.prune().folders, 1);
    assert!(used_root.exists() && !free_root.exists());
}
