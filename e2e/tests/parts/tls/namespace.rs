//! A worker on what is another machine to the network: a namespace with one cable to this one.

use std::{
    io::Write as _,
    process::{Child, Command, Stdio},
};

use e2e::{
    Lab, eventually,
    lab::binary,
    namespace::{Namespace, printed_token},
    skip,
};
use protocol::http::join::JoinToken;

use super::join_token;

struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // it may have ended by itself
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_worker_joins_over_tls_from_another_network_namespace() {
    let Some(net) = Namespace::make() else {
        skip("joining from another network namespace: making one needs root");
        return;
    };
    let lab = Lab::new();
    let listen = format!("{{tls: {{listen: '{}:0', names: []}}}}", net.here());
    let controller = lab.controller(&format!("http: {listen}\nmqtt: {listen}\n"));
    let endpoints = controller.endpoints();
    let port = |name: &str| {
        let text = endpoints[name].as_str().expect("an address");
        text.rsplit(':').next().expect("a port").to_owned()
    };
    assert!(net.reaches(&port("https")) && net.reaches(&port("mqtts")));
    assert!(
        !net.reaches(&port("http")) && !net.reaches(&port("mqtt")),
        "plain is for this machine alone"
    );

    let token = join_token(&controller).encode();
    let state = lab.path("far");
    let mut worker = net.command(binary("agent-worker"));
    worker
        .args(["join", &token, "--name", "far", "--state-dir"])
        .arg(&state)
        // a tool in a sandbox sees a network of its own, and not that of its worker
        .env("AGENT_WORKER_SANDBOX__ALLOW", "none");
    let log = std::fs::File::create(lab.path("far.log")).expect("a log");
    worker.stderr(log).stdout(Stdio::null());
    let _worker = Ended(worker.spawn().expect("ip starts"));
    eventually("the worker to be online", || {
        let workers = controller.json(&["workers", "-o", "json"]);
        (workers["items"][0]["state"] == "online").then_some(())
    });
    let run = controller.ctl(&["run", "run", "--", "cat", "/proc/net/dev"]);
    assert!(run.status.success(), "{run:?}");
    let logged = controller.ctl(&["logs", "1"]);
    let logged = String::from_utf8_lossy(&logged.stdout).into_owned();
    assert!(logged.contains(&net.device()), "it ran in there: {logged}");
}

#[test]
fn a_worker_that_is_given_no_address_finds_the_controller_and_its_token_judges() {
    let (Some(near), Some(far)) = (Namespace::make(), Namespace::make()) else {
        skip("finding a controller by multicast: making network namespaces needs root");
        return;
    };
    // the two machines have a cable between them, and none to this one
    far.lead_to(&near);
    near.plug(false);
    let lab = Lab::new();
    let (state, log) = (lab.path("agentd"), lab.path("agentd.log"));
    let output = std::fs::File::create(&log).expect("a log");
    let mut agentd = near.command(binary("agentd"));
    agentd
        .arg("--state-dir")
        .arg(&state)
        .env("AGENTD_ANNOUNCE", "true");
    agentd.stdout(Stdio::null()).stderr(output);
    let _agentd = Ended(agentd.spawn().expect("ip starts"));
    let mut token = JoinToken::decode(&printed_token(&log)).expect("a whole token");
    // where nobody is
    token.urls = vec!["https://192.0.2.1:1".to_owned()];
    let join = |token: &JoinToken, name: &str| {
        let mut worker = far.command(binary("agent-worker"));
        worker
            .args(["join", "--name", name, "--state-dir"])
            .arg(lab.path(name));
        let said = std::fs::File::create(lab.path(&format!("{name}.log"))).expect("a log");
        worker
            .stdin(Stdio::piped())
            .stderr(said.try_clone().expect("a handle"))
            .stdout(said);
        let mut worker = Ended(worker.spawn().expect("ip starts"));
        let line = format!("agent-worker join {}\n", token.encode());
        let mut asked = worker.0.stdin.take().expect("piped");
        asked.write_all(line.as_bytes()).expect("taken");
        worker
    };
    let said = |name: &str, text: &str| {
        eventually(&format!("{text} from {name}"), || {
            let log = std::fs::read_to_string(lab.path(&format!("{name}.log"))).ok()?;
            log.contains(text).then_some(log)
        })
    };
    let mut stranger = token.clone();
    stranger.ca_fingerprint = Some("ab".repeat(32));
    let _fooled = join(&stranger, "fooled");
    let log = said(
        "fooled",
        "is not the controller that made the token; nothing was sent to it",
    );
    assert!(
        log.contains(&format!("found: https://{}:8485", far.here())),
        "{log}"
    );
    let _worker = join(&token, "finder");
    said("finder", "joined as finder");
    let credential = std::fs::read_to_string(lab.path("finder").join("credential.json")).expect("stored");
    assert!(
        credential.contains(&format!("https://{}:8485", far.here())),
        "{credential}"
    );
}

#[test]
fn the_line_that_a_fresh_agentd_prints_works_on_another_machine_without_configuration() {
    let Some(net) = Namespace::make() else {
        skip("an agentd with its default ports: making a network namespace needs root");
        return;
    };
    let lab = Lab::new();
    let (state, log) = (lab.path("agentd"), lab.path("agentd.log"));
    let output = std::fs::File::create(&log).expect("a log");
    // in there the default ports are free
    let mut agentd = net.command(binary("agentd"));
    agentd
        .arg("--state-dir")
        .arg(&state)
        .stdout(Stdio::null())
        .stderr(output);
    let _agentd = Ended(agentd.spawn().expect("ip starts"));
    let token = printed_token(&log);
    let urls = JoinToken::decode(&token).expect("a whole token").urls;
    assert_eq!(
        urls.first(),
        Some(&format!("https://{}:8485", net.there())),
        "{urls:?}"
    );
    assert_eq!(
        urls.last().map(String::as_str),
        Some("https://127.0.0.1:8485"),
        "{urls:?}"
    );

    // this side of the cable is the other machine
    let mut worker = Command::new(binary("agent-worker"));
    worker
        .args(["join", &token, "--name", "far", "--state-dir"])
        .arg(lab.path("far"));
    let output = std::fs::File::create(lab.path("far.log")).expect("a log");
    worker.stdin(Stdio::null()).stdout(Stdio::null()).stderr(output);
    let _worker = Ended(worker.spawn().expect("agent-worker starts"));
    eventually("the worker to be online", || {
        let mut status = net.command(binary("agentctl"));
        let token = std::fs::read_to_string(state.join("admin.token")).ok()?;
        status
            .args(["workers", "-o", "json"])
            .env("AGENTCTL_URL", "http://127.0.0.1:8484")
            .env("AGENTCTL_TOKEN", token.trim());
        let said = status.output().expect("ip starts").stdout;
        let workers: serde_json::Value = serde_json::from_slice(&said).ok()?;
        (workers["items"][0]["state"] == "online").then_some(())
    });
}
