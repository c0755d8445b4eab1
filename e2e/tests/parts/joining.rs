//! A worker joins with the line that was printed, and goes when it is removed.

use std::{
    fs,
    process::{Child, Command, Stdio},
    time::Instant,
};

use e2e::{Controller, Lab, eventually, lab::binary};

/// Ends its process with the test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // it may have ended by itself
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The names and labels of the workers that are online.
fn online(controller: &Controller) -> Vec<(String, String)> {
    let workers = controller.json(&["workers", "-o", "json"]);
    let items = workers["items"].as_array().expect("a list");
    items
        .iter()
        .filter(|worker| worker["state"] == "online")
        .map(|worker| {
            let name = worker["name"].as_str().unwrap_or_default();
            (name.to_owned(), worker["labels"].to_string())
        })
        .collect()
}

/// Whether this very process holds a connection to this port of the loopback.
fn is_connected(pid: u32, port: u16) -> bool {
    let files = fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten()
        .flatten();
    let held: Vec<String> = files
        .filter_map(|file| Some(fs::read_link(file.path()).ok()?.to_string_lossy().into_owned()))
        .collect();
    let table = fs::read_to_string(format!("/proc/{pid}/net/tcp")).unwrap_or_default();
    let remote = format!("0100007F:{port:04X}");
    // state 01 is an open connection; the tenth column is the socket's inode
    table.lines().any(|row| {
        let row: Vec<&str> = row.split_whitespace().collect();
        row.get(2) == Some(&remote.as_str())
            && row.get(3) == Some(&"01")
            && row
                .get(9)
                .is_some_and(|inode| held.contains(&format!("socket:[{inode}]")))
    })
}

#[test]
fn a_worker_joins_with_the_printed_line_and_is_cut_off_when_it_is_removed() {
    let lab = Lab::new();
    let controller = lab.controller("");
    let printed = controller.ctl(&["workers", "join-token"]);
    let line = String::from_utf8(printed.stdout).expect("text");
    assert!(line.starts_with("agent-worker join agj1."), "{line}");
    assert_eq!(line.lines().count(), 1, "alone on its line: {line}");

    let folder = binary("agent-worker").parent().expect("a folder").to_owned();
    let path = std::env::var("PATH").unwrap_or_default();
    let begun = Instant::now();
    let child = Command::new("sh")
        .args(["-c", &format!("exec {line}")])
        .env("PATH", format!("{}:{path}", folder.display()))
        .env("XDG_STATE_HOME", lab.path("second"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("sh starts");
    let worker = Ended(child);
    let (name, labels) = eventually("the worker to be online", || online(&controller).pop());
    let joined = begun.elapsed();
    assert!(labels.contains("linux") && labels.contains("sandbox"), "{labels}");

    let port = controller
        .mqtt()
        .rsplit(':')
        .next()
        .and_then(|port| port.parse().ok());
    let port: u16 = port.expect("a port");
    let pid = worker.0.id();
    assert!(is_connected(pid, port), "an open connection to the broker");
    let begun = Instant::now();
    assert!(controller.ctl(&["workers", "remove", &name]).status.success());
    eventually("its connection to be closed", || {
        (!is_connected(pid, port)).then_some(())
    });
    let closed = begun.elapsed();
    eprintln!("joined and listed after {joined:?}; cut off {closed:?} after its removal was asked for");
    assert_eq!(online(&controller), []);
}
