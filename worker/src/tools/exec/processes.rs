//! What `/proc` says about processes.

use std::{collections::BTreeSet, ffi::OsStr, fs, os::unix::ffi::OsStrExt as _};

use rustix::process::{getpgrp, getpid};

/// The variable that tells the processes of one tree from those of another.
pub(super) const MARKER: &str = "AGENTD_EXEC";

/// One process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    pub(crate) parent: i32,
    pub(crate) group: i32,
    /// It has ended, and its parent has not looked yet.
    pub(crate) dead: bool,
}

impl Process {
    /// Reads a line of `/proc/<pid>/stat`; the name in parentheses may contain anything.
    fn parse(stat: &str) -> Option<Self> {
        let (pid, rest) = stat.split_once(" (")?;
        let (_, fields) = rest.rsplit_once(") ")?;
        let mut fields = fields.split(' ');
        Some(Self {
            dead: matches!(fields.next()?, "Z" | "X"),
            pid: pid.parse().ok()?,
            parent: fields.next()?.parse().ok()?,
            group: fields.next()?.parse().ok()?,
        })
    }

    /// Whether it is ours only because its parent died: we start nobody outside of
    /// `roots`, and what others in this process start stays in our own group.
    pub(super) fn is_orphan(&self, roots: &BTreeSet<i32>) -> bool {
        self.parent == getpid().as_raw_pid()
            && self.group != getpgrp().as_raw_pid()
            && !roots.contains(&self.pid)
    }
}

/// Every process that can be seen.
pub(crate) fn processes() -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter(|entry| entry.file_name().as_bytes().iter().all(u8::is_ascii_digit))
        .filter_map(|entry| {
            Process::parse(&String::from_utf8_lossy(
                &fs::read(entry.path().join("stat")).ok()?,
            ))
        })
        .collect()
}

/// Whether its environment holds the marker with this value.
pub(super) fn carries(pid: i32, marker: &OsStr) -> bool {
    fs::read(format!("/proc/{pid}/environ")).is_ok_and(|environment| {
        environment.split(|byte| *byte == 0).any(|variable| {
            variable
                .strip_prefix(MARKER.as_bytes())
                .and_then(|rest| rest.strip_prefix(b"="))
                == Some(marker.as_bytes())
        })
    })
}

/// Whether it has given its memory back already, and its environment with it: the first
/// process of a namespace stays so until all the others in it are gone.
pub(super) fn is_ending(pid: i32) -> bool {
    fs::read(format!("/proc/{pid}/environ")).is_ok_and(|environment| environment.is_empty())
}

/// Its memory, as far as it is not swapped out.
pub(super) fn resident_bytes(pid: i32) -> u64 {
    let Ok(status) = fs::read_to_string(format!("/proc/{pid}/status")) else {
        return 0;
    };
    let kib = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_and_spaces_does_not_confuse_the_parser() {
        let process = Process::parse("42 (a) R 1 (b)) Z 7 9 42 0 -1").expect("readable");
        assert_eq!(
            process,
            Process {
                pid: 42,
                parent: 7,
                group: 9,
                dead: true
            }
        );
        assert_eq!(Process::parse("rubbish"), None);
    }
}
