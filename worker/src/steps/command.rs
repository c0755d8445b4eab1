//! `run:` steps: one program, or a constant script for a named shell.
//!
//! Outputs: `exit` (number, or null after a signal) and `stdout_tail`, and what the
//! step declares as `junit`. They are set after a failure too.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use protocol::{
    spec::{Command, OutputType, WorkspaceRef},
    step::{ErrorClass, Outcome, StepError},
};
use serde_json::{Value, json};

use super::{StepContext, StepOutput, measure::unusable, secrets};
use crate::{
    tools::{
        checks::parse::junit,
        exec::{End, Environment, Exec, ExecResult, Limits},
    },
    workspace::Workspace,
};

/// Bytes of standard output that later steps may read; larger things are artifacts.
const STDOUT_TAIL: usize = 6 * 1024;

/// Largest JUnit report that is read.
const MAX_JUNIT: u64 = 16 << 20;

/// Most failures of a JUnit report that become an output, and most characters of each
/// message: 40 × (an id of 300 + 200) stays well below the 48 KiB of outputs.
const MAX_FAILURES: usize = 40;
const MAX_MESSAGE: usize = 200;

/// Runs the command of a step.
pub(super) async fn run(cx: &StepContext, command: &Command) -> Result<StepOutput, StepError> {
    let argv = argv(cx, command)?;
    if argv.is_empty() {
        return Ok(StepOutput::ok());
    }
    match &cx.spec.workspace {
        Some(wanted) => in_workspace(cx, argv, wanted).await,
        None => {
            let (dir, home) = (cx.scratch.join("work"), cx.scratch.join("home"));
            for folder in [&dir, &home] {
                fs::create_dir_all(folder).map_err(|error| unusable(folder, &error))?;
            }
            let result = execute(cx, argv, &dir, &home).await?;
            Ok(output(cx, &result, &dir))
        }
    }
}

async fn in_workspace(
    cx: &StepContext,
    argv: Vec<String>,
    wanted: &WorkspaceRef,
) -> Result<StepOutput, StepError> {
    let mut workspace = cx.workspaces.open(wanted, cx.assign.job, cx.caller()).await?;
    workspace.show_git().await?;
    let home = cx.workspaces.home(&wanted.source)?;
    let root = workspace.root();
    let result = execute(cx, argv, &root, &home).await?;
    let mut output = output(cx, &result, &root);
    if cx.spec.writes && result.success() {
        commit(cx, &mut workspace, &mut output).await?;
    }
    Ok(output)
}

async fn commit(
    cx: &StepContext,
    workspace: &mut Workspace,
    output: &mut StepOutput,
) -> Result<(), StepError> {
    let message = format!("{}: {}", cx.assign.step.name(), cx.spec.title);
    let message = cx.mask.apply(&message);
    if workspace.commit_all(&message).await?.is_none() {
        output.notes.push("the command changed nothing".to_owned());
    }
    output.workspace = Some(workspace.result(&*cx.blobs, &cx.scratch).await?);
    Ok(())
}

/// A script becomes a file of ours: nothing of it passes through another shell.
fn argv(cx: &StepContext, command: &Command) -> Result<Vec<String>, StepError> {
    match command {
        Command::Argv(argv) => Ok(argv.clone()),
        Command::Script { shell, text } => {
            let file = script(cx);
            fs::write(&file, text).map_err(|error| unusable(&file, &error))?;
            let file = file.to_string_lossy().into_owned();
            Ok(match shell.as_str() {
                "bash" => vec!["bash".to_owned(), "-eo".to_owned(), "pipefail".to_owned(), file],
                "sh" => vec!["sh".to_owned(), "-e".to_owned(), file],
                other => vec![other.to_owned(), file],
            })
        }
    }
}

fn script(cx: &StepContext) -> PathBuf {
    cx.scratch.join("script")
}

async fn execute(
    cx: &StepContext,
    argv: Vec<String>,
    dir: &Path,
    home: &Path,
) -> Result<ExecResult, StepError> {
    let environment = cx.workspaces.toolchains().fetch_environment(home);
    let mut environment: Environment = environment.map_err(|error| unusable(home, &error))?;
    environment.extend(
        cx.spec
            .env
            .iter()
            .map(|(name, value)| (name.into(), value.into())),
    );
    let delivered = secrets::deliver(cx).await?;
    environment.extend(delivered.environment);
    let time = std::time::Duration::from_millis(cx.assign.timeout_ms);
    let mut cage = cx.cage()?.write(dir).write(home);
    cage = cage.reach(&cx.spec.network, &cx.log);
    if script(cx).exists() {
        cage = cage.read(script(cx));
    }
    if let Some(folder) = delivered.folder {
        cage = cage.read(folder);
    }
    let exec = Exec::new(argv, dir)
        .cage(cage)
        .environment(environment)
        .limits(Limits::default().time(time));
    Ok(exec.run(&cx.log, &cx.stop).await?)
}

fn output(cx: &StepContext, result: &ExecResult, dir: &Path) -> StepOutput {
    let mut output = StepOutput::ok();
    output.exit = result.exit;
    output.outputs.insert("exit".to_owned(), json!(result.exit));
    output.outputs.insert(
        "stdout_tail".to_owned(),
        json!(result.stdout.tail_text(STDOUT_TAIL)),
    );
    for (name, kind) in &cx.spec.outputs {
        if let OutputType::Junit(path) = kind {
            match read_junit(dir, path) {
                Ok(failures) => drop(output.outputs.insert(name.clone(), failures)),
                Err(note) => output.notes.push(note),
            }
        }
    }
    if !result.success() {
        let class = match result.end {
            End::TimedOut => ErrorClass::Timeout,
            End::Stopped => ErrorClass::Killed,
            End::Itself | End::Memory | End::Processes => ErrorClass::Exit,
        };
        output.outcome = Outcome::Failed;
        output.error = Some(StepError::new(class, format!("the command {}", result.ending())));
    }
    output
}

/// The failures of a report that the command wrote; a link that leads elsewhere is not followed.
fn read_junit(dir: &Path, path: &str) -> Result<Value, String> {
    let text =
        read_within(dir, path).map_err(|error| format!("the JUnit report {path:?} was not read: {error}"))?;
    let mut findings = junit::parse(&text).ok_or(format!("{path:?} is no JUnit report"))?;
    findings.failures.truncate(MAX_FAILURES);
    for failure in &mut findings.failures {
        failure.message = failure.message.chars().take(MAX_MESSAGE).collect();
    }
    Ok(json!(findings.failures))
}

fn read_within(dir: &Path, path: &str) -> io::Result<String> {
    let file = dir.join(path).canonicalize()?;
    if !file.starts_with(dir.canonicalize()?) {
        return Err(io::Error::other("it lies outside of the workspace"));
    }
    let metadata = fs::metadata(&file)?;
    if !metadata.is_file() || metadata.len() > MAX_JUNIT {
        return Err(io::Error::other(format!(
            "it is no file of at most {MAX_JUNIT} bytes"
        )));
    }
    fs::read_to_string(&file)
}
