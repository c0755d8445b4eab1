//! The topics for people, as mosquitto's own programs see them.

use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Instant,
};

use e2e::{Controller, Lab, eventually, repo::has, skip};
use serde_json::Value;

/// A running `mosquitto_sub`; it ends with this value.
struct Reader {
    process: Child,
    output: PathBuf,
}

impl Reader {
    fn start(lab: &Lab, controller: &Controller, name: &str, password: &str, filter: &str) -> Self {
        let output = lab.path(name);
        let process = mosquitto("mosquitto_sub", controller, Some(password))
            .args(["-t", filter, "-v", "-q", "1"])
            .stdout(File::create(&output).expect("writable"))
            .stderr(Stdio::null())
            .spawn()
            .expect("mosquitto_sub starts");
        Self { process, output }
    }

    /// Topic and payload of all that came; a line that is still being written is left out.
    fn messages(&self) -> Vec<(String, Value)> {
        let text = fs::read_to_string(&self.output).expect("text");
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let parse = |line: &str| {
            let (topic, payload) = line.split_once(' ').expect("topic and payload");
            let payload = serde_json::from_str(payload).unwrap_or_else(|error| panic!("{error}: {line}"));
            (topic.to_owned(), payload)
        };
        whole.lines().map(parse).collect()
    }

    fn wait_for(&self, what: &str, is_it: impl Fn(&str, &Value) -> bool) -> Value {
        eventually(what, || {
            let messages = self.messages();
            let found = messages
                .into_iter()
                .find(|(topic, payload)| is_it(topic, payload))?;
            Some(found.1)
        })
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // it may have ended by itself
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn mosquitto(program: &str, controller: &Controller, password: Option<&str>) -> Command {
    let (host, port) = controller.mqtt().rsplit_once(':').expect("host:port");
    let mut command = Command::new(program);
    command.args(["-h", host, "-p", port]);
    if let Some(password) = password {
        command.args(["-u", "monitor", "-P", password]);
    }
    command
}

fn read_token(controller: &Controller, name: &str, more: &[&str]) -> String {
    let args = [&["tokens", "create", name, "--scope", "read", "-o", "json"], more].concat();
    controller.json(&args)["token"]
        .as_str()
        .expect("a secret")
        .to_owned()
}

fn has_fields(payload: &Value, fields: &[&str]) {
    for field in fields {
        assert!(payload.get(field).is_some(), "{field} is missing: {payload}");
    }
}

#[expect(
    clippy::print_stderr,
    reason = "what was not tested, and figures, are to be seen"
)]
fn say(text: &str) {
    eprintln!("{text}");
}

fn is_installed() -> bool {
    let found = has("mosquitto_sub") && has("mosquitto_pub");
    if !found {
        say("SKIP: mosquitto_sub is not installed (scripts/test-deps.sh installs it)");
    }
    found
}

#[test]
fn a_monitor_sees_readable_json_of_everything_while_a_job_runs() {
    if !is_installed() {
        return;
    }
    let lab = Lab::without_sandbox();
    let controller = lab.controller("");
    let worker = lab.worker(&controller, "one");
    let token = read_token(&controller, "monitor", &[]);
    let reader = Reader::start(&lab, &controller, "all", &token, "agentd/#");
    reader.wait_for("the retained roster", |topic, _| topic == "agentd/workers");
    let go = lab.path("go");
    let script = format!(
        "echo seen by the monitor; while ! test -e {}; do sleep 0.05; done",
        go.display()
    );
    let submitted = controller.ctl(&["submit", "run", "--", "/bin/sh", "-c", &script]);
    assert!(submitted.status.success(), "{submitted:?}");

    let line = reader.wait_for("a log line", |topic, _| topic == "agentd/log");
    has_fields(&line, &["job", "step", "attempt", "line"]);
    assert_eq!(line["job"]["number"], 1, "{line}");
    let current = |payload: &Value| payload["current"].as_array().is_some_and(|now| !now.is_empty());
    let own = format!("agentd/workers/{}", worker.name);
    let one = reader.wait_for("a worker's step", |topic, it| topic == own && current(it));
    has_fields(&one, &["state", "load", "slots", "current"]);
    assert_eq!(one["state"], "online");

    // whoever comes late sees at once what is retained
    let late = Reader::start(&lab, &controller, "late", &token, "agentd/#");
    let status = late.wait_for("the status", |topic, _| topic == "agentd/status");
    has_fields(
        &status,
        &[
            "version",
            "epoch",
            "uptime_s",
            "queue_depth",
            "running",
            "workers_online",
            "today",
        ],
    );
    let roster = late.wait_for("the roster", |topic, _| topic == "agentd/workers");
    has_fields(
        &roster["workers"][0],
        &["name", "state", "labels", "slots", "models", "current"],
    );
    let open = late.wait_for("the open jobs", |topic, _| topic == "agentd/jobs/open");
    has_fields(&open, &["counts", "truncated"]);
    let fields = [
        "job",
        "title",
        "workflow",
        "state",
        "steps",
        "steps_done",
        "steps_total",
        "usage",
    ];
    has_fields(&open["jobs"][0], &fields);

    fs::write(&go, "").expect("writable");
    let ended = reader.wait_for("the job's end", |topic, it| {
        topic == "agentd/jobs" && it["state"] == "succeeded"
    });
    has_fields(&ended, &fields);
    reader.wait_for("the event of the job's end", |topic, it| {
        topic == "agentd/events" && it["kind"].as_str().is_some_and(|kind| kind.starts_with("job"))
    });
    pause(&controller, &reader);
    let messages = reader.messages();
    are_public_and_without_gaps(&messages);
    keep_to_the_document(&lab, &controller, &[messages.clone(), late.messages()].concat());
    say(&format!("{} messages, all of them JSON", messages.len()));
}

/// A command and its answer belong to the document as well.
fn pause(controller: &Controller, reader: &Reader) {
    let approver = read_token(controller, "approver", &["--scope", "run"]);
    let said = mosquitto("mosquitto_pub", controller, Some(&approver))
        .args([
            "-t",
            "agentd/command",
            "-q",
            "1",
            "-m",
            "{\"id\": \"c1\", \"do\": \"pause\"}",
        ])
        .output()
        .expect("starts");
    assert!(said.status.success(), "{said:?}");
    let answer = reader.wait_for("the answer", |_, it| it["kind"] == "command_answer");
    assert_eq!(
        (&answer["data"]["id"], &answer["data"]["ok"]),
        (&"c1".into(), &true.into()),
        "{answer}"
    );
}

/// Every message is what the AsyncAPI document of this controller says of its topic.
fn keep_to_the_document(lab: &Lab, controller: &Controller, messages: &[(String, Value)]) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the workspace");
    let python = root.join(".venv-api/bin/python");
    if !python.exists() {
        skip(".venv-api is not there (scripts/test-deps.sh makes it): messages are not held to the document");
        return;
    }
    let document = lab.path("asyncapi.json");
    let printed = controller.ctl(&["topics"]);
    assert!(printed.status.success(), "{printed:?}");
    fs::write(&document, printed.stdout).expect("writable");
    let mut check = Command::new(python)
        .arg(root.join("e2e/api/messages.py"))
        .arg(&document)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("python starts");
    let mut input = check.stdin.take().expect("piped");
    for (topic, payload) in messages {
        writeln!(input, "{topic} {payload}").expect("it reads");
    }
    drop(input);
    let checked = check.wait_with_output().expect("it ends");
    assert!(checked.status.success(), "{checked:?}");
    let seen: Value = serde_json::from_slice(&checked.stdout).expect("JSON");
    for channel in [
        "status",
        "workers",
        "worker",
        "open_jobs",
        "jobs",
        "log",
        "events",
    ] {
        assert!(
            seen[channel].as_u64() > Some(0),
            "no message of {channel}: {seen}"
        );
    }
    say(&format!("as the AsyncAPI document says: {seen}"));
}

fn are_public_and_without_gaps(messages: &[(String, Value)]) {
    let mut last = 0;
    for (topic, payload) in messages {
        let parts: Vec<&str> = topic.split('/').collect();
        assert!(
            matches!(
                parts[1..],
                ["status" | "workers" | "jobs" | "log" | "events"] | ["workers", "one"] | ["jobs", "open"]
            ),
            "{topic} is not for monitors"
        );
        if topic == "agentd/events" {
            has_fields(payload, &["seq", "at", "kind"]);
            let seq = payload["seq"].as_u64().expect("a number");
            assert!(last == 0 || seq == last + 1, "a gap between {last} and {seq}");
            last = seq;
        }
    }
    assert!(last > 0);
}

#[test]
fn without_a_right_password_nobody_reads_and_a_reader_never_writes() {
    if !is_installed() {
        return;
    }
    let lab = Lab::without_sandbox();
    let controller = lab.controller("");
    let token = read_token(&controller, "monitor", &[]);
    for password in [None, Some("wrong"), Some("")] {
        let refused = mosquitto("mosquitto_sub", &controller, password)
            .args(["-t", "agentd/#", "-v", "-W", "20"])
            .output()
            .expect("starts");
        // 27 would be its own time-out, as for somebody who was let in
        assert!(!matches!(refused.status.code(), Some(0 | 27)), "{refused:?}");
        assert!(refused.stdout.is_empty(), "{refused:?}");
    }
    for filter in [
        "agentd-worker/v1/+/in",
        "agentd-worker/v1/+/out",
        "agentd-worker/v1/+/log",
        "#",
    ] {
        let denied = mosquitto("mosquitto_sub", &controller, Some(&token))
            .args(["-t", filter, "-W", "20"])
            .output()
            .expect("starts");
        let said = String::from_utf8_lossy(&denied.stderr);
        assert!(
            said.to_lowercase().contains("denied") || !denied.status.success(),
            "{filter}: {denied:?}"
        );
        assert_ne!(denied.status.code(), Some(27), "{filter}: {denied:?}");
    }
    let reader = Reader::start(&lab, &controller, "all", &token, "agentd/#");
    reader.wait_for("the status", |topic, _| topic == "agentd/status");
    for topic in ["agentd/status", "agentd/command", "agentd-worker/v1/x/out"] {
        // its exit code says nothing: MQTT 3.1.1 has no answer for a denied publish
        mosquitto("mosquitto_pub", &controller, Some(&token))
            .args(["-t", topic, "-q", "1", "-r", "-m", "{\"do\": \"forged\"}"])
            .output()
            .expect("starts");
    }
    // a later message by the controller shows that nothing is on its way any more
    let submitted = controller.ctl(&["submit", "run", "--", "/bin/true"]);
    assert!(submitted.status.success(), "{submitted:?}");
    reader.wait_for("the job", |topic, _| topic == "agentd/jobs");
    for (topic, payload) in reader.messages() {
        assert!(!payload.to_string().contains("forged"), "{topic}: {payload}");
    }
}

#[test]
fn the_connection_of_a_token_that_ends_is_closed() {
    if !is_installed() {
        return;
    }
    let lab = Lab::without_sandbox();
    let controller = lab.controller("");
    let kept = read_token(&controller, "kept", &[]);
    let removed = read_token(&controller, "removed", &[]);
    let expiring = read_token(&controller, "expiring", &["--expires", "3s"]);
    let readers = [
        Reader::start(&lab, &controller, "kept", &kept, "agentd/#"),
        Reader::start(&lab, &controller, "removed", &removed, "agentd/#"),
        Reader::start(&lab, &controller, "expiring", &expiring, "agentd/#"),
    ];
    for reader in &readers {
        reader.wait_for("the status", |topic, _| topic == "agentd/status");
    }
    assert!(controller.ctl(&["tokens", "remove", "removed"]).status.success());
    let begun = Instant::now();
    let [mut kept, mut removed, mut expiring] = readers;
    // mosquitto_sub tries again by itself, is refused then, and ends
    let closings = || controller.log().matches("of a token that has ended").count();
    eventually("the removed token's connection to be closed", || {
        (closings() > 0).then_some(())
    });
    say(&format!("closed {:.2?} after the removal", begun.elapsed()));
    eventually("the expired token's connection to be closed", || {
        (closings() > 1).then_some(())
    });
    for gone in [&mut removed, &mut expiring] {
        eventually("a reader without a token to end", || {
            gone.process.try_wait().expect("a child")
        });
    }
    assert_eq!(kept.process.try_wait().expect("a child"), None);
}
