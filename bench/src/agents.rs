//! What agentd itself takes around a model and around git, in a repository of 5,000
//! files: the time between a model's answer and the next question to it, and the time
//! to open a work tree beside `git worktree add`.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use futures::{FutureExt as _, future::BoxFuture};
use protocol::{
    artifact::BlobRef,
    id::JobId,
    job::JobLink,
    spec::{RepoSource, WorkspaceRef},
    step::{ErrorClass, StepError},
};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use worker::{
    log::LogSink,
    sandbox::Sandbox,
    steps::{Blobs, Stop},
    tools::environment::Toolchains,
    workspace::{Caller, WorkspaceLimits, Workspaces},
};

use crate::{
    figures::{Figure, Goal, Report, Samples},
    house::House,
    http::Http,
    jobs::{Ends, post},
};

/// Files of the repository, in folders of a hundred.
const FILES: usize = 5000;
/// Jobs whose calls are measured: each makes two further ones.
const JOBS: usize = 10;
/// Trees that are opened on either side.
const TREES: usize = 7;
/// Calls of a job: two wishes for files, then the plan.
const CALLS: usize = 3;

/// All of it.
pub fn measure(runtime: &Runtime, report: &mut Report) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let repository = folder.path().join("repository");
    make_repository(&repository)?;
    report.group("a repository of 5000 files");
    model_calls(&repository, report)?;
    work_trees(runtime, folder.path(), &repository, report)
}

fn git(folder: &Path, args: &[&str]) -> anyhow::Result<String> {
    let output = Command::new("git")
        .current_dir(folder)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .args(["-c", "user.name=bench", "-c", "user.email=bench@localhost"])
        .args(args)
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "git {args:?}: {said}");
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

fn make_repository(folder: &Path) -> anyhow::Result<()> {
    for number in 0..FILES {
        let path = folder.join(path_of(number));
        fs::create_dir_all(path.parent().context("a folder")?)?;
        let body = "    value += 1\n".repeat(number % 40 + 10);
        fs::write(
            &path,
            format!("def function_{number}(value):\n{body}    return value\n"),
        )?;
    }
    git(folder, &["init", "-q", "-b", "main"])?;
    git(folder, &["add", "-A"])?;
    git(folder, &["commit", "-q", "-m", "all"])?;
    Ok(())
}

fn path_of(number: usize) -> String {
    format!("part{}/file{number}.py", number / 100)
}

fn model_calls(repository: &Path, report: &mut Report) -> anyhow::Result<()> {
    let (model, between) = start_model()?;
    let mut house = House::open_with(&format!(
        "providers:\n  scripted: {{kind: openai, base_url: \"http://{model}/v1\", api_key: none}}\n\
         models:\n  only: [{{provider: scripted, model: scripted, window: 64000}}]\n"
    ))?;
    house.join("bench")?;
    let ends = Ends::follow(&house)?;
    let mut http = house.http()?;
    let repo = upload(repository, &mut http)?;
    let mut gaps = vec![];
    for number in 0..JOBS {
        let body = json!({
            "workflow": "ask",
            "inputs": {"task": format!("say what function_{number} does")},
            "repo": repo,
        });
        let job = post(&mut http, &body.to_string())?;
        while ends.next()?.0 != job {}
        let (_, body) = http.call("GET", &format!("/v1/jobs/{job}"), "")?;
        let ended: Value = serde_json::from_slice(&body)?;
        ensure!(ended["state"] == "succeeded", "the job did not succeed: {ended}");
        let seen: Vec<Duration> = between.try_iter().collect();
        ensure!(
            seen.len() == CALLS,
            "{} calls where {CALLS} are scripted",
            seen.len()
        );
        // the first gap is that between two jobs
        gaps.extend(&seen[1..]);
    }
    let gaps = Samples::new(gaps);
    report.add(
        Figure::new(
            "agent loop: from an answer to the next question, p50",
            gaps.p50_ms(),
            "ms",
        )
        .goal(Goal::AtMost(20.0)),
    );
    report.add(Figure::new(
        "agent loop, worst of 20",
        gaps.quantile_ms(1.0),
        "ms",
    ));
    Ok(())
}

/// Sends the repository as `agentctl` does: as a bundle of its HEAD.
fn upload(repository: &Path, http: &mut Http) -> anyhow::Result<Value> {
    git(
        repository,
        &["bundle", "create", "-q", "all.bundle", "HEAD", "main"],
    )?;
    let bundle = fs::read(repository.join("all.bundle"))?;
    let sha256 = hex::encode(ring::digest::digest(&ring::digest::SHA256, &bundle));
    let headers = format!("Upload-Offset: 0\r\nUpload-Length: {}\r\n", bundle.len());
    let path = format!("/v1/blobs/{sha256}");
    let status = http.upload("PATCH", &path, &headers, bundle.len(), &bundle)?;
    ensure!(status == 204, "PATCH {path}: status {status}");
    let head = git(repository, &["rev-parse", "HEAD"])?;
    Ok(json!({"sha256": sha256, "size": bundle.len(), "head": head, "branch": "main", "name": "large"}))
}

/// Starts a model server that answers at once; it tells of each question how long its
/// last answer was ago.
fn start_model() -> anyhow::Result<(String, mpsc::Receiver<Duration>)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?.to_string();
    let (between, gaps) = mpsc::channel();
    let (asked, questions) = mpsc::channel();
    // they end with the process: a connection may outlive every job
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let asked = asked.clone();
            thread::spawn(move || serve(&stream, &asked));
        }
    });
    thread::spawn(move || answer_all(&questions, &between));
    Ok((address, gaps))
}

/// A question's arrival, and where its answer goes.
type Asked = (Instant, TcpStream, mpsc::Sender<()>);

/// Reads questions from one connection.
fn serve(stream: &TcpStream, asked: &mpsc::Sender<Asked>) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    loop {
        let mut length = 0;
        let mut line = String::new();
        while reader.read_line(&mut line)? > 0 && line != "\r\n" {
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse()?;
            }
            line.clear();
        }
        if line.is_empty() {
            return Ok(());
        }
        reader.read_exact(&mut vec![0; length])?;
        let (done, answered) = mpsc::channel();
        asked.send((Instant::now(), stream.try_clone()?, done))?;
        answered.recv()?;
    }
}

fn answer_all(questions: &mpsc::Receiver<Asked>, between: &mpsc::Sender<Duration>) -> anyhow::Result<()> {
    let mut last = Instant::now();
    for call in 0.. {
        let (at, mut stream, done) = questions.recv()?;
        between.send(at.saturating_duration_since(last))?;
        stream.write_all(spoken(&said(call)).as_bytes())?;
        last = Instant::now();
        done.send(())?;
    }
    Ok(())
}

fn said(call: usize) -> String {
    if call % CALLS + 1 < CALLS {
        let paths: Vec<String> = (0..10).map(|n| path_of((call * 37 + n * 411) % FILES)).collect();
        return json!({"need_files": paths}).to_string();
    }
    let files = json!([{"path": path_of(0), "action": "modify"}]);
    let item = json!({"id": "1", "title": "say it", "files": files, "detail": "it counts"});
    json!({"summary": "It counts.", "items": [item]}).to_string()
}

/// The answer as an event stream of an OpenAI-compatible server.
fn spoken(text: &str) -> String {
    let piece = json!({"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": null}]});
    let end = json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]});
    let usage = json!({"choices": [], "usage": {"prompt_tokens": 100, "completion_tokens": 20}});
    let body = format!("data: {piece}\n\ndata: {end}\n\ndata: {usage}\n\ndata: [DONE]\n\n");
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn work_trees(
    runtime: &Runtime,
    folder: &Path,
    repository: &Path,
    report: &mut Report,
) -> anyhow::Result<()> {
    let limits = WorkspaceLimits {
        file_urls: true,
        ..WorkspaceLimits::default()
    };
    let (toolchains, sandbox) = (Toolchains::of_this_process(), Arc::new(Sandbox::none()));
    let workspaces = Workspaces::new(&folder.join("worker"), limits, toolchains, sandbox)?;
    let wanted = WorkspaceRef {
        source: RepoSource::Url {
            url: format!("file://{}", repository.display()),
            reference: None,
        },
        base: Some(git(repository, &["rev-parse", "HEAD"])?),
        commit: None,
        bundle: None,
        branch: "agentd/1".to_owned(),
    };
    let (log, stop) = (LogSink::discard(), Stop::default());
    let caller = Caller {
        blobs: &NoBlobs,
        log: &log,
        stop: &stop,
    };
    // the first one fetches: only then the mirror is warm
    runtime.block_on(workspaces.open(&wanted, a_job(0), caller))?;
    let mirror = fs::read_dir(folder.join("worker/mirrors"))?;
    let mirror = mirror.flatten().next().context("no mirror")?.path();
    let (mut opened, mut added) = (vec![], vec![]);
    for number in 1..=TREES {
        let begun = Instant::now();
        let workspace = runtime.block_on(workspaces.open(&wanted, a_job(number as u64), caller))?;
        opened.push(begun.elapsed());
        ensure!(workspace.root().join(path_of(FILES - 1)).exists(), "no tree");
        let tree = folder.join(format!("tree{number}"));
        let begun = Instant::now();
        git(
            &mirror,
            &[
                "worktree",
                "add",
                "-q",
                "--detach",
                &tree.to_string_lossy(),
                workspace.base(),
            ],
        )?;
        added.push(begun.elapsed());
    }
    report.add(
        Figure::new(
            "a new work tree on a warm mirror, p50",
            Samples::new(opened).p50_ms(),
            "ms",
        )
        .beside("git worktree add", Samples::new(added).p50_ms())
        .goal(Goal::AtMost(1.2)),
    );
    Ok(())
}

fn a_job(number: u64) -> JobLink {
    JobLink {
        number,
        id: JobId::new(),
    }
}

/// Nothing comes from the controller: the repository is on this disk.
struct NoBlobs;

impl NoBlobs {
    fn refusal() -> StepError {
        StepError::new(ErrorClass::Missing, "there are no blobs here")
    }
}

impl Blobs for NoBlobs {
    fn fetch(&self, _blob: BlobRef) -> BoxFuture<'_, Result<PathBuf, StepError>> {
        async { Err(Self::refusal()) }.boxed()
    }

    fn store<'a>(&'a self, _file: &'a Path) -> BoxFuture<'a, Result<BlobRef, StepError>> {
        async { Err(Self::refusal()) }.boxed()
    }
}
