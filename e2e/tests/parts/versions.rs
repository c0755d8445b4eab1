//! Workers of another version: a whole job, or a sentence before anything is offered.
//!
//! What an older or newer program says is played: fields that are no longer or not yet there,
//! message versions that are not ours. The other side, a controller of another version before the
//! real session of a worker, is in the worker's own tests.

use std::process::Output;

use e2e::{Controller, Lab, eventually};
use protocol::{
    id::{AttemptId, BootId, JobId},
    job::StepKey,
    label::Labels,
    message::{AckVerdict, PROTOCOL_VERSION, ToWorker},
    step::Outcome,
};
use serde::Serialize;

use crate::by_hand::ByHand;

/// What a worker says that knows no field but those without which no version can do, and one that
/// no version has.
#[derive(Serialize)]
#[serde(tag = "kind", content = "body", rename_all = "snake_case")]
enum Lean {
    Hello {
        boot_id: BootId,
        version: &'static str,
        protocol_min: u32,
        protocol_max: u32,
        labels: Labels,
        slots: u32,
        mood: &'static str,
    },
    Accept {
        attempt: AttemptId,
        mood: &'static str,
    },
    Result {
        job: JobId,
        step: StepKey,
        attempt: AttemptId,
        outcome: Outcome,
        mood: &'static str,
    },
}

/// One that understands these versions of the messages.
fn hello(version: &'static str, protocol_min: u32, protocol_max: u32) -> Lean {
    Lean::Hello {
        boot_id: BootId::new(),
        version,
        protocol_min,
        protocol_max,
        labels: Labels::default(),
        slots: 1,
        mood: "good",
    }
}

fn submit(controller: &Controller) -> Output {
    let submitted = controller.ctl(&["submit", "run", "--", "true"]);
    assert!(submitted.status.success(), "{submitted:?}");
    submitted
}

/// Does one whole job as the worker that has said hello.
fn whole_job(controller: &Controller, worker: &mut ByHand, number: u64) {
    let assign = worker.assigned();
    let (job, step, attempt, mood) = (assign.job.id, assign.step, assign.attempt, "good");
    worker.say(Lean::Accept { attempt, mood });
    worker.say(Lean::Result {
        job,
        step,
        attempt,
        outcome: Outcome::Ok,
        mood,
    });
    let verdict = worker.until(|message| match message {
        ToWorker::Ack(ack) if ack.attempt == attempt => Some(ack.verdict),
        _ => None,
    });
    assert_eq!(verdict, AckVerdict::Applied);
    eventually("the job to succeed", || {
        (controller.job(number)["state"] == "succeeded").then_some(())
    });
}

#[test]
fn a_worker_of_another_version_that_shares_the_messages_does_a_whole_job() {
    let lab = Lab::new();
    let controller = lab.controller("");
    let ranges = [
        ("0.0.9", PROTOCOL_VERSION - 1, PROTOCOL_VERSION),
        ("0.2.0", PROTOCOL_VERSION, PROTOCOL_VERSION + 1),
    ];
    for (number, (version, lowest, highest)) in (1..).zip(ranges) {
        let mut worker = ByHand::enter(&controller, &format!("w{number}"));
        worker.greet(hello(version, lowest, highest));
        worker.until(|message| matches!(message, ToWorker::Sync(_)).then_some(()));
        submit(&controller);
        whole_job(&controller, &mut worker, number);
        let name = format!("w{number}");
        let shown = controller.json(&["workers", "show", &name, "-o", "json"]);
        assert_eq!(shown["version"], version, "{shown}");
        assert!(controller.ctl(&["workers", "remove", &name]).status.success());
    }
}

#[test]
fn a_worker_that_shares_no_messages_is_refused_with_a_sentence_before_any_offer() {
    let lab = Lab::new();
    let controller = lab.controller("");
    let mut worker = ByHand::enter(&controller, "other");
    submit(&controller);
    let (older, newer) = (PROTOCOL_VERSION - 1, PROTOCOL_VERSION + 1);
    for (version, only, way_out) in [
        (
            "0.0.1",
            older,
            "install the agent-worker that comes with this agentd",
        ),
        ("9.0.0", newer, "upgrade agentd first"),
    ] {
        worker.greet(hello(version, only, only));
        let why = worker.until(|message| match message {
            ToWorker::Refused(refused) => Some(refused.why),
            other => panic!("{other:?} to a worker that does not understand it"),
        });
        assert!(why.contains(version) && why.contains(way_out), "{why}");
        assert!(why.contains(&format!("version {only} to {only}")), "{why}");
        let workers = controller.json(&["workers", "-o", "json"]);
        assert_eq!(workers["items"][0]["state"], "offline", "{workers}");
        assert!(controller.log().contains(&why), "its owner may look here");
    }
    let job = controller.job(1);
    assert_eq!(job["steps"][0]["attempts"], serde_json::json!([]), "{job}");
    // the same worker after its upgrade
    worker.greet(hello("0.1.0", PROTOCOL_VERSION, PROTOCOL_VERSION));
    whole_job(&controller, &mut worker, 1);
}
