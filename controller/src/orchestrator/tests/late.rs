//! What comes late or out of turn: results, rejections, timers of old connections.

use protocol::{
    id::{AttemptId, JobId, WorkerId},
    job::JobState,
    message::{FromWorker, Reject, RejectReason},
    step::{AttemptState, StepState},
    usage::Usage,
    worker::WorkerState,
};
use serde_json::json;

use super::sim::{Sim, hello, session};
use crate::orchestrator::{Event, Refusal};

const ONE: &str = "api: agentd/v1\nname: one\nsteps:\n  a: {run: [a]}\n";

fn running() -> (Sim, WorkerId, JobId, AttemptId) {
    let mut sim = Sim::new(1);
    let worker = sim.online("w1", 1);
    let job = sim.submit(ONE);
    let attempt = sim.accept(job, "a");
    (sim, worker, job, attempt)
}

fn used(tokens: u64) -> serde_json::Value {
    json!({"input_tokens": tokens, "output_tokens": 0, "calls": 1})
}

#[test]
fn superseded_work_is_charged_to_its_step_and_job() {
    let (mut sim, _, job, first) = running();
    sim.lose(job, "a");
    assert_ne!(sim.current(job, "a").id, first, "superseded");
    sim.result(job, "a", first, json!({"usage": used(30)}))
        .expect("kept");
    assert_eq!(sim.said(), ["ack superseded"]);
    sim.finish(job, "a", json!({"usage": used(12)})).expect("applied");
    let attempts: u64 = sim
        .step(job, "a")
        .attempts
        .iter()
        .map(|a| a.usage.input_tokens)
        .sum();
    let sums = (
        attempts,
        sim.step(job, "a").usage.input_tokens,
        sim.job(job).usage,
        sim.changes.used,
    );
    let all = Usage {
        input_tokens: 42,
        calls: 2,
        ..Usage::default()
    };
    assert_eq!(sums, (42, 42, all, all));
}

#[test]
fn a_reject_of_what_is_being_cancelled_ends_it_at_once() {
    let mut sim = Sim::new(1);
    let worker = sim.online("w1", 1);
    let job = sim.submit(ONE);
    let attempt = sim.current(job, "a").id;
    sim.decide(Event::CancelJob(job)).expect("cancelled");
    let reject = FromWorker::Reject(Reject {
        attempt,
        why: RejectReason::Busy,
        detail: String::new(),
        retry_after_ms: 0,
    });
    sim.from(worker, reject.clone()).expect("heard");
    assert_eq!(
        sim.states(job, "a"),
        (JobState::Cancelled, StepState::Cancelled, AttemptState::Cancelled)
    );
    assert_eq!(sim.from(worker, reject), Err(Refusal::StaleAttempt));
}

#[test]
fn the_timer_of_an_old_connection_says_nothing_about_a_newer_one() {
    let (mut sim, worker, job, attempt) = running();
    let gone = |sim: &mut Sim| {
        let event = Event::WorkerDisconnected {
            worker,
            by_host: true,
        };
        sim.decide(event).expect("seen");
    };
    gone(&mut sim);
    sim.pass(5_000);
    let mut says = hello(1);
    says.running.push(protocol::message::RunningAttempt {
        attempt,
        for_ms: 0,
        last_seq: 0,
    });
    sim.hello(worker, session(1, 2), says).expect("heard");
    sim.pass(14_000);
    gone(&mut sim);
    sim.pass(1_000);
    assert_eq!(
        sim.worker(worker).state,
        WorkerState::Suspect,
        "20 s after the first"
    );
    assert_eq!(sim.states(job, "a").2, AttemptState::Running);
    sim.pass(19_000);
    assert_eq!(
        sim.worker(worker).state,
        WorkerState::Offline,
        "20 s after the second"
    );
    assert_eq!(sim.states(job, "a").2, AttemptState::Suspect);
}
