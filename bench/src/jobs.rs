//! Latency and throughput of jobs, agentd and the skeleton in turn.

use std::{
    collections::HashSet,
    fs,
    io::Read as _,
    process::Command,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::{
    figures::{Figure, Goal, Report, Samples},
    floor::Floor,
    house::House,
    http::Http,
    skeleton::{Skeleton, Work},
};

/// Jobs whose latency is measured, one after the other, and those before them that warm up.
const SERIAL: usize = 400;
const WARM_UP: usize = 40;
/// Jobs whose throughput is measured.
const MANY: usize = 3000;
/// How long one end may be waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// All of it.
pub fn measure(runtime: &Runtime, floor: &Floor, report: &mut Report) -> anyhow::Result<()> {
    let house = House::with_worker()?;
    let ends = Ends::follow(&house)?;
    latency(&house, &ends, runtime, floor, report)?;
    started(&house, &ends, report)?;
    throughput(&house, &ends, runtime, floor, report)
}

/// A submit of the workflow `run`.
pub fn submit(command: &[&str]) -> String {
    json!({"workflow": "run", "inputs": {"command": command}}).to_string()
}

/// Submits a job; returns its number.
pub fn post(http: &mut Http, body: &str) -> anyhow::Result<u64> {
    let (status, answer) = http.call("POST", "/v1/jobs", body)?;
    ensure!(
        status == 201,
        "status {status}: {}",
        String::from_utf8_lossy(&answer)
    );
    let answer: Value = serde_json::from_slice(&answer)?;
    answer["number"].as_u64().context("no number in the answer")
}

/// What the stream of events says about ends of jobs.
pub struct Ends(mpsc::Receiver<(u64, Instant)>);

impl Ends {
    /// Follows them from now on; the thread ends with the controller.
    pub fn follow(house: &House) -> anyhow::Result<Self> {
        let (sender, ends) = mpsc::channel();
        let lines = house.http()?.events("/v1/events")?;
        thread::spawn(move || {
            for line in lines {
                let Some(data) = line.strip_prefix("data:") else {
                    continue;
                };
                let now = Instant::now();
                let Ok(event) = serde_json::from_str::<Value>(data) else {
                    continue;
                };
                let ended = event["kind"] == "job_state" && event["data"]["state"] == "succeeded";
                if let (true, Some(number)) = (ended, event["job"]["number"].as_u64())
                    && sender.send((number, now)).is_err()
                {
                    return;
                }
            }
        });
        Ok(Self(ends))
    }

    /// The next one.
    pub fn next(&self) -> anyhow::Result<(u64, Instant)> {
        self.0.recv_timeout(PATIENCE).context("no job ended for a minute")
    }
}

fn latency(
    house: &House,
    ends: &Ends,
    runtime: &Runtime,
    floor: &Floor,
    report: &mut Report,
) -> anyhow::Result<()> {
    let ours = serial(house, ends, &submit(&[]))?;
    let skeleton = serial_skeleton(runtime, Work::Nothing)?;
    let (commit, tcp, mqtt) = (floor.commit_ms, floor.tcp_ms, floor.mqtt_ms);
    report.group("latency of no-op jobs, one after the other");
    let mut add = |what: &str, samples: &Samples, bound: f64, skeleton: &Samples| {
        let p50 = samples.p50_ms();
        report.add(
            Figure::new(format!("{what}, p50"), p50, "ms")
                .beside("floor", bound)
                .goal(Goal::AtMost(2.0)),
        );
        report.add(
            Figure::new(format!("{what}, p99"), samples.p99_ms(), "ms")
                .beside("floor", bound)
                .goal(Goal::AtMost(8.0)),
        );
        report.add(Figure::new(format!("{what}, p50"), p50, "ms").beside("skeleton", skeleton.p50_ms()));
    };
    add(
        "durable accept (T + F)",
        &ours.accepted,
        tcp + commit,
        &skeleton.accepted,
    );
    let bound = tcp + 2.0 * commit + 2.0 * mqtt;
    add(
        "submit to finished, pushed (T + 2F + 2M)",
        &ours.finished,
        bound,
        &skeleton.finished,
    );
    Ok(())
}

/// Durations from the submit.
struct Serial {
    accepted: Samples,
    finished: Samples,
}

fn serial(house: &House, ends: &Ends, body: &str) -> anyhow::Result<Serial> {
    let mut http = house.http()?;
    let (mut accepted, mut finished) = (vec![], vec![]);
    for round in 0..SERIAL + WARM_UP {
        let begun = Instant::now();
        let number = post(&mut http, body)?;
        let accept = begun.elapsed();
        let end = loop {
            let (ended, at) = ends.next()?;
            if ended == number {
                break at;
            }
        };
        if round >= WARM_UP {
            accepted.push(accept);
            finished.push(end - begun);
        }
    }
    Ok(Serial {
        accepted: Samples::new(accepted),
        finished: Samples::new(finished),
    })
}

fn serial_skeleton(runtime: &Runtime, work: Work) -> anyhow::Result<Serial> {
    let folder = tempfile::tempdir()?;
    let mut skeleton = runtime.block_on(Skeleton::start(folder.path(), work))?;
    let mut http = Http::connect(&skeleton.address(), "none")?;
    let (mut accepted, mut finished) = (vec![], vec![]);
    for round in 0..SERIAL + WARM_UP {
        let begun = Instant::now();
        http.call("POST", "/v1/jobs", &submit(&[]))?;
        let accept = begun.elapsed();
        skeleton.finished.blocking_recv().context("the skeleton ended")?;
        if round >= WARM_UP {
            accepted.push(accept);
            finished.push(begun.elapsed());
        }
    }
    runtime.block_on(skeleton.stop());
    Ok(Serial {
        accepted: Samples::new(accepted),
        finished: Samples::new(finished),
    })
}

/// Until the process of the step itself runs: it writes into a FIFO that is read here.
fn started(house: &House, ends: &Ends, report: &mut Report) -> anyhow::Result<()> {
    let fifo = house.path("started");
    ensure!(
        Command::new("mkfifo").arg(&fifo).status()?.success(),
        "mkfifo failed"
    );
    let command = format!("echo x >{}", fifo.display());
    let body = submit(&["/bin/sh", "-c", &command]);
    let (sender, starts) = mpsc::channel();
    let path = fifo.clone();
    // opened for writing too, so that it never ends between two writers
    let mut read = fs::File::options().read(true).write(true).open(path)?;
    thread::spawn(move || {
        let mut bytes = [0; 2];
        while read.read_exact(&mut bytes).is_ok() && sender.send(Instant::now()).is_ok() {}
    });
    let mut bare = vec![];
    for _ in 0..SERIAL / 4 {
        let begun = Instant::now();
        let mut child = Command::new("/bin/sh").args(["-c", &command]).spawn()?;
        bare.push(starts.recv_timeout(PATIENCE)? - begun);
        child.wait()?;
    }
    let mut http = house.http()?;
    let mut durations = vec![];
    for round in 0..SERIAL + WARM_UP {
        let begun = Instant::now();
        let number = post(&mut http, &body)?;
        let start = starts.recv_timeout(PATIENCE)?;
        while ends.next()?.0 != number {}
        if round >= WARM_UP {
            durations.push(start - begun);
        }
    }
    let (ours, bare) = (Samples::new(durations), Samples::new(bare));
    report.group("submit to the step's own process (/bin/sh that writes to a FIFO)");
    report.add(Figure::new("p50", ours.p50_ms(), "ms").goal(Goal::AtMost(10.0)));
    report.add(Figure::new("p99", ours.p99_ms(), "ms"));
    report.add(Figure::new("p50", ours.p50_ms(), "ms").beside("the same process alone", bare.p50_ms()));
    Ok(())
}

fn throughput(
    house: &House,
    ends: &Ends,
    runtime: &Runtime,
    floor: &Floor,
    report: &mut Report,
) -> anyhow::Result<()> {
    let noop = submit(&[]);
    report.group("throughput, four slots");
    for (connections, goal) in [(1, 0.6), (16, 0.4)] {
        let ours = flood(house, ends, connections, &noop)?;
        let skeleton = flood_skeleton(runtime, connections, Work::Nothing)?;
        report.add(
            Figure::new(format!("no-op jobs, {connections} connections"), ours, "/s")
                .beside("skeleton", skeleton)
                .goal(Goal::AtLeast(goal)),
        );
    }
    let ours = flood(house, ends, 16, &submit(&["/bin/true"]))?;
    report.add(
        Figure::new("/bin/true jobs, 16 connections", ours, "/s")
            .beside("S", floor.spawns)
            .goal(Goal::AtLeast(0.4)),
    );
    let skeleton = flood_skeleton(runtime, 16, Work::True)?;
    report.add(Figure::new("/bin/true jobs, 16 connections", ours, "/s").beside("skeleton", skeleton));
    Ok(())
}

/// Jobs per second from the first submit to the last end.
pub fn flood(house: &House, ends: &Ends, connections: usize, body: &str) -> anyhow::Result<f64> {
    let begun = Instant::now();
    let numbers = thread::scope(|scope| {
        let clients: Vec<_> = (0..connections)
            .map(|_| {
                scope.spawn(|| {
                    let mut http = house.http()?;
                    (0..MANY / connections)
                        .map(|_| post(&mut http, body))
                        .collect::<anyhow::Result<Vec<u64>>>()
                })
            })
            .collect();
        clients
            .into_iter()
            .map(|client| client.join().expect("no client panics"))
            .collect::<anyhow::Result<Vec<_>>>()
    })?;
    let mut open: HashSet<u64> = numbers.into_iter().flatten().collect();
    let count = open.len();
    while !open.is_empty() {
        open.remove(&ends.next()?.0);
    }
    Ok(count as f64 / begun.elapsed().as_secs_f64())
}

fn flood_skeleton(runtime: &Runtime, connections: usize, work: Work) -> anyhow::Result<f64> {
    let folder = tempfile::tempdir()?;
    let mut skeleton = runtime.block_on(Skeleton::start(folder.path(), work))?;
    let (address, body) = (skeleton.address(), submit(&[]));
    // nobody looks at the starts here
    let mut starts = std::mem::replace(&mut skeleton.started, tokio::sync::mpsc::channel(1).1);
    let drain = runtime.spawn(async move { while starts.recv().await.is_some() {} });
    let begun = Instant::now();
    thread::scope(|scope| {
        let clients: Vec<_> = (0..connections)
            .map(|_| {
                scope.spawn(|| {
                    let mut http = Http::connect(&address, "none")?;
                    for _ in 0..MANY / connections {
                        http.call("POST", "/v1/jobs", &body)?;
                    }
                    anyhow::Ok(())
                })
            })
            .collect();
        clients
            .into_iter()
            .try_for_each(|client| client.join().expect("no client panics"))
    })?;
    let count = MANY / connections * connections;
    for _ in 0..count {
        skeleton.finished.blocking_recv().context("the skeleton ended")?;
    }
    let rate = count as f64 / begun.elapsed().as_secs_f64();
    drain.abort();
    runtime.block_on(skeleton.stop());
    Ok(rate)
}
