//! What the API says of itself, and whether it keeps to that.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::Instant,
};

use e2e::{Controller, Lab, http, skip};

/// A program of `.venv-api`, which `scripts/test-deps.sh` makes.
fn program(name: &str) -> Option<PathBuf> {
    let path = root().join(".venv-api/bin").join(name);
    if !path.exists() {
        skip(&format!(
            ".venv-api/bin/{name} is not there (scripts/test-deps.sh makes it): the reference is not tested"
        ));
    }
    path.exists().then_some(path)
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the workspace")
}

/// A controller that has something to show, and no worker any more.
fn lived_in(lab: &Lab) -> Controller {
    let controller = lab.controller("");
    let mut worker = lab.worker(&controller, "one");
    let run = controller.ctl(&["run", "run", "--", "/bin/echo", "hello"]);
    assert!(run.status.success(), "{run:?}");
    worker.stop();
    controller
}

/// What is chosen by rules; at random only for who gives it time, as it then takes all of that.
fn phases() -> &'static str {
    match std::env::var_os("AGENTD_API_SECONDS") {
        Some(_) => "examples,coverage,fuzzing",
        None => "coverage",
    }
}

fn number(name: &str, otherwise: u32) -> String {
    let set = std::env::var(name).ok().and_then(|text| text.parse().ok());
    set.unwrap_or(otherwise).to_string()
}

#[test]
fn the_reference_is_valid_and_its_examples_fit() {
    let Some(python) = program("python") else { return };
    let lab = Lab::without_sandbox();
    let controller = lab.controller("");
    let document = http::request(controller.http(), "GET", "/openapi.json", None, b"");
    assert_eq!(document.status, 200);
    let mut check = Command::new(python)
        .arg(root().join("e2e/api/document.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("python starts");
    let mut input = check.stdin.take().expect("piped");
    input.write_all(document.body.as_bytes()).expect("it reads");
    drop(input);
    succeeds(&check.wait_with_output().expect("it ends"));
}

fn succeeds(output: &Output) {
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Valid and invalid requests for every call, with authentication: no 5xx, and no status, media type, header
/// or shape that the reference does not name.
#[test]
fn every_call_keeps_to_the_reference() {
    let Some(schemathesis) = program("schemathesis") else {
        return;
    };
    let lab = Lab::without_sandbox();
    let controller = lived_in(&lab);
    let token = controller.json(&[
        "tokens",
        "create",
        "schemathesis",
        "--scope",
        "admin",
        "-o",
        "json",
    ]);
    let token = token["token"].as_str().expect("a secret").to_owned();
    let config = lab.path("schemathesis.toml");
    fs::write(&config, "[warnings]\ndisplay = []\n").expect("writable");
    let begun = Instant::now();
    let output = Command::new(schemathesis)
        .arg("--config-file")
        .arg(&config)
        .args(["run", &format!("{}/openapi.json", controller.url())])
        .args(["--header", &format!("Authorization: Bearer {token}")])
        .args(["--phases", phases(), "--mode", "all"])
        .args(["--checks", CHECKS, "--continue-on-failure", "--no-shrink"])
        .args(["--max-examples", &number("AGENTD_API_EXAMPLES", 2)])
        .args(["--max-time", &number("AGENTD_API_SECONDS", 50)])
        .args(["--seed", &number("AGENTD_SEED", 1), "--request-timeout", "20"])
        // the syntax trees of Python 3.11 do not bear threads
        .args(["--generation-database", "none", "--workers", "1"])
        .current_dir(lab.path(""))
        .env("SCHEMATHESIS_HOOKS", "hooks")
        .env("PYTHONPATH", root().join("e2e/api"))
        .output()
        .expect("schemathesis starts");
    let text = String::from_utf8_lossy(&output.stdout);
    let summary = text.rsplit_once("SUMMARY").map_or("", |(_, summary)| summary);
    eprintln!("{:.0?}{summary}", begun.elapsed());
    succeeds(&output);
    assert_eq!(controller.request("GET", "/readyz", b"").status, 200);
}

/// Rights are tested for everybody in `rights`; what a schema cannot say may be refused.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
    response_headers_conformance,response_schema_conformance,unsupported_method,missing_required_header";

#[test]
fn a_stream_goes_on_where_the_reader_was_or_says_that_it_cannot() {
    let lab = Lab::without_sandbox();
    let controller = lived_in(&lab);
    let stream = |last: &str| {
        let headers = [("Last-Event-ID", last)];
        let token = controller.token();
        let answer = http::request_with(
            controller.http(),
            "GET",
            "/v1/jobs/1/events",
            Some(&token),
            &headers,
            b"",
        );
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body
    };
    let whole = stream("0");
    let first = whole
        .lines()
        .find_map(|line| line.strip_prefix("id: "))
        .expect("an event")
        .to_owned();
    assert!(!whole.contains("event: reset"), "{whole}");
    let rest = stream(&first);
    assert!(
        !rest.contains("event: reset") && !rest.contains(&format!("id: {first}\n")),
        "{rest}"
    );
    let beyond = stream("999999");
    assert!(beyond.contains("event: reset"), "{beyond}");
    assert!(
        beyond.contains(&format!("id: {first}\n")),
        "everything that is kept follows: {beyond}"
    );
}

#[test]
fn a_download_comes_in_parts_and_other_methods_are_named() {
    let lab = Lab::without_sandbox();
    let controller = lab.controller("");
    let token = controller.token();
    let sha256 = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    let path = format!("/v1/blobs/{sha256}");
    let ask = |method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]| {
        http::request_with(controller.http(), method, path, Some(&token), headers, body)
    };
    let up = ask(
        "PATCH",
        &path,
        &[("Upload-Offset", "0"), ("Upload-Length", "5")],
        b"hello",
    );
    assert_eq!(up.status, 204, "{up:?}");
    let etag = format!("\"{sha256}\"");
    type Headers<'a> = &'a [(&'a str, &'a str)];
    let cases: [(Headers<'_>, u16, &str); 6] = [
        (&[], 200, "hello"),
        (&[("Range", "bytes=1-3")], 206, "ell"),
        (&[("Range", "lines=1-3")], 200, "hello"),
        (&[("Range", "bytes=1-3"), ("If-Range", &etag)], 206, "ell"),
        (&[("Range", "bytes=1-3"), ("If-Range", "\"other\"")], 200, "hello"),
        (&[("If-None-Match", &etag)], 304, ""),
    ];
    for (headers, status, body) in cases {
        let answer = ask("GET", &path, headers, b"");
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (status, body),
            "{headers:?}: {answer:?}"
        );
        assert_eq!(answer.header("etag"), Some(etag.as_str()), "{answer:?}");
    }
    let beyond = ask("GET", &path, &[("Range", "bytes=9-")], b"");
    assert_eq!(
        (beyond.status, beyond.header("content-range")),
        (416, Some("bytes */5")),
        "{beyond:?}"
    );

    let wrong = ask("DELETE", "/v1/jobs", &[], b"");
    assert_eq!(
        (wrong.status, wrong.header("allow")),
        (405, Some("post,get,head")),
        "{wrong:?}"
    );
    assert_eq!(wrong.json()["code"], "method_not_allowed");

    let job = br#"{"workflow": "run", "inputs": {"command": []}}"#;
    let key = [("Idempotency-Key", "one")];
    let first = ask("POST", "/v1/jobs", &key, job);
    let again = ask("POST", "/v1/jobs", &key, job);
    assert_eq!((first.status, again.status), (201, 200), "{again:?}");
    assert_eq!(first.json()["id"], again.json()["id"]);
    let other = ask(
        "POST",
        "/v1/jobs",
        &key,
        br#"{"workflow": "run", "inputs": {"command": ["true"]}}"#,
    );
    assert_eq!(
        (other.status, other.json()["code"].as_str()),
        (422, Some("idempotency_mismatch")),
        "{other:?}"
    );
}
