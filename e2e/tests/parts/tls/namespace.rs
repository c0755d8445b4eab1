//! A worker on what is another machine to the network: a namespace with one cable to this one.

use std::{
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use e2e::{Lab, eventually, lab::binary, skip};
use protocol::http::join::JoinToken;

use super::join_token;

/// A network namespace and the cable to it; gone when dropped.
struct Namespace {
    name: String,
    cable: String,
    here: String,
    there: String,
}

fn ip(args: &str) -> bool {
    let run = Command::new("ip")
        .args(args.split_whitespace())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    run.is_ok_and(|status| status.success())
}

impl Namespace {
    /// `None` where this user may not make one.
    fn make() -> Option<Self> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let mark = (std::process::id() * 2 + MADE.fetch_add(1, Ordering::Relaxed)) % 60_000;
        let (net, host) = (mark / 60, mark % 60 * 4);
        let made = Self {
            name: format!("agentd-{mark}"),
            cable: format!("agd{mark}"),
            here: format!("10.213.{}.{}", net % 250, host + 1),
            there: format!("10.213.{}.{}", net % 250, host + 2),
        };
        let Self {
            name, cable, there, ..
        } = &made;
        let steps = [
            format!("netns add {name}"),
            format!("link add {cable}h type veth peer name {cable}w"),
            format!("link set {cable}w netns {name}"),
            format!("addr add {}/30 dev {cable}h", made.here),
            format!("link set {cable}h up"),
            format!("-n {name} addr add {there}/30 dev {cable}w"),
            format!("-n {name} link set {cable}w up"),
            format!("-n {name} link set lo up"),
        ];
        steps.iter().all(|step| ip(step)).then_some(made)
    }

    /// A program in there.
    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command.stdin(Stdio::null());
        command
    }

    /// Whether a port of this machine can be reached from in there.
    fn reaches(&self, port: &str) -> bool {
        let connect = format!("exec 3<>/dev/tcp/{}/{port}", self.here);
        let mut bash = self.command("bash");
        let status = bash.args(["-c", &connect]).stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        ip(&format!("link del {}h", self.cable));
        ip(&format!("netns del {}", self.name));
    }
}

/// The end of the line that agentd prints at its first start: a join token.
fn printed_token(log: &std::path::Path) -> String {
    eventually("the line that joins a worker", || {
        let text = std::fs::read_to_string(log).ok()?;
        let (_, rest) = text.split_once("agent-worker join ")?;
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || "._-".contains(c)))?;
        Some(rest[..end].to_owned())
    })
}

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
    let listen = format!("{{tls: {{listen: '{}:0', names: []}}}}", net.here);
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
    assert!(
        logged.contains(&format!("{}w", net.cable)),
        "it ran in there: {logged}"
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
        Some(&format!("https://{}:8485", net.there)),
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
