//! Both daemons under a service manager that counts what it is told.

use std::{
    os::unix::net::UnixDatagram,
    path::Path,
    time::{Duration, Instant},
};

use e2e::{Lab, http};

/// How long a word may take on a slow machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The end of the socket at which systemd would listen.
struct Manager(UnixDatagram);

impl Manager {
    fn at(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).expect("a socket");
        socket.set_read_timeout(Some(PATIENCE)).expect("a time limit");
        Self(socket)
    }

    fn next(&self) -> String {
        let mut buffer = [0; 512];
        let length = self.0.recv(&mut buffer).expect("it says something in time");
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    /// What is said until something begins so.
    fn until(&self, word: &str) -> Vec<String> {
        let (begun, mut said) = (Instant::now(), vec![]);
        while begun.elapsed() < PATIENCE {
            said.push(self.next());
            if said.last().is_some_and(|last| last.starts_with(word)) {
                return said;
            }
        }
        panic!("no {word:?} in {said:?}");
    }
}

#[test]
fn agentd_is_ready_and_alive_only_after_a_whole_round_trip() {
    let lab = Lab::new();
    let socket = lab.path("notify");
    let manager = Manager::at(&socket);
    let mut controller = lab.controller("");
    controller.kill();
    // fed every 2 s
    let name = socket.to_str().expect("text");
    controller.set_environment(&[("NOTIFY_SOCKET", name), ("WATCHDOG_USEC", "6000000")]);
    controller.start();
    assert_eq!(manager.until("READY=1").len(), 1, "ready is the first word");
    manager.until("WATCHDOG=1");
    manager.until("STATUS=0 of 0 workers online");
    manager.until("WATCHDOG=1");

    // the route of the beat is nobody else's
    let address = controller.url().trim_start_matches("http://").to_owned();
    for token in [None, Some(controller.token())] {
        for method in ["POST", "GET"] {
            let ours = http::request(&address, method, "/pulse", token.as_deref(), b"");
            assert_eq!(ours.status, 404, "{ours:?}");
        }
    }

    controller.stop();
    manager.until("STOPPING=1");
}

#[test]
fn a_worker_is_ready_without_its_controller_and_says_whether_it_is_connected() {
    let lab = Lab::new();
    let socket = lab.path("notify");
    let manager = Manager::at(&socket);
    let mut controller = lab.controller("");
    let name = socket.to_str().expect("text");
    let variables = [("NOTIFY_SOCKET", name), ("WATCHDOG_USEC", "6000000")];
    let mut worker = lab.worker_with(&controller, "one", &variables);
    assert!(manager.next().starts_with("READY=1"));
    manager.until("WATCHDOG=1");
    manager.until("STATUS=connected to");
    controller.kill();
    manager.until("STATUS=no connection");
    manager.until("WATCHDOG=1");
    worker.stop();
    manager.until("STOPPING=1");
}
