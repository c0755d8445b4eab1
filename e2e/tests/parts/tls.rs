//! Other machines: TLS with an authority of our own, joining over it, and strangers.

#[path = "tls/namespace.rs"]
mod namespace;
#[path = "tls/recorder.rs"]
mod recorder;

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    sync::{Arc, Barrier},
    time::{Duration, Instant},
};

use e2e::{Controller, Lab, Worker, eventually, lab::binary};
use protocol::http::join::{JoinToken, JoinWorker, RenewWorker};
use reqwest::StatusCode;
use tokio::runtime::Runtime;
use worker::{
    access::Access,
    credential::{Credential, Key},
    upload::{Controller as Api, HttpError},
};

use recorder::Recorder;

/// TLS on an address of this machine that no plain listener has.
const TLS: &str = "http: {tls: {listen: '127.0.0.2:0'}}\nmqtt: {tls: {listen: '127.0.0.2:0'}}\n";

fn credential(worker: &Worker) -> Credential {
    let file = fs::read(worker.state.join("credential.json")).expect("the credential");
    serde_json::from_slice(&file).expect("a credential")
}

/// The API as whoever has this credential sees it.
fn api(credential: &Credential) -> Api {
    let (access, _) = Access::of(credential).expect("usable");
    Api::new(&credential.http_url, access).expect("a client")
}

/// Asks for another certificate.
fn renew(runtime: &Runtime, credential: &Credential) -> Result<(), HttpError> {
    let public_key = Key::generate().and_then(|key| key.public()).expect("a key");
    let wish = RenewWorker { public_key };
    runtime.block_on(api(credential).renew(&wish)).map(|_| ())
}

fn runtime() -> Runtime {
    Runtime::new().expect("a runtime")
}

fn join_token(controller: &Controller) -> JoinToken {
    let printed = controller.ctl(&["workers", "join-token"]);
    let line = String::from_utf8(printed.stdout).expect("text");
    JoinToken::decode(line.split_whitespace().last().expect("a token")).expect("a whole token")
}

/// Runs `agent-worker join` to its end; what it said.
fn join(token: &str, state: &Path) -> (bool, String) {
    let output = Command::new(binary("agent-worker"))
        .args(["join", token, "--name", "w", "--state-dir"])
        .arg(state)
        .stdin(Stdio::null())
        .output()
        .expect("agent-worker starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.success(), said)
}

#[test]
fn a_worker_joins_over_tls_works_and_is_cut_off_when_it_is_removed() {
    let lab = Lab::new();
    let controller = lab.controller(TLS);
    let mut worker = lab.worker(&controller, "tower");
    let run = controller.ctl(&["run", "run", "--", "echo", "over TLS"]);
    assert!(run.status.success(), "{run:?}");
    let logged = controller.ctl(&["logs", "1"]);
    assert!(
        String::from_utf8_lossy(&logged.stdout).contains("over TLS"),
        "its log came by HTTP"
    );

    let credential = credential(&worker);
    assert!(credential.secret.is_none(), "the certificate is all that it has");
    let endpoints = controller.endpoints();
    assert_eq!(Some(credential.http_url.as_str()), endpoints["https"].as_str());
    assert_eq!(
        Some(credential.mqtt_address.as_str()),
        endpoints["mqtts"].as_str()
    );
    let runtime = runtime();
    renew(&runtime, &credential).expect("its certificate is its credential");

    let begun = Instant::now();
    assert!(controller.ctl(&["workers", "remove", "tower"]).status.success());
    eventually("its connection to be closed", || {
        worker.log().contains("no connection to the broker").then_some(())
    });
    let took = begun.elapsed();
    eprintln!("the worker had lost its connection {took:?} after its removal was asked for");
    assert!(took < Duration::from_secs(2), "{took:?}");
    let refused = renew(&runtime, &credential).expect_err("it was removed");
    assert!(refused.is_status(StatusCode::UNAUTHORIZED), "{refused}");
    eventually("the worker to be refused", || {
        worker
            .log()
            .contains("refuses this worker's credential")
            .then_some(())
    });
    worker.kill();
}

#[test]
fn a_certificate_is_renewed_before_it_runs_out_and_the_one_before_last_opens_nothing() {
    let lab = Lab::new();
    let controller = lab.controller(&format!("{TLS}limits: {{certificate_s: 12}}\n"));
    let worker = lab.worker(&controller, "tower");
    let first = credential(&worker);
    let next = |known: &Credential| {
        eventually("a new certificate", || {
            let now = credential(&worker);
            (now.certified != known.certified).then_some(now)
        })
    };
    let second = next(&first);
    let third = next(&second);
    let runtime = runtime();
    renew(&runtime, &first).expect_err("two renewals ago");
    renew(&runtime, &third).expect("the present one");
    let run = controller.ctl(&["run", "run", "--", "true"]);
    assert!(run.status.success(), "{run:?}");
    assert!(!worker.log().contains("no connection"), "{}", worker.log());
}

#[test]
fn no_byte_of_a_token_reaches_a_server_of_another_authority() {
    let lab = Lab::new();
    let controller = lab.controller(TLS);
    let stranger = Recorder::start(&lab.path("stranger"));
    let mut token = join_token(&controller);
    token.urls = vec![stranger.url()];
    let (joined, said) = join(&token.encode(), &lab.path("w"));
    assert!(!joined);
    let known = token.ca_fingerprint.clone().expect("over TLS");
    assert!(
        said.contains(&known) && said.contains(&stranger.fingerprint()),
        "{said}"
    );
    assert!(said.contains("nothing was sent"), "{said}");
    assert!(!lab.path("w").join("credential.json").exists());
    let heard = stranger.heard();
    assert!(!heard.is_empty(), "it was asked for its certificate");
    assert_eq!(stranger.understood(), b"", "and heard nothing else");
    for part in [&token.secret, &token.id] {
        let bytes = part.as_bytes();
        assert!(!heard.windows(bytes.len()).any(|window| window == bytes));
    }
    // the token was not used up
    token.urls = vec![
        controller.endpoints()["https"]
            .as_str()
            .expect("a URL")
            .to_owned(),
    ];
    let cut = token.encode();
    let (joined, said) = join(&cut[..cut.len() - 1], &lab.path("w"));
    assert!(
        !joined && said.contains("cut or changed when it was copied"),
        "{said}"
    );
}

#[test]
fn of_twenty_racers_with_one_token_exactly_one_joins() {
    let lab = Lab::new();
    let controller = lab.controller(TLS);
    let token = join_token(&controller);
    let pin = token
        .ca_fingerprint
        .as_deref()
        .expect("over TLS")
        .parse()
        .expect("a fingerprint");
    let start = Arc::new(Barrier::new(20));
    let racer = |number: usize| {
        let (token, start) = (token.clone(), start.clone());
        std::thread::spawn(move || {
            let access = Access::stranger(pin).expect("usable");
            let api = Api::new(&token.urls[0], access).expect("a client");
            let wish = JoinWorker {
                token: token.proof(),
                name: format!("racer-{number}"),
                labels: protocol::label::Labels::default(),
                slots: 1,
                public_key: Some(Key::generate().and_then(|key| key.public()).expect("a key")),
            };
            start.wait();
            runtime().block_on(api.join(&wish)).is_ok()
        })
    };
    let racers: Vec<_> = (0..20).map(racer).collect();
    let joined = racers.into_iter().map(|racer| racer.join().expect("ran"));
    assert_eq!(joined.filter(|joined| *joined).count(), 1);
    let workers = controller.json(&["workers", "-o", "json"]);
    assert_eq!(workers["items"].as_array().map(Vec::len), Some(1), "{workers}");
}

#[test]
fn a_login_pins_the_authority_and_notices_another_one() {
    let lab = Lab::new();
    let controller = lab.controller(TLS);
    let endpoints = controller.endpoints();
    let url = endpoints["https"].as_str().expect("a URL").to_owned();
    let fingerprint = endpoints["ca_fingerprint"]
        .as_str()
        .expect("a fingerprint")
        .to_owned();
    let home = lab.path("home");
    fs::create_dir(&home).expect("a folder");
    let ctl = |args: &[&str]| {
        let mut command = Command::new(binary("agentctl"));
        command
            .args(args)
            .env_clear()
            .env("HOME", &home)
            .env("AGENTCTL_TOKEN", controller.token())
            .stdin(Stdio::null());
        let output = command.output().expect("agentctl starts");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), said)
    };
    let (code, said) = ctl(&["login", &url]);
    assert_eq!(code, Some(2), "{said}");
    assert!(
        said.contains("fingerprint_needed") && said.contains(&fingerprint),
        "{said}"
    );
    let (code, said) = ctl(&["login", &url, "--fingerprint", &"0".repeat(64)]);
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("another_ca") && said.contains(&fingerprint),
        "{said}"
    );

    let (code, said) = ctl(&["login", &url, "--fingerprint", &fingerprint]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(ctl(&["status"]).0, Some(0));
    assert_eq!(
        ctl(&["login", &url]).0,
        Some(0),
        "what is pinned needs no question"
    );

    // somebody else answers there now
    let stranger = Recorder::start(&lab.path("stranger"));
    let file = home.join(".config/agentctl/contexts.yaml");
    let stored = fs::read_to_string(&file).expect("the contexts");
    fs::write(&file, stored.replace(&url, &stranger.url())).expect("written");
    let (code, said) = ctl(&["status"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains(&fingerprint) && said.contains(&stranger.fingerprint()),
        "{said}"
    );
    assert_eq!(stranger.understood(), b"", "no token was sent");
}
