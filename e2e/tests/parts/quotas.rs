//! How much a worker, a job and all uploads together may take of the disk.

use e2e::{Controller, Lab, http};
use protocol::{
    artifact::Sha256,
    message::{Accept, AckVerdict, FromWorker, StepResult, ToWorker},
};
use serde_json::{Value, json};
use sha2::Digest as _;

use crate::{by_hand::ByHand, display::upload};

/// A little more than half of the quotas below.
const SIZE: usize = 40_000;
const QUOTAS: &str = "limits: {job_bytes: 65536, worker_bytes: 65536}\n";

/// Uploads so many bytes of this kind with a credential.
fn send(controller: &Controller, secret: &str, byte: u8, size: usize) -> http::Answer {
    let bytes = vec![byte; size];
    let sha256 = Sha256(sha2::Sha256::digest(&bytes).into());
    let length = size.to_string();
    let headers = [("Upload-Offset", "0"), ("Upload-Length", length.as_str())];
    let path = format!("/v1/blobs/{sha256}");
    http::request_with(controller.http(), "PATCH", &path, Some(secret), &headers, &bytes)
}

/// Ends a step with these artifacts, and says what became of the job.
fn end(controller: &Controller, worker: &mut ByHand, artifacts: &Value) -> Value {
    assert!(controller.ctl(&["submit", "run", "--", "true"]).status.success());
    let assign = worker.assigned();
    let attempt = assign.attempt;
    worker.say(FromWorker::Accept(Accept { attempt }));
    let result = json!({
        "job": assign.job.id, "step": assign.step, "attempt": attempt, "outcome": "ok",
        "artifacts": artifacts,
    });
    let result: StepResult = serde_json::from_value(result).expect("a result");
    worker.say(FromWorker::Result(Box::new(result)));
    let verdict = worker.until(|message| match message {
        ToWorker::Ack(ack) if ack.attempt == attempt => Some(ack.verdict),
        _ => None,
    });
    assert_eq!(verdict, AckVerdict::Applied);
    controller.job(assign.job.number)
}

#[test]
fn a_worker_and_a_job_have_quotas_of_what_they_may_keep() {
    let lab = Lab::new();
    let controller = lab.controller(QUOTAS);
    let mut worker = ByHand::start(&controller, "greedy");
    let other = ByHand::start(&controller, "modest");

    assert_eq!(send(&controller, worker.secret(), b'a', SIZE).status, 204);
    let refused = send(&controller, worker.secret(), b'b', SIZE);
    assert_eq!(refused.status, 413, "{refused:?}");
    for said in ["25536 of 65536 bytes left for today", "limits.worker_bytes"] {
        assert!(refused.body.contains(said), "{said}: {refused:?}");
    }
    assert_eq!(send(&controller, worker.secret(), b'c', SIZE / 2).status, 204);
    assert_eq!(send(&controller, other.secret(), b'b', SIZE).status, 204);
    drop(other);
    assert!(controller.ctl(&["workers", "remove", "modest"]).status.success());

    let [first, second] = [b'd', b'e'].map(|byte| {
        let bytes = vec![byte; SIZE];
        upload(&controller, format!("{}", byte as char), &bytes)
    });
    let kept = end(&controller, &mut worker, &json!([first]));
    assert_eq!(kept["state"], "succeeded", "{kept}");
    let over = end(&controller, &mut worker, &json!([first, second]));
    assert_eq!(over["state"], "failed", "{over}");
    let error = over["steps"][0]["error"].to_string();
    for said in [
        "would make 80000 bytes of the job, which may keep 65536",
        "limits.job_bytes",
    ] {
        assert!(error.contains(said), "{said}: {over}");
    }
    let listed = controller.json(&["artifacts", "2", "-o", "json"]);
    assert_eq!(listed["items"], json!([]), "nothing of it is kept");
}

#[test]
fn uploads_leave_room_on_the_disk() {
    let lab = Lab::new();
    let controller = lab.controller("limits: {free_bytes: 1125899906842624}\n");
    let refused = send(&controller, &controller.token(), b'a', 10);
    assert_eq!(refused.status, 507, "{refused:?}");
    for said in ["10 bytes more would leave less than", "limits.free_bytes"] {
        assert!(refused.body.contains(said), "{said}: {refused:?}");
    }
    // what needs no upload goes on
    let _worker = lab.worker(&controller, "one");
    assert!(controller.ctl(&["run", "run", "--", "true"]).status.success());
}
