//! Jobs that are brought back after their end: by a retry, or by a salvage.

use protocol::{
    id::{AttemptId, JobId},
    job::JobState,
    step::StepState,
};
use serde_json::json;

use super::sim::{Sim, failed};
use crate::orchestrator::{Event, Facts, Refusal};

const GROUPED: &str =
    "api: agentd/v1\nname: one\ntimeout: 10m\nconcurrency: {group: g, max: 1}\nsteps:\n  a: {run: [a]}\n";

#[test]
fn a_retried_job_waits_for_its_concurrency_group_again() {
    let mut sim = Sim::new(1);
    sim.online("w1", 4);
    let first = sim.submit(GROUPED);
    sim.finish(first, "a", failed("spec")).expect("applied");
    let second = sim.submit(GROUPED);
    sim.accept(second, "a");
    sim.decide(Event::RetryJob(first)).expect("retried");
    assert_eq!(sim.job(first).state, JobState::Queued);
    assert_eq!(sim.step(first, "a").state, StepState::Ready);
    sim.finish(second, "a", json!({})).expect("applied");
    assert_eq!(sim.job(first).state, JobState::Running);
    let third = sim.submit(GROUPED);
    assert_eq!(
        sim.job(third).state,
        JobState::Queued,
        "the retried one holds the group"
    );
}

#[test]
fn the_time_limit_of_a_retried_job_counts_from_the_retry() {
    let mut sim = Sim::new(1);
    sim.online("w1", 4);
    let job = sim.submit(GROUPED);
    sim.finish(job, "a", failed("spec")).expect("applied");
    sim.pass(3_600_000);
    sim.decide(Event::RetryJob(job)).expect("retried");
    sim.decide(Event::PauseDispatch(true)).expect("paused");
    sim.pass(599_999);
    assert_eq!(sim.job(job).state, JobState::Running);
    sim.pass(1);
    assert_eq!(sim.job(job).state, JobState::Cancelling);
}

#[test]
fn the_retry_of_a_job_whose_budget_was_spent_gets_as_much_again() {
    let mut sim = Sim::new(1);
    sim.online("w1", 4);
    let job = sim.submit(
        "api: agentd/v1\nname: paid\nbudget: {tokens: 10, on_exceed: fail}\nsteps:\n  a: {run: [a]}\n  b: {needs: [a], run: [b]}\n",
    );
    sim.finish(
        job,
        "a",
        json!({"usage": {"input_tokens": 10, "output_tokens": 0, "calls": 1}}),
    )
    .expect("applied");
    assert_eq!(sim.job(job).state, JobState::Failed);
    sim.decide(Event::RetryJob(job)).expect("retried");
    assert_eq!(sim.step(job, "b").state, StepState::Offered);
}

const NESTED: &str = r#"
api: agentd/v1
name: nested
steps:
  cycle:
    loop: {as: again, max: 2, until: "{{ steps.test.ok }}"}
    steps:
      edit: {run: [edit], retry: {max: 0}}
      test: {needs: [edit], run: [test]}
  after: {needs: [cycle], run: [after]}
finally:
  tidy: {run: [tidy]}
"#;

/// A job that failed because of `edit`, whose superseded attempt succeeded all the same.
fn failed_in_its_block() -> (Sim, JobId, AttemptId) {
    let mut sim = Sim::new(1);
    sim.online("w1", 4);
    let job = sim.submit(NESTED);
    let first = sim.accept(job, "cycle#1/edit");
    sim.lose(job, "cycle#1/edit");
    sim.result(job, "cycle#1/edit", first, json!({"outputs": {"n": 7}}))
        .expect("kept");
    sim.finish(job, "cycle#1/edit", failed("spec")).expect("applied");
    assert_eq!(sim.step(job, "cycle").state, StepState::Failed);
    (sim, job, first)
}

fn salvage(job: JobId, step: &str, attempt: AttemptId) -> Event {
    let step = step.parse().expect("a key");
    Event::Salvage {
        job,
        step,
        attempt,
        facts: Facts::default(),
    }
}

#[test]
fn a_salvage_inside_a_failed_block_lets_the_block_and_what_follows_go_on() {
    let (mut sim, job, attempt) = failed_in_its_block();
    let early = sim.decide(salvage(job, "cycle#1/edit", attempt));
    assert!(matches!(early, Err(Refusal::Salvage(_))), "its closing steps run");
    sim.finish(job, "finally/tidy", json!({})).expect("applied");
    assert_eq!(sim.job(job).state, JobState::Failed);
    sim.decide(salvage(job, "cycle#1/edit", attempt))
        .expect("salvaged");
    assert_eq!(sim.step(job, "cycle").state, StepState::Running);
    assert_eq!(sim.step(job, "cycle#1/test").state, StepState::Offered);
    sim.finish(job, "cycle#1/test", json!({})).expect("applied");
    sim.finish(job, "after", json!({})).expect("applied");
    sim.finish(job, "finally/tidy", json!({})).expect("closes again");
    assert_eq!(sim.job(job).state, JobState::Succeeded);
}

#[test]
fn a_salvage_is_refused_where_later_work_rests_on_another_result() {
    let yaml = NESTED.replace(
        "edit: {run: [edit], retry: {max: 0}}",
        "edit: {run: [edit], allow_failure: true}",
    );
    let mut sim = Sim::new(1);
    sim.online("w1", 4);
    let job = sim.submit(&yaml);
    let first = sim.accept(job, "cycle#1/edit");
    sim.lose(job, "cycle#1/edit");
    sim.result(job, "cycle#1/edit", first, json!({})).expect("kept");
    sim.finish(job, "cycle#1/edit", failed("spec")).expect("applied");
    sim.finish(job, "cycle#1/test", json!({})).expect("applied");
    assert_eq!(sim.step(job, "after").state, StepState::Offered);
    let refused = sim.decide(salvage(job, "cycle#1/edit", first));
    assert!(matches!(refused, Err(Refusal::Salvage(_))));
}

#[test]
fn the_closing_steps_of_a_job_whose_budget_is_spent_are_offered_at_once() {
    let mut sim = Sim::new(1);
    sim.online("w1", 4);
    let job = sim.submit(
        "api: agentd/v1\nname: paid\nbudget: {tokens: 10, on_exceed: fail}\nsteps:\n  a: {run: [a]}\nfinally:\n  tidy: {run: [tidy]}\n",
    );
    let usage = json!({"input_tokens": 10, "output_tokens": 0, "calls": 1});
    sim.finish(job, "a", json!({"usage": usage})).expect("applied");
    assert_eq!(sim.step(job, "finally/tidy").state, StepState::Offered);
}

#[test]
fn a_job_whose_step_waits_for_a_worker_after_its_wait_is_running() {
    let mut sim = Sim::new(1);
    sim.online("w1", 4);
    let job =
        sim.submit("api: agentd/v1\nname: again\nsteps:\n  a: {run: [a], retry: {max: 1, on: [exit]}}\n");
    sim.finish(job, "a", failed("exit")).expect("applied");
    assert_eq!(sim.job(job).state, JobState::Waiting);
    sim.decide(Event::PauseDispatch(true)).expect("paused");
    sim.pass(300_000);
    assert_eq!(sim.step(job, "a").state, StepState::Ready);
    assert_eq!(sim.job(job).state, JobState::Running);
}
