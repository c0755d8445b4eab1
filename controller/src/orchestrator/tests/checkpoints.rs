//! Checkpoints of an agent's turns: which are kept, what the next attempt gets,
//! and that every turn is charged once.

use protocol::{
    artifact::{BlobRef, Sha256},
    id::{AttemptId, JobId, WorkerId},
    job::JobState,
    message::{Checkpoint, FromWorker, ToWorker},
    step::{AttemptState, StepState},
    usage::Usage,
};
use serde_json::json;

use super::sim::{Sim, failed};
use crate::orchestrator::{Effect, Event, Refusal};

/// A step with these further keys; a command stands for an agent, whose models are configured elsewhere.
fn workflow(keys: &str) -> String {
    format!(
        "api: agentd/v1\nname: one\nsteps:\n  a:\n    run: [echo, hi]\n    \
         retry: {{max: 2, on: [exit, provider, model_output]}}\n    {keys}\n"
    )
}

fn used(calls: u64) -> Usage {
    Usage {
        calls,
        output_tokens: 10 * calls,
        ..Usage::default()
    }
}

fn checkpoint(attempt: AttemptId, seq: u64, calls: u64) -> FromWorker {
    FromWorker::Checkpoint(Checkpoint {
        attempt,
        seq,
        transcript: BlobRef {
            sha256: Sha256([seq as u8; 32]),
            size: seq,
        },
        workspace: None,
        usage: used(calls),
    })
}

/// One worker that runs step `a`.
fn running(keys: &str) -> (Sim, WorkerId, JobId, AttemptId) {
    let mut sim = Sim::new(1);
    let worker = sim.online("w1", 1);
    let job = sim.submit(&workflow(keys));
    let attempt = sim.accept(job, "a");
    (sim, worker, job, attempt)
}

/// The number of the stored checkpoint.
fn stored(sim: &Sim, job: JobId) -> Option<u64> {
    sim.step(job, "a").checkpoint.as_ref().map(|stored| stored.seq)
}

/// The number of the checkpoint in the offer that was just made.
fn offered_from(sim: &Sim) -> Option<u64> {
    let mut assigns = sim.effects.iter().filter_map(|effect| match effect {
        Effect::Say {
            message: ToWorker::Assign(assign),
            ..
        } => Some(assign),
        _ => None,
    });
    let assign = assigns.next_back().expect("an offer");
    assign.checkpoint.as_ref().map(|checkpoint| checkpoint.seq)
}

#[test]
fn rule_6c_only_a_later_checkpoint_of_the_current_attempt_is_stored() {
    let (mut sim, worker, job, attempt) = running("");
    sim.from(worker, checkpoint(attempt, 2, 2)).expect("stored");
    for seq in [2, 1] {
        let refused = sim.from(worker, checkpoint(attempt, seq, 9));
        assert_eq!(refused, Err(Refusal::NotApplicable));
    }
    assert_eq!(stored(&sim, job), Some(2));
    assert_eq!(sim.job(job).usage, used(2), "only what was stored is charged");
    sim.lose(job, "a");
    assert_ne!(sim.current(job, "a").id, attempt);
    let refused = sim.from(worker, checkpoint(attempt, 3, 3));
    assert_eq!(refused, Err(Refusal::StaleAttempt));
}

#[test]
fn the_next_attempt_goes_on_from_the_checkpoint_and_pays_for_its_own_turns_alone() {
    let (mut sim, worker, job, attempt) = running("");
    sim.from(worker, checkpoint(attempt, 2, 2)).expect("stored");
    sim.lose(job, "a");
    assert_eq!(offered_from(&sim), Some(2));
    let second = sim.accept(job, "a");
    sim.from(worker, checkpoint(second, 3, 1)).expect("stored");
    assert_eq!((stored(&sim, job), sim.job(job).usage), (Some(3), used(3)));
    sim.finish(job, "a", json!({"usage": used(2)})).expect("applied");
    assert_eq!(sim.job(job).state, JobState::Succeeded);
    assert_eq!(sim.job(job).usage, used(4));
    assert_eq!(stored(&sim, job), None, "nobody goes on from what succeeded");
}

#[test]
fn a_checkpoint_of_a_lost_attempt_that_nothing_superseded_counts() {
    let (mut sim, worker, job, attempt) = running("");
    sim.decide(Event::PauseDispatch(true)).expect("paused");
    sim.lose(job, "a");
    sim.from(worker, checkpoint(attempt, 1, 1)).expect("stored");
    assert_eq!(
        sim.states(job, "a").2,
        AttemptState::Lost,
        "it is no sign of life"
    );
    sim.decide(Event::PauseDispatch(false)).expect("resumed");
    assert_eq!(offered_from(&sim), Some(1));
}

#[test]
fn with_retry_every_attempt_begins_anew() {
    let (mut sim, worker, job, attempt) = running("on_lost: retry");
    sim.from(worker, checkpoint(attempt, 5, 5)).expect("stored");
    sim.lose(job, "a");
    assert_eq!(offered_from(&sim), None);
    let second = sim.accept(job, "a");
    sim.from(worker, checkpoint(second, 1, 1)).expect("stored");
    assert_eq!((stored(&sim, job), sim.job(job).usage), (Some(1), used(6)));
}

#[test]
fn with_park_a_person_decides_and_nothing_is_lost() {
    let (mut sim, worker, job, attempt) = running("on_lost: park");
    sim.from(worker, checkpoint(attempt, 2, 2)).expect("stored");
    sim.lose(job, "a");
    assert_eq!(
        sim.states(job, "a"),
        (JobState::Parked, StepState::Parked, AttemptState::Lost)
    );
    let reason = sim.job(job).reason.clone().expect("why");
    assert!(reason.contains("on_lost: park"), "{reason}");
    sim.decide(Event::ResumeJob(job)).expect("resumed");
    assert_eq!(offered_from(&sim), Some(2));
}

#[test]
fn a_conversation_that_failed_by_itself_is_not_gone_on_from() {
    for (class, kept) in [("model_output", None), ("provider", Some(1))] {
        let (mut sim, worker, job, attempt) = running("");
        sim.from(worker, checkpoint(attempt, 1, 1)).expect("stored");
        sim.finish(job, "a", failed(class)).expect("applied");
        assert_eq!(sim.states(job, "a").1, StepState::RetryWait);
        sim.pass(300_000);
        assert_eq!(offered_from(&sim), kept, "after {class}");
    }
}
