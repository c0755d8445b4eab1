//! What tests of this crate share: real repositories in temporary folders, a
//! store of blobs in a folder, and a step's context.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use futures::future::BoxFuture;
use protocol::{
    artifact::BlobRef,
    id::{AttemptId, JobId},
    job::{JobLink, StepKey},
    message::Assign,
    model::ProviderDefinition,
    spec::{RepoSource, StepSpec, Work, WorkspaceRef},
    step::{ErrorClass, StepError},
    usage::Usage,
};
use serde_json::{Map, Value};
use service::secret::Secret;
use sha2::Digest as _;

use crate::{
    agents::memory::Transcript,
    log::{LogSink, Mask},
    sandbox::{Cage, Sandbox},
    steps::{Blobs, Checkpoints, ProviderSource, SecretSource, StepContext, Stop},
    tools::{
        environment::Toolchains,
        exec::{Environment, Exec},
    },
    workspace::{WorkspaceLimits, Workspaces},
};

/// Blobs as files of a folder, named by their hash.
pub(crate) struct FolderBlobs(pub(crate) PathBuf);

impl Blobs for FolderBlobs {
    fn fetch(&self, blob: BlobRef) -> BoxFuture<'_, Result<PathBuf, StepError>> {
        let file = self.0.join(blob.sha256.to_string());
        let missing = StepError::new(ErrorClass::Infra, "no such blob");
        Box::pin(async move { if file.exists() { Ok(file) } else { Err(missing) } })
    }

    fn store<'a>(&'a self, file: &'a Path) -> BoxFuture<'a, Result<BlobRef, StepError>> {
        Box::pin(async move {
            let bytes = fs::read(file).expect("a file to store");
            let blob = BlobRef {
                sha256: protocol::artifact::Sha256(sha2::Sha256::digest(&bytes).into()),
                size: bytes.len() as u64,
            };
            fs::write(self.0.join(blob.sha256.to_string()), bytes).expect("stored");
            Ok(blob)
        })
    }
}

struct NoProviders;

impl ProviderSource for NoProviders {
    fn providers(&self) -> BoxFuture<'_, Result<Vec<ProviderDefinition>, StepError>> {
        Box::pin(async { Ok(vec![]) })
    }
}

struct NoSecrets;

impl SecretSource for NoSecrets {
    fn secrets(&self) -> BoxFuture<'_, Result<BTreeMap<String, Secret>, StepError>> {
        Box::pin(async { Ok(BTreeMap::new()) })
    }
}

/// Keeps the transcripts of finished turns.
#[derive(Default)]
pub(crate) struct Kept(pub(crate) Mutex<Vec<(Transcript, Usage)>>);

impl Checkpoints for Kept {
    fn save<'a>(&'a self, transcript: &'a Transcript, usage: Usage) -> BoxFuture<'a, ()> {
        self.0.lock().unwrap().push((transcript.clone(), usage));
        Box::pin(async {})
    }
}

/// A worker's folders, a job, and a way to run its steps.
pub(crate) struct Bench {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) blobs: Arc<FolderBlobs>,
    pub(crate) workspaces: Arc<Workspaces>,
    pub(crate) job: JobLink,
    pub(crate) log: LogSink,
    pub(crate) lines: Arc<Mutex<Vec<String>>>,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Arc::new(FolderBlobs(folder.path().join("blobs")));
        fs::create_dir(&blobs.0).unwrap();
        let workspaces = Self::another_worker(&folder.path().join("worker"));
        let lines = Arc::new(Mutex::new(Vec::new()));
        let copy = Arc::clone(&lines);
        Self {
            folder,
            blobs,
            workspaces,
            job: JobLink {
                number: 42,
                id: JobId::new(),
            },
            log: LogSink::new(move |_, line| copy.lock().unwrap().push(line.to_owned())),
            lines,
        }
    }

    /// A worker with a state folder of its own.
    pub(crate) fn another_worker(state: &Path) -> Arc<Workspaces> {
        fs::create_dir_all(state).unwrap();
        let limits = WorkspaceLimits {
            file_urls: true,
            ..WorkspaceLimits::default()
        };
        Arc::new(
            Workspaces::new(
                state,
                limits,
                Toolchains::of_this_process(),
                Arc::new(Sandbox::none()),
            )
            .unwrap(),
        )
    }

    /// A repository with these files in one commit on `main`.
    pub(crate) async fn repository(&self, name: &str, files: &[(&str, &str)]) -> PathBuf {
        let root = self.folder.path().join(name);
        fs::create_dir_all(&root).unwrap();
        git(&root, &["init", "-q", "-b", "main"]).await;
        for (path, text) in files {
            write(&root.join(path), text);
        }
        commit(&root, "first").await;
        root
    }

    /// The spec of a step on that repository, by URL.
    pub(crate) fn workspace(repository: &Path, base: Option<&str>) -> WorkspaceRef {
        WorkspaceRef {
            source: RepoSource::Url {
                url: format!("file://{}", repository.display()),
                reference: None,
            },
            base: base.map(str::to_owned),
            commit: None,
            bundle: None,
            branch: "agentd/42".to_owned(),
        }
    }

    /// The context of a step.
    pub(crate) fn context(
        &self,
        work: Work,
        workspace: Option<WorkspaceRef>,
        with: Map<String, Value>,
    ) -> StepContext {
        let scratch = self
            .folder
            .path()
            .join("scratch")
            .join(AttemptId::new().to_string());
        fs::create_dir_all(&scratch).unwrap();
        StepContext {
            assign: Assign {
                job: self.job,
                ..assign()
            },
            spec: StepSpec {
                title: "a title".to_owned(),
                work,
                with,
                env: BTreeMap::new(),
                outputs: BTreeMap::new(),
                writes: false,
                workspace,
                sandbox: None,
                network: vec![],
                secrets: vec![],
                check_limit: protocol::duration::Millis::from_secs(120),
            },
            log: self.log.clone(),
            progress: Arc::new(|_, _, _, _| {}),
            checkpoints: Arc::new(Kept::default()),
            blobs: Arc::<FolderBlobs>::clone(&self.blobs),
            providers: Arc::new(NoProviders),
            secrets: Arc::new(NoSecrets),
            mask: Mask::default(),
            workspaces: Arc::clone(&self.workspaces),
            scratch,
            stop: Stop::default(),
        }
    }
}

/// An assignment of step `step`.
pub(crate) fn assign() -> Assign {
    Assign {
        job: JobLink {
            number: 42,
            id: JobId::new(),
        },
        step: StepKey::top("step"),
        attempt: AttemptId::new(),
        number: 1,
        spec: None,
        secrets: vec![],
        timeout_ms: 60_000,
        lease_ms: 45_000,
        grace_ms: 120_000,
        cancel_grace_ms: 10_000,
        artifacts: vec![],
        checkpoint: None,
        traceparent: None,
    }
}

/// Writes a file and the folders above it.
pub(crate) fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// Commits everything in a repository of the test's own; answers with the commit.
pub(crate) async fn commit(root: &Path, message: &str) -> String {
    git(root, &["add", "-A"]).await;
    git(root, &["commit", "-q", "--allow-empty", "-m", message]).await;
    git(root, &["rev-parse", "HEAD"]).await
}

/// git as a person would run it, in a repository of the test's own.
pub(crate) async fn git(dir: &Path, args: &[&str]) -> String {
    let argv = [
        "git",
        "-c",
        "user.name=t",
        "-c",
        "user.email=t@localhost",
        "-c",
        "protocol.file.allow=always",
    ];
    let environment: Environment = [
        ("PATH", std::env::var("PATH").unwrap()),
        ("GIT_CONFIG_GLOBAL", "/dev/null".to_owned()),
        ("GIT_CONFIG_NOSYSTEM", "1".to_owned()),
    ]
    .into_iter()
    .map(|(name, value)| (name.into(), value.into()))
    .collect();
    let exec = Exec::new(argv.iter().chain(args).copied(), dir).environment(environment);
    let result = exec
        .run(&LogSink::discard(), &Stop::default())
        .await
        .expect("git starts");
    assert!(result.success(), "git {args:?}: {}", result.stderr.text());
    result.stdout.text().trim().to_owned()
}

/// Where tests run what they wrote themselves.
pub(crate) fn uncaged() -> Cage {
    Cage::new(Arc::new(Sandbox::none()))
}
