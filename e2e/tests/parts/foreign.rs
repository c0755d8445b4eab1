//! A worker with a credential of its own, which it uses against another one's work.

use e2e::{Controller, Lab, eventually, held::Held, http};
use protocol::{
    artifact::BlobRef,
    id::AttemptId,
    message::{
        Accept, AckVerdict, Checkpoint, FromWorker, LogTail, Progress, Reject, RejectReason, Renew,
        RunningAttempt, StepResult, ToWorker,
    },
    step::Outcome,
    topic::Topic,
    usage::Usage,
};
use rumqttc::{LastWill, QoS};
use serde_json::{Value, json};

use crate::by_hand::{ByHand, Mqtt, options};

/// A line that only the thief writes.
const FORGED: &str = "forged by a thief";

fn result(job: &Value, attempt: AttemptId) -> StepResult {
    let forged = json!({
        "job": job["id"], "step": job["steps"][0]["key"], "attempt": attempt, "outcome": Outcome::Ok,
        "notes": [FORGED],
    });
    serde_json::from_value(forged).expect("a result")
}

fn says(attempt: AttemptId, job: &Value) -> Vec<FromWorker> {
    let transcript = BlobRef {
        sha256: "a".repeat(64).parse().expect("a hash"),
        size: 1,
    };
    vec![
        FromWorker::Accept(Accept { attempt }),
        FromWorker::Renew(Renew {
            attempts: vec![attempt],
            ..Renew::default()
        }),
        FromWorker::Progress(Progress {
            attempt,
            seq: 1,
            fraction: None,
            note: FORGED.to_owned(),
            usage: Usage::default(),
            model: None,
        }),
        FromWorker::Checkpoint(Checkpoint {
            attempt,
            seq: 1,
            transcript,
            workspace: None,
            usage: Usage::default(),
        }),
        FromWorker::Reject(Reject {
            attempt,
            why: RejectReason::Busy,
            detail: FORGED.to_owned(),
            retry_after_ms: 0,
        }),
        FromWorker::Result(Box::new(result(job, attempt))),
    ]
}

/// Topics of the victim that nobody else may use, and filters that would reach them.
fn topics_of(victim: &str) -> ([String; 3], Vec<String>) {
    let topics = ["in", "out", "log"].map(|leaf| format!("agentd-worker/v1/{victim}/{leaf}"));
    let wide = [
        "#",
        "+/#",
        "agentd-worker/#",
        "agentd-worker/v1/+/in",
        "agentd-worker/v1/+/+",
    ];
    let filters = topics.iter().cloned().chain(wide.map(str::to_owned));
    (topics.clone(), filters.collect())
}

fn audited(controller: &Controller, who: &str, action: &str, object: &str) -> bool {
    let rows = controller.json(&["audit", "--limit", "200", "-o", "json"]);
    let rows = rows["items"].as_array().cloned().unwrap_or_default();
    rows.iter()
        .any(|row| row["who"] == who && row["action"] == action && row["object"] == object)
}

/// Topics, filters and retained messages of the victim.
fn attack_topics(thief: &mut ByHand, (topics, filters): &([String; 3], Vec<String>), forged: &[u8]) {
    for filter in filters {
        assert!(!thief.mqtt.subscribe(filter), "{filter}");
    }
    for topic in topics {
        thief.mqtt.publish(topic, false, forged.to_vec());
        thief.mqtt.publish(topic, true, forged.to_vec());
    }
}

/// Everything that a worker says, about an attempt of another, and each frame once again.
fn attack_attempt(thief: &mut ByHand, attempt: AttemptId, job: &Value) {
    for message in says(attempt, job) {
        let (topic, frame) = (Topic::WorkerOut(thief.id()).to_string(), thief.packed(message));
        thief.mqtt.publish(&topic, false, frame.clone());
        thief.mqtt.publish(&topic, true, frame);
    }
    let tail = LogTail {
        attempt,
        offset: 0,
        text: format!("{FORGED}\n"),
    };
    let (topic, frame) = (Topic::WorkerLog(thief.id()).to_string(), thief.packed(tail));
    thief.mqtt.publish(&topic, false, frame);
}

/// Its own attempt of before: the result is kept and not applied.
fn attack_with_the_past(thief: &mut ByHand, old: AttemptId, job: &Value) {
    thief.say(FromWorker::Result(Box::new(result(job, old))));
    let verdict = thief.until(|message| match message {
        ToWorker::Ack(ack) if ack.attempt == old => Some(ack.verdict),
        _ => None,
    });
    assert_eq!(verdict, AckVerdict::Superseded);
}

/// The other one's client id, and a will in its name.
fn attack_identity(controller: &Controller, thief: &ByHand, victim: &str, topic: &str, forged: &[u8]) {
    let taken = Mqtt::enter(options(
        controller,
        victim,
        &thief.id().to_string(),
        thief.secret(),
    ));
    assert!(taken.is_err(), "a client id is no identity");
    let own = thief.id().to_string();
    let mut with_will = options(controller, &own, &own, thief.secret());
    with_will.set_last_will(LastWill::new(topic, forged, QoS::AtLeastOnce, true));
    // takes over the thief's own connection, and dies without a goodbye
    drop(Mqtt::enter(with_will).expect("the will is dropped, not the connection"));
}

/// What only the holder of the attempt, or a person, may ask for.
fn attack_http(controller: &Controller, secret: &str, attempt: AttemptId) {
    let base = format!("/v1/attempts/{attempt}");
    for (method, path) in [
        ("GET", format!("{base}/spec")),
        ("GET", format!("{base}/secrets")),
        ("GET", format!("{base}/providers")),
        ("PATCH", format!("{base}/log")),
    ] {
        let headers = [("Upload-Offset", "0")];
        let body = FORGED.as_bytes();
        let answer = http::request_with(controller.http(), method, &path, Some(secret), &headers, body);
        assert_eq!(answer.status, 404, "{method} {path}: {answer:?}");
    }
    for (method, path) in [
        ("GET", "/v1/jobs/1/steps/run/log"),
        ("GET", "/v1/jobs/1"),
        ("DELETE", "/v1/workers/victim"),
    ] {
        let answer = http::request(controller.http(), method, path, Some(secret), b"");
        assert_eq!(answer.status, 403, "{method} {path}: {answer:?}");
    }
}

/// Every refusal is in the audit log, which is whole.
fn all_is_on_record(
    controller: &Controller,
    who: &str,
    attempt: AttemptId,
    (topics, filters): &([String; 3], Vec<String>),
) {
    let attempt = attempt.to_string();
    let mut refused: Vec<(&str, &str)> = vec![("mqtt.will", &topics[1]), ("attempt.http", &attempt)];
    refused.extend(filters.iter().map(|filter| ("mqtt.subscribe", filter.as_str())));
    refused.extend(topics.iter().map(|topic| ("mqtt.publish", topic.as_str())));
    let kinds = ["accept", "renew", "progress", "checkpoint", "reject", "result"];
    let kinds = kinds.map(|kind| format!("attempt.{kind}"));
    refused.extend(kinds.iter().map(|kind| (kind.as_str(), attempt.as_str())));
    refused.push(("http.call", "DELETE /v1/workers/{name}"));
    for (action, object) in refused {
        eventually(&format!("{action} {object} in the audit log"), || {
            audited(controller, who, action, object).then_some(())
        });
    }
    assert!(audited(controller, "nobody", "login", "MQTT"), "the client id");
    assert!(controller.ctl(&["audit", "verify"]).status.success());
}

/// Nothing of the thief's has come out anywhere.
fn nothing_was_forged(controller: &Controller, reader: &mut Mqtt) {
    let after = controller.job(1);
    assert!(!after.to_string().contains(FORGED), "{after}");
    let logged = controller.ctl(&["logs", "1"]);
    assert!(!String::from_utf8_lossy(&logged.stdout).contains(FORGED));
    loop {
        let (topic, payload) = reader.hear();
        let said = String::from_utf8_lossy(&payload).into_owned();
        assert!(!said.contains(FORGED), "{topic} {said}");
        if topic == "agentd/events" && said.contains("succeeded") {
            break;
        }
    }
}

#[test]
fn a_workers_credential_opens_nothing_of_another_worker() {
    let lab = Lab::without_sandbox();
    let controller = lab.controller("");
    let mut thief = ByHand::start(&controller, "thief");
    let held = Held::new(&lab, 0);
    assert!(controller.ctl(&held.args("submit")).status.success());
    // the thief had it first, and gave it back
    let old = thief.assigned().attempt;
    thief.say(FromWorker::Reject(Reject {
        attempt: old,
        why: RejectReason::Busy,
        detail: String::new(),
        retry_after_ms: 600_000,
    }));
    let mut reader = Mqtt::enter(options(&controller, "", "reader", &controller.token())).expect("let in");
    assert!(reader.subscribe("agentd/log") && reader.subscribe("agentd/events"));
    let victim = lab.worker(&controller, "victim");
    // from now on the controller knows whose live log it is
    while reader.hear().0 != "agentd/log" {}
    eventually("the victim to have it", || {
        held.is_running(&controller, 1).then_some(())
    });
    let before = controller.job(1);
    let attempts = before["steps"][0]["attempts"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let attempt: AttemptId = serde_json::from_value(attempts[1]["id"].clone()).expect("an attempt");
    let victims = controller.json(&["workers", "show", "victim", "-o", "json"]);
    let victim_id = victims["id"].as_str().expect("an id").to_owned();

    let theirs = topics_of(&victim_id);
    let forged = thief.packed(FromWorker::Result(Box::new(result(&before, attempt))));
    attack_topics(&mut thief, &theirs, &forged);
    attack_attempt(&mut thief, attempt, &before);
    attack_with_the_past(&mut thief, old, &before);
    attack_identity(&controller, &thief, &victim_id, &theirs.0[1], &forged);
    attack_http(&controller, thief.secret(), attempt);

    // the victim has noticed nothing
    assert!(held.is_running(&controller, 1), "{}", controller.job(1));
    held.let_go();
    assert!(controller.ctl(&["wait", "1"]).status.success());
    let after = controller.job(1);
    let attempts = after["steps"][0]["attempts"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    assert_eq!(attempts.len(), 2, "{after}");
    assert_eq!(attempts[1]["worker"], "victim", "{after}");
    assert!(!victim.log().contains("no connection"), "{}", victim.log());
    nothing_was_forged(&controller, &mut reader);
    all_is_on_record(&controller, &format!("worker {}", thief.id()), attempt, &theirs);
}

#[test]
fn a_worker_that_tells_of_a_far_epoch_does_not_spoil_the_next_start() {
    let lab = Lab::without_sandbox();
    let mut controller = lab.controller("");
    let mut liar = ByHand::start(&controller, "liar");
    for epoch in [u64::MAX, u64::MAX - 1] {
        liar.hello_with(|hello| hello.highest_epoch = epoch);
    }
    controller.stop();
    controller.start();
    let _honest = lab.worker(&controller, "honest");
    assert!(controller.ctl(&["run", "run", "--", "true"]).status.success());
}

#[test]
fn absurd_numbers_and_names_of_a_worker_harm_nobody() {
    let lab = Lab::without_sandbox();
    let mut controller = lab.controller("");
    let mut liar = ByHand::start(&controller, "liar");
    for _ in 0..2 {
        assert!(controller.ctl(&["submit", "run", "--", "true"]).status.success());
    }
    let most = u64::MAX;
    let load = json!({"load1": 0.0, "memory_available": most, "disk_free": most});
    let mut load: protocol::worker::Load = serde_json::from_value(load).expect("a load");
    load.load1 = f32::NAN;
    liar.hello_with(|hello| {
        hello.load = load;
        hello.highest_epoch = most;
        hello.slots = u32::MAX;
    });
    let first = liar.assigned();
    let usage = json!({"input_tokens": most, "cached_tokens": most, "output_tokens": most, "calls": most});
    let forged = json!({
        "job": first.job.id, "step": first.step, "attempt": first.attempt, "outcome": "failed",
        "usage": usage, "duration_ms": most, "log_bytes": most,
        "error": {"class": "provider", "message": "\u{1b}[2J\u{1b}]0;owned\u{7}", "retry_after_ms": most},
    });
    let forged: StepResult = serde_json::from_value(forged).expect("a result");
    liar.say(FromWorker::Result(Box::new(forged)));
    let second = liar.until(|message| match message {
        ToWorker::Assign(assign) if assign.attempt != first.attempt => Some(assign.attempt),
        _ => None,
    });
    liar.say(FromWorker::Renew(Renew {
        attempts: vec![],
        load,
    }));
    liar.say(FromWorker::Reject(Reject {
        attempt: second,
        why: RejectReason::Busy,
        detail: "x".repeat(100_000),
        retry_after_ms: most,
    }));
    let _honest = lab.worker(&controller, "honest");
    assert!(controller.ctl(&["wait", "2"]).status.success());
    let shown = controller.ctl(&["show", "1"]);
    assert!(!shown.stdout.contains(&0x1b), "{shown:?}");
    // and what was stored can be read again
    controller.stop();
    controller.start();
    assert!(controller.ctl(&["run", "run", "--", "true"]).status.success());
}

#[test]
fn a_foreign_attempt_in_a_hello_is_stopped_and_not_taken_over() {
    let lab = Lab::without_sandbox();
    let controller = lab.controller("");
    let _victim = lab.worker(&controller, "victim");
    let held = Held::new(&lab, 0);
    let number = held.submit(&controller);
    let job = controller.job(number);
    let attempt: AttemptId =
        serde_json::from_value(job["steps"][0]["attempts"][0]["id"].clone()).expect("an attempt");
    let mut thief = ByHand::start(&controller, "thief");
    let sync = thief.hello_with(|hello| {
        hello.running.push(RunningAttempt {
            attempt,
            for_ms: 1,
            last_seq: 0,
        });
    });
    assert_eq!((sync.resume, sync.stop), (vec![], vec![attempt]));
    held.let_go();
    assert!(controller.ctl(&["wait", &number.to_string()]).status.success());
}
