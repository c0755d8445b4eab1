//! Hostile names, logs and files of a worker in strange hands: refused, or shown harmless by
//! `agentctl` and by the dashboard.

use e2e::{
    Controller, Lab,
    hostile::{FILES, LINES, NAMES},
    http::{self, Answer},
};
use protocol::{
    artifact::{ArtifactRef, Sha256, check_name},
    http::join::JoinToken,
    message::{Accept, AckVerdict, Assign, FromWorker, StepResult, ToWorker},
    text::misleads,
};
use serde_json::json;
use sha2::Digest as _;

use crate::by_hand::ByHand;

/// Where the files are among the artifacts.
const FOLDER: &str = "files";

/// What `agentctl` prints: nothing moves a cursor or hides.
fn printed(controller: &Controller, args: &[&str]) -> String {
    let output = controller.ctl(args);
    assert!(output.status.success(), "{args:?}: {output:?}");
    let text = String::from_utf8(output.stdout).expect("text");
    let harmful = |c: char| misleads(c) && !matches!(c, '\n' | '\t');
    assert!(!text.contains(harmful), "{args:?}: {text:?}");
    text
}

/// Logs in as browsers do; the cookie.
fn log_in(controller: &Controller) -> String {
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    let body = format!("token={}", controller.token());
    let answer = http::request_with(controller.http(), "POST", "/login", None, &form, body.as_bytes());
    let cookie = answer.header("set-cookie").expect("a cookie");
    cookie.split(';').next().expect("its value").to_owned()
}

/// What a browser gets.
fn get(controller: &Controller, cookie: &str, path: &str) -> Answer {
    let answer = http::request_with(controller.http(), "GET", path, None, &[("Cookie", cookie)], b"");
    assert_eq!(answer.status, 200, "{path}: {answer:?}");
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
    let policy = answer.header("content-security-policy").unwrap_or_default();
    assert!(
        policy.contains("default-src 'none'") && !policy.contains("unsafe"),
        "{path}: {policy}"
    );
    answer
}

/// A page in which no name is more than text.
fn is_harmless(controller: &Controller, cookie: &str, path: &str) {
    let page = get(controller, cookie, path).body;
    let harmful = |c: char| misleads(c) && !matches!(c, '\n' | '\r' | '\t');
    assert!(!page.contains(harmful), "{path}: {page:?}");
    let markup = NAMES.iter().filter(|name| name.contains(['<', '"']));
    for name in markup {
        assert!(!page.contains(name), "{path}: {name:?}: {page}");
    }
    for address in [
        "href=\"javascript:",
        "src=\"javascript:",
        "<img",
        "<iframe",
        "<object",
    ] {
        assert!(!page.contains(address), "{path}: {address}: {page}");
    }
}

/// Puts bytes into the store.
pub(crate) fn upload(controller: &Controller, name: String, bytes: &[u8]) -> ArtifactRef {
    let sha256 = Sha256(sha2::Sha256::digest(bytes).into());
    let size = bytes.len().to_string();
    let headers = [("Upload-Offset", "0"), ("Upload-Length", size.as_str())];
    let (path, token) = (format!("/v1/blobs/{sha256}"), controller.token());
    let answer = http::request_with(controller.http(), "PATCH", &path, Some(&token), &headers, bytes);
    assert_eq!(answer.status, 204, "{name}: {answer:?}");
    let size = bytes.len() as u64;
    ArtifactRef { name, sha256, size }
}

/// Plays the step: a log, artifacts and notes that attack.
fn play(controller: &Controller, worker: &mut ByHand, assign: &Assign) {
    let attempt = assign.attempt;
    worker.say(FromWorker::Accept(Accept { attempt }));
    let mut log = vec![];
    for line in LINES {
        log.extend_from_slice(b"2026-11-24T12:04:05.123Z out ");
        log.extend_from_slice(line);
        log.push(b'\n');
    }
    let path = format!("/v1/attempts/{attempt}/log");
    let headers = [("Upload-Offset", "0")];
    let sent = http::request_with(
        controller.http(),
        "PATCH",
        &path,
        Some(worker.secret()),
        &headers,
        &log,
    );
    assert_eq!(sent.status, 204, "{sent:?}");
    let files = FILES.map(|(name, bytes)| upload(controller, format!("{FOLDER}/{name}"), bytes));
    let names = NAMES.map(|name| upload(controller, name.to_owned(), b"x"));
    let result = json!({
        "job": assign.job.id, "step": assign.step, "attempt": attempt, "outcome": "ok", "exit": 0,
        "artifacts": files.iter().chain(&names).collect::<Vec<_>>(), "notes": NAMES,
        "outputs": {"exit": 0, "stdout_tail": NAMES.join("\n")}, "log_bytes": log.len(),
    });
    let result: StepResult = serde_json::from_value(result).expect("a result");
    worker.say(FromWorker::Result(Box::new(result)));
    let verdict = worker.until(|message| match message {
        ToWorker::Ack(ack) if ack.attempt == attempt => Some(ack.verdict),
        _ => None,
    });
    assert_eq!(verdict, AckVerdict::Applied);
}

/// Names that are asked for over HTTP: one is refused, or listed on one line.
fn ask_for_names(controller: &Controller) {
    let line = controller.ctl(&["workers", "join-token"]).stdout;
    let line = String::from_utf8(line).expect("text");
    let token = JoinToken::decode(line.split_whitespace().last().expect("a token")).expect("a token");
    for name in NAMES {
        let wish = json!({"token": token.proof(), "name": name, "labels": {}, "slots": 1});
        let answer = controller.request("POST", "/v1/workers/join", wish.to_string().as_bytes());
        assert!((400..500).contains(&answer.status), "{name:?}: {answer:?}");
        let wish = json!({"name": name, "scopes": ["read"]});
        let answer = controller.request("POST", "/v1/tokens", wish.to_string().as_bytes());
        let refused = (400..500).contains(&answer.status);
        assert_eq!(refused, name.contains(misleads), "{name:?}: {answer:?}");
        let wish = json!({"workflow": "run", "inputs": {"command": ["true"]}, "title": name});
        let answer = controller.request("POST", "/v1/jobs", wish.to_string().as_bytes());
        assert_eq!(answer.status, 201, "{name:?}: {answer:?}");
    }
}

/// The lines of the log, for a terminal and for a browser: each stays one.
fn look_at_the_log(controller: &Controller, cookie: &str) {
    let log = printed(controller, &["logs", "1", "run"]);
    assert_eq!(log.lines().count(), LINES.len(), "{log:?}");
    let lines = get(controller, cookie, "/jobs/1/lines?step=run").json();
    let lines = lines["lines"].as_array().expect("lines");
    assert_eq!(lines.len(), LINES.len());
    for line in lines {
        let html = line.as_str().expect("HTML");
        let bare = html.replace("</span>", "");
        assert_eq!(
            bare.matches('<').count(),
            bare.matches("<span class=\"").count(),
            "{html}"
        );
        assert!(!html.contains(misleads), "{html:?}");
    }
}

/// Files come as attachments that nothing shows, sniffs or runs.
fn look_at_the_files(controller: &Controller, cookie: &str) {
    for (name, bytes) in FILES {
        let path = format!("/v1/jobs/1/artifacts/run/{FOLDER}/{name}");
        let answer = get(controller, cookie, &path);
        let said = answer.header("content-disposition").unwrap_or_default();
        assert!(
            said.starts_with("attachment; filename=\"") && !said.contains("\"."),
            "{said}"
        );
        assert_eq!(
            answer.header("content-type"),
            Some("application/octet-stream"),
            "{name}"
        );
        let policy = answer.header("content-security-policy").unwrap_or_default();
        assert!(policy.contains("sandbox"), "{name}: {policy}");
        assert_eq!(answer.body, String::from_utf8_lossy(bytes), "{name}");
    }
}

#[test]
fn hostile_names_logs_and_files_are_refused_or_shown_harmless() {
    let lab = Lab::new();
    let controller = lab.controller("");
    let cookie = log_in(&controller);
    ask_for_names(&controller);
    let mut worker = ByHand::start(&controller, "stranger");
    worker.hello_with(|hello| {
        for name in NAMES {
            hello.labels.insert(name, name);
        }
    });
    let assign = worker.assigned();
    play(&controller, &mut worker, &assign);

    let kept = controller.json(&["artifacts", "1", "-o", "json"]);
    let kept: Vec<&str> = kept["items"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|artifact| artifact["name"].as_str())
        .collect();
    let good = NAMES.iter().filter(|name| check_name(name).is_ok()).count();
    assert_eq!(kept.len(), FILES.len() + good, "{kept:?}");
    assert!(kept.iter().all(|name| check_name(name).is_ok()), "{kept:?}");

    let listed = printed(&controller, &["ps", "--limit", "100"]);
    for number in 1..=NAMES.len() {
        let number = number.to_string();
        let lines = listed.lines();
        let of_it = lines.filter(|line| line.split_whitespace().next() == Some(&number));
        assert_eq!(of_it.count(), 1, "{listed}");
    }
    for args in [
        &["show", "1"][..],
        &["artifacts", "1"],
        &["workers"],
        &["workers", "show", "stranger"],
        &["tokens"],
        &["audit", "--limit", "200"],
    ] {
        printed(&controller, args);
    }
    for path in ["/", "/jobs/1", "/workers", "/settings"] {
        is_harmless(&controller, &cookie, path);
    }
    look_at_the_log(&controller, &cookie);
    look_at_the_files(&controller, &cookie);
}
