//! Jobs that wait for a person: over the command line, over HTTP, over MQTT.

use std::process::Command;

use e2e::{Controller, Lab, eventually, http, repo::has};
use serde_json::{Value, json};

/// Writes a plan, waits for a person, then builds.
const ASKS: &str = "api: agentd/v1
name: asks
steps:
  plan: {run: [/bin/sh, -c, echo planned]}
  approve: {needs: [plan], approval: {timeout: TIMEOUT, on_timeout: reject, show: [plan]}}
  build: {needs: [approve], run: [/bin/sh, -c, echo built]}
";

/// A controller that knows the workflow `asks`.
fn controller(lab: &Lab, timeout: &str) -> Controller {
    let folder = lab.path("workflows");
    std::fs::create_dir_all(&folder).expect("writable");
    std::fs::write(folder.join("asks.yaml"), ASKS.replace("TIMEOUT", timeout)).expect("writable");
    lab.controller(&format!("workflows: [\"{}\"]\n", folder.display()))
}

fn submit(controller: &Controller) {
    let submitted = controller.ctl(&["submit", "asks"]);
    assert!(submitted.status.success(), "{submitted:?}");
}

fn step<'a>(job: &'a Value, key: &str) -> &'a Value {
    let steps = job["steps"].as_array().expect("steps");
    let found = steps.iter().find(|step| step["key"] == key);
    found.unwrap_or_else(|| panic!("no step {key}: {job}"))
}

fn waits(controller: &Controller, number: u64) {
    eventually("a person to be asked", || {
        let job = controller.job(number);
        (step(&job, "approve")["state"] == "awaiting").then_some(())
    });
}

fn token(controller: &Controller, scope: &str) -> String {
    let args = ["tokens", "create", scope, "--scope", scope, "-o", "json"];
    controller.json(&args)["token"]
        .as_str()
        .expect("a secret")
        .to_owned()
}

fn said(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn a_job_waits_over_a_restart_and_goes_on_when_a_person_approves() {
    let lab = Lab::new();
    let mut controller = controller(&lab, "24h");
    let _worker = lab.worker(&controller, "one");
    submit(&controller);
    let waited = controller.ctl(&["wait", "1"]);
    assert_eq!(waited.status.code(), Some(8), "{waited:?}");
    let before = step(&controller.job(1), "approve")["approval"].clone();
    assert_eq!(before["show"], json!(["plan"]), "{before}");

    controller.kill();
    controller.start();
    let job = controller.job(1);
    assert_eq!(job["state"], "waiting", "{job}");
    assert_eq!(
        step(&job, "approve")["approval"],
        before,
        "the wait and its end are kept"
    );
    let why = said(&controller.ctl(&["why", "1"]));
    let until = before["until"].as_str().expect("a time");
    for part in ["scope approve", until, "rejected", "agentctl approve 1"] {
        assert!(why.contains(part), "{part} is missing: {why}");
    }
    assert_eq!(controller.json(&["status", "-o", "json"])["awaiting"], 1);

    let approved = controller.ctl(&["approve", "1", "--reason", "looks right"]);
    assert_eq!(approved.status.code(), Some(0), "{approved:?}");
    let again = controller.ctl(&["approve", "1", "approve"]);
    assert_eq!(again.status.code(), Some(0), "{again:?}");
    let opposite = controller.ctl(&["reject", "1", "approve"]);
    assert_eq!(opposite.status.code(), Some(1), "{opposite:?}");
    assert!(said(&opposite).contains("already approved by"), "{opposite:?}");
    let ended = controller.ctl(&["wait", "1"]);
    assert_eq!(ended.status.code(), Some(0), "{}", controller.job(1));
    let shown = said(&controller.ctl(&["show", "1"]));
    assert!(
        shown.contains("approved by token \"admin\": looks right"),
        "{shown}"
    );
}

#[test]
fn a_rejection_or_silence_fails_the_job_with_its_reason() {
    let lab = Lab::new();
    let controller = controller(&lab, "2s");
    let _worker = lab.worker(&controller, "one");
    submit(&controller);
    eventually("silence to be taken for a no", || {
        (controller.job(1)["state"] == "failed").then_some(())
    });
    let job = controller.job(1);
    let reason = "step approve failed: rejected because nobody decided in time";
    assert_eq!(job["reason"], reason, "{job}");
    assert_eq!(step(&job, "build")["state"], "skipped", "{job}");
    let ended = controller.ctl(&["wait", "1"]);
    assert_eq!(ended.status.code(), Some(3), "{ended:?}");

    // a retry asks again, and this time somebody is faster
    assert!(controller.ctl(&["retry", "1"]).status.success());
    waits(&controller, 1);
    let rejected = controller.ctl(&["reject", "1", "--reason", "too risky"]);
    assert_eq!(rejected.status.code(), Some(0), "{rejected:?}");
    let job = controller.job(1);
    assert_eq!(job["state"], "failed", "{job}");
    let reason = job["reason"].as_str().expect("a reason");
    assert!(
        reason.ends_with("rejected by token \"admin\": too risky"),
        "{job}"
    );
}

#[test]
fn the_api_asks_for_the_right_scope_and_for_what_was_looked_at() {
    let lab = Lab::new();
    let controller = controller(&lab, "24h");
    let _worker = lab.worker(&controller, "one");
    submit(&controller);
    waits(&controller, 1);
    let approve = "/v1/jobs/1/steps/approve/approve";
    let address = controller.url().trim_start_matches("http://").to_owned();
    for scope in ["read", "run"] {
        let token = token(&controller, scope);
        let answer = http::request(&address, "POST", approve, Some(&token), b"");
        assert_eq!(answer.status, 403, "{scope}: {answer:?}");
    }
    let token = token(&controller, "approve");
    let call = |method: &str, path: &str, tag: Option<&str>, body: &str| {
        let headers: Vec<(&str, &str)> = tag.map(|tag| ("If-Match", tag)).into_iter().collect();
        http::request_with(&address, method, path, Some(&token), &headers, body.as_bytes())
    };
    let asked = call("GET", "/v1/jobs/1/steps/approve/approval", None, "");
    assert_eq!(asked.status, 200, "{asked:?}");
    let tag = asked.header("etag").expect("an ETag").to_owned();
    assert_eq!(asked.json()["etag"], json!(tag));
    assert_eq!(asked.json()["shown"][0]["step"], "plan");

    let changed = call("POST", approve, Some("\"0123\""), "");
    assert_eq!(
        (changed.status, &changed.json()["code"]),
        (412, &json!("precondition_failed"))
    );
    let bad = call("POST", approve, Some("0123"), "");
    assert_eq!(bad.status, 422, "{bad:?}");
    let long = json!({"reason": "x".repeat(2_001)}).to_string();
    assert_eq!(call("POST", approve, None, &long).status, 422);
    assert_eq!(
        call("POST", "/v1/jobs/1/steps/plan/approve", None, "").status,
        409
    );
    assert_eq!(
        call("POST", "/v1/jobs/1/steps/nothing/approve", None, "").status,
        404
    );
    assert_eq!(
        call("GET", "/v1/jobs/1/steps/build/approval", None, "").status,
        409
    );
    for _ in 0..2 {
        let approved = call("POST", approve, Some(&tag), "{\"reason\": \"fine\"}");
        assert_eq!(approved.status, 200, "{approved:?}");
        let decided = step(&approved.json(), "approve")["approval"]["decided"].clone();
        assert_eq!(decided["by"], "token \"approve\"", "{decided}");
        assert_eq!(decided["reason"], "fine");
    }
    assert_eq!(
        call("POST", "/v1/jobs/1/steps/approve/reject", None, "").status,
        409
    );
    let ended = controller.ctl(&["wait", "1"]);
    assert_eq!(ended.status.code(), Some(0), "{}", controller.job(1));
    // also when the job has ended
    assert_eq!(call("POST", approve, None, "").status, 200);
}

#[test]
fn the_oldest_question_is_answered_over_mqtt() {
    if !has("mosquitto_pub") {
        say("SKIP: mosquitto_pub is not installed (scripts/test-deps.sh installs it)");
        return;
    }
    let lab = Lab::new();
    let controller = controller(&lab, "24h");
    let _worker = lab.worker(&controller, "one");
    for number in [1, 2] {
        submit(&controller);
        waits(&controller, number);
    }
    let publish = |scope_token: &str, command: Value| {
        let (host, port) = controller.mqtt().rsplit_once(':').expect("host:port");
        let sent = Command::new("mosquitto_pub")
            .args(["-h", host, "-p", port, "-u", "somebody", "-P", scope_token])
            .args(["-t", "agentd/command", "-q", "1", "-m", &command.to_string()])
            .status();
        assert!(sent.is_ok_and(|status| status.success()), "{command}");
        let id = command["id"].clone();
        eventually("an answer", || {
            let answer = controller.request("GET", "/v1/events?limit=1000", b"");
            let events = answer.json()["items"].as_array().cloned().unwrap_or_default();
            let mut answers = events
                .into_iter()
                .filter(|event| event["kind"] == "command_answer");
            answers
                .find(|event| event["data"]["id"] == id)
                .map(|event| event["data"].clone())
        })
    };
    let approve = token(&controller, "approve");
    let run = token(&controller, "run");
    let refused = publish(&run, json!({"id": "a", "do": "approve", "job": "oldest"}));
    assert_eq!(
        refused["error"], "this needs a token with scope approve",
        "{refused}"
    );
    let done = publish(
        &approve,
        json!({"id": "b", "do": "approve", "job": "oldest", "reason": "by button"}),
    );
    assert_eq!(
        (&done["ok"], &done["job"]["number"], &done["step"]),
        (&json!(true), &json!(1), &json!("approve"))
    );
    let done = publish(&approve, json!({"id": "c", "do": "reject", "job": 2}));
    assert_eq!(done["ok"], true, "{done}");
    let none = publish(&approve, json!({"id": "d", "do": "approve", "job": "oldest"}));
    assert_eq!(none["error"], "no step waits for a decision", "{none}");
    assert_eq!(controller.ctl(&["wait", "1"]).status.code(), Some(0));
    assert_eq!(controller.ctl(&["wait", "2"]).status.code(), Some(3));
    let decided = step(&controller.job(1), "approve")["approval"]["decided"].clone();
    assert_eq!(decided["by"], "token \"approve\"", "{decided}");
    assert_eq!(decided["reason"], "by button");
}

#[expect(clippy::print_stderr, reason = "what was not tested is to be seen")]
fn say(text: &str) {
    eprintln!("{text}");
}
