//! Each guard has a job that waits for it, and says what would change that.

use std::collections::BTreeSet;

use protocol::{
    guard::Guard,
    http::jobs::Why,
    id::JobId,
    job::JobState,
    message::{FromWorker, Reject, RejectReason},
    step::StepState,
    worker::Wanted,
};
use serde_json::json;

use super::{
    approvals::ASKS,
    jobs::{grouped, spent},
    sim::{Sim, failed},
};
use crate::orchestrator::{Event, why};

type Scene = fn() -> (Sim, JobId);

/// Guard, what brings a job there, and what the way out says.
const CASES: &[(Guard, Scene, &str)] = &[
    (
        Guard::DispatchPaused,
        paused_dispatch,
        r#"publish {"do": "resume"} to the MQTT topic agentd/command"#,
    ),
    (Guard::Nothing, paused_dispatch, "nothing has to be done"),
    (
        Guard::GroupFull,
        full_group,
        "one of these jobs has ended: 1; `agentctl cancel JOB`",
    ),
    (
        Guard::BudgetSpent,
        || spent("park"),
        "`agentctl resume 1` gives its token budget as much again",
    ),
    (
        Guard::JobParked,
        parked,
        "`agentctl resume 1` lets it go on, `agentctl cancel 1` ends it",
    ),
    (Guard::StepParked, parked, "agentctl resume 1"),
    (
        Guard::Needs,
        || submitted(TWO, 1),
        "begins by itself when these have ended",
    ),
    (Guard::OtherSteps, brought_back, "begins by itself"),
    (Guard::RetryTime, waits_to_retry, "`agentctl cancel 1` stops it"),
    (
        Guard::Decision,
        || submitted_and_planned(ASKS),
        "agentctl approve 1 'approve', or agentctl reject 1 'approve'",
    ),
    (
        Guard::Acceptance,
        || submitted(ONE, 1),
        "it is said again in 10 s, 3 times in all",
    ),
    (Guard::Result, || accepted(0), "agentctl logs -f 1 'a'"),
    (
        Guard::SilentWorker,
        || accepted(45_000),
        "without one in 120 s another attempt begins; `agentctl workers show w1`",
    ),
    (
        Guard::InnerSteps,
        || submitted(BLOCK, 1),
        "ends with the steps inside it",
    ),
    (
        Guard::Stop,
        stopping,
        "it ends when w1 says so, or in 25 s without a word of it",
    ),
    (
        Guard::NoWorker,
        || submitted(ONE, 0),
        "agentctl workers join-token",
    ),
    (
        Guard::WorkerOffline,
        offline,
        "start `agent-worker` on the machine of w1, or forget it: `agentctl workers remove w1`",
    ),
    (
        Guard::WorkerSuspect,
        suspect,
        "asked again with its next word; `agentctl workers show w1`",
    ),
    (
        Guard::WorkerPaused,
        || wanted(Wanted::Paused),
        "`agentctl workers resume w1`",
    ),
    (
        Guard::WorkerDraining,
        || wanted(Wanted::Draining),
        "`agentctl workers resume w1`",
    ),
    (
        Guard::Labels,
        || submitted(&ONE.replace("run: [a]", "run: [a], requires: {gpu: 'yes'}"), 1),
        "start a worker that has gpu=yes, or give it to w1",
    ),
    (
        Guard::Sandbox,
        || submitted(&ONE.replace("run: [a]", "run: [a], sandbox: strong"), 1),
        "install bubblewrap on the machine of w1",
    ),
    (
        Guard::Model,
        || submitted(AGENT, 1),
        "start Ollama on the machine of w1",
    ),
    (
        Guard::Model,
        || submitted(&AGENT.replace("with:", "model: big, with:"), 1),
        "add \"big\" under `models:`",
    ),
    (
        Guard::Model,
        out_of_reach,
        "add the provider of \"big\" under `providers:`",
    ),
    (
        Guard::NotWith,
        kept_apart,
        "it goes to another worker; if none can take it any more, w1 is asked all the same",
    ),
    (Guard::Excluded, refused, "in 60 s it may be asked again"),
    (
        Guard::Slots,
        no_slot,
        "it is offered when an attempt on w1 ends; more `slots:`",
    ),
];

const ONE: &str = "api: agentd/v1\nname: one\nsteps:\n  a: {run: [a]}\n";
const TWO: &str = "api: agentd/v1\nname: two\nsteps:\n  a: {run: [a]}\n  b: {needs: [a], run: [b]}\n";
const BLOCK: &str = "api: agentd/v1\nname: block\nsteps:\n  cycle:\n    loop: {as: again, max: 2, until: steps.a.ok}\n    steps:\n      a: {run: [a]}\n";
const AGENT: &str = "api: agentd/v1\nname: agent\nsteps:\n  plan: {agent: architect, with: {task: x}}\n";
const APART: &str = "api: agentd/v1\nname: apart\nsteps:\n  a: {run: [a]}\n  b: {needs: [a], run: [b], place: {not_with: [a]}}\n";

fn submitted(workflow: &str, workers: usize) -> (Sim, JobId) {
    let mut sim = Sim::new(1);
    for name in ["w1", "w2"].into_iter().take(workers) {
        sim.online(name, 1);
    }
    let job = sim.submit(workflow);
    (sim, job)
}

fn submitted_and_planned(workflow: &str) -> (Sim, JobId) {
    let (mut sim, job) = submitted(workflow, 1);
    sim.finish(job, "plan", json!({})).expect("applied");
    (sim, job)
}

fn paused_dispatch() -> (Sim, JobId) {
    let mut sim = Sim::new(1);
    sim.online("w1", 1);
    sim.decide(Event::PauseDispatch(true)).expect("paused");
    let job = sim.submit(ONE);
    (sim, job)
}

fn full_group() -> (Sim, JobId) {
    let (mut sim, _) = submitted(&grouped("queue"), 2);
    let second = sim.submit(&grouped("queue"));
    (sim, second)
}

fn parked() -> (Sim, JobId) {
    let mut sim = Sim::new(1);
    sim.world.limits.infra_retries = 0;
    sim.online("w1", 1);
    let job = sim.submit(ONE);
    sim.accept(job, "a");
    sim.lose(job, "a");
    assert_eq!(sim.job(job).state, JobState::Parked);
    (sim, job)
}

/// A job that failed is tried again, and has closing steps already.
fn brought_back() -> (Sim, JobId) {
    let (mut sim, job) = submitted(&grouped("queue"), 1);
    sim.finish(job, "a", failed("spec")).expect("applied");
    sim.finish(job, "finally/tidy", json!({})).expect("applied");
    sim.decide(Event::RetryJob(job)).expect("brought back");
    assert_eq!(sim.step(job, "finally/tidy").state, StepState::Blocked);
    (sim, job)
}

fn waits_to_retry() -> (Sim, JobId) {
    let (mut sim, job) = submitted(&ONE.replace("run: [a]", "run: [a], retry: {max: 1}"), 1);
    sim.finish(job, "a", failed("provider")).expect("applied");
    assert_eq!(sim.step(job, "a").state, StepState::RetryWait);
    (sim, job)
}

fn accepted(silent_ms: u64) -> (Sim, JobId) {
    let (mut sim, job) = submitted(ONE, 1);
    sim.accept(job, "a");
    sim.pass(silent_ms);
    (sim, job)
}

fn stopping() -> (Sim, JobId) {
    let (mut sim, job) = accepted(0);
    sim.decide(Event::CancelJob(job)).expect("cancelled");
    (sim, job)
}

fn offline() -> (Sim, JobId) {
    let mut sim = Sim::new(1);
    sim.joined("w1", 1);
    let job = sim.submit(ONE);
    (sim, job)
}

/// An offer was said three times, and nobody took it.
fn suspect() -> (Sim, JobId) {
    let (mut sim, job) = submitted(ONE, 1);
    for _ in 0..3 {
        sim.pass(10_000);
    }
    (sim, job)
}

fn wanted(wanted: Wanted) -> (Sim, JobId) {
    let mut sim = Sim::new(1);
    let worker = sim.online("w1", 1);
    sim.decide(Event::WorkerWanted { worker, wanted })
        .expect("wanted");
    let job = sim.submit(ONE);
    (sim, job)
}

fn out_of_reach() -> (Sim, JobId) {
    let mut sim = Sim::new(1);
    let candidate = serde_json::from_value(json!({"provider": "far", "model": "m", "window": 8192}));
    sim.world
        .models
        .aliases
        .insert("big".to_owned(), vec![candidate.expect("a candidate")]);
    sim.online("w1", 1);
    let job = sim.submit(AGENT);
    (sim, job)
}

/// `b` must not run where `a` ran, and the other worker is busy.
fn kept_apart() -> (Sim, JobId) {
    let (mut sim, job) = submitted(APART, 2);
    let other = sim.submit(ONE);
    sim.accept(other, "a");
    sim.finish(job, "a", json!({})).expect("applied");
    (sim, job)
}

fn refused() -> (Sim, JobId) {
    let (mut sim, job) = submitted(ONE, 1);
    let (attempt, worker) = (sim.current(job, "a").id, sim.current(job, "a").worker);
    let reject = Reject {
        attempt,
        why: RejectReason::Busy,
        detail: String::new(),
        retry_after_ms: 0,
    };
    sim.from(worker, FromWorker::Reject(reject)).expect("heard");
    (sim, job)
}

fn no_slot() -> (Sim, JobId) {
    let (mut sim, _) = submitted(ONE, 1);
    let second = sim.submit(ONE);
    (sim, second)
}

/// Every guard that an answer names, with the way out.
fn guards(why: &Why) -> Vec<(Guard, String)> {
    let steps = why.steps.iter().flat_map(|step| {
        let workers = step
            .workers
            .iter()
            .map(|worker| (worker.guard, worker.hint.clone()));
        [(step.guard, step.hint.clone())].into_iter().chain(workers)
    });
    [(why.guard, why.hint.clone())]
        .into_iter()
        .chain(steps)
        .filter_map(|(guard, hint)| Some((guard?, hint.unwrap_or_default())))
        .collect()
}

#[test]
fn every_guard_is_explained_with_what_would_change_it() {
    for (guard, scene, way_out) in CASES {
        let (sim, job) = scene();
        let why = why::explain(&sim.world, sim.job(job), sim.now.mono);
        let found = guards(&why);
        let hint = found.iter().find(|(found, _)| found == guard);
        let (_, hint) = hint.unwrap_or_else(|| panic!("{guard} is not named: {why:#?}"));
        assert!(hint.contains(way_out), "{guard}: {hint:?} lacks {way_out:?}");
        assert!(found.iter().all(|(_, hint)| !hint.is_empty()), "{why:#?}");
        assert!(why.steps.iter().all(|step| step.guard.is_some()), "{why:#?}");
    }
}

#[test]
fn no_guard_is_without_a_case() {
    let tried: BTreeSet<Guard> = CASES.iter().map(|(guard, ..)| *guard).collect();
    let all: BTreeSet<Guard> = Guard::ALL.iter().copied().collect();
    assert_eq!(tried, all, "each guard has a case in CASES");
}

#[test]
fn a_job_that_is_held_as_a_whole_does_not_promise_its_steps_a_worker() {
    for scene in [paused_dispatch as Scene, full_group] {
        let (sim, job) = scene();
        let why = why::explain(&sim.world, sim.job(job), sim.now.mono);
        assert_eq!(why.steps[0].guard, why.guard, "{why:#?}");
        assert!(why.steps[0].reason.starts_with("waits: "), "{why:#?}");
    }
}

#[test]
fn a_worker_that_is_the_only_one_left_is_not_said_to_be_avoided() {
    let (mut sim, job) = submitted(APART, 1);
    sim.decide(Event::PauseDispatch(true)).expect("paused");
    sim.finish(job, "a", json!({})).expect("applied");
    let why = why::explain(&sim.world, sim.job(job), sim.now.mono);
    assert_eq!(why.steps[0].workers[0].guard, Some(Guard::Nothing), "{why:#?}");
}
