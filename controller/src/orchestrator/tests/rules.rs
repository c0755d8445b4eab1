//! One test per transition rule: what changes and what is said.

use protocol::{
    artifact::Sha256,
    id::{AttemptId, BootId, JobId, WorkerId},
    job::JobState,
    message::{FromWorker, Reject, RejectReason, RunningAttempt},
    step::{AttemptState, Outcome, StepState},
    worker::{Wanted, WorkerState},
};
use serde_json::json;
use uuid::Uuid;

use super::sim::{Sim, accept, failed, hello, renew, result_of, session};
use crate::orchestrator::{Event, Facts, Refusal};

const ONE: &str = r"
api: agentd/v1
name: one
steps:
  a:
    run: [echo, hi]
    timeout: 10m
    retry: {max: 1, on: [exit, timeout], backoff: 2s..5m}
";

/// One worker with one slot that was offered step `a`.
fn offered() -> (Sim, WorkerId, JobId, AttemptId) {
    let mut sim = Sim::new(1);
    let worker = sim.online("w1", 1);
    let job = sim.submit(ONE);
    let attempt = sim.current(job, "a").id;
    (sim, worker, job, attempt)
}

fn running() -> (Sim, WorkerId, JobId, AttemptId) {
    let (mut sim, worker, job, attempt) = offered();
    sim.accept(job, "a");
    (sim, worker, job, attempt)
}

/// An attempt that was given up while its step cannot go anywhere else.
fn lost() -> (Sim, WorkerId, JobId, AttemptId) {
    let (mut sim, worker, job, attempt) = running();
    sim.decide(Event::PauseDispatch(true)).expect("paused");
    sim.lose(job, "a");
    (sim, worker, job, attempt)
}

#[test]
fn rule_1_a_job_without_workers_is_queued_with_its_first_step_ready() {
    let mut sim = Sim::new(1);
    let job = sim.submit(ONE);
    assert_eq!(sim.job(job).state, JobState::Queued);
    assert_eq!(sim.step(job, "a").state, StepState::Ready);
    assert!(sim.said().is_empty());
}

#[test]
fn rule_2_a_ready_step_is_offered_and_takes_the_slot() {
    let (sim, worker, job, attempt) = offered();
    assert_eq!(
        sim.states(job, "a"),
        (JobState::Running, StepState::Offered, AttemptState::Offered)
    );
    assert_eq!(sim.said(), ["assign"]);
    assert_eq!(sim.worker(worker).used, 1);
    let current = sim.current(job, "a");
    assert_eq!((current.id, current.due), (attempt, sim.now.mono + 10_000));
}

#[test]
fn rule_2_tells_the_previous_worker_that_it_is_superseded() {
    let (mut sim, _, job, attempt) = lost();
    sim.decide(Event::PauseDispatch(false)).expect("resumed");
    assert_ne!(sim.current(job, "a").id, attempt);
    assert_eq!(sim.said(), ["cancel superseded", "assign"]);
    assert_eq!(sim.current(job, "a").number, 2);
}

#[test]
fn rule_3_an_offer_is_said_three_times_and_then_lost() {
    let (mut sim, worker, job, attempt) = offered();
    for _ in 0..2 {
        sim.pass(10_000);
        assert_eq!(sim.said(), ["assign"]);
        assert_eq!(sim.current(job, "a").id, attempt);
    }
    sim.pass(10_000);
    assert_eq!(sim.said(), Vec::<String>::new());
    assert_eq!(
        sim.states(job, "a"),
        (JobState::Running, StepState::Ready, AttemptState::Lost)
    );
    assert_eq!(sim.worker(worker).state, WorkerState::Suspect);
    assert_eq!(sim.step(job, "a").infra_left, sim.world.limits.infra_retries - 1);
}

#[test]
fn rules_4_and_4a_an_accept_starts_the_lease_and_a_second_one_only_renews_it() {
    let (mut sim, worker, job, attempt) = running();
    assert!(sim.said().is_empty());
    let due = sim.current(job, "a").due;
    assert_eq!(due, sim.now.mono + 45_000);
    assert_eq!(sim.current(job, "a").hard_due, sim.now.mono + 600_000);
    let hard = sim.current(job, "a").hard_due;
    sim.pass(1_000);
    sim.from(worker, accept(attempt)).expect("heard");
    assert_eq!(sim.states(job, "a").2, AttemptState::Running);
    assert_eq!(sim.current(job, "a").hard_due, hard, "the limit does not move");
}

#[test]
fn rule_4_an_accept_of_another_session_is_refused() {
    let (mut sim, worker, job, attempt) = offered();
    let refused = sim.message(worker, session(1, 2), accept(attempt), Facts::default());
    assert_eq!(refused, Err(Refusal::StaleSession));
    assert_eq!(sim.states(job, "a").2, AttemptState::Offered);
}

#[test]
fn rule_5_a_reject_excludes_the_worker_for_a_minute() {
    let (mut sim, worker, job, attempt) = offered();
    let reject = FromWorker::Reject(Reject {
        attempt,
        why: RejectReason::Busy,
        detail: String::new(),
        retry_after_ms: 0,
    });
    sim.from(worker, reject.clone()).expect("heard");
    assert_eq!(sim.states(job, "a").1, StepState::Ready);
    assert_eq!(sim.states(job, "a").2, AttemptState::Rejected);
    assert_eq!(sim.worker(worker).used, 0);
    assert_eq!(sim.from(worker, reject), Err(Refusal::StaleAttempt));
    sim.pass(59_999);
    assert_eq!(sim.step(job, "a").state, StepState::Ready);
    sim.pass(1);
    assert_eq!(sim.step(job, "a").state, StepState::Offered);
}

#[test]
fn rule_6_a_renewal_moves_the_lease_and_brings_a_suspect_back() {
    let (mut sim, worker, job, attempt) = running();
    sim.pass(45_000);
    assert_eq!(sim.states(job, "a").2, AttemptState::Suspect);
    sim.from(worker, renew(attempt)).expect("heard");
    assert_eq!(sim.said(), ["lease"]);
    assert_eq!(sim.states(job, "a").2, AttemptState::Running);
    assert_eq!(sim.current(job, "a").due, sim.now.mono + 45_000);
}

#[test]
fn rule_6a_a_lost_attempt_is_reopened_while_its_step_waits() {
    let (mut sim, worker, job, attempt) = lost();
    assert_eq!(sim.states(job, "a").2, AttemptState::Lost);
    let full = sim.world.limits.infra_retries;
    assert_eq!(sim.step(job, "a").infra_left, full - 1);
    sim.from(worker, renew(attempt)).expect("heard");
    assert_eq!(sim.said(), ["lease"]);
    assert_eq!(
        sim.states(job, "a"),
        (JobState::Running, StepState::Running, AttemptState::Running)
    );
    assert_eq!(sim.step(job, "a").infra_left, full, "the budget was given back");
    assert_eq!(sim.step(job, "a").attempts.len(), 1);
    assert_eq!(sim.worker(worker).used, 1);
}

#[test]
fn rule_6b_a_superseded_or_unknown_attempt_is_told_to_stop_each_time() {
    let (mut sim, worker, job, attempt) = lost();
    sim.decide(Event::PauseDispatch(false)).expect("resumed");
    for attempt in [attempt, attempt, AttemptId::from_uuid(Uuid::from_u128(9))] {
        sim.from(worker, renew(attempt)).expect("heard");
        assert_eq!(sim.said(), ["cancel superseded"]);
    }
    assert_eq!(sim.states(job, "a").2, AttemptState::Offered);
}

#[test]
fn rule_7_a_lease_that_runs_out_makes_the_attempt_suspect() {
    let (mut sim, _, job, _) = running();
    sim.pass(44_999);
    assert_eq!(sim.states(job, "a").2, AttemptState::Running);
    sim.pass(1);
    assert_eq!(sim.said(), ["probe"]);
    assert_eq!(sim.states(job, "a").2, AttemptState::Suspect);
    assert_eq!(sim.current(job, "a").due, sim.now.mono + 120_000);
}

#[test]
fn rules_7_and_8_a_silent_worker_is_offered_nothing_before_it_says_something() {
    let (mut sim, worker, job, attempt) = running();
    sim.pass(45_000);
    assert_eq!(sim.worker(worker).state, WorkerState::Suspect);
    sim.pass(120_000);
    assert_eq!(sim.states(job, "a").1, StepState::Ready);
    sim.from(worker, renew(attempt)).expect("heard");
    assert_eq!(sim.current(job, "a").id, attempt, "it was not superseded");
    assert_eq!(sim.states(job, "a").2, AttemptState::Running);
    assert_eq!(sim.worker(worker).state, WorkerState::Online);
}

#[test]
fn rule_8_losses_end_in_a_parked_job_and_a_resume_goes_on() {
    let (mut sim, _, job, _) = running();
    for _ in 0..=sim.world.limits.infra_retries {
        sim.lose(job, "a");
        if sim.step(job, "a").state == StepState::Offered {
            sim.accept(job, "a");
        }
    }
    assert_eq!(
        sim.states(job, "a"),
        (JobState::Parked, StepState::Parked, AttemptState::Lost)
    );
    sim.decide(Event::ResumeJob(job)).expect("resumed");
    assert_eq!(sim.states(job, "a").1, StepState::Offered);
    sim.finish(job, "a", json!({})).expect("applied");
    assert_eq!(sim.job(job).state, JobState::Succeeded);
}

#[test]
fn rule_9_a_result_ends_the_step_even_before_its_accept() {
    let (mut sim, worker, job, attempt) = offered();
    sim.finish(job, "a", json!({"outputs": {"n": 1}}))
        .expect("applied");
    assert_eq!(sim.said(), ["ack applied"]);
    assert_eq!(
        sim.states(job, "a"),
        (JobState::Succeeded, StepState::Succeeded, AttemptState::Succeeded)
    );
    assert_eq!(sim.step(job, "a").outputs["n"], 1);
    assert_eq!(sim.worker(worker).used, 0);
    sim.result(job, "a", attempt, json!({})).expect("again");
    assert_eq!(sim.said(), ["ack applied"], "a repeat is acknowledged alike");
}

#[test]
fn rule_9_failed_work_waits_and_then_fails() {
    let (mut sim, _, job, _) = running();
    sim.finish(job, "a", failed("exit")).expect("applied");
    assert_eq!(
        sim.states(job, "a"),
        (JobState::Waiting, StepState::RetryWait, AttemptState::Failed)
    );
    sim.pass(2_000);
    assert_eq!(
        sim.states(job, "a"),
        (JobState::Running, StepState::Offered, AttemptState::Offered)
    );
    sim.finish(job, "a", failed("exit")).expect("applied");
    assert_eq!(sim.states(job, "a").1, StepState::Failed);
    assert_eq!(sim.job(job).state, JobState::Failed);
    assert_eq!(sim.job(job).reason.as_deref(), Some("step a failed: no"));
}

#[test]
fn rule_9_an_error_that_no_retry_mends_fails_at_once() {
    let (mut sim, _, job, _) = running();
    sim.finish(job, "a", failed("spec")).expect("applied");
    assert_eq!(sim.job(job).state, JobState::Failed);
}

#[test]
fn rule_9_trouble_of_the_machine_costs_no_work_and_excludes_it() {
    let (mut sim, _, job, _) = running();
    sim.finish(job, "a", failed("infra")).expect("applied");
    let step = sim.step(job, "a");
    assert_eq!(step.state, StepState::Ready);
    assert_eq!((step.work_left, step.infra_left), (1, 4));
    assert_eq!(sim.current(job, "a").state, AttemptState::Failed);
    sim.pass(60_000);
    assert_eq!(sim.step(job, "a").state, StepState::Offered);
}

#[test]
fn rule_9_a_result_that_names_missing_blobs_changes_nothing_but_the_lease() {
    let (mut sim, worker, job, attempt) = running();
    let facts = Facts {
        missing: vec![Sha256([1; 32])],
        ..Facts::default()
    };
    sim.pass(1_000);
    sim.message(
        worker,
        session(1, 1),
        result_of(job, "a", attempt, json!({})),
        facts,
    )
    .expect("heard");
    assert_eq!(sim.said(), ["ack missing"]);
    assert_eq!(sim.states(job, "a").2, AttemptState::Running);
    assert_eq!(sim.current(job, "a").due, sim.now.mono + 45_000);
}

#[test]
fn rule_9_a_step_whose_artifacts_are_more_than_its_job_may_keep_has_failed() {
    let (mut sim, worker, job, attempt) = running();
    let artifact = json!([{"name": "big", "sha256": "a".repeat(64), "size": 1}]);
    let result = result_of(job, "a", attempt, json!({"artifacts": artifact}));
    let facts = Facts {
        artifact_bytes: (8 << 30) + 1,
        ..Facts::default()
    };
    sim.message(worker, session(1, 1), result, facts).expect("heard");
    assert_eq!(sim.said(), ["ack applied"]);
    let step = sim.step(job, "a");
    assert_eq!(step.state, StepState::Failed);
    let error = step.error.as_ref().expect("a reason");
    assert_eq!(
        error.message,
        "its artifacts would make 8589934593 bytes of the job, which may keep 8589934592"
    );
}

#[test]
fn rule_9_the_late_result_of_a_parked_step_lets_its_job_go_on() {
    let two = format!(
        "{}  b: {{needs: [a], run: [echo]}}\n",
        ONE.replace("timeout: 10m", "effect: external")
    );
    let mut sim = Sim::new(1);
    sim.online("w1", 1);
    let job = sim.submit(&two);
    let attempt = sim.accept(job, "a");
    sim.lose(job, "a");
    assert_eq!(
        sim.states(job, "a"),
        (JobState::Parked, StepState::Parked, AttemptState::Lost)
    );
    sim.result(job, "a", attempt, json!({})).expect("applied");
    assert_eq!(sim.said(), ["ack applied", "assign"]);
    assert_eq!(sim.states(job, "b").0, JobState::Running);
}

#[test]
fn rule_9a_a_superseded_result_is_kept_and_salvaged() {
    let (mut sim, _, job, attempt) = lost();
    sim.decide(Event::PauseDispatch(false)).expect("resumed");
    sim.result(job, "a", attempt, json!({"outputs": {"n": 7}}))
        .expect("kept");
    assert_eq!(sim.said(), ["ack superseded"]);
    assert_eq!(sim.states(job, "a").1, StepState::Offered);
    sim.result(job, "a", attempt, json!({})).expect("again");
    assert_eq!(sim.said(), ["ack superseded"]);
    sim.finish(job, "a", failed("spec")).expect("applied");
    assert_eq!(sim.job(job).state, JobState::Failed);
    let salvage = || Event::Salvage {
        job,
        step: "a".parse().expect("a key"),
        attempt,
        facts: Facts::default(),
    };
    sim.decide(salvage()).expect("salvaged");
    assert_eq!(sim.job(job).state, JobState::Succeeded);
    assert_eq!(sim.step(job, "a").outputs["n"], 7);
    assert!(matches!(sim.decide(salvage()), Err(Refusal::Salvage(_))));
}

#[test]
fn rule_9b_a_kill_that_nobody_asked_for_decides_nothing() {
    let (mut sim, _, job, _) = running();
    sim.finish(job, "a", json!({"outcome": "killed"}))
        .expect("applied");
    assert_eq!(sim.said(), ["ack applied", "assign"]);
    let step = sim.step(job, "a");
    assert_eq!((step.work_left, step.infra_left), (1, 4));
    assert_eq!(step.attempts[0].state, AttemptState::Failed);
}

#[test]
fn rule_9c_a_result_that_the_tables_do_not_know_is_kept() {
    let (mut sim, worker, job, _) = running();
    let unknown = AttemptId::from_uuid(Uuid::from_u128(9));
    sim.from(worker, result_of(job, "a", unknown, json!({})))
        .expect("kept");
    assert_eq!(sim.said(), ["ack superseded"]);
    assert_eq!(sim.changes.late.len(), 1);
    assert_eq!(sim.states(job, "a").2, AttemptState::Running);
}

#[test]
fn rule_9c_a_kept_result_of_an_unknown_attempt_can_be_salvaged_with_its_files() {
    let (mut sim, worker, job, _) = running();
    let unknown = AttemptId::from_uuid(Uuid::from_u128(9));
    let message = result_of(job, "a", unknown, json!({"outputs": {"n": 7}}));
    let FromWorker::Result(kept) = message.clone() else {
        panic!("another message")
    };
    let facts = |missing: &[Sha256], kept| Facts {
        missing: missing.to_vec(),
        kept,
        ..Facts::default()
    };
    let lost = [Sha256([1; 32])];
    sim.message(worker, session(1, 1), message, facts(&lost, None))
        .expect("heard");
    assert_eq!(sim.said(), ["ack missing"], "without its files it is of no use");
    sim.finish(job, "a", failed("spec")).expect("applied");
    let salvage = |facts| Event::Salvage {
        job,
        step: "a".parse().expect("a key"),
        attempt: unknown,
        facts,
    };
    let nothing = sim.decide(salvage(Facts::default()));
    assert_eq!(nothing, Err(Refusal::Unknown("attempt")));
    let without = sim.decide(salvage(facts(&lost, Some(kept.clone()))));
    assert!(matches!(without, Err(Refusal::Salvage(why)) if why.contains("not here any more")));
    sim.decide(salvage(facts(&[], Some(kept)))).expect("salvaged");
    assert_eq!(sim.job(job).state, JobState::Succeeded);
    assert_eq!(sim.step(job, "a").outputs["n"], 7);
}

#[test]
fn rules_10_and_11_a_cancel_waits_for_the_worker() {
    let (mut sim, worker, job, attempt) = running();
    sim.decide(Event::CancelJob(job)).expect("cancelled");
    assert_eq!(sim.said(), ["cancel user"]);
    assert_eq!(
        sim.states(job, "a"),
        (
            JobState::Cancelling,
            StepState::Cancelling,
            AttemptState::Cancelling
        )
    );
    assert_eq!(sim.current(job, "a").due, sim.now.mono + 25_000);
    sim.from(worker, renew(attempt)).expect("heard");
    assert_eq!(sim.said(), ["cancel user"], "it is told again");
    sim.finish(job, "a", json!({"outcome": "killed"}))
        .expect("applied");
    assert_eq!(
        sim.states(job, "a"),
        (JobState::Cancelled, StepState::Cancelled, AttemptState::Cancelled)
    );
}

#[test]
fn rule_11_work_that_had_succeeded_is_kept_and_the_job_is_cancelled() {
    let (mut sim, _, job, _) = running();
    sim.decide(Event::CancelJob(job)).expect("cancelled");
    sim.finish(job, "a", json!({})).expect("applied");
    assert_eq!(
        sim.states(job, "a"),
        (JobState::Cancelled, StepState::Succeeded, AttemptState::Succeeded)
    );
    assert_eq!(sim.current(job, "a").notes.len(), 1);
}

#[test]
fn rule_12_a_cancel_that_nobody_confirms_ends_by_itself() {
    let (mut sim, worker, job, attempt) = running();
    sim.decide(Event::CancelJob(job)).expect("cancelled");
    sim.pass(25_000);
    assert_eq!(sim.said(), ["cancel user"]);
    assert_eq!(
        sim.states(job, "a"),
        (JobState::Cancelled, StepState::Cancelled, AttemptState::Lost)
    );
    sim.from(worker, renew(attempt)).expect("heard");
    assert_eq!(sim.said(), ["cancel superseded"]);
}

#[test]
fn rules_12_and_13_a_hard_limit_costs_work() {
    let (mut sim, worker, job, attempt) = running();
    for _ in 0..20 {
        sim.pass(30_000);
        sim.from(worker, renew(attempt)).expect("heard");
    }
    assert_eq!(sim.states(job, "a").2, AttemptState::Cancelling);
    assert_eq!(sim.said(), ["cancel timeout"]);
    sim.pass(25_000);
    assert_eq!(sim.states(job, "a").1, StepState::RetryWait);
    assert_eq!(sim.states(job, "a").2, AttemptState::TimedOut);
    assert_eq!(sim.step(job, "a").work_left, 0);
}

#[test]
fn rule_13_a_result_that_came_in_spite_of_the_limit_counts() {
    let (mut sim, worker, job, attempt) = running();
    for _ in 0..20 {
        sim.pass(30_000);
        sim.from(worker, renew(attempt)).expect("heard");
    }
    sim.finish(job, "a", json!({})).expect("applied");
    assert_eq!(sim.job(job).state, JobState::Succeeded);
}

#[test]
fn rule_14_a_new_connection_resumes_what_runs_and_a_repeat_changes_nothing() {
    let (mut sim, worker, job, attempt) = running();
    let mut says = hello(1);
    says.running.push(RunningAttempt {
        attempt,
        for_ms: 1,
        last_seq: 0,
    });
    sim.pass(45_000);
    sim.hello(worker, session(1, 2), says.clone()).expect("heard");
    assert_eq!(sim.said(), ["sync resume 1 stop 0 ack 0 want 0"]);
    assert_eq!(sim.states(job, "a").2, AttemptState::Running);
    let due = sim.current(job, "a").due;
    sim.pass(10);
    sim.hello(worker, session(1, 2), says.clone()).expect("heard");
    assert_eq!(sim.said(), ["sync resume 1 stop 0 ack 0 want 0"]);
    assert_eq!(sim.current(job, "a").due, due);
    let older = sim.hello(worker, session(1, 1), says);
    assert_eq!(older, Err(Refusal::StaleSession));
}

#[test]
fn rule_14_an_offer_is_said_again_to_the_same_boot_and_lost_with_another() {
    let (mut sim, worker, job, attempt) = offered();
    sim.hello(worker, session(1, 2), hello(1)).expect("heard");
    assert_eq!(sim.said(), ["sync resume 0 stop 0 ack 0 want 0", "assign"]);
    assert_eq!(sim.current(job, "a").id, attempt);
    let mut says = hello(1);
    says.boot_id = BootId::from_uuid(Uuid::from_u128(77));
    sim.hello(worker, session(2, 1), says).expect("heard");
    assert_ne!(sim.current(job, "a").id, attempt);
    assert_eq!(sim.step(job, "a").attempts[0].state, AttemptState::Lost);
}

#[test]
fn rule_14_what_is_listed_nowhere_is_lost_and_results_are_asked_for() {
    let (mut sim, worker, job, attempt) = running();
    let mut says = hello(1);
    says.unsent.push((attempt, Outcome::Ok));
    sim.hello(worker, session(1, 2), says.clone()).expect("heard");
    assert_eq!(sim.said(), ["sync resume 0 stop 0 ack 0 want 1"]);
    assert_eq!(sim.states(job, "a").2, AttemptState::Running);
    sim.finish(job, "a", json!({})).expect("applied");
    sim.hello(worker, session(1, 3), says).expect("heard");
    assert_eq!(sim.said(), ["sync resume 0 stop 0 ack 1 want 0"]);

    let (mut sim, worker, job, attempt) = running();
    sim.hello(worker, session(1, 2), hello(1)).expect("heard");
    assert_eq!(sim.step(job, "a").attempts[0].id, attempt);
    assert_eq!(sim.step(job, "a").attempts[0].state, AttemptState::Lost);
}

#[test]
fn rule_14_a_cancelling_attempt_is_stopped_and_keeps_its_due() {
    let (mut sim, worker, job, attempt) = running();
    sim.decide(Event::CancelJob(job)).expect("cancelled");
    let due = sim.current(job, "a").due;
    let mut says = hello(1);
    says.running.push(RunningAttempt {
        attempt,
        for_ms: 1,
        last_seq: 0,
    });
    sim.hello(worker, session(1, 2), says).expect("heard");
    assert_eq!(sim.said(), ["sync resume 0 stop 1 ack 0 want 0"]);
    assert_eq!(sim.current(job, "a").due, due);
    sim.hello(worker, session(1, 3), hello(1)).expect("heard");
    assert_eq!(sim.job(job).state, JobState::Cancelled);
}

#[test]
fn rule_15_a_retry_waits_by_the_wall_clock() {
    let (mut sim, _, job, _) = running();
    let wait = json!({"outcome": "failed",
        "error": {"class": "exit", "message": "no", "retry_after_ms": 30_000}});
    sim.finish(job, "a", wait).expect("applied");
    sim.pass(29_999);
    assert_eq!(sim.step(job, "a").state, StepState::RetryWait);
    sim.pass(1);
    assert_eq!(sim.step(job, "a").state, StepState::Offered);
}

#[test]
fn a_worker_whose_host_closed_the_connection_has_a_short_grace() {
    let (mut sim, worker, job, attempt) = running();
    sim.decide(Event::WorkerDisconnected {
        worker,
        by_host: true,
    })
    .expect("seen");
    sim.pass(20_000);
    assert_eq!(sim.worker(worker).state, WorkerState::Offline);
    assert_eq!(sim.states(job, "a").2, AttemptState::Suspect);
    sim.pass(30_000);
    assert_eq!(sim.states(job, "a").2, AttemptState::Lost);
    sim.result(job, "a", attempt, json!({})).expect("adopted");
    assert_eq!(sim.job(job).state, JobState::Succeeded);
}

#[test]
fn a_removed_worker_loses_its_attempts_at_once_and_is_not_heard_again() {
    let (mut sim, worker, job, attempt) = running();
    let wanted = Wanted::Removed;
    sim.decide(Event::WorkerWanted { worker, wanted })
        .expect("removed");
    assert_eq!(sim.said(), ["kick"]);
    // should the disk refuse this, its connection is what it was
    assert!(sim.worker(worker).live);
    assert_eq!(sim.states(job, "a").2, AttemptState::Lost);
    assert_eq!(sim.worker(worker).used, 0);
    let mut says = hello(1);
    says.running.push(RunningAttempt {
        attempt,
        for_ms: 1,
        last_seq: 0,
    });
    assert_eq!(sim.hello(worker, session(1, 2), says), Err(Refusal::Removed));
    assert_eq!(sim.from(worker, renew(attempt)), Err(Refusal::Removed));
    assert_eq!(sim.result(job, "a", attempt, json!({})), Err(Refusal::Removed));
    assert_eq!(sim.states(job, "a").2, AttemptState::Lost);
}
