//! Attempts with scripted steps, without a controller that answers.

use std::sync::{Arc, atomic::AtomicU64};

use jiff::Timestamp;
use protocol::{
    id::{AttemptId, JobId},
    job::{JobLink, StepKey},
    message::{CancelReason, LogTail, StepResult},
    spec::{Command, StepSpec, Work},
    step::{ErrorClass, Outcome, StepError},
    usage::Usage,
};
use serde_json::{Map, Value};
use service::{clock::ManualClock, tasks::Tasks};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{tools::environment::Toolchains, workspace::WorkspaceLimits};

struct Shop {
    folder: tempfile::TempDir,
    attempts: Attempts,
    reports: mpsc::Receiver<Report>,
    tails: mpsc::Receiver<LogTail>,
}

/// A workshop whose controller is not there: nothing listens on port 1.
fn shop(runner: StepRunner) -> Shop {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path();
    for part in ["scratch", "spool", "blobs"] {
        std::fs::create_dir(root.join(part)).expect("made");
    }
    let (reports, reports_in) = mpsc::channel(16);
    let (tails, tails_in) = mpsc::channel(16);
    let controller = Controller::new("http://127.0.0.1:1", crate::access::Access::Nobody).expect("a client");
    let toolchains = Toolchains::of_this_process();
    let workspaces = Workspaces::new(
        root,
        WorkspaceLimits::default(),
        toolchains,
        Arc::new(crate::sandbox::Sandbox::none()),
    )
    .expect("made");
    let workshop = Workshop {
        runner,
        blobs: BlobCache::new(root.join("blobs"), controller.clone()),
        controller,
        workspaces: Arc::new(workspaces),
        providers: vec![],
        mask: Mask::default(),
        scratch: root.join("scratch"),
        spools: root.join("spool"),
        clock: Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH)),
        reports,
        tails,
        log_bytes: AtomicU64::new(1 << 20),
    };
    let tasks = Tasks::new(CancellationToken::new());
    Shop {
        folder,
        attempts: Attempts::new(Arc::new(workshop), tasks),
        reports: reports_in,
        tails: tails_in,
    }
}

fn runner<F>(step: impl Fn(StepContext) -> F + Send + Sync + 'static) -> StepRunner
where
    F: Future<Output = StepOutput> + Send + 'static,
{
    Arc::new(move |context| Box::pin(step(context)))
}

fn assign(timeout_ms: u64) -> Assign {
    let spec = StepSpec {
        title: "a job".to_owned(),
        work: Work::Run(Command::Argv(vec![])),
        with: Map::new(),
        env: std::collections::BTreeMap::new(),
        outputs: std::collections::BTreeMap::new(),
        writes: false,
        workspace: None,
        sandbox: None,
        network: vec![],
        secrets: vec![],
        check_limit: protocol::duration::Millis(1000),
    };
    Assign {
        job: JobLink {
            number: 42,
            id: JobId::new(),
        },
        step: StepKey::top("plan"),
        attempt: AttemptId::new(),
        number: 1,
        spec: Some(spec),
        secrets: vec![],
        timeout_ms,
        lease_ms: 45_000,
        grace_ms: 120_000,
        cancel_grace_ms: 1_000,
        artifacts: vec![],
        checkpoint: None,
        traceparent: None,
    }
}

impl Shop {
    async fn result(&mut self) -> Box<StepResult> {
        loop {
            match self.reports.recv().await.expect("a report") {
                Report::Ended(result) => return result,
                Report::Progress(_) | Report::Turn(_) | Report::TurnSent(_) | Report::Beat(_) => {}
            }
        }
    }
}

#[tokio::test]
async fn a_step_gets_a_private_folder_that_goes_with_it() {
    let mut shop = shop(runner(|context| async move {
        assert!(context.scratch.is_dir());
        let mut output = StepOutput::ok();
        output.outputs.insert("n".into(), 1.into());
        output
    }));
    let assign = assign(60_000);
    let scratch = shop
        .folder
        .path()
        .join("scratch")
        .join(assign.attempt.to_string());
    shop.attempts.start(assign.clone());
    let result = shop.result().await;
    assert_eq!((result.outcome, result.attempt), (Outcome::Ok, assign.attempt));
    assert_eq!(
        (result.outputs["n"].clone(), result.log_bytes),
        (Value::from(1), 0)
    );
    assert!(!scratch.exists());
}

#[tokio::test(start_paused = true)]
async fn the_time_limit_ends_a_step_politely_and_then_for_good() {
    let polite = runner(|context| async move {
        context.stop.token.cancelled().await;
        StepOutput::failed(StepError::new(ErrorClass::Exit, "terminated"))
    });
    let stubborn = runner(|_| std::future::pending());
    for step in [polite, stubborn] {
        let mut shop = shop(step);
        shop.attempts.start(assign(1_000));
        let result = shop.result().await;
        assert_eq!(result.outcome, Outcome::TimedOut);
        assert_eq!(result.error.expect("why").class, ErrorClass::Timeout);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_kills_a_step_but_a_good_end_still_counts() {
    for (output, outcome) in [
        (StepOutput::ok(), Outcome::Ok),
        (
            StepOutput::failed(StepError::new(ErrorClass::Exit, "x")),
            Outcome::Killed,
        ),
    ] {
        let mut shop = shop(runner(move |context| {
            let output = output.clone();
            async move {
                context.stop.token.cancelled().await;
                output
            }
        }));
        let assign = assign(60_000);
        shop.attempts.start(assign.clone());
        let soon = Duration::from_millis(10);
        shop.attempts.stop(assign.attempt, CancelReason::User, soon);
        assert_eq!(shop.result().await.outcome, outcome);
    }
}

#[tokio::test(start_paused = true)]
async fn a_log_is_shown_live_and_its_result_does_not_wait_for_the_upload() {
    let mut shop = shop(runner(|context| async move {
        context.log.info("hello");
        tokio::time::sleep(Duration::from_secs(1)).await;
        StepOutput::ok()
    }));
    let assign = assign(60_000);
    shop.attempts.start(assign.clone());
    let tail = shop.tails.recv().await.expect("a piece");
    assert_eq!((tail.attempt, tail.offset), (assign.attempt, 0));
    assert!(tail.text.ends_with("info hello\n"), "{}", tail.text);
    let result = shop.result().await;
    assert_eq!(result.log_bytes, tail.text.len() as u64);
    assert_eq!(result.log_sha256, None, "the controller does not have it");
    let spool = shop.folder.path().join("spool").join(assign.attempt.to_string());
    assert_eq!(std::fs::read_to_string(spool).expect("kept"), tail.text);
}

#[tokio::test(start_paused = true)]
async fn progress_is_told_once_a_second_and_only_the_latest() {
    let mut shop = shop(runner(|context| async move {
        for note in 0..30 {
            (context.progress)(None, &note.to_string(), Usage::default(), None);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        StepOutput::ok()
    }));
    shop.attempts.start(assign(60_000));
    let mut told = vec![];
    while let Some(Report::Progress(progress)) = shop.reports.recv().await {
        told.push(progress.note);
    }
    assert!((3..=4).contains(&told.len()), "{told:?}");
    assert_eq!(told[0], "0");
}

#[tokio::test]
async fn too_large_outputs_are_an_error_of_the_step() {
    let mut shop = shop(runner(|_| async {
        let mut output = StepOutput::ok();
        output.outputs.insert("big".into(), "x".repeat(60_000).into());
        output
    }));
    shop.attempts.start(assign(60_000));
    let result = shop.result().await;
    let error = result.error.expect("why");
    assert_eq!((result.outcome, error.class), (Outcome::Failed, ErrorClass::Spec));
    assert!(error.message.contains("outputs have 600"), "{error}");
}
