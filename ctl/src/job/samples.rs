//! Jobs for the tests of what is printed.

use protocol::{
    http::jobs::{JobView, RepoView, StepView},
    id::JobId,
    job::{JobLink, JobState, StepKey},
    spec::ModelUsed,
    step::{ErrorClass, StepError, StepState},
    usage::Usage,
};

use super::*;

pub(crate) fn now() -> Timestamp {
    at(185)
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_795_000_000 + second).expect("in range")
}

pub(crate) fn link() -> JobLink {
    let id = "01934f2a-0000-7000-8000-000000000042"
        .parse::<JobId>()
        .expect("a UUID");
    JobLink { number: 42, id }
}

fn usage(tokens: u64) -> Usage {
    Usage {
        input_tokens: tokens,
        calls: 1,
        cost_microusd: tokens * 3,
        ..Usage::default()
    }
}

pub(crate) fn step(key: &str, state: StepState) -> StepView {
    let kind = if key == "cycle" { "steps" } else { "agent" };
    StepView {
        key: StepKey::top(key),
        kind: kind.into(),
        state,
        attempt: 1,
        worker: None,
        model: None,
        usage: Usage::default(),
        started_at: None,
        ended_at: None,
        error: None,
        note: None,
        outputs: serde_json::Map::new(),
        attempts: vec![],
        needs: vec![],
        approval: None,
    }
}

pub(crate) fn job(state: JobState, steps: Vec<StepView>) -> JobView {
    let JobLink { number, id } = link();
    let mut sum = Usage::default();
    for step in &steps {
        sum += step.usage;
    }
    JobView {
        budget_spent: false,
        number,
        id,
        state,
        workflow: "implement".into(),
        workflow_sha256: "0".repeat(64),
        title: "Make the failing test of the parser pass without touching the tests".into(),
        priority: 0,
        created_at: at(0),
        started_at: Some(at(1)),
        ended_at: state.is_terminal().then(now),
        reason: None,
        inputs: serde_json::Map::new(),
        repo: Some(RepoView {
            name: "sample".into(),
            url: None,
            base: None,
        }),
        labels: std::collections::BTreeMap::new(),
        usage: sum,
        steps,
        steps_done: 2,
        steps_total: 7,
    }
}

pub(crate) fn failed(key: &str, class: ErrorClass, message: &str, ended: i64) -> StepView {
    StepView {
        error: Some(StepError::new(class, message)),
        ended_at: Some(at(ended)),
        ..step(key, StepState::Failed)
    }
}

/// A job in its second round.
pub(crate) fn running() -> JobView {
    let with =
        |key: &str, state, worker: &str, model: Option<&str>, from: i64, to: Option<i64>, used| StepView {
            worker: Some(worker.into()),
            model: model.map(|model| ModelUsed {
                provider: "lan".into(),
                model: model.into(),
                protocol: None,
            }),
            started_at: Some(at(from)),
            ended_at: to.map(at),
            usage: if used == 0 { Usage::default() } else { usage(used) },
            ..step(key, state)
        };
    let mut check = with("cycle#1/check", StepState::Failed, "pi-1", None, 80, Some(95), 0);
    check.error = Some(StepError::new(
        ErrorClass::Check,
        "cargo test: 1 of 12 tests fails: parser::empty",
    ));
    let mut edit = with(
        "cycle#2/edit",
        StepState::Running,
        "tower",
        Some("qwen2.5-coder:7b"),
        100,
        None,
        5200,
    );
    edit.note = Some("asking the model (call 2), 512 tokens so far\u{1b}[2J".into());
    job(
        JobState::Running,
        vec![
            with("prepare", StepState::Succeeded, "pi-1", None, 1, Some(13), 0),
            with(
                "plan",
                StepState::Succeeded,
                "tower",
                Some("qwen2.5-coder:7b"),
                14,
                Some(48),
                3100,
            ),
            step("cycle", StepState::Running),
            with(
                "cycle#1/edit",
                StepState::Succeeded,
                "tower",
                Some("qwen2.5-coder:7b"),
                49,
                Some(80),
                4100,
            ),
            check,
            edit,
            step("cycle#2/check", StepState::Blocked),
            step("verify", StepState::Blocked),
        ],
    )
}
