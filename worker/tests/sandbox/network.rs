//! The way out: to the hosts that step and owner name, and to nothing else.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use protocol::sandbox::SandboxLevel;
use worker::{log::LogSink, steps::Stop, tools::environment::Toolchains};

use super::{Yard, without_bubblewrap};

/// Asks its proxy for each address as a request and as a tunnel; tries the way around it too.
const ASK: &str = "
import http.client, os, socket, sys
host, port = os.environ['HTTP_PROXY'].removeprefix('http://').split(':')
def said(what, call):
    try: print(what, call())
    except OSError as error: print(what, 'failed', error)
def plain(target):
    c = http.client.HTTPConnection(host, int(port), timeout=10)
    c.request('GET', f'http://{target}/'); r = c.getresponse(); return r.status, r.read()[:200]
def tunnel(target):
    c = http.client.HTTPConnection(host, int(port), timeout=10)
    name, number = target.rsplit(':', 1)
    c.set_tunnel(name, int(number)); c.request('GET', '/'); r = c.getresponse(); return r.status, r.read()[:200]
def around(target):
    name, number = target.rsplit(':', 1)
    socket.create_connection((name, int(number)), timeout=1); return 'REACHED'
for target in sys.argv[1:]:
    said('plain', lambda: plain(target)); said('tunnel', lambda: tunnel(target)); said('around', lambda: around(target))
print('proxy', os.environ['https_proxy'] == os.environ['CARGO_HTTP_PROXY'], os.environ.get('ALL_PROXY'))
";

/// An HTTP server on this machine's loopback that counts who came.
fn server() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    let visits = Arc::new(AtomicUsize::new(0));
    let count = visits.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            count.fetch_add(1, Ordering::SeqCst);
            let mut stream = BufReader::new(stream);
            let mut line = String::new();
            while stream.read_line(&mut line).is_ok_and(|read| read > 2) {
                line.clear();
            }
            let answer = "HTTP/1.1 200 OK\r\nContent-Length: 7\r\nConnection: close\r\n\r\nwelcome";
            let _ = stream.get_mut().write_all(answer.as_bytes());
            let _ = stream.get_mut().shutdown(std::net::Shutdown::Write);
            let _ = stream.read_to_end(&mut vec![]);
        }
    });
    (address, visits)
}

/// Runs [`ASK`] for these targets in a cage that may reach `asked`; what it says, and the log.
async fn ask(yard: &Yard, asked: &[String], targets: &[String]) -> (String, String) {
    let lines = Arc::<Mutex<Vec<String>>>::default();
    let kept = lines.clone();
    let log = LogSink::new(move |_, line| kept.lock().expect("whole").push(line.to_owned()));
    let mut argv = vec!["python3", "-c", ASK];
    argv.extend(targets.iter().map(String::as_str));
    let exec = yard.exec(&argv).cage(yard.cage().reach(asked, &log));
    let result = exec.run(&log, &Stop::default()).await.expect("it starts");
    let said = result.stdout.text() + &result.stderr.text();
    let log = lines.lock().expect("whole").join("\n");
    (said, log)
}

#[tokio::test]
async fn a_step_reaches_what_it_and_the_owner_name_and_nothing_else() {
    let ((open, visits), (closed, intrusions)) = (server(), server());
    // as a name it leads to this machine, which no name may
    let by_name = format!("localhost:{}", closed.port());
    let allowed = [open.to_string(), by_name.clone()];
    let toolchains = Toolchains::of_this_process();
    for levels in [&[SandboxLevel::Strong], &[SandboxLevel::Basic]] {
        let Some(yard) = Yard::with(levels, toolchains.clone(), &allowed).await else {
            continue;
        };
        let came = visits.load(Ordering::SeqCst);
        let asked = [open.to_string(), by_name.clone(), "other.example.org".to_owned()];
        let targets = [open.to_string(), closed.to_string(), by_name.clone()];
        let (said, log) = ask(&yard, &asked, &targets).await;
        assert_eq!(
            said.matches("welcome").count(),
            2,
            "{}: {said}\n{log}",
            yard.sandbox
        );
        assert_eq!(visits.load(Ordering::SeqCst), came + 2);
        assert!(!said.contains("REACHED"), "{said}");
        assert!(said.contains("proxy True None"), "{said}");
        for line in [
            "other.example.org is not allowed by the owner of this worker".to_owned(),
            format!("{closed} was not reached: neither step nor worker name it"),
            format!("{by_name} was not reached: it has no public address"),
            format!("network: {open}: "),
        ] {
            assert!(log.contains(&line), "{}: {line}: {log}", yard.sandbox);
        }
    }
    assert_eq!(intrusions.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn without_bubblewrap_there_is_no_way_out_and_the_log_says_so() {
    let (open, visits) = server();
    let allowed = [open.to_string()];
    let Some(yard) = Yard::with(&[SandboxLevel::Basic], without_bubblewrap(), &allowed).await else {
        return;
    };
    let (said, log) = ask(&yard, &allowed, &allowed).await;
    assert!(said.contains("KeyError"), "{said}");
    assert!(log.contains("commands get none at this sandbox level"), "{log}");
    let connect = format!(
        "import socket; socket.create_connection(('127.0.0.1', {}))",
        open.port()
    );
    let exec = yard.exec(&["python3", "-c", &connect]);
    let exec = exec.cage(yard.cage().reach(&allowed, &LogSink::discard()));
    assert!(!super::run(exec).await.success());
    assert_eq!(visits.load(Ordering::SeqCst), 0);
}
