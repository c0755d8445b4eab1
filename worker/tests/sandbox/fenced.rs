//! Fences that a test makes around itself: a network of its own, and a count of processes that
//! the kernel does not let it pass.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::skip;

/// Set where a test runs in a network of its own.
const OWN_NETWORK: &str = "AGENT_TEST_OWN_NETWORK";

/// Addresses of that network: a cloud's metadata, neighbours.
const ADDRESSES: [&str; 4] = [
    "169.254.169.254/32",
    "192.168.0.1/32",
    "10.0.0.1/32",
    "fd00:ec2::254/128",
];

/// Whether the test named runs in a network namespace that has [`ADDRESSES`]; if not, runs it
/// there and answers `false`.
pub(super) fn in_own_network(test: &str) -> bool {
    if std::env::var_os(OWN_NETWORK).is_some() {
        run(&["ip", "link", "set", "lo", "up"]);
        for address in ADDRESSES {
            run(&["ip", "address", "add", address, "dev", "lo"]);
        }
        return true;
    }
    let possible = Command::new("unshare")
        .args(["--net", "ip", "link", "set", "lo", "up"])
        .output();
    if !possible.is_ok_and(|output| output.status.success()) {
        skip(&format!(
            "{test}: no network namespace can be made here (it takes root, `unshare` and `ip`)"
        ));
        return false;
    }
    let own = std::env::current_exe().expect("this program");
    let output = Command::new("unshare")
        .arg("--net")
        .arg(own)
        .args(["--exact", test, "--nocapture"])
        .env(OWN_NETWORK, "1")
        .output()
        .expect("it starts");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    false
}

fn run(line: &[&str]) {
    let output = Command::new(line[0])
        .args(&line[1..])
        .output()
        .expect("it starts");
    assert!(output.status.success(), "{line:?}: {output:?}");
}

/// A control group for this thread and what it starts, in which no more than so many processes
/// find room: whatever a test does wrong, the machine goes on.
pub(super) struct Fence {
    group: PathBuf,
    home: PathBuf,
}

impl Fence {
    /// `None` where the machine has none to give.
    pub(super) fn of(most: u32) -> Option<Self> {
        let own = fs::read_to_string("/proc/thread-self/cgroup").ok()?;
        let path = own.lines().find_map(|line| line.split_once(":pids:"))?.1;
        let home = Path::new("/sys/fs/cgroup/pids").join(path.trim_start_matches('/'));
        let group = home.join(format!("agentd-test-{}", std::process::id()));
        fs::create_dir(&group).ok()?;
        let fence = Self { group, home };
        fs::write(fence.group.join("pids.max"), most.to_string()).ok()?;
        // the file of threads: the other tests of this process stay outside
        fs::write(fence.group.join("tasks"), "0").ok()?;
        Some(fence)
    }

    /// How often somebody was refused.
    pub(super) fn refusals(&self) -> String {
        fs::read_to_string(self.group.join("pids.events")).unwrap_or_default()
    }
}

impl Drop for Fence {
    fn drop(&mut self) {
        let _ = fs::write(self.home.join("tasks"), "0");
        for _ in 0..100 {
            if fs::remove_dir(&self.group).is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
}
