//! beanstalkd with an fsync at each write: a bare queue without history and results.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    process::Command,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};

use crate::{
    figures::{Figure, Goal, Report, Samples},
    house::{House, Process, until},
    jobs::{Ends, flood, post, submit},
};

const SERIAL: usize = 400;
const MANY: usize = 3000;
const CONNECTIONS: usize = 16;
const WORKERS: usize = 4;
const PATIENCE: Duration = Duration::from_secs(30);

/// agentd beside beanstalkd.
pub(super) fn measure(house: &House, report: &mut Report) -> anyhow::Result<()> {
    // a new one each time, so that no worker of the measurement before takes a job
    let (accept, start, finish) = Beanstalkd::start()?.serial()?;
    let noop = Beanstalkd::start()?.flood(false)?;
    let run = Beanstalkd::start()?.flood(true)?;

    let ends = Ends::follow(house)?;
    let (mut accepted, mut finished) = (vec![], vec![]);
    let mut http = house.http()?;
    for _ in 0..SERIAL {
        let begun = Instant::now();
        let number = post(&mut http, &submit(&[]))?;
        accepted.push(begun.elapsed());
        while ends.next()?.0 != number {}
        finished.push(begun.elapsed());
    }
    report.group("beside beanstalkd (fsync at each write, four bare workers)");
    report.add(
        Figure::new("durable accept, p50", Samples::new(accepted).p50_ms(), "ms")
            .beside("beanstalkd", accept.p50_ms())
            .goal(Goal::AtMost(0.75)),
    );
    report.add(
        Figure::new("submit to finished, p50", Samples::new(finished).p50_ms(), "ms")
            .beside("beanstalkd", finish.p50_ms())
            .goal(Goal::AtMost(0.75)),
    );
    report.add(Figure::new(
        "beanstalkd's submit to start, p50",
        start.p50_ms(),
        "ms",
    ));
    report.add(
        Figure::new(
            "no-op jobs",
            flood(house, &ends, CONNECTIONS, &submit(&[]))?,
            "/s",
        )
        .beside("beanstalkd", noop),
    );
    let ours = flood(house, &ends, CONNECTIONS, &submit(&["/bin/true"]))?;
    report.add(
        Figure::new("/bin/true jobs", ours, "/s")
            .beside("beanstalkd", run)
            .goal(Goal::AtLeast(0.8)),
    );
    Ok(())
}

struct Beanstalkd {
    address: String,
    _process: Process,
    _folder: tempfile::TempDir,
}

impl Beanstalkd {
    fn start() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        // it cannot take port 0: a free one is asked for and given back
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port().to_string();
        let mut command = Command::new("beanstalkd");
        command
            .args(["-l", "127.0.0.1", "-p", &port, "-f", "0", "-b"])
            .arg(folder.path());
        let process = Process::start(&mut command, &folder.path().join("log"))?;
        let address = format!("127.0.0.1:{port}");
        until("beanstalkd to listen", || TcpStream::connect(&address).ok())?;
        Ok(Self {
            address,
            _process: process,
            _folder: folder,
        })
    }

    /// One job after the other: until accepted, at the worker, deleted.
    fn serial(&self) -> anyhow::Result<(Samples, Samples, Samples)> {
        let (sender, moments) = mpsc::channel();
        let mut worker = Line::connect(&self.address)?;
        thread::spawn(move || {
            while let Ok(id) = worker.reserve() {
                let started = Instant::now();
                if worker.delete(id).is_err() || sender.send((started, Instant::now())).is_err() {
                    return;
                }
            }
        });
        let mut client = Line::connect(&self.address)?;
        let (mut accepts, mut starts, mut ends) = (vec![], vec![], vec![]);
        for _ in 0..SERIAL {
            let begun = Instant::now();
            client.put()?;
            accepts.push(begun.elapsed());
            let (started, ended) = moments.recv_timeout(PATIENCE)?;
            starts.push(started - begun);
            ends.push(ended - begun);
        }
        Ok((Samples::new(accepts), Samples::new(starts), Samples::new(ends)))
    }

    /// Jobs per second.
    fn flood(&self, run: bool) -> anyhow::Result<f64> {
        let (sender, ends) = mpsc::channel();
        for _ in 0..WORKERS {
            let (mut worker, sender) = (Line::connect(&self.address)?, sender.clone());
            thread::spawn(move || -> anyhow::Result<()> {
                loop {
                    let id = worker.reserve()?;
                    if run {
                        Command::new("/bin/true").status()?;
                    }
                    worker.delete(id)?;
                    sender.send(())?;
                }
            });
        }
        let begun = Instant::now();
        thread::scope(|scope| {
            let clients: Vec<_> = (0..CONNECTIONS)
                .map(|_| {
                    scope.spawn(|| {
                        let mut client = Line::connect(&self.address)?;
                        (0..MANY / CONNECTIONS).try_for_each(|_| client.put())
                    })
                })
                .collect();
            clients
                .into_iter()
                .try_for_each(|client| client.join().expect("no client panics"))
        })?;
        let count = MANY / CONNECTIONS * CONNECTIONS;
        for _ in 0..count {
            ends.recv_timeout(PATIENCE)?;
        }
        Ok(count as f64 / begun.elapsed().as_secs_f64())
    }
}

/// A connection that speaks its protocol.
struct Line(BufReader<TcpStream>);

impl Line {
    fn connect(address: &str) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        Ok(Self(BufReader::new(stream)))
    }

    fn ask(&mut self, request: &str, expected: &str) -> anyhow::Result<String> {
        self.0.get_mut().write_all(request.as_bytes())?;
        let mut answer = String::new();
        self.0.read_line(&mut answer)?;
        let rest = answer.strip_prefix(expected).map(str::trim).map(str::to_owned);
        let Some(rest) = rest else {
            bail!("beanstalkd said {answer:?}");
        };
        Ok(rest)
    }

    fn put(&mut self) -> anyhow::Result<()> {
        let body = "x".repeat(200);
        self.ask(&format!("put 0 0 60 200\r\n{body}\r\n"), "INSERTED")
            .map(drop)
    }

    fn reserve(&mut self) -> anyhow::Result<u64> {
        let rest = self.ask("reserve\r\n", "RESERVED")?;
        let (id, length) = rest.split_once(' ').context("no length")?;
        let mut body = vec![0; length.parse::<usize>()? + 2];
        self.0.read_exact(&mut body)?;
        Ok(id.parse()?)
    }

    fn delete(&mut self, id: u64) -> anyhow::Result<()> {
        self.ask(&format!("delete {id}\r\n"), "DELETED").map(drop)
    }
}
