//! Readers that subscribe and then never read.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use e2e::{Controller, Lab, eventually, http::bearer};
use serde_json::json;

use crate::{CONTROLLER_KB, WORKER_KB, held_at_most, say, size};

/// Jobs of one batch, and about the bytes of all events of a job.
const BATCH: u64 = 250;
const EVENT_BYTES: u64 = 2000;
/// More than the kernel holds for a connection, whatever the machine.
const IN_THE_KERNEL: u64 = 15_000_000;

/// Follows all events by SSE, without reading an answer.
fn follow_events(controller: &Controller) -> TcpStream {
    let mut stream = TcpStream::connect(controller.http()).expect("agentd listens");
    let request = format!(
        "GET /v1/events HTTP/1.1\r\nHost: agentd\r\nAccept: text/event-stream\r\n{}\r\n",
        bearer(&controller.token())
    );
    stream.write_all(request.as_bytes()).expect("taken");
    stream
}

/// Subscribes to everything by MQTT, without reading an answer.
fn monitor(controller: &Controller, name: &str) -> TcpStream {
    let text = |text: &str| [&(text.len() as u16).to_be_bytes(), text.as_bytes()].concat();
    let packet = |kind: u8, body: &[u8]| {
        let mut packet = vec![kind];
        let mut rest = body.len();
        while rest > 127 {
            packet.push(rest as u8 & 127 | 128);
            rest >>= 7;
        }
        packet.push(rest as u8);
        [&packet, body].concat()
    };
    let mut stream = TcpStream::connect(controller.mqtt()).expect("the broker listens");
    // MQTT 3.1.1, clean session, user and password, no keep-alive
    let head = [text("MQTT"), vec![4, 0b1100_0010, 0, 0]].concat();
    let connect = [head, text(name), text("monitor"), text(&controller.token())].concat();
    let subscribe = [vec![0, 1], text("agentd/#"), vec![0]].concat();
    stream.write_all(&packet(0x10, &connect)).expect("taken");
    stream.write_all(&packet(0x82, &subscribe)).expect("taken");
    stream
}

/// Has as many jobs run as make so many bytes of events; never more than some batches are open.
fn make_events(controller: &Controller, bytes: u64) {
    let job = json!({"workflow": "run", "inputs": {"command": []}, "title": "t".repeat(120)});
    let batch = json!(vec![job; BATCH as usize]).to_string();
    for _ in 0..(bytes / EVENT_BYTES).div_ceil(BATCH) {
        let answer = controller.request("POST", "/v1/jobs:batch", batch.as_bytes());
        assert_eq!(answer.status, 200, "{answer:?}");
        let items = answer.json();
        let last = items["items"][BATCH as usize - 1]["number"].as_u64();
        let path = format!("/v1/jobs/{}", last.expect("a number"));
        eventually("the batch to end", || {
            let job = controller.request("GET", &path, b"").json();
            (job["state"] == "succeeded").then_some(())
        });
    }
}

/// The ids of the first events that come.
fn ids(stream: &mut TcpStream, at_least: usize) -> Vec<u64> {
    let patience = Some(Duration::from_secs(60));
    stream.set_read_timeout(patience).expect("a time-out");
    let (mut text, mut piece) = (String::new(), vec![0; 64 * 1024]);
    loop {
        let count = stream.read(&mut piece).expect("events come");
        assert!(count > 0, "the stream ended: {text:.500}");
        text.push_str(&String::from_utf8_lossy(&piece[..count]));
        let whole = text.rsplit_once("\n\n").map_or("", |(whole, _)| whole);
        let ids = whole.lines().filter_map(|line| line.strip_prefix("id: "));
        let ids: Vec<u64> = ids.map(|id| id.parse().expect("a number")).collect();
        if ids.len() >= at_least {
            return ids;
        }
    }
}

/// Reads until the other side has closed the connection; how many bytes came before.
fn until_closed(stream: &mut TcpStream) -> usize {
    let patience = Some(Duration::from_secs(60));
    stream.set_read_timeout(patience).expect("a time-out");
    let (mut all, mut piece) = (0, vec![0; 64 * 1024]);
    loop {
        match stream.read(&mut piece) {
            Ok(0) => return all,
            Ok(count) => all += count,
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return all,
            Err(error) => panic!("the connection is still open after {all} bytes: {error}"),
        }
    }
}

#[test]
fn readers_that_never_read_cost_little_memory_and_nobody_waits_for_them() {
    let lab = Lab::new();
    let mut controller = lab.controller("");
    let mut worker = lab.worker(&controller, "one");
    worker.stop();
    worker.set_environment(&[("AGENT_WORKER_SLOTS", "16")]);
    worker.start();
    let mut sse: Vec<TcpStream> = (0..4).map(|_| follow_events(&controller)).collect();
    let mut mqtt: Vec<TcpStream> = ["a", "b", "c", "d"].map(|name| monitor(&controller, name)).into();
    let bytes = size(5_000_000, 200_000_000);
    make_events(&controller, bytes);
    let page = controller.request("GET", "/v1/status", b"").json();
    say(&format!("about {bytes} bytes of events; status {page}"));
    held_at_most("agentd", controller.process(), CONTROLLER_KB);
    held_at_most("agent-worker", worker.process(), WORKER_KB);

    // who reads events late gets every one of them
    let seen = ids(&mut sse[0], 5000);
    let first = seen[0];
    for (id, wanted) in seen.iter().zip(first..) {
        assert_eq!(*id, wanted, "an event is missing");
    }
    // what the kernel itself does not hold for a monitor stalls, and a stalled one is cut;
    // the numbers of events tell it what it missed
    if bytes > IN_THE_KERNEL {
        let all: Vec<usize> = mqtt.iter_mut().map(until_closed).collect();
        say(&format!("monitors were cut; {all:?} bytes waited for them"));
    }
}
