//! Rule 15: steps that wait for a person.

use protocol::{
    approval::{Answer, Decided},
    id::JobId,
    job::JobState,
    step::{ErrorClass, StepState},
};
use serde_json::{Value, json};

use super::sim::{Sim, failed};
use crate::orchestrator::{
    Event, Refusal,
    approval::{Decision, oldest, tag},
    why,
};

pub(super) const ASKS: &str = r"
api: agentd/v1
name: asks
steps:
  plan: {run: [plan], allow_failure: true, retry: {max: 0}}
  approve:
    needs: [plan]
    approval: {timeout: 1h, on_timeout: reject, show: [plan]}
  build: {needs: [approve], run: [build]}
";

fn decision(answer: Answer) -> Decision {
    Decision {
        answer,
        by: "token \"anna\"".to_owned(),
        reason: Some("as discussed".to_owned()),
        seen: None,
    }
}

fn decide(sim: &mut Sim, job: JobId, step: &str, decision: Decision) -> Result<(), Refusal> {
    sim.decide(Event::DecideStep {
        job,
        step: step.parse().expect("a key"),
        decision,
    })
}

/// A job whose step `approve` waits for a person.
fn waiting(workflow: &str) -> (Sim, JobId) {
    let mut sim = Sim::new(1);
    sim.online("w1", 4);
    let job = sim.submit(workflow);
    sim.finish(job, "plan", json!({"outputs": {"risk": 0.9}}))
        .expect("applied");
    (sim, job)
}

fn decided(sim: &Sim, job: JobId) -> &Decided {
    let wait = sim.step(job, "approve").approval.as_ref().expect("asked");
    wait.decided.as_ref().expect("decided")
}

fn last_step_event(sim: &Sim, state: &str) -> Value {
    let events = sim.changes.events.iter().rev();
    let mut found = events.filter(|event| event.data.get("state").is_some_and(|it| it == state));
    Value::Object(found.next().expect("an event").data.clone())
}

#[test]
fn a_step_waits_for_a_person_and_the_job_goes_on_when_it_is_approved() {
    let (mut sim, job) = waiting(ASKS);
    assert_eq!(sim.step(job, "approve").state, StepState::Awaiting);
    assert_eq!(sim.job(job).state, JobState::Waiting);
    assert!(last_step_event(&sim, "awaiting")["until"].is_string());
    decide(&mut sim, job, "approve", decision(Answer::Approve)).expect("approved");
    let step = sim.step(job, "approve");
    assert_eq!(step.state, StepState::Succeeded);
    assert_eq!(step.outputs["decision"], "approve");
    assert_eq!(step.outputs["reason"], "as discussed");
    assert_eq!(
        decided(&sim, job).to_string(),
        "approved by token \"anna\": as discussed"
    );
    let event = last_step_event(&sim, "succeeded");
    assert_eq!(event["decided"]["by"], "token \"anna\"", "{event}");
    assert_eq!(sim.step(job, "build").state, StepState::Offered);
    assert_eq!(sim.job(job).state, JobState::Running);
    sim.finish(job, "build", json!({})).expect("applied");
    assert_eq!(sim.job(job).state, JobState::Succeeded);
}

#[test]
fn a_rejected_step_fails_its_job_with_the_reason_and_a_retry_asks_again() {
    let (mut sim, job) = waiting(ASKS);
    decide(&mut sim, job, "approve", decision(Answer::Reject)).expect("rejected");
    let step = sim.step(job, "approve");
    assert_eq!(step.state, StepState::Failed);
    let error = step.error.as_ref().expect("an error");
    assert_eq!(error.class, ErrorClass::Rejected);
    assert_eq!(sim.step(job, "build").state, StepState::Skipped);
    assert_eq!(sim.job(job).state, JobState::Failed);
    let reason = sim.job(job).reason.clone().expect("a reason");
    assert_eq!(
        reason,
        "step approve failed: rejected by token \"anna\": as discussed"
    );
    sim.decide(Event::RetryJob(job)).expect("retried");
    let step = sim.step(job, "approve");
    assert_eq!(step.state, StepState::Awaiting);
    assert_eq!(step.approval.as_ref().and_then(|wait| wait.decided.clone()), None);
    assert_eq!(sim.step(job, "plan").attempts.len(), 1, "what succeeded is kept");
    decide(&mut sim, job, "approve", decision(Answer::Approve)).expect("approved");
    assert_eq!(sim.step(job, "build").state, StepState::Offered);
}

#[test]
fn a_repeat_is_harmless_and_the_opposite_is_refused() {
    let (mut sim, job) = waiting(ASKS);
    decide(&mut sim, job, "approve", decision(Answer::Approve)).expect("approved");
    let (first, events) = (decided(&sim, job).clone(), sim.changes.events.len());
    let mut other = decision(Answer::Approve);
    other.by = "token \"bob\"".to_owned();
    decide(&mut sim, job, "approve", other).expect("a repeat");
    assert_eq!((decided(&sim, job), sim.changes.events.len()), (&first, events));
    let refused = decide(&mut sim, job, "approve", decision(Answer::Reject)).expect_err("too late");
    assert_eq!(
        refused.to_string(),
        "step approve was already approved by token \"anna\": as discussed"
    );
    let refused = decide(&mut sim, job, "build", decision(Answer::Approve)).expect_err("no approval");
    assert_eq!(
        refused.to_string(),
        "step build is offered and waits for nobody's decision"
    );
    let unknown = decide(&mut sim, job, "nothing", decision(Answer::Approve));
    assert_eq!(unknown, Err(Refusal::Unknown("step")));
}

#[test]
fn silence_means_what_the_workflow_says() {
    for (answer, state) in [("reject", StepState::Failed), ("approve", StepState::Succeeded)] {
        let (mut sim, job) = waiting(&ASKS.replace("on_timeout: reject", &format!("on_timeout: {answer}")));
        sim.pass(3_599_999);
        assert_eq!(sim.step(job, "approve").state, StepState::Awaiting, "{answer}");
        sim.pass(1);
        assert_eq!(sim.step(job, "approve").state, state, "{answer}");
        assert_eq!(decided(&sim, job).by, None);
        let error = sim.step(job, "approve").error.clone();
        let class = error.map(|error| error.class);
        assert_eq!(class, (answer == "reject").then_some(ErrorClass::Timeout));
    }
}

#[test]
fn the_wall_clock_decides_when_the_time_is_over() {
    let (mut sim, job) = waiting(ASKS);
    // somebody sets the clock back: the person still has the whole time, and no longer
    sim.now.wall -= jiff::SignedDuration::from_hours(2);
    sim.pass(3_600_000);
    assert_eq!(sim.step(job, "approve").state, StepState::Awaiting);
    sim.now.wall += jiff::SignedDuration::from_hours(2);
    sim.pass(600_000);
    assert_eq!(sim.step(job, "approve").state, StepState::Failed);
}

#[test]
fn a_cancel_ends_the_wait() {
    let (mut sim, job) = waiting(ASKS);
    sim.decide(Event::CancelJob(job)).expect("cancelled");
    assert_eq!(sim.step(job, "approve").state, StepState::Cancelled);
    assert_eq!(sim.job(job).state, JobState::Cancelled);
    let refused = decide(&mut sim, job, "approve", decision(Answer::Approve)).expect_err("cancelled");
    assert_eq!(
        refused.to_string(),
        "step approve is cancelled and waits for nobody's decision"
    );
}

#[test]
fn a_decision_about_something_else_is_refused() {
    let (mut sim, job) = waiting(ASKS);
    let now = tag(sim.job(job), sim.step(job, "approve")).expect("a tag");
    let about = |tags: &[&str], answer| Decision {
        seen: Some(tags.iter().map(|tag| (*tag).to_owned()).collect()),
        ..decision(answer)
    };
    let refused = decide(&mut sim, job, "approve", about(&["other"], Answer::Approve));
    assert!(matches!(refused, Err(Refusal::Changed { .. })), "{refused:?}");
    assert_eq!(sim.step(job, "approve").state, StepState::Awaiting);
    decide(&mut sim, job, "approve", about(&["other", &now], Answer::Reject)).expect("one fits");
    decide(&mut sim, job, "approve", about(&[&now], Answer::Reject)).expect("a repeat fits too");
    sim.pass(1_000);
    sim.decide(Event::RetryJob(job)).expect("retried");
    let refused = decide(&mut sim, job, "approve", about(&[&now], Answer::Approve));
    assert!(
        matches!(refused, Err(Refusal::Changed { .. })),
        "it is another question: {refused:?}"
    );
}

#[test]
fn a_result_that_was_salvaged_meanwhile_is_another_diff() {
    let mut sim = Sim::new(1);
    sim.online("w1", 4);
    let job = sim.submit(&ASKS.replace("retry: {max: 0}", "retry: {max: 0, on: []}"));
    let first = sim.accept(job, "plan");
    // the worker is lost, a newer attempt fails, and the first one's result comes late
    sim.pass(45_000);
    sim.pass(120_000);
    sim.online("w2", 4);
    sim.finish(job, "plan", failed("exit")).expect("applied");
    assert_eq!(sim.step(job, "approve").state, StepState::Awaiting);
    let seen = tag(sim.job(job), sim.step(job, "approve")).expect("a tag");
    sim.result(job, "plan", first, json!({"outputs": {"risk": 0.1}}))
        .expect("kept");
    sim.decide(Event::Salvage {
        job,
        step: "plan".parse().expect("a key"),
        attempt: first,
        facts: crate::orchestrator::Facts::default(),
    })
    .expect("salvaged");
    assert_eq!(sim.step(job, "approve").state, StepState::Awaiting);
    let about = Decision {
        seen: Some(vec![seen]),
        ..decision(Answer::Approve)
    };
    let refused = decide(&mut sim, job, "approve", about);
    assert!(matches!(refused, Err(Refusal::Changed { .. })), "{refused:?}");
}

#[test]
fn a_job_that_begins_with_a_question_holds_no_place_in_its_group() {
    let mut sim = Sim::new(1);
    sim.online("w1", 4);
    let text = "api: agentd/v1\nname: first\nconcurrency: {group: g, max: 1}\nsteps:\n  approve: {approval: {}}\n  a: {needs: [approve], run: [a]}\n";
    let first = sim.submit(text);
    assert_eq!(sim.job(first).state, JobState::Waiting);
    let second = sim.submit(&text.replace("  approve: {approval: {}}\n  a: {needs: [approve], ", "  a: {"));
    assert_eq!(sim.job(second).state, JobState::Running);
    decide(&mut sim, first, "approve", decision(Answer::Approve)).expect("approved");
    assert_eq!(sim.job(first).state, JobState::Queued);
    sim.finish(second, "a", json!({})).expect("applied");
    assert_eq!(sim.job(first).state, JobState::Running);
}

#[test]
fn the_time_that_a_person_takes_is_not_the_jobs() {
    let limited = ASKS.replace("name: asks", "name: asks\ntimeout: 10m");
    let (mut sim, job) = waiting(&limited);
    sim.pass(1_800_000);
    assert_eq!(sim.job(job).state, JobState::Waiting);
    decide(&mut sim, job, "approve", decision(Answer::Approve)).expect("approved");
    sim.decide(Event::PauseDispatch(true)).expect("paused");
    sim.pass(599_999);
    assert_eq!(sim.job(job).state, JobState::Running);
    sim.pass(1);
    assert_eq!(sim.job(job).state, JobState::Cancelling);
}

#[test]
fn a_skipped_question_lets_the_job_go_on() {
    let asks = ASKS.replace(
        "    approval:",
        "    if: steps.plan.outputs.risk >= 0.95\n    approval:",
    );
    let (sim, job) = waiting(&asks);
    assert_eq!(sim.step(job, "approve").state, StepState::Skipped);
    assert_eq!(sim.step(job, "build").state, StepState::Offered);
}

#[test]
fn in_rounds_each_has_its_own_question_about_its_own_steps() {
    let mut sim = Sim::new(1);
    sim.online("w1", 4);
    let job = sim.submit(
        "api: agentd/v1\nname: rounds\nsteps:\n  plan: {run: [plan]}\n  cycle:\n    needs: [plan]\n    loop: {as: again, max: 2, until: steps.approve.ok, on_exhausted: fail}\n    steps:\n      edit: {run: [edit]}\n      approve: {needs: [edit], approval: {show: [plan, edit]}, allow_failure: true}\n",
    );
    sim.finish(job, "plan", json!({})).expect("applied");
    sim.finish(job, "cycle#1/edit", json!({})).expect("applied");
    assert_eq!(sim.job(job).state, JobState::Waiting);
    decide(&mut sim, job, "cycle#1/approve", decision(Answer::Reject)).expect("rejected");
    sim.finish(job, "cycle#2/edit", json!({"outputs": {"better": true}}))
        .expect("applied");
    let owner = sim.job(job);
    let step = sim.step(job, "cycle#2/approve");
    let names = ["plan".to_owned(), "edit".to_owned()];
    let shown = crate::orchestrator::approval::shown(&owner.steps, step, &names);
    let keys: Vec<&str> = shown.iter().map(|step| step.key.as_str()).collect();
    assert_eq!(keys, ["plan", "cycle#2/edit"]);
    decide(&mut sim, job, "cycle#2/approve", decision(Answer::Approve)).expect("approved");
    assert_eq!(sim.job(job).state, JobState::Succeeded);
}

#[test]
fn a_waiting_job_says_who_can_decide_until_when_and_how() {
    let (sim, job) = waiting(ASKS);
    let why = why::explain(&sim.world, sim.job(job), sim.now.mono);
    assert!(
        why.summary
            .starts_with("job 1 waits: step approve waits for a person"),
        "{why:#?}"
    );
    let step = why
        .steps
        .iter()
        .find(|step| step.step.as_str() == "approve")
        .expect("listed");
    assert_eq!(
        step.reason,
        "waits for a person's decision: whoever has a token with scope approve or admin; \
         if nobody decides until 2027-01-15T09:00:00Z, it is rejected"
    );
    assert_eq!(
        step.hint.as_deref(),
        Some("agentctl approve 1 'approve', or agentctl reject 1 'approve'")
    );
}

#[test]
fn the_oldest_question_goes_first() {
    let (mut sim, first) = waiting(ASKS);
    sim.pass(1_000);
    let second = sim.submit(ASKS);
    sim.finish(second, "plan", json!({})).expect("applied");
    let found = |sim: &Sim| oldest(&sim.world).map(|(job, step)| (job.id, step.key.to_string()));
    assert_eq!(found(&sim), Some((first, "approve".to_owned())));
    decide(&mut sim, first, "approve", decision(Answer::Approve)).expect("approved");
    assert_eq!(found(&sim), Some((second, "approve".to_owned())));
    sim.decide(Event::CancelJob(second)).expect("cancelled");
    assert_eq!(found(&sim), None);
}
