//! What the sandbox costs each command of a step.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use protocol::sandbox::SandboxLevel;
use tokio::runtime::Runtime;
use worker::{
    config::SandboxConfig,
    log::LogSink,
    sandbox::{Cage, Sandbox},
    steps::Stop,
    tools::{environment::Toolchains, exec::Exec},
};

use crate::{
    figures::{Figure, Goal, Report, Samples},
    house::binary,
};

/// Commands per level.
const COMMANDS: usize = 100;

/// Measures each level that this machine has.
pub fn measure(runtime: &Runtime, report: &mut Report) -> anyhow::Result<()> {
    report.group("sandbox (all other sections run tools at level none)");
    let folder = tempfile::tempdir()?;
    let root = folder.path().canonicalize()?;
    fs::create_dir_all(root.join("scratch"))?;
    let toolchains = Toolchains::of_this_process();
    let bare = times(runtime, None, &root, &toolchains)?;
    for level in [SandboxLevel::Strong, SandboxLevel::Basic] {
        let config = SandboxConfig {
            allow: BTreeSet::from([level]),
            read_only: vec![],
            network: vec![],
        };
        let probe = Sandbox::probe(&config, &toolchains, &root, binary("agent-worker")?);
        let sandbox = runtime.block_on(probe)?;
        if sandbox.level().is_none() {
            report.skip(level.as_str(), &sandbox.lacks().join("; "));
            continue;
        }
        let caged = times(runtime, Some(Cage::new(Arc::new(sandbox))), &root, &toolchains)?;
        let more = Samples::new(caged).p50_ms() - Samples::new(bare.clone()).p50_ms();
        report.add(Figure::new(format!("{level}: a command more, p50"), more, "ms").goal(Goal::AtMost(25.0)));
    }
    Ok(())
}

fn times(
    runtime: &Runtime,
    cage: Option<Cage>,
    root: &Path,
    toolchains: &Toolchains,
) -> anyhow::Result<Vec<Duration>> {
    let mut times = vec![];
    for _ in 0..COMMANDS {
        let exec = Exec::new(["true"], "/").environment(toolchains.environment(&root.join("scratch")));
        let exec = match &cage {
            Some(cage) => exec.cage(cage.clone()),
            None => exec,
        };
        let begun = Instant::now();
        let result = runtime.block_on(exec.run(&LogSink::discard(), &Stop::default()))?;
        anyhow::ensure!(result.success(), "`true` {}", result.ending());
        times.push(begun.elapsed());
    }
    Ok(times)
}
