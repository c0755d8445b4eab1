//! What this machine can do at all: a commit, a round trip, a process.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use rusqlite::Connection;
use tokio::runtime::Runtime;

use crate::{
    figures::{Figure, Report, Samples},
    skeleton,
};

/// The symbols of the goals; durations in milliseconds.
pub struct Floor {
    /// p50 of a commit of one row with `synchronous=FULL`.
    pub commit_ms: f64,
    /// p50 of a round trip of 64 bytes over loopback TCP.
    pub tcp_ms: f64,
    /// Half of the p50 of a request and its response at QoS 1 through our own front door.
    pub mqtt_ms: f64,
    /// Starts of `/bin/true` per second, with four threads.
    pub spawns: f64,
    /// Bytes per second from a TCP connection into a file, with one fsync at the end.
    pub sink: f64,
}

impl Floor {
    /// Takes about ten seconds.
    pub fn measure(runtime: &Runtime) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        Ok(Self {
            commit_ms: commits(folder.path())?.p50_ms(),
            tcp_ms: round_trips()?.p50_ms(),
            mqtt_ms: skeleton::request_response(runtime)?.p50_ms() / 2.0,
            spawns: spawns()?,
            sink: sink(folder.path())?,
        })
    }

    /// Adds them to the report.
    pub fn tell(&self, report: &mut Report) {
        report.group("floor of this machine");
        report.add(Figure::new(
            "F: SQLite commit of one row, FULL, p50",
            self.commit_ms,
            "ms",
        ));
        report.add(Figure::new("T: loopback TCP round trip, p50", self.tcp_ms, "ms"));
        report.add(Figure::new(
            "M: half of an MQTT QoS 1 request and response, p50",
            self.mqtt_ms,
            "ms",
        ));
        report.add(Figure::new(
            "S: starts of /bin/true, 4 threads",
            self.spawns,
            "/s",
        ));
        report.add(Figure::new(
            "N: TCP into a file of 1 GiB, fsync",
            self.sink / 1e6,
            "MB/s",
        ));
    }
}

/// The table of the floor and of the skeleton.
pub fn open_table(folder: &Path) -> anyhow::Result<Connection> {
    let connection = Connection::open(folder.join("floor.db"))?;
    connection.execute_batch(
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;
         CREATE TABLE IF NOT EXISTS jobs(id INTEGER PRIMARY KEY, state TEXT NOT NULL, payload BLOB NOT NULL) STRICT;
         CREATE INDEX IF NOT EXISTS jobs_by_state ON jobs(state, id);",
    )?;
    Ok(connection)
}

fn commits(folder: &Path) -> anyhow::Result<Samples> {
    let connection = open_table(folder)?;
    let mut insert = connection.prepare("INSERT INTO jobs(state, payload) VALUES ('queued', ?1)")?;
    let mut durations = vec![];
    for _ in 0..2000 {
        let begun = Instant::now();
        insert.execute([[42_u8; 200]])?;
        durations.push(begun.elapsed());
    }
    Ok(Samples::new(durations))
}

fn round_trips() -> anyhow::Result<Samples> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let echo = thread::spawn(move || -> std::io::Result<()> {
        let (mut stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        let mut bytes = [0; 64];
        while stream.read_exact(&mut bytes).is_ok() {
            stream.write_all(&bytes)?;
        }
        Ok(())
    });
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let (mut durations, mut bytes) = (vec![], [1; 64]);
    for _ in 0..10_000 {
        let begun = Instant::now();
        stream.write_all(&bytes)?;
        stream.read_exact(&mut bytes)?;
        durations.push(begun.elapsed());
    }
    drop(stream);
    echo.join().expect("the echo does not panic")?;
    Ok(Samples::new(durations))
}

fn spawns() -> anyhow::Result<f64> {
    const EACH: u32 = 500;
    let begun = Instant::now();
    let threads: Vec<_> = (0..4)
        .map(|_| {
            thread::spawn(|| -> std::io::Result<()> {
                for _ in 0..EACH {
                    Command::new("/bin/true").status()?;
                }
                Ok(())
            })
        })
        .collect();
    for thread in threads {
        thread
            .join()
            .expect("no spawner panics")
            .context("cannot start /bin/true")?;
    }
    Ok(f64::from(4 * EACH) / begun.elapsed().as_secs_f64())
}

/// Bytes of the transfer that is measured, here and with an artifact.
pub const TRANSFER: usize = 1 << 30;

fn sink(folder: &Path) -> anyhow::Result<f64> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let path = folder.join("sink");
    let receiver = thread::spawn(move || -> std::io::Result<Duration> {
        let (mut stream, _) = listener.accept()?;
        let begun = Instant::now();
        let mut file = std::fs::File::create(path)?;
        let mut piece = vec![0; 256 * 1024];
        loop {
            match stream.read(&mut piece)? {
                0 => break,
                length => file.write_all(&piece[..length])?,
            }
        }
        file.sync_all()?;
        Ok(begun.elapsed())
    });
    let mut stream = TcpStream::connect(address)?;
    let piece = vec![7; 256 * 1024];
    for _ in 0..TRANSFER / piece.len() {
        stream.write_all(&piece)?;
    }
    drop(stream);
    let took = receiver.join().expect("the receiver does not panic")?;
    Ok(TRANSFER as f64 / took.as_secs_f64())
}
