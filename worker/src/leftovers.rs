//! What an earlier life of this worker left running. Every tool runs with its
//! home inside the state folder, and one process alone owns that folder: who
//! else has such a home belongs to an attempt that nobody owns any more.

use std::{
    ffi::OsStr,
    fs,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::Path,
};

use rustix::process::{Pid, Signal, getpgrp, getuid, kill_process, kill_process_group};

/// Kills every process whose home lies in the state folder; answers how many there were.
pub fn kill(state_folder: &Path) -> usize {
    let Ok(processes) = fs::read_dir("/proc") else {
        return 0;
    };
    let mut killed = 0;
    for process in processes.flatten() {
        let pid = process.file_name().to_str().and_then(|name| name.parse().ok());
        let Some(pid) = pid.and_then(Pid::from_raw) else {
            continue;
        };
        if is_leftover(&process.path(), pid, state_folder) {
            kill_with_group(&process.path(), pid);
            killed += 1;
        }
    }
    killed
}

fn is_leftover(process: &Path, pid: Pid, state_folder: &Path) -> bool {
    let ours = fs::metadata(process).is_ok_and(|metadata| metadata.uid() == getuid().as_raw());
    let other = pid.as_raw_nonzero().get() as u32 != std::process::id();
    ours && other
        && fs::read(process.join("environ")).is_ok_and(|environment| home_in(&environment, state_folder))
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

fn kill_with_group(process: &Path, pid: Pid) {
    let group = fs::read_to_string(process.join("stat"))
        .ok()
        .and_then(|stat| group_in(&stat))
        .and_then(Pid::from_raw);
    let outcome = match group {
        Some(group) if group != getpgrp() => kill_process_group(group, Signal::KILL),
        _ => kill_process(pid, Signal::KILL),
    };
    if let Err(error) = outcome {
        tracing::debug!(%error, ?pid, "a leftover was gone already");
    }
}

/// The process group in `/proc/PID/stat`: the third field behind the name in parentheses.
fn group_in(stat: &str) -> Option<i32> {
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(2)?.parse().ok()
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
    fn the_group_is_found_behind_any_name() {
        assert_eq!(group_in("12 (a) b) R 1 77 77 0 -1"), Some(77));
        assert_eq!(group_in("12 (a"), None);
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
}
