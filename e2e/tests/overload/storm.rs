//! More requests than can be taken.

use std::{
    collections::BTreeSet,
    io::Write as _,
    net::TcpStream,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use e2e::{
    Lab, eventually,
    http::{Answer, bearer, try_request},
};
use rusqlite::{Connection, OpenFlags};
use serde_json::json;

use crate::{CONTROLLER_KB, held_at_most, say, size};

/// Clients that submit at the same time.
const CLIENTS: u64 = 64;
/// The longest that any request may wait for its answer.
const NEVER_LONGER: Duration = Duration::from_secs(60);
/// The largest body of the API.
const LARGEST: usize = 1 << 20;

fn waits_or_is_taken(answer: &Answer) -> bool {
    match answer.status {
        201 => true,
        429 => {
            assert!(answer.header("retry-after").is_some(), "{answer:?}");
            false
        }
        _ => panic!("{answer:?}"),
    }
}

#[test]
fn a_storm_of_submits_loses_nothing_that_was_acknowledged() {
    let lab = Lab::new();
    let mut controller = lab.controller("");
    let headers = bearer(&controller.token());
    let address = controller.http().to_owned();
    let post = |body: &[u8]| try_request(&address, "POST", "/v1/jobs", &headers, body, NEVER_LONGER);
    let small = json!({"workflow": "run", "inputs": {"command": []}}).to_string();
    // most of a body's room is taken by what is refused in the end: no command is that long
    let large = json!({"workflow": "run", "inputs": {"command": ["x".repeat(LARGEST - 200)]}, "no": 1});
    let large = large.to_string();
    let (taken, told) = (Mutex::new(BTreeSet::new()), Mutex::new(0_u64));
    let (over, slowest) = (AtomicBool::new(false), Mutex::new(Duration::ZERO));
    let each = size(10, 1000);
    thread::scope(|scope| {
        let storm: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let (post, small, large, taken, told) = (&post, &small, &large, &taken, &told);
                scope.spawn(move || {
                    for number in 0..each {
                        if (client + number) % 8 == 0 {
                            let answer = post(large.as_bytes()).expect("an answer in time");
                            assert!(matches!(answer.status, 422 | 429), "{:.300}", answer.body);
                        }
                        let answer = post(small.as_bytes()).expect("an answer in time");
                        if waits_or_is_taken(&answer) {
                            let id = answer.json()["id"].as_str().expect("an id").to_owned();
                            taken.lock().expect("sound").insert(id);
                        } else {
                            *told.lock().expect("sound") += 1;
                        }
                    }
                })
            })
            .collect();
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                let began = Instant::now();
                let answer = try_request(&address, "GET", "/v1/status", &headers, b"", NEVER_LONGER);
                assert_eq!(answer.expect("an answer in time").status, 200);
                let mut slowest = slowest.lock().expect("sound");
                *slowest = began.elapsed().max(*slowest);
            }
        });
        for client in storm {
            client.join().expect("a client's answers are right");
        }
        over.store(true, Ordering::Relaxed);
    });
    let taken = taken.into_inner().expect("sound");
    say(&format!(
        "{} of {} submits were taken, {} told to come back; the slowest status took {:.0?}",
        taken.len(),
        CLIENTS * each,
        told.lock().expect("sound"),
        slowest.lock().expect("sound"),
    ));
    held_at_most("agentd", controller.process(), CONTROLLER_KB);
    controller.stop();
    let database = controller.state.join("agentd.db");
    let database = Connection::open_with_flags(&database, OpenFlags::SQLITE_OPEN_READ_ONLY).expect("opens");
    let mut rows = database.prepare("SELECT id FROM jobs").expect("a table");
    let rows = rows.query_map([], |row| row.get::<_, Vec<u8>>(0)).expect("rows");
    let there: BTreeSet<String> = rows
        .map(|id| {
            uuid::Uuid::from_slice(&id.expect("a row"))
                .expect("an id")
                .to_string()
        })
        .collect();
    let lost: Vec<&String> = taken.difference(&there).collect();
    assert!(lost.is_empty(), "acknowledged and not there: {lost:?}");
}

#[test]
fn who_takes_all_the_room_and_sends_nothing_makes_others_come_back_not_wait() {
    let lab = Lab::new();
    let controller = lab.controller("");
    let headers = bearer(&controller.token());
    let job = json!({"workflow": "run", "inputs": {"command": []}}).to_string();
    let post = || controller.request("POST", "/v1/jobs", job.as_bytes());
    assert_eq!(post().status, 201);
    let holders: Vec<TcpStream> = (0..8)
        .map(|_| {
            let mut stream = TcpStream::connect(controller.http()).expect("agentd listens");
            let head = format!(
                "POST /v1/jobs HTTP/1.1\r\nHost: agentd\r\n{headers}Content-Length: {LARGEST}\r\n\r\n"
            );
            stream.write_all(head.as_bytes()).expect("taken");
            stream
        })
        .collect();
    let refused = eventually("a submit to be told to come back", || {
        let answer = post();
        (answer.status == 429).then_some(answer)
    });
    assert_eq!(refused.header("retry-after"), Some("1"), "{refused:?}");
    assert_eq!(refused.json()["code"], "rate_limited");
    // reads need no room
    assert_eq!(controller.request("GET", "/v1/status", b"").status, 200);
    drop(holders);
    eventually("room again", || (post().status == 201).then_some(()));
}
