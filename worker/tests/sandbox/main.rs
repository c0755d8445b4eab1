//! What tools can and cannot do in the sandbox, at every level that this machine offers, with
//! the real program.

mod contained;
mod fenced;
mod network;
mod reach;
mod usable;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use protocol::sandbox::SandboxLevel;
use worker::{
    config::SandboxConfig,
    log::LogSink,
    sandbox::{Cage, Sandbox},
    steps::Stop,
    tools::{
        environment::Toolchains,
        exec::{Exec, ExecResult, Limits},
    },
};

/// A worker's state folder with one workspace, and its sandbox at one level.
struct Yard {
    folder: tempfile::TempDir,
    toolchains: Toolchains,
    sandbox: Arc<Sandbox>,
}

impl Yard {
    /// The best of these levels; a visible SKIP where there is none.
    async fn at(levels: &[SandboxLevel], toolchains: Toolchains) -> Option<Self> {
        Self::with(levels, toolchains, &[]).await
    }

    /// The same whose owner lets steps ask for these hosts.
    async fn with(levels: &[SandboxLevel], toolchains: Toolchains, network: &[String]) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path().canonicalize().expect("a path");
        for part in ["scratch", "trees/1/tree", "caches/home", "caches/other"] {
            fs::create_dir_all(root.join(part)).expect("made");
        }
        fs::write(root.join("credential.json"), "secret-credential").expect("written");
        fs::write(root.join("caches/other/file"), "of another workspace").expect("written");
        let config = SandboxConfig {
            allow: levels.iter().copied().collect::<BTreeSet<_>>(),
            read_only: vec![],
            network: network.to_vec(),
        };
        let program = PathBuf::from(env!("CARGO_BIN_EXE_agent-worker"));
        let sandbox = Sandbox::probe(&config, &toolchains, &root, program)
            .await
            .expect("probed");
        if sandbox.level().is_none() {
            skip(&format!("no level of {levels:?}: {}", sandbox.lacks().join("; ")));
            return None;
        }
        Some(Self {
            folder,
            toolchains,
            sandbox: Arc::new(sandbox),
        })
    }

    async fn strong() -> Option<Self> {
        Self::at(&[SandboxLevel::Strong], Toolchains::of_this_process()).await
    }

    /// Strong; a part of the namespaces; Landlock: as far as this machine has them.
    async fn each() -> Vec<Self> {
        let all = Toolchains::of_this_process();
        let yards = [
            Self::strong().await,
            Self::at(&[SandboxLevel::Basic], all).await,
            Self::at(&[SandboxLevel::Basic], without_bubblewrap()).await,
        ];
        yards.into_iter().flatten().collect()
    }

    fn root(&self) -> PathBuf {
        self.folder.path().canonicalize().expect("a path")
    }

    fn tree(&self) -> PathBuf {
        self.root().join("trees/1/tree")
    }

    fn cage(&self) -> Cage {
        Cage::new(self.sandbox.clone())
            .write(self.tree())
            .write(self.root().join("caches/home"))
    }

    fn exec(&self, argv: &[&str]) -> Exec {
        Exec::new(argv.iter().copied(), self.tree())
            .cage(self.cage())
            .environment(self.toolchains.environment(&self.root().join("caches/home")))
            .limits(Limits::default().time(Duration::from_secs(60)))
    }

    fn uncaged(&self, argv: &[&str]) -> Exec {
        Exec::new(argv.iter().copied(), self.tree())
            .environment(self.toolchains.environment(&self.root().join("caches/home")))
    }

    async fn sh(&self, script: &str) -> ExecResult {
        run(self.exec(&["sh", "-c", script])).await
    }

    /// A script that prints what it must not get at; the answer must be without it.
    async fn hidden(&self, script: &str, secret: &str) {
        let result = self.sh(script).await;
        let said = result.stdout.text() + &result.stderr.text();
        assert!(!said.contains(secret), "{}: {script}: {said}", self.sandbox);
    }
}

async fn run(exec: Exec) -> ExecResult {
    exec.run(&LogSink::discard(), &Stop::default())
        .await
        .expect("it starts")
}

/// The search path without the folders that hold bubblewrap; their other programs by links.
fn without_bubblewrap() -> Toolchains {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bin-without-bwrap");
    fs::create_dir_all(&folder).expect("made");
    let programs =
        "sh bash true cat ls id sleep python3 touch env head grep mkdir ln rm tr setsid cc ld as cargo rustc";
    for program in programs.split(' ') {
        let Some(file) = Toolchains::of_this_process().find(program) else {
            continue;
        };
        // another test may make the same
        let _ = std::os::unix::fs::symlink(file, folder.join(program));
    }
    let variables = [
        ("PATH".into(), folder.into()),
        ("HOME".into(), std::env::var_os("HOME").unwrap_or_default()),
    ];
    Toolchains::new(&variables.into())
}

/// Says why a test tests nothing.
#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
fn skip(why: &str) {
    eprintln!("SKIP: {why}");
}
