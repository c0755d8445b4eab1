//! Clients that submit, upload, look and follow, whatever happens to the controller.

use std::{
    collections::VecDeque,
    io::{BufRead as _, BufReader, Write as _},
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::{JoinHandle, sleep, spawn},
    time::{Duration, Instant},
};

use e2e::{
    Chance, Controller,
    http::{self, Answer},
};
use serde_json::Value;

use crate::{hash, history::History};

/// Jobs of one client that may be open; then it waits for the oldest.
const OPEN: usize = 8;
/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where a controller is; it comes back at the same place.
#[derive(Clone)]
pub(crate) struct Target {
    address: String,
    authorization: String,
}

impl Target {
    pub(crate) fn of(controller: &Controller) -> Self {
        Self {
            address: controller.http().to_owned(),
            authorization: http::bearer(&controller.token()),
        }
    }

    /// `None` when there was no whole answer.
    pub(crate) fn ask(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> Option<Answer> {
        let headers = format!("{}{headers}", self.authorization);
        http::try_request(&self.address, method, path, &headers, body, PATIENCE).ok()
    }

    /// A job, if it can be asked for; that it is unknown is no answer that may come.
    pub(crate) fn job(&self, number: u64) -> Option<Value> {
        let answer = self.ask("GET", &format!("/v1/jobs/{number}"), "", b"")?;
        assert_ne!(answer.status, 404, "the accepted job {number} is unknown");
        (answer.status == 200).then(|| answer.json())
    }
}

/// What the jobs of a storm are like.
#[derive(Clone, Copy)]
pub(crate) struct Weather {
    pub(crate) clients: usize,
    /// The longest command, in milliseconds.
    pub(crate) longest_ms: u64,
    /// Whether some commands leave programs behind.
    pub(crate) leaves: bool,
}

/// Running clients.
pub(crate) struct Storm {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    target: Target,
    history: Arc<History>,
}

impl Storm {
    pub(crate) fn begin(
        controller: &Controller,
        history: &Arc<History>,
        dice: &mut Chance,
        weather: Weather,
    ) -> Self {
        let (stop, target) = (Arc::new(AtomicBool::new(false)), Target::of(controller));
        let mut threads = vec![];
        for number in 0..weather.clients {
            let (target, history) = (target.clone(), history.clone());
            let (stop, dice) = (stop.clone(), dice.fork());
            let client = Client {
                number,
                target,
                history,
                stop,
                dice,
                weather,
            };
            threads.push(spawn(move || client.run()));
        }
        let (asked, told, over) = (target.clone(), history.clone(), stop.clone());
        threads.push(spawn(move || follow(&asked, &told, &over)));
        Self {
            stop,
            threads,
            target,
            history: history.clone(),
        }
    }

    /// Ends the clients and waits until every job has ended.
    pub(crate) fn end(self, patience: Duration) {
        self.stop.store(true, Relaxed);
        for thread in self.threads {
            thread.join().expect("a client found something impossible");
        }
        let began = Instant::now();
        let jobs: Vec<u64> = self
            .history
            .told()
            .accepted
            .values()
            .map(|job| job.number)
            .collect();
        for number in jobs {
            loop {
                if self.target.job(number).is_some_and(|job| self.history.saw(&job)) {
                    break;
                }
                let why = || self.target.ask("GET", &format!("/v1/jobs/{number}/why"), "", b"");
                assert!(
                    began.elapsed() < patience,
                    "job {number} does not end: {:?}",
                    why()
                );
                sleep(Duration::from_millis(20));
            }
        }
        // also those whose acceptance was lost on its way
        while self
            .target
            .ask("GET", "/v1/status", "", b"")
            .is_none_or(|answer| answer.json()["jobs_open"] != 0)
        {
            assert!(
                began.elapsed() < patience,
                "a job that nobody was told of does not end"
            );
            sleep(Duration::from_millis(20));
        }
    }
}

struct Client {
    number: usize,
    target: Target,
    history: Arc<History>,
    stop: Arc<AtomicBool>,
    dice: Chance,
    weather: Weather,
}

impl Client {
    fn run(mut self) {
        let mut open = VecDeque::new();
        for count in 0.. {
            let Some(job) = self.submit(count) else { return };
            open.push_back(job);
            if self.dice.one_in(4) {
                self.upload();
            }
            if open.len() >= OPEN {
                let oldest = open.pop_front().expect("there are some");
                while !self.target.job(oldest).is_some_and(|job| self.history.saw(&job)) {
                    if self.stop.load(Relaxed) {
                        return;
                    }
                    self.dice.pause(5, 30);
                }
            }
            self.dice.pause(1, 30);
        }
    }

    /// Submits until it is acknowledged; `None` when the storm is over.
    fn submit(&mut self, count: u64) -> Option<u64> {
        let key = format!("client-{}-job-{count}", self.number);
        let millis = self.dice.below(self.weather.longest_ms.max(1));
        let seconds = if self.dice.one_in(2) {
            "0".to_owned()
        } else {
            format!("0.{millis:03}")
        };
        let leaves = if self.weather.leaves && self.dice.one_in(3) {
            "a program"
        } else {
            "nothing"
        };
        let body = self.history.job(&key, &seconds, leaves).to_string();
        let header = format!("Idempotency-Key: {key}\r\n");
        while !self.stop.load(Relaxed) {
            match self.target.ask("POST", "/v1/jobs", &header, body.as_bytes()) {
                Some(answer) if [200, 201].contains(&answer.status) => {
                    return Some(self.history.accepted(&key, &answer.json()));
                }
                Some(answer) => {
                    assert!([429, 500, 503, 507].contains(&answer.status), "{answer:?}");
                    self.history.refused(answer.status);
                }
                None => self.history.refused(0),
            }
            self.dice.pause(5, 30);
        }
        None
    }

    fn upload(&mut self) {
        let size = 1 + self.dice.below(20_000) as usize;
        let bytes: Vec<u8> = std::iter::repeat_with(|| self.dice.draw() as u8)
            .take(size)
            .collect();
        let sha256 = hash(&bytes);
        let headers = format!("Upload-Offset: 0\r\nUpload-Length: {size}\r\n");
        let answer = self
            .target
            .ask("PATCH", &format!("/v1/blobs/{sha256}"), &headers, &bytes);
        let whole = |answer: &Answer| {
            let offset = answer
                .header("upload-offset")
                .and_then(|offset| offset.parse().ok());
            answer.status == 204 && offset == Some(size)
        };
        if answer.as_ref().is_some_and(whole) {
            self.history.stored(&sha256, size as u64);
        }
    }
}

/// Follows all events, from where it was when it is cut off.
fn follow(target: &Target, history: &History, over: &AtomicBool) {
    let mut last = 0;
    while !over.load(Relaxed) {
        let followed = follow_once(target, history, over, &mut last);
        if followed.is_err() {
            sleep(Duration::from_millis(20));
        }
    }
}

fn follow_once(target: &Target, history: &History, over: &AtomicBool, last: &mut u64) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(&target.address)?;
    // long enough for an event, short enough to see that it is over
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    let head = format!(
        "GET /v1/events HTTP/1.0\r\nHost: {}\r\n{}Accept: text/event-stream\r\nLast-Event-ID: {last}\r\n\r\n",
        target.address, target.authorization
    );
    stream.write_all(head.as_bytes())?;
    for line in BufReader::new(stream).lines() {
        let line = line?;
        // a line that was cut by a kill is no event: its blank line never came
        if let Some(event) = line
            .strip_prefix("data: ")
            .and_then(|data| serde_json::from_str(data).ok())
        {
            history.event(&event);
            *last = event["seq"].as_u64().unwrap_or(*last);
        }
        if over.load(Relaxed) {
            break;
        }
    }
    Ok(())
}
