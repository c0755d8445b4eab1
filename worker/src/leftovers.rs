//! What a life of this worker that ended without a chance to clear up left running.
//! Every tool runs with its home inside the state folder, and one process alone owns
//! that folder: who else has such a home, and what it started, belongs to an attempt
//! that nobody owns any more.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    fs,
    io::{self, Read as _},
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::Path,
    thread::sleep,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, getpgrp, getuid, kill_process};

use crate::tools::exec::{Process, processes};

/// How long processes that ignore SIGKILL (they wait for a device) are waited for.
const GIVE_UP: Duration = Duration::from_secs(2);

/// How often it looks again: what forks quickly may escape one look.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Waits until the worker that started this process has ended, however it ended, and ends
/// what it left. It holds the state folder, so that a new life begins on cleared ground.
pub fn guard(state_folder: &Path) {
    let mut pipe = io::stdin().lock();
    // nothing is ever written: this returns at the end of the worker
    let _ended = pipe.read_to_end(&mut vec![]);
    let began = Instant::now();
    while kill(state_folder) > 0 && began.elapsed() < GIVE_UP {
        sleep(LOOK_AGAIN);
    }
}

/// Kills every process whose home lies in the state folder, with its group and everything
/// below it; answers how many there were.
pub fn kill(state_folder: &Path) -> usize {
    let processes: Vec<Process> = processes().into_iter().filter(is_alive_and_not_us).collect();
    let (mut below, mut mates) = (BTreeMap::<i32, Vec<i32>>::new(), BTreeMap::<i32, Vec<i32>>::new());
    for process in &processes {
        below.entry(process.parent).or_default().push(process.pid);
        if process.group != getpgrp().as_raw_pid() {
            mates.entry(process.group).or_default().push(process.pid);
        }
    }
    let groups: BTreeMap<i32, i32> = processes.iter().map(|one| (one.pid, one.group)).collect();
    let mut todo: Vec<i32> = groups
        .keys()
        .copied()
        .filter(|pid| is_leftover(*pid, state_folder))
        .collect();
    let mut killed = BTreeSet::new();
    while let Some(pid) = todo.pop() {
        if killed.insert(pid) {
            todo.extend(below.get(&pid).into_iter().flatten());
            todo.extend(
                groups
                    .get(&pid)
                    .and_then(|group| mates.get(group))
                    .into_iter()
                    .flatten(),
            );
        }
    }
    for pid in killed.iter().filter_map(|pid| Pid::from_raw(*pid)) {
        if let Err(error) = kill_process(pid, Signal::KILL) {
            tracing::debug!(%error, ?pid, "a leftover was gone already");
        }
    }
    killed.len()
}

fn is_alive_and_not_us(process: &Process) -> bool {
    !process.dead && process.pid as u32 != std::process::id()
}

fn is_leftover(pid: i32, state_folder: &Path) -> bool {
    let process = Path::new("/proc").join(pid.to_string());
    let ours = fs::metadata(&process).is_ok_and(|metadata| metadata.uid() == getuid().as_raw());
    ours && fs::read(process.join("environ")).is_ok_and(|environment| home_in(&environment, state_folder))
}

/// Whether an environment block has its `HOME` below the folder.
fn home_in(environment: &[u8], folder: &Path) -> bool {
    environment
        .split(|&byte| byte == 0)
        .filter_map(|variable| variable.strip_prefix(b"HOME="))
        .any(|home| {
            let home = Path::new(OsStr::from_bytes(home));
            home != folder && home.starts_with(folder)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_home_inside_the_folder_counts() {
        let folder = Path::new("/var/lib/agentd-worker");
        let inside = b"A=1\0HOME=/var/lib/agentd-worker/caches/x\0B=2\0";
        assert!(home_in(inside, folder));
        for other in [
            &b"HOME=/var/lib/agentd-worker\0"[..],
            b"HOME=/var/lib/agentd-worker-2/caches\0",
            b"XHOME=/var/lib/agentd-worker/caches\0",
            b"",
        ] {
            assert!(!home_in(other, folder), "{other:?}");
        }
    }

    #[test]
    fn a_process_with_such_a_home_is_killed_and_others_are_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let sleep = |home: &Path| {
            std::process::Command::new("sleep")
                .arg("60")
                .env("HOME", home)
                .spawn()
                .expect("starts")
        };
        let mut inside = sleep(&folder.path().join("caches/x"));
        let mut outside = sleep(Path::new("/nowhere"));
        // the environment is in place once the program has been loaded
        let loaded = |child: &std::process::Child| {
            let name = fs::read_to_string(format!("/proc/{}/comm", child.id()));
            name.is_ok_and(|name| name.trim() == "sleep")
        };
        while !(loaded(&inside) && loaded(&outside)) {
            std::thread::yield_now();
        }
        assert_eq!(kill(folder.path()), 1);
        assert!(!inside.wait().expect("ends").success());
        assert_eq!(outside.try_wait().expect("asks"), None);
        outside.kill().expect("ends");
        outside.wait().expect("ends");
    }
    #[test]
    fn what_such_a_process_started_is_killed_though_it_left_group_and_environment() {
        let folder = tempfile::tempdir().expect("a folder");
        let (seen, home) = (folder.path().join("seen"), folder.path().join("home"));
        let script = "env -i setsid sh -c 'echo $$ > \"$1\".new; mv \"$1\".new \"$1\"; exec sleep 60' sh \"$0\" & wait";
        let mut parent = std::process::Command::new("sh")
            .args(["-c", script])
            .arg(&seen)
            .env("HOME", &home)
            .spawn()
            .expect("starts");
        while !seen.exists() {
            std::thread::yield_now();
        }
        let child: i32 = fs::read_to_string(&seen)
            .expect("a number")
            .trim()
            .parse()
            .expect("a number");
        assert!(kill(folder.path()) >= 2);
        assert!(!parent.wait().expect("ends").success());
        let lives = || {
            processes()
                .iter()
                .any(|process| process.pid == child && !process.dead)
        };
        while lives() {
            std::thread::yield_now();
        }
    }
}
