//! Requests that cannot be: by command line and over plain HTTP.

use std::fs;

use e2e::{Lab, repo::git};
use serde_json::json;

use super::{UnderWay, refused};

/// A provider that exists in name only.
const MODEL: &str = "providers:\n  here: {kind: openai, base_url: \"http://127.0.0.1:1/v1\"}\n\
    models:\n  only: [{provider: here, model: m}]\n";

#[test]
fn a_wrong_command_line_is_refused_by_name_and_no_job_is_made() {
    let lab = Lab::without_sandbox();
    let controller = lab.controller(MODEL);
    let plain = lab.path("plain");
    fs::create_dir(&plain).expect("writable");
    let empty = lab.path("empty");
    fs::create_dir(&empty).expect("writable");
    git(&empty, &["init", "-q"]);
    let folder = plain.to_str().expect("text");
    let cases: [(&[&str], i32, &[&str]); 12] = [
        (
            &["submit", "implemnt", "x"],
            2,
            &["unknown_workflow", "\"implemnt\"", "did you mean `implement`?"],
        ),
        (
            &["run", "run"],
            2,
            &["missing_input", "\"command\"", "agentctl run run -- cargo test"],
        ),
        (
            &["run", "implement", "--repo", ".", " "],
            2,
            &["missing_input", "\"task\"", "agentctl run implement"],
        ),
        (
            &["run", "--repo", ".", "mend it"],
            2,
            &["not_a_repository", folder, "--repo", "git init"],
        ),
        (
            &["run", "--repo", "../empty", "mend it"],
            2,
            &["empty_repository", "has no commit", "git commit"],
        ),
        (
            &["run", "--repo", "../nowhere", "mend it"],
            1,
            &["nowhere", "--repo"],
        ),
        (
            &["run", "--repo", "ftp://127.0.0.1/x.git", "mend it"],
            2,
            &["https or ssh", "ftp"],
        ),
        (
            &["submit", "--input", "comand=x", "run", "--", "true"],
            2,
            &["\"comand\"", "command"],
        ),
        (
            &[
                "submit",
                "implement",
                "--input",
                "max_fix:=99",
                "--repo",
                "https://127.0.0.1:1/x",
                "x",
            ],
            2,
            &["max_fix", "99"],
        ),
        (&["show", "99"], 5, &["99", "agentctl ps"]),
        (&["logs", "99"], 5, &["99"]),
        (&["why", "@failed"], 5, &["no job has failed"]),
    ];
    for (args, code, parts) in cases {
        let output = controller.ctl_in(&plain, args);
        refused(&output, code, parts);
        assert!(output.stdout.is_empty(), "{args:?}: errors are talk: {output:?}");
    }
    let jobs = controller.json(&["ps", "-o", "json"]);
    assert_eq!(jobs["items"], json!([]));
}

#[test]
fn a_model_alias_that_does_not_exist_is_refused_with_those_that_do() {
    let lab = Lab::without_sandbox();
    let folder = lab.path("workflows");
    fs::create_dir(&folder).expect("writable");
    fs::write(
        folder.join("odd.yaml"),
        "api: agentd/v1\nname: odd\ninputs: {task: {type: text, required: true}}\n\
         steps:\n  plan: {agent: architect, model: lrge}\n",
    )
    .expect("writable");
    let controller = lab.controller(&format!("{MODEL}workflows: [\"{}\"]\n", folder.display()));
    let output = controller.ctl(&["submit", "odd", "--repo", "https://127.0.0.1:1/x.git", "hello"]);
    refused(&output, 2, &["unknown_model", "\"lrge\"", "only", "models:"]);
    assert_eq!(controller.json(&["ps", "-o", "json"])["items"], json!([]));
}

#[test]
fn an_unreachable_repository_fails_the_job_with_its_url_and_cause() {
    let lab = Lab::without_sandbox();
    let controller = lab.controller("");
    let _worker = lab.worker(&controller, "one");
    let before = UnderWay::begin(&lab, &controller);
    let url = "https://127.0.0.1:1/nobody/nothing.git";
    let run = controller.ctl(&["run", "run", "--repo", url, "--", "/bin/true"]);
    assert_eq!(run.status.code(), Some(3), "{run:?}");
    let told = String::from_utf8_lossy(&run.stdout);
    let job = controller.json(&["show", "@last", "-o", "json"]);
    let reason = job["reason"].as_str().unwrap_or_default();
    for part in [url, "onnect"] {
        assert!(told.contains(part), "{part}: the first error is shown: {told}");
        assert!(reason.contains(part), "{part}: {job}");
    }
    before.ends_well(&controller);
}

#[test]
fn requests_that_cannot_be_read_get_a_problem_and_harm_nothing() {
    let lab = Lab::without_sandbox();
    let controller = lab.controller("");
    let _worker = lab.worker(&controller, "one");
    let before = UnderWay::begin(&lab, &controller);
    let post = |body: &[u8]| controller.request("POST", "/v1/jobs", body);

    let cases: [(&[u8], u16, &str, &str); 8] = [
        (b"{\"workflow\": ", 400, "invalid_body", "column 13"),
        (b"\xff\xfe", 400, "invalid_body", "JSON"),
        (b"[1]", 422, "invalid_field", "integer `1`"),
        (b"{\"workflw\":\"run\"}", 422, "invalid_field", "`workflw`"),
        (b"{\"workflow\":\"nope\"}", 422, "unknown_workflow", "`nope`"),
        (b"{\"workflow\":\"implement\"}", 422, "missing_input", "`task`"),
        (
            b"{\"workflow\":\"ask\",\"inputs\":{\"task\":\" \"}}",
            422,
            "invalid_field",
            "the task is empty",
        ),
        (
            b"{\"workflow\":\"run\",\"inputs\":{\"command\":[\"true\"]},\"repo\":{\"url\":\"no url\"}}",
            422,
            "invalid_field",
            "URL",
        ),
    ];
    for (body, status, code, part) in cases {
        let answer = post(body);
        let problem = answer.json();
        assert_eq!(answer.status, status, "{problem}");
        assert_eq!(problem["code"], code, "{problem}");
        assert_eq!(problem["type"], format!("urn:agentd:problem:{code}"), "{problem}");
        assert!(
            problem["detail"].to_string().contains(part),
            "{part:?}: {problem}"
        );
        assert!(problem["hint"].is_string(), "a way out: {problem}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    }
    let deep = format!(
        "{{\"workflow\":\"run\",\"inputs\":{{\"command\":{}{}}}}}",
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    assert_eq!(post(deep.as_bytes()).status, 400);

    let jobs = controller.json(&["ps", "-o", "json"]);
    assert_eq!(jobs["items"].as_array().map(Vec::len), Some(1), "{jobs}");
    before.ends_well(&controller);
}

#[test]
fn a_request_of_a_hundred_megabytes_is_refused_before_it_is_read() {
    let lab = Lab::without_sandbox();
    let controller = lab.controller("");
    let _worker = lab.worker(&controller, "one");
    let before = UnderWay::begin(&lab, &controller);
    let body = vec![b' '; 100 * 1000 * 1000];
    let address = controller.url().trim_start_matches("http://").to_owned();

    let stranger = e2e::http::request(&address, "POST", "/v1/jobs", None, &body);
    assert_eq!(stranger.status, 401, "credentials first: {stranger:?}");
    let answer = controller.request("POST", "/v1/jobs", &body);
    let problem = answer.json();
    assert_eq!(answer.status, 413, "{problem}");
    assert_eq!(problem["code"], "too_large", "{problem}");
    assert!(
        problem["detail"].to_string().contains("1048576 bytes"),
        "{problem}"
    );
    assert!(problem["hint"].to_string().contains("/v1/blobs"), "{problem}");
    before.ends_well(&controller);
}
