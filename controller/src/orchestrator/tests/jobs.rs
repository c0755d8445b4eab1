//! Whole jobs: retries, cancels, groups, budgets and placement.

use protocol::{
    job::JobState,
    message::{FromWorker, Progress},
    model::ReachableModel,
    step::StepState,
    usage::Usage,
};
use serde_json::json;

use super::sim::{Sim, failed, hello, session};
use crate::orchestrator::{Event, Refusal};

const CLOSING: &str = r"
api: agentd/v1
name: closing
steps:
  a: {run: [a], retry: {max: 0}}
finally:
  tidy: {run: [tidy], effect: external}
";

#[test]
fn a_retry_keeps_what_succeeded_and_runs_the_rest_again() {
    let mut sim = Sim::new(1);
    sim.online("w1", 4);
    let job = sim.submit(
        "api: agentd/v1\nname: three\nsteps:\n  a: {run: [a]}\n  b: {needs: [a], run: [b]}\n  c: {needs: [b], run: [c]}\n",
    );
    sim.finish(job, "a", json!({})).expect("applied");
    sim.finish(job, "b", failed("spec")).expect("applied");
    assert_eq!(sim.step(job, "c").state, StepState::Skipped);
    assert_eq!(sim.job(job).state, JobState::Failed);
    sim.decide(Event::RetryJob(job)).expect("retried");
    assert_eq!(sim.step(job, "a").attempts.len(), 1);
    sim.finish(job, "b", json!({})).expect("applied");
    sim.finish(job, "c", json!({})).expect("applied");
    assert_eq!(sim.job(job).state, JobState::Succeeded);
    let refused = sim.decide(Event::RetryJob(job));
    assert!(matches!(refused, Err(Refusal::JobState { .. })));
}

#[test]
fn a_cancelled_job_still_closes_and_a_second_cancel_stops_that_too() {
    let mut sim = Sim::new(1);
    sim.online("w1", 4);
    let job = sim.submit(CLOSING);
    sim.decide(Event::CancelJob(job)).expect("cancelled");
    sim.finish(job, "a", json!({"outcome": "killed"}))
        .expect("applied");
    assert_eq!(sim.step(job, "finally/tidy").state, StepState::Offered);
    assert_eq!(sim.job(job).state, JobState::Cancelling);
    sim.decide(Event::CancelJob(job)).expect("again");
    assert_eq!(sim.step(job, "finally/tidy").state, StepState::Cancelling);
    sim.finish(job, "finally/tidy", json!({"outcome": "killed"}))
        .expect("applied");
    assert_eq!(sim.job(job).state, JobState::Cancelled);
}

#[test]
fn a_job_that_is_parked_in_its_closing_steps_can_be_cancelled() {
    let mut sim = Sim::new(1);
    sim.online("w1", 4);
    let job = sim.submit(CLOSING);
    sim.finish(job, "a", json!({})).expect("applied");
    sim.finish(job, "finally/tidy", json!({"outcome": "killed"}))
        .expect("applied");
    assert_eq!(sim.job(job).state, JobState::Parked);
    sim.decide(Event::CancelJob(job)).expect("cancelled");
    assert_eq!(sim.job(job).state, JobState::Cancelled);
}

pub(super) fn grouped(on_conflict: &str) -> String {
    CLOSING.replace(
        "name: closing",
        &format!("name: closing\nconcurrency: {{group: g, max: 1, on_conflict: {on_conflict}}}"),
    )
}

#[test]
fn a_full_group_queues_or_rejects() {
    let mut sim = Sim::new(1);
    sim.online("w1", 4);
    let first = sim.submit(&grouped("queue"));
    let second = sim.submit(&grouped("queue"));
    assert_eq!(sim.job(second).state, JobState::Queued);
    let third = sim.new_job(&grouped("reject"), json!({}));
    let refused = sim.decide(Event::Submit(Box::new(third)));
    assert!(matches!(refused, Err(Refusal::GroupFull { max: 1, .. })));
    sim.finish(first, "a", json!({})).expect("applied");
    sim.finish(first, "finally/tidy", json!({})).expect("applied");
    assert_eq!(sim.job(second).state, JobState::Running);
}

#[test]
fn a_newer_job_of_a_group_cancels_the_old_one_but_not_its_closing_steps() {
    let mut sim = Sim::new(1);
    sim.online("w1", 4);
    let first = sim.submit(&grouped("cancel_old"));
    sim.submit(&grouped("cancel_old"));
    sim.finish(first, "a", json!({"outcome": "killed"}))
        .expect("applied");
    assert_eq!(sim.step(first, "finally/tidy").state, StepState::Offered);
    sim.submit(&grouped("cancel_old"));
    assert_eq!(sim.step(first, "finally/tidy").state, StepState::Offered);
}

const AGENT: &str = r"
api: agentd/v1
name: paid
budget: {tokens: 100, on_exceed: EXCEED}
steps:
  plan: {agent: architect, with: {task: x}}
  after: {needs: [plan], run: [after]}
";

pub(super) fn spent(on_exceed: &str) -> (Sim, protocol::id::JobId) {
    let mut sim = Sim::new(1);
    let worker = sim.joined("w1", 4);
    let mut says = hello(4);
    says.models.push(
        serde_json::from_value::<ReachableModel>(
            json!({"provider": "here", "model": "m", "window": 8192, "loaded": true}),
        )
        .expect("a model"),
    );
    sim.hello(worker, session(1, 1), says).expect("heard");
    let job = sim.submit(&AGENT.replace("EXCEED", on_exceed));
    let attempt = sim.accept(job, "plan");
    let progress = Progress {
        attempt,
        seq: 1,
        fraction: None,
        note: String::new(),
        usage: Usage {
            input_tokens: 90,
            output_tokens: 20,
            ..Usage::default()
        },
        model: None,
    };
    sim.from(worker, FromWorker::Progress(progress)).expect("heard");
    (sim, job)
}

#[test]
fn rule_16_a_spent_budget_parks_the_job_and_a_resume_gives_it_as_much_again() {
    let (mut sim, job) = spent("park");
    assert_eq!(sim.said(), ["cancel budget"]);
    assert_eq!(sim.job(job).state, JobState::Parked);
    assert_eq!(sim.job(job).reason.as_deref(), Some("its token budget is spent"));
    let usage = json!({"input_tokens": 90, "output_tokens": 20, "calls": 1});
    sim.finish(job, "plan", json!({"outcome": "killed", "usage": usage}))
        .expect("applied");
    assert_eq!(sim.step(job, "plan").state, StepState::Parked);
    sim.decide(Event::ResumeJob(job)).expect("resumed");
    assert_eq!(sim.said(), ["assign"]);
    sim.finish(job, "plan", json!({})).expect("applied");
    sim.finish(job, "after", json!({})).expect("applied");
    assert_eq!(sim.job(job).state, JobState::Succeeded);
    assert_eq!(sim.job(job).usage.tokens(), 110);
}

#[test]
fn rule_16_a_spent_budget_fails_the_job_if_its_workflow_says_so() {
    let (mut sim, job) = spent("fail");
    assert_eq!(sim.said(), ["cancel budget"]);
    assert_eq!(sim.job(job).state, JobState::Cancelling);
    sim.finish(job, "plan", json!({"outcome": "killed"}))
        .expect("applied");
    assert_eq!(sim.job(job).state, JobState::Failed);
    assert_eq!(sim.job(job).reason.as_deref(), Some("its token budget is spent"));
}

#[test]
fn a_step_avoids_the_worker_of_another_while_there_is_a_choice() {
    let yaml = "api: agentd/v1\nname: apart\nsteps:\n  a: {run: [a]}\n  b: {needs: [a], run: [b], place: {not_with: [a]}}\n";
    for (workers, apart) in [(2, true), (1, false)] {
        let mut sim = Sim::new(1);
        for name in ["w1", "w2"].into_iter().take(workers) {
            sim.online(name, 1);
        }
        let job = sim.submit(yaml);
        sim.finish(job, "a", json!({})).expect("applied");
        let ran = (sim.current(job, "a").worker, sim.current(job, "b").worker);
        assert_eq!(ran.0 != ran.1, apart);
    }
}

#[test]
fn a_job_over_its_time_limit_fails() {
    let mut sim = Sim::new(1);
    sim.online("w1", 1);
    let job = sim.submit(
        "api: agentd/v1\nname: slow\ntimeout: 10s\nsteps:\n  a: {run: [echo]}\n  b: {needs: [a], run: [b]}\n",
    );
    sim.accept(job, "a");
    sim.pass(10_000);
    assert_eq!(sim.said(), ["cancel timeout"]);
    sim.finish(job, "a", json!({"outcome": "killed"}))
        .expect("applied");
    assert_eq!(sim.job(job).state, JobState::Failed);
    assert_eq!(sim.step(job, "b").state, StepState::Cancelled);
}
