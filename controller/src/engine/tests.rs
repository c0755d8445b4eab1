//! Groups are atomic: what is refused fails alone, what cannot be written takes
//! its whole group back, and nobody is told otherwise.

use std::{path::Path, sync::Arc};

use jiff::Timestamp;
use protocol::{
    id::{JobId, TokenId, WorkerId},
    message::{Session, ToWorker},
};
use serde_json::json;
use service::{ballast::Ballast, clock::ManualClock};
use tokio_util::sync::CancellationToken;

use super::{Core, CoreParts, Engine, EngineError, Inbox, NewWorker, Outlet, SubmitKey, channel};
use crate::{
    orchestrator::{Event, Refusal, World, tests::sim::Sim, world::Job, world::Worker},
    state::{StateError, Store, workers},
    telemetry::Telemetry,
};

struct Nobody;

impl Outlet for Nobody {
    fn say(&self, _: WorkerId, _: Session, _: u64, _: ToWorker) {}
    fn kick(&self, _: WorkerId) {}
}

/// An engine that runs until it is dropped.
struct Running {
    stop: CancellationToken,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn start(folder: &Path, inbox: Inbox) -> Running {
    let parts = CoreParts {
        store: Store::open(&folder.join("agentd.db")).expect("opens"),
        ballast: Ballast::new(folder.join("ballast")),
        world: World::default(),
        epoch: 1,
        clock: Arc::new(ManualClock::new(
            Timestamp::from_second(1_800_000_000).expect("in range"),
        )),
        outlet: Box::new(Nobody),
        telemetry: Telemetry::new("test"),
        denials: crate::denials::Denials::default(),
    };
    let core = Core::new(parts, inbox).expect("loads");
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    let thread = std::thread::spawn(move || core.run(&stopped).expect("runs"));
    Running {
        stop,
        thread: Some(thread),
    }
}

fn job(seed: u64, title: &str) -> Job {
    let mut job = Sim::new(seed).new_job("api: agentd/v1\nname: one\nsteps:\n  a: {run: [a]}\n", json!({}));
    title.clone_into(&mut job.title);
    job
}

fn worker(seed: u64) -> Worker {
    let mut sim = Sim::new(seed);
    let id = sim.joined("w", 1);
    sim.worker(id).clone()
}

async fn open_jobs(engine: &Engine) -> Vec<JobId> {
    let jobs = engine.inspect(|world, _| world.jobs.keys().copied().collect());
    jobs.await.expect("answered")
}

async fn rows(engine: &Engine) -> i64 {
    let rows = engine
        .write(|connection| Ok(connection.query_row("SELECT count(*) FROM jobs", [], |row| row.get(0))?));
    rows.await.expect("read")
}

/// Commands that wait together are one group: the engine starts when all are there.
async fn queued(engine: &Engine, count: usize) {
    while engine.commands.max_capacity() - engine.commands.capacity() < count {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_refused_command_fails_alone_and_the_others_of_its_group_commit() {
    let folder = tempfile::tempdir().expect("a folder");
    let (engine, inbox) = channel();
    let (submitter, canceller) = (engine.clone(), engine.clone());
    let submitted = tokio::spawn(async move { submitter.submit(job(1, ""), None).await });
    let unknown = Event::CancelJob(JobId::new());
    let refused = tokio::spawn(async move { canceller.decide(unknown).await });
    queued(&engine, 2).await;
    let _running = start(folder.path(), inbox);
    assert!(submitted.await.expect("ran").is_ok());
    let refused = refused.await.expect("ran");
    assert!(matches!(
        refused,
        Err(EngineError::Refused(Refusal::Unknown("job")))
    ));
    assert_eq!(rows(&engine).await, 1);
}

#[tokio::test]
async fn a_write_that_fails_takes_its_whole_group_back_and_nobody_is_told_ok() {
    let folder = tempfile::tempdir().expect("a folder");
    let (engine, inbox) = channel();
    let (submitter, writer) = (engine.clone(), engine.clone());
    let submitted = tokio::spawn(async move { submitter.submit(job(1, ""), None).await });
    queued(&engine, 1).await;
    let failed = tokio::spawn(async move { writer.write(|_| Err::<(), _>(StateError::Closed)).await });
    queued(&engine, 2).await;
    let _running = start(folder.path(), inbox);
    assert!(matches!(
        submitted.await.expect("ran"),
        Err(EngineError::State(_))
    ));
    assert!(matches!(failed.await.expect("ran"), Err(EngineError::State(_))));
    assert_eq!(open_jobs(&engine).await, [], "the world is what the tables say");
    assert_eq!(rows(&engine).await, 0);
    engine.submit(job(2, ""), None).await.expect("the engine goes on");
    assert_eq!(rows(&engine).await, 1);
}

#[tokio::test]
async fn a_full_disk_is_an_error_and_free_space_mends_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let (engine, inbox) = channel();
    let _running = start(folder.path(), inbox);
    let limit = |pages: Option<i64>| {
        engine.write(move |connection| {
            let used: i64 = connection.pragma_query_value(None, "page_count", |row| row.get(0))?;
            connection.pragma_update(None, "max_page_count", pages.unwrap_or(used + 4))?;
            Ok(())
        })
    };
    limit(None).await.expect("set");
    let large = "x".repeat(100_000);
    let full = engine.submit(job(1, &large), None).await;
    let is_full = matches!(&full, Err(EngineError::State(error)) if error.is_full());
    assert!(is_full, "{full:?}");
    assert_eq!(open_jobs(&engine).await, []);
    let ballast = folder.path().join("ballast");
    assert!(!ballast.exists(), "given up for what has begun");
    limit(Some(1_000_000)).await.expect("set");
    let submitted = engine.submit(job(2, &large), None).await.expect("accepted");
    assert_eq!(open_jobs(&engine).await, [submitted.id]);
    assert!(ballast.exists(), "kept again");
}

#[tokio::test]
async fn a_new_job_is_answered_as_the_tables_show_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let (engine, inbox) = channel();
    let _running = start(folder.path(), inbox);
    let submitted = engine.submit(job(1, ""), None).await.expect("accepted");
    let id = submitted.id;
    let read = engine.write(move |connection| crate::state::views::job(connection, id));
    let read = read.await.expect("readable");
    assert!(read.is_some());
    assert_eq!(submitted.view.map(|view| *view), read);
}

#[tokio::test]
async fn an_idempotency_key_answers_with_the_same_job_also_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let token = TokenId::new();
    let key = |body: u8| {
        Some(SubmitKey {
            token,
            key: "k".to_owned(),
            body_sha256: [body; 32],
        })
    };
    let (engine, inbox) = channel();
    let running = start(folder.path(), inbox);
    let first = engine.submit(job(1, ""), key(1)).await.expect("accepted");
    let again = engine.submit(job(2, ""), key(1)).await.expect("known");
    assert_eq!(
        (again.id, again.number, again.existed),
        (first.id, first.number, true)
    );
    drop((running, engine));
    let (engine, inbox) = channel();
    let _running = start(folder.path(), inbox);
    let again = engine.submit(job(3, ""), key(1)).await.expect("known");
    assert_eq!((again.id, again.existed), (first.id, true));
    let other = engine.submit(job(4, ""), key(2)).await;
    assert!(matches!(other, Err(EngineError::IdempotencyMismatch)));
    assert_eq!(open_jobs(&engine).await, [first.id], "and the job is there");
}

#[tokio::test]
async fn of_twenty_that_use_one_join_token_exactly_one_wins() {
    let folder = tempfile::tempdir().expect("a folder");
    let (engine, inbox) = channel();
    let _running = start(folder.path(), inbox);
    let expires = Timestamp::from_second(1_800_000_600).expect("in range");
    let made = engine.write(move |connection| {
        workers::insert_join_token(connection, &[7; 32], Timestamp::UNIX_EPOCH, expires)
    });
    made.await.expect("made");
    let racers: Vec<_> = (1..=20u8)
        .map(|seed| {
            let engine = engine.clone();
            tokio::spawn(async move {
                let new = NewWorker {
                    join_sha256: [7; 32],
                    secret_sha256: [seed; 32],
                    worker: worker(seed.into()),
                };
                engine.join(new).await
            })
        })
        .collect();
    let mut won = 0;
    for racer in racers {
        match racer.await.expect("ran") {
            Ok(_) => won += 1,
            Err(error) => assert!(matches!(error, EngineError::JoinToken), "{error}"),
        }
    }
    let known = engine
        .inspect(|world, _| world.workers.len())
        .await
        .expect("answered");
    assert_eq!((won, known), (1, 1));
}
