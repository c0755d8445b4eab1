//! A worker on another machine, whose cable is cut, and whose controller gets another address.

use std::{
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use e2e::{
    Controller, Lab, eventually,
    held::Held,
    lab::binary,
    namespace::{Namespace, printed_token},
};
use protocol::http::join::JoinToken;

use crate::{
    frozen::{attempts, succeeds},
    say, size,
};

/// Ends its process with the test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // it may have ended by itself
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Joins from in there, by what a first start has printed.
fn join(net: &Namespace, lab: &Lab, token: &str) -> Ended {
    let mut worker: Command = net.command(binary("agent-worker"));
    worker
        .args(["join", token, "--name", "far", "--state-dir"])
        .arg(lab.path("far"))
        // a command shall see the file that lets it go
        .env("AGENT_WORKER_SANDBOX__ALLOW", "none");
    let log = std::fs::File::create(lab.path("far.log")).expect("a log");
    worker.stderr(log).stdout(Stdio::null());
    Ended(worker.spawn().expect("ip starts"))
}

/// Lets the held command go, and asserts that its first attempt ends the job.
fn ends_as_it_began(controller: &Controller, lab: &Lab, held: &Held, number: u64) {
    held.let_go();
    let job = succeeds(controller, number);
    assert_eq!(attempts(&job).len(), 1, "{job}");
    assert_eq!(job["steps"][0]["worker"], "far", "{job}");
    std::fs::remove_file(lab.path("gate")).expect("the gate");
}

#[test]
fn a_worker_elsewhere_survives_a_cut_cable_and_another_address_of_its_controller() {
    let Some(mut net) = Namespace::make() else {
        e2e::skip("a cut cable to another network namespace: making one needs root");
        return;
    };
    let lab = Lab::without_sandbox();
    let limits = "limits: {lease_s: 3, grace_command_s: 120}";
    let listen = "{tls: {listen: '0.0.0.0:0'}}";
    let controller = lab.controller(&format!("http: {listen}\nmqtt: {listen}\n{limits}\n"));
    let token = printed_token(&lab.path("agentd.log"));
    let urls = JoinToken::decode(&token).expect("a whole token").urls;
    let hosts = urls
        .iter()
        .filter_map(|url| url.strip_prefix("https://")?.rsplit_once(':'));
    let name = hosts
        .map(|(host, _)| host)
        .find(|host| host.parse::<std::net::IpAddr>().is_err());
    let name = name.expect("the line names this machine too").to_owned();
    net.call_here(&name);
    let _worker = join(&net, &lab, &token);
    eventually("the worker to be online", || {
        let workers = controller.json(&["workers", "-o", "json"]);
        (workers["items"][0]["state"] == "online").then_some(())
    });

    let held = Held::new(&lab, 0);
    let number = held.submit(&controller);
    let seconds = size(6, 60);
    net.plug(false);
    // the cut itself is what is tested
    std::thread::sleep(Duration::from_secs(seconds));
    let state = controller.job(number)["steps"][0]["attempts"][0]["state"].clone();
    net.plug(true);
    ends_as_it_began(&controller, &lab, &held, number);
    assert_eq!(state, "suspect", "the cut was noticed");

    let number = held.submit(&controller);
    let (old, log) = (net.here(), || {
        std::fs::read_to_string(lab.path("far.log")).unwrap_or_default()
    });
    let before = log().len();
    let began = Instant::now();
    net.move_here();
    net.call_here(&name);
    assert_ne!(net.here(), old);
    eventually("the worker to be back at the new address", || {
        let log = log();
        let (_, since) = log[before..].split_once("no connection")?;
        since.contains("connected to").then_some(())
    });
    let back = began.elapsed();
    ends_as_it_began(&controller, &lab, &held, number);
    say(&format!(
        "a cable cut for {seconds} s, and another address of agentd (back after {:.1} s): the same attempts \
         finished",
        back.as_secs_f64()
    ));
}
