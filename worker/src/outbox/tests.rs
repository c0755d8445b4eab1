use protocol::{
    id::JobId,
    message::{Accept, Progress, Renew, StepResult},
    step::Outcome,
    usage::Usage,
};

use super::*;

fn result(attempt: AttemptId) -> FromWorker {
    FromWorker::Result(Box::new(StepResult {
        job: JobId::new(),
        step: "plan".parse().expect("a key"),
        attempt,
        outcome: Outcome::Ok,
        error: None,
        exit: None,
        outputs: serde_json::Map::new(),
        artifacts: vec![],
        usage: Usage::default(),
        model: None,
        workspace: None,
        log_bytes: 0,
        log_sha256: None,
        notes: vec![],
        duration_ms: 0,
        model_ms: 0,
    }))
}

fn progress(attempt: AttemptId, seq: u64) -> FromWorker {
    FromWorker::Progress(Progress {
        attempt,
        seq,
        fraction: None,
        note: String::new(),
        usage: Usage::default(),
        model: None,
    })
}

/// Everything that goes out at this time.
fn drain(queue: &mut Queue, now_ms: u64) -> Vec<FromWorker> {
    let mut out = vec![];
    while let Some(message) = queue.next(now_ms) {
        out.push(message.clone());
        queue.sent(now_ms);
    }
    out
}

#[test]
fn a_result_is_said_until_it_is_settled_and_at_most_so_many_wait_for_their_ack() {
    let mut queue = Queue::default();
    let attempts: Vec<AttemptId> = (0..40).map(|_| AttemptId::new()).collect();
    for &attempt in &attempts {
        queue.push(result(attempt), 0);
    }
    assert_eq!(drain(&mut queue, 0).len(), MAX_UNACKNOWLEDGED);
    queue.settle(attempts[0]);
    queue.settle(attempts[1]);
    assert_eq!(drain(&mut queue, 1).len(), 2, "an Ack makes room");
    assert_eq!(queue.due_at_ms(), Some(FIRST_REPEAT_MS));
    assert_eq!(
        drain(&mut queue, FIRST_REPEAT_MS).len(),
        30,
        "what was said first is said again"
    );
    queue.rewind();
    assert_eq!(drain(&mut queue, FIRST_REPEAT_MS + 1).len(), MAX_UNACKNOWLEDGED);
    for attempt in attempts {
        queue.settle(attempt);
    }
    assert!(queue.is_empty());
}

#[test]
fn of_everything_else_only_the_latest_counts_and_a_new_connection_voids_it() {
    let mut queue = Queue::default();
    let (first, second) = (AttemptId::new(), AttemptId::new());
    queue.push(progress(first, 1), 0);
    queue.push(progress(second, 1), 0);
    queue.push(progress(first, 2), 0);
    queue.push(FromWorker::Renew(Renew::default()), 0);
    queue.push(FromWorker::Renew(Renew::default()), 0);
    let expected = [
        progress(first, 2),
        progress(second, 1),
        FromWorker::Renew(Renew::default()),
    ];
    assert_eq!(drain(&mut queue, 0), expected);
    queue.push(FromWorker::Accept(Accept { attempt: first }), 0);
    queue.push(result(first), 0);
    queue.rewind();
    assert!(matches!(drain(&mut queue, 0).as_slice(), [FromWorker::Result(_)]));
}

#[test]
fn an_accept_waits_a_moment_and_a_result_takes_its_place() {
    let mut queue = Queue::default();
    let (short, long) = (AttemptId::new(), AttemptId::new());
    let accept = |attempt| FromWorker::Accept(Accept { attempt });
    queue.push(accept(short), 100);
    queue.push(accept(long), 101);
    queue.push(progress(long, 1), 101);
    assert_eq!(
        drain(&mut queue, 101),
        [progress(long, 1)],
        "nothing waits behind it"
    );
    assert_eq!(queue.due_at_ms(), Some(100 + ACCEPT_WAIT_MS));
    let ended = result(short);
    queue.push(ended.clone(), 102);
    assert_eq!(drain(&mut queue, 102), [ended]);
    assert_eq!(drain(&mut queue, 101 + ACCEPT_WAIT_MS), [accept(long)]);
}
