//! Daemons that cannot start end with one sentence and exit code 1.

use std::{
    fs,
    path::Path,
    process::{Command, Output, Stdio},
};

use e2e::{Lab, lab::binary};

use super::{UnderWay, refused};

/// Runs a program that must end by itself.
fn ends(program: &str, args: &[&str]) -> Output {
    let mut child = Command::new(binary(program))
        .args(args)
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let begun = std::time::Instant::now();
    while child.try_wait().expect("a child").is_none() {
        if begun.elapsed() > e2e::PATIENCE {
            child.kill().expect("it runs");
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    child.wait_with_output().expect("its output")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("text")
}

/// `agentd` on free ports with its state in this folder.
fn agentd(state: &Path, more: &[&str]) -> Output {
    let mut args = vec!["--state-dir", text(state)];
    if !more.contains(&"--config") {
        args.push("--local");
    }
    if !more.contains(&"--http") {
        args.extend(["--http", "127.0.0.1:0"]);
    }
    if !more.contains(&"--mqtt") {
        args.extend(["--mqtt", "127.0.0.1:0"]);
    }
    args.extend(more);
    ends("agentd", &args)
}

#[test]
fn a_mistake_in_the_configuration_is_named_with_its_line_and_a_way_out() {
    let lab = Lab::without_sandbox();
    let file = lab.path("agentd.yaml");
    let cases: [(&str, &[&str]); 5] = [
        (
            "# mine\nhttp: {lisen: \"127.0.0.1:0\"}\n",
            &["agentd.yaml:2", "`http.lisen`", "did you mean `http.listen`?"],
        ),
        (
            "limits: {lease_s: 0}\n",
            &["agentd.yaml:1", "`limits.lease_s` = 0", "expected 1 to 3600"],
        ),
        (
            "limits:\n  lease_s: soon\n",
            &["agentd.yaml:2", "`limits.lease_s`", "soon"],
        ),
        (
            "agents:\n  codegen: {model: lrge}\nmodels:\n  large: [{provider: here, model: m}]\n\
             providers:\n  here: {kind: openai, base_url: \"http://127.0.0.1:1/v1\"}\n",
            &["codegen", "lrge", "large"],
        ),
        ("http: [\n", &["agentd.yaml:"]),
    ];
    for (config, parts) in cases {
        fs::write(&file, config).expect("writable");
        let state = lab.path("state");
        let output = agentd(&state, &["--config", text(&file)]);
        refused(&output, 1, parts);
        let lines = String::from_utf8_lossy(&output.stderr).lines().count();
        assert_eq!(lines, 1, "one sentence: {output:?}");
        assert!(!state.exists(), "{config:?}: nothing is made");
    }
    let missing = agentd(&lab.path("state"), &["--config", text(&lab.path("none.yaml"))]);
    refused(&missing, 1, &["none.yaml"]);

    fs::write(&file, "slot: 3\n").expect("writable");
    let state = lab.path("worker");
    let output = ends(
        "agent-worker",
        &["--config", text(&file), "--state-dir", text(&state)],
    );
    refused(&output, 1, &["`slot`", "did you mean `slots`?"]);
}

#[test]
fn a_busy_port_is_named_and_the_one_who_has_it_is_not_disturbed() {
    let lab = Lab::without_sandbox();
    let controller = lab.controller("");
    let _worker = lab.worker(&controller, "one");
    let job = UnderWay::begin(&lab, &controller);
    let other = lab.path("other");

    let http = controller.url().trim_start_matches("http://").to_owned();
    let output = agentd(&other, &["--http", &http]);
    refused(&output, 1, &[&http, "already in use", "http.listen"]);

    let mqtt = controller.mqtt().to_owned();
    let output = agentd(&other, &["--mqtt", &mqtt]);
    refused(&output, 1, &[&mqtt, "already in use", "mqtt.listen"]);

    // the same for TLS; this machine alone needs none
    for section in ["http", "mqtt"] {
        let file = lab.path("busy.yaml");
        let off = if section == "http" { "mqtt" } else { "http" };
        fs::write(
            &file,
            format!("{section}: {{tls: {{listen: '{http}'}}}}\n{off}: {{tls: ~}}\n"),
        )
        .expect("writable");
        let output = agentd(&other, &["--config", text(&file)]);
        let key = format!("{section}.tls.listen");
        refused(&output, 1, &[&http, "already in use", &key, "--local"]);
    }

    job.ends_well(&controller);
}

#[test]
fn a_second_agentd_on_the_same_state_is_refused_and_the_first_goes_on() {
    let lab = Lab::without_sandbox();
    let controller = lab.controller("");
    let _worker = lab.worker(&controller, "one");
    let job = UnderWay::begin(&lab, &controller);
    let output = agentd(&controller.state, &[]);
    refused(
        &output,
        1,
        &[text(&controller.state), "in use by process", "state_dir"],
    );
    job.ends_well(&controller);
    // and a second worker on the same state
    let output = ends("agent-worker", &["--state-dir", text(&lab.path("one"))]);
    refused(&output, 1, &["in use by process", "state_dir"]);
}

#[test]
fn a_state_folder_that_cannot_be_written_is_named() {
    let lab = Lab::without_sandbox();
    let file = lab.path("file");
    fs::write(&file, "").expect("writable");
    refused(
        &agentd(&file, &[]),
        1,
        &["cannot write the state folder", text(&file), "set state_dir"],
    );
    // the superuser may write into a folder of mode 0555, but nobody makes files here
    let nowhere = Path::new("/proc/agentd");
    refused(
        &agentd(nowhere, &[]),
        1,
        &["cannot write the state folder", "/proc/agentd", "set state_dir"],
    );
}

#[test]
fn a_database_of_a_newer_version_is_refused_and_left_as_it_is() {
    let lab = Lab::without_sandbox();
    let mut controller = lab.controller("");
    let _worker = lab.worker(&controller, "one");
    let job = UnderWay::begin(&lab, &controller);
    controller.stop();

    let database = controller.state.join("agentd.db");
    let original = set_version(&database, 99);
    let before = fs::read(&database).expect("readable");
    let output = agentd(&controller.state, &[]);
    refused(&output, 1, &["agentd.db", "version 99", "agentd"]);
    assert_eq!(
        fs::read(&database).expect("readable"),
        before,
        "the database was touched"
    );

    set_version(&database, original);
    controller.start();
    job.ends_well(&controller);
}

/// Writes the version of a database; answers the earlier one.
fn set_version(database: &Path, version: u32) -> u32 {
    let connection = rusqlite::Connection::open(database).expect("a database");
    let earlier = connection
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .expect("a version");
    connection
        .pragma_update(None, "user_version", version)
        .expect("writable");
    earlier
}

#[test]
fn a_worker_with_a_wrong_token_is_told_what_to_do() {
    let lab = Lab::without_sandbox();
    let controller = lab.controller("");
    let good = controller.ctl(&["workers", "join-token"]);
    let line = String::from_utf8(good.stdout).expect("text");
    let token = line.split_whitespace().last().expect("a token").to_owned();
    let state = lab.path("worker");
    let join = |token: &str| ends("agent-worker", &["join", token, "--state-dir", text(&state)]);

    refused(&join("hello"), 1, &["agj1."]);
    refused(&join(&token[..token.len() - 3]), 1, &["cut or changed"]);

    // used once already
    let used = lab.worker(&controller, "one");
    let spent = {
        let line = controller.ctl(&["workers", "join-token"]);
        let line = String::from_utf8(line.stdout).expect("text");
        line.split_whitespace().last().expect("a token").to_owned()
    };
    let body = serde_json::json!({"token": proof_of(&spent), "name": "two", "labels": {}, "slots": 1});
    let answer = controller.request("POST", "/v1/workers/join", body.to_string().as_bytes());
    assert!(answer.status < 300, "{answer:?}");
    refused(&join(&spent), 1, &["was used", "agentctl workers join-token"]);

    // a worker whose credential the controller no longer knows
    let workers = controller.json(&["workers", "-o", "json"]);
    assert!(
        !workers["items"].as_array().expect("a list").is_empty(),
        "{workers}"
    );
    super::is_online(&controller, &used);
}

/// What a join token proves, of `agj1.URL.FINGERPRINT.ID.SECRET.DIGITS`.
fn proof_of(token: &str) -> String {
    let parts: Vec<&str> = token.split('.').collect();
    parts[3..5].join(".")
}
