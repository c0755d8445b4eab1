use std::sync::mpsc;

use super::*;

const LIMIT: Duration = Duration::from_secs(10);

fn tasks() -> Tasks {
    Tasks::new(CancellationToken::new())
}

#[tokio::test]
async fn a_drain_stops_and_joins_tasks_and_threads() {
    let tasks = tasks();
    let stop = tasks.stop().clone();
    tasks.spawn(
        "polite",
        OnExit::StopProcess,
        async move { stop.cancelled().await },
    );
    let (ask, asked) = mpsc::sync_channel::<()>(1);
    tasks
        .spawn_thread("writer", OnExit::StopProcess, move || {
            // ends when the sender is gone
            let closed = asked.recv().is_err();
            assert!(closed);
        })
        .expect("a thread");
    assert_eq!(tasks.running(), 2);
    let stop = tasks.stop().clone();
    tasks.spawn("closer", OnExit::Log, async move {
        stop.cancelled().await;
        drop(ask);
    });
    assert_eq!(tasks.drain(LIMIT).await, Drained::Clean);
    assert_eq!((tasks.running(), tasks.failure()), (0, None));
}

#[tokio::test]
async fn a_needed_task_that_ends_stops_the_process() {
    let tasks = tasks();
    tasks.spawn("dispatch", OnExit::StopProcess, async {});
    tasks.stop().cancelled().await;
    assert_eq!(tasks.drain(LIMIT).await, Drained::Clean);
    let failure = tasks.failure().expect("it ended");
    assert_eq!(failure.to_string(), "dispatch ended");
}

#[tokio::test]
async fn an_error_is_kept_with_its_causes() {
    #[derive(Debug, thiserror::Error)]
    #[error("cannot write")]
    struct Outer(#[source] std::io::Error);

    let tasks = tasks();
    tasks.spawn("state", OnExit::StopProcess, async {
        Err::<(), _>(Outer(std::io::Error::other("disk full")))
    });
    tasks.stop().cancelled().await;
    let failure = tasks.failure().expect("it failed");
    assert_eq!(failure.to_string(), "state failed: cannot write: disk full");
}

#[tokio::test]
async fn a_task_that_may_end_stops_nothing_but_its_panic_does() {
    let tasks = tasks();
    tasks.spawn("connection", OnExit::Log, async { Err::<(), _>("reset") });
    while tasks.running() > 0 {
        tokio::task::yield_now().await;
    }
    assert!(!tasks.stop().is_cancelled());
    tasks.spawn("connection", OnExit::Log, async {
        let text = "no number";
        let _: u32 = text.parse().expect("a bug");
    });
    tasks.stop().cancelled().await;
    assert_eq!(
        tasks.failure().expect("it panicked").to_string(),
        "connection panicked"
    );
}

#[tokio::test]
async fn a_task_that_does_not_stop_in_time_is_named() {
    let tasks = tasks();
    tasks.spawn("stubborn", OnExit::Log, std::future::pending::<()>());
    let drained = tasks.drain(Duration::from_millis(10)).await;
    assert_eq!(drained, Drained::Late(vec!["stubborn"]));
}
