//! The dashboard in a real browser: `e2e/browser/dashboard.mjs` uses it, and asks this side to submit, to
//! stop and to start.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use e2e::{
    Controller, Lab,
    held::Held,
    http,
    model::ScriptedModel,
    repo::{SAMPLES, Sample, has},
};

use super::implement::good_answers;

/// Prints lines, one of them hostile, waits until it is let go, and then asks a person.
const ASKS: &str = "api: agentd/v1
name: asks
steps:
  plan: {run: [/bin/sh, SCRIPT]}
  approve: {needs: [plan], approval: {timeout: 24h, on_timeout: reject, show: [plan]}}
  build: {needs: [approve], run: [/bin/sh, -c, echo built]}
";

/// Where the scripts and what they need lie.
fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("browser")
}

/// The browser; there is no test of the dashboard without one.
fn chromium() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders = std::env::split_paths(&path);
    let found = folders.find_map(|folder| {
        let names = ["chromium", "chromium-browser", "google-chrome"];
        names
            .iter()
            .map(|name| folder.join(name))
            .find(|file| file.is_file())
    });
    let installed = scripts().join("node_modules/playwright-core").is_dir() && has("node");
    match found {
        Some(found) if installed => found,
        _ => panic!("Chromium, Node or playwright-core is missing: scripts/test-deps.sh installs them"),
    }
}

/// One conversation with a script: what it asks is done by `answer`.
fn converse(
    script: &str,
    controller: &mut Controller,
    mut answer: impl FnMut(&str, &mut Controller) -> String,
) {
    let shots = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/screenshots");
    let mut browser = Command::new("node")
        .arg(scripts().join(script))
        .env("DASHBOARD", controller.url())
        .env("TOKEN", controller.token())
        .env("CHROMIUM", chromium())
        .env("SCREENSHOTS", shots)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("node starts");
    let mut input = browser.stdin.take().expect("a pipe");
    let mut said = String::new();
    for line in BufReader::new(browser.stdout.take().expect("a pipe")).lines() {
        let line = line.expect("text");
        if let Some(words) = line.strip_prefix("ask ") {
            let answer = answer(words, controller);
            // a browser that has failed is told of below
            let _ = writeln!(input, "{answer}");
        }
        said.push_str(&line);
        said.push('\n');
    }
    let ended = browser.wait().expect("a child");
    assert!(ended.success(), "{said}");
}

fn sample() -> &'static Sample {
    let known = SAMPLES.iter().find(|sample| has(sample.needs));
    known.expect("one of the samples can be tested here")
}

#[test]
fn a_person_sees_and_does_everything_in_a_browser() {
    let lab = Lab::without_sandbox();
    let (repo, workflows, gate) = (lab.path("repo"), lab.path("workflows"), lab.path("let-go"));
    sample().create(&repo);
    std::fs::create_dir_all(&workflows).expect("writable");
    let script = lab.path("plan.sh");
    let text = format!(
        "for n in $(seq 400); do echo \"needle $n\"; done\n\
         echo '<img src=x onerror=window.attacked=1>'\n\
         while [ ! -e '{}' ]; do sleep 0.05; done\necho let go\n",
        gate.display()
    );
    std::fs::write(&script, text).expect("writable");
    let asks = ASKS.replace("SCRIPT", &script.display().to_string());
    std::fs::write(workflows.join("asks.yaml"), asks).expect("writable");
    let model = ScriptedModel::start(good_answers(sample()));
    let config = format!(
        "{}workflows: [\"{}\"]\n",
        model.config("openai", "whole_file"),
        workflows.display()
    );
    let mut controller = lab.controller(&config);
    let _workers = [lab.worker(&controller, "one"), lab.worker(&controller, "two")];
    let held = Held::new(&lab, 0);

    converse("dashboard.mjs", &mut controller, |words, controller| {
        let done = |output: std::process::Output| {
            assert!(output.status.success(), "{output:?}");
            String::from_utf8_lossy(&output.stdout).trim().to_owned()
        };
        match words {
            "submit implement" => {
                done(controller.ctl_in(&repo, &["submit", "--repo", ".", "make the failing test pass"]))
            }
            "submit asks" => done(controller.ctl(&["submit", "asks"])),
            "submit held" => held.submit(controller).to_string(),
            "stop" => {
                controller.stop();
                String::new()
            }
            "start" => {
                controller.start();
                String::new()
            }
            "release" => {
                std::fs::write(&gate, "").expect("writable");
                String::new()
            }
            "wanted one" => {
                let worker = controller.json(&["workers", "show", "one", "-o", "json"]);
                worker["wanted"].as_str().unwrap_or_default().to_owned()
            }
            "link" => done(controller.ctl(&["dashboard"])),
            other => panic!("the script asks for {other:?}"),
        }
    });
}

/// A form that lacks the proof of our own page, or comes from another site, changes nothing; a
/// foreign name is not ours; guesses are limited.
#[test]
fn what_does_not_come_from_our_own_page_changes_nothing() {
    let lab = Lab::new();
    let controller = lab.controller("{}");
    let address = controller.http();
    let form = ("Content-Type", "application/x-www-form-urlencoded");
    let post = |path: &str, headers: &[(&str, &str)], body: &str| {
        let headers: Vec<(&str, &str)> = [form].iter().chain(headers).copied().collect();
        http::request_with(address, "POST", path, None, &headers, body.as_bytes())
    };
    let login = post("/login", &[], &format!("token={}", controller.token()));
    assert_eq!(login.status, 303, "{login:?}");
    let cookie = login.header("set-cookie").expect("a cookie").to_owned();
    assert!(
        cookie.contains("httponly") && cookie.contains("samesite=strict"),
        "{cookie}"
    );
    let cookie = cookie.split(';').next().expect("its value").to_owned();
    let with = [("Cookie", cookie.as_str())];

    let page = http::request_with(address, "GET", "/workers", None, &with, b"");
    assert_eq!(page.status, 200, "{page:?}");
    let policy = page.header("content-security-policy").expect("a policy");
    assert!(
        policy.contains("default-src 'none'") && !policy.contains("unsafe"),
        "{policy}"
    );
    let (_, rest) = page.body.split_once("name=\"csrf\" value=\"").expect("a form");
    let csrf = rest.split('"').next().expect("its value");

    // the cookie alone, a wrong proof, another site
    assert_eq!(post("/workers/join-line", &with, "").status, 403);
    assert_eq!(post("/workers/join-line", &with, "csrf=0").status, 403);
    let foreign = [with[0], ("Origin", "http://evil.example")];
    assert_eq!(
        post("/workers/join-line", &foreign, &format!("csrf={csrf}")).status,
        403
    );
    assert_eq!(
        post("/workers/join-line", &with, &format!("csrf={csrf}")).status,
        200
    );
    // the API's own changes take no cookie at all
    assert_eq!(post("/v1/workers/join-tokens", &with, "").status, 401);
    let read = http::request_with(address, "GET", "/v1/status", None, &with, b"");
    assert_eq!(read.status, 200, "{read:?}");

    let text = "GET /login HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n";
    let mut stream = std::net::TcpStream::connect(address).expect("listens");
    stream.write_all(text.as_bytes()).expect("sent");
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut stream, &mut answer).expect("answered");
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");

    let out = post("/logout", &with, &format!("csrf={csrf}"));
    assert_eq!(out.status, 303, "{out:?}");
    let after = http::request_with(address, "GET", "/workers", None, &with, b"");
    assert_eq!(after.status, 401, "{after:?}");

    let mut last = 0;
    for _ in 0..25 {
        last = post("/login", &[], "token=agt_guess").status;
    }
    assert_eq!(last, 429);
    assert_eq!(
        post("/login", &[], &format!("token={}", controller.token())).status,
        303
    );
}
