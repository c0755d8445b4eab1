//! The processes that a child started: found by parent, by process group and
//! by a marker in their environment, also after they left their group.
//!
//! This process adopts orphans (it is a "child subreaper"), so that a program
//! that detaches itself stays below us and is ended with the rest.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    fs, io,
    sync::{Mutex, Once, PoisonError, RwLock},
    time::Duration,
};

use rustix::process::{
    Pid, Signal, WaitOptions, getpid, kill_process, kill_process_group, set_child_subreaper, waitpid,
};
use tokio::{
    process::{Child, Command},
    time::{Instant, sleep},
};

use super::{
    Limits,
    processes::{MARKER, Process, carries, is_ending, processes, resident_bytes},
};
use crate::sandbox::{Excess, Group};

/// How often the rest of a tree is looked for until it has gone.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// How long processes that ignore SIGKILL (they wait for a device) are waited for.
const GIVE_UP: Duration = Duration::from_secs(2);

/// Children that still have an [`super::Exec`]: everybody else below this process is an orphan.
static ROOTS: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

/// Held for reading while a child starts and is entered in [`ROOTS`], for writing while
/// processes are listed: so that nobody takes a new child for an orphan and reaps it.
static STARTING: RwLock<()> = RwLock::new(());

/// Makes orphans of our children ours; done once.
fn adopt_orphans() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        if let Err(error) = set_child_subreaper(Some(getpid())) {
            tracing::warn!(%error, "programs that detach themselves may outlive their step");
        }
    });
}

/// A child and everything that it started; killed when dropped.
pub(super) struct Tree {
    root: Pid,
    marker: OsString,
    root_lives: bool,
    /// Whether the root and its only child belong to a cage: when they end, all ends.
    caged: bool,
    /// The group of the kernel that its processes cannot leave, where there is one.
    group: Option<Group>,
}

impl Tree {
    /// Starts a command that was given a process group of its own.
    pub(super) fn spawn(
        command: &mut Command,
        caged: bool,
        group: Option<Group>,
    ) -> io::Result<(Child, Self)> {
        adopt_orphans();
        let marker = OsString::from(uuid::Uuid::new_v4().simple().to_string());
        command.env(MARKER, &marker);
        let _starting = STARTING.read().unwrap_or_else(PoisonError::into_inner);
        let child = command.spawn()?;
        let root = child.id().and_then(|id| Pid::from_raw(id as i32));
        let root = root.expect("a child that nobody waited for has an id");
        roots().insert(root.as_raw_pid());
        let tree = Self {
            root,
            marker,
            root_lives: true,
            caged,
            group,
        };
        Ok((child, tree))
    }

    pub(super) const fn root(&self) -> Pid {
        self.root
    }

    /// The child was waited for: its id must not be signalled any more.
    pub(super) fn root_is_gone(&mut self) {
        self.root_lives = false;
        roots().remove(&self.root.as_raw_pid());
    }

    /// Asks every process of the tree to end. The cage around them ends by itself with the
    /// program in it; asked first, it would take all of them along at once.
    pub(super) fn terminate(&self) {
        if !self.caged {
            return self.signal(Signal::TERM);
        }
        let root = self.root.as_raw_pid();
        for process in self.members() {
            if process.pid != root && process.parent != root {
                send(process.pid, Signal::TERM);
            }
        }
    }

    /// Ends every process of the tree.
    pub(super) fn kill(&self) {
        if let Some(group) = &self.group {
            group.kill();
        }
        self.signal(Signal::KILL);
    }

    /// Whether the tree is larger than allowed.
    pub(super) fn excess(&self, limits: &Limits) -> Option<Excess> {
        if let Some(excess) = self.group.as_ref().and_then(Group::excess) {
            return Some(excess);
        }
        let members = self.members();
        if members.len() as u64 > limits.processes {
            return Some(Excess::Processes);
        }
        let memory: u64 = members.iter().map(|process| resident_bytes(process.pid)).sum();
        (memory > limits.memory).then_some(Excess::Memory)
    }

    /// Ends what outlived the child: politely until `kill_at`, if that was begun, then hard.
    pub(super) async fn end_rest(&self, kill_at: Option<Instant>) {
        if !has_orphans() {
            return;
        }
        let started = Instant::now();
        loop {
            let now = Instant::now();
            let rest = self.members();
            if rest.is_empty() || now > started.max(kill_at.unwrap_or(started)) + GIVE_UP {
                return;
            }
            if kill_at.is_none_or(|at| now >= at) {
                // one by one, a fork bomb would be faster; the group's number is in use while it has a member
                if rest.iter().any(|process| process.group == self.root.as_raw_pid()) {
                    let _ = kill_process_group(self.root, Signal::KILL);
                }
                for process in &rest {
                    send(process.pid, Signal::KILL);
                }
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    /// Whether the kernel ended it because its memory was used up.
    pub(super) fn ran_out_of_memory(&self) -> bool {
        self.group.as_ref().and_then(Group::excess) == Some(Excess::Memory)
    }

    /// Ends what is still in the group and removes it.
    pub(super) async fn leave_group(&mut self) {
        let Some(group) = self.group.take() else { return };
        let began = Instant::now();
        // dropped at the latest, it is tried again with the next command
        while !group.remove() && began.elapsed() < GIVE_UP {
            sleep(LOOK_AGAIN).await;
        }
    }

    fn signal(&self, signal: Signal) {
        if self.root_lives {
            let _ = kill_process_group(self.root, signal);
        }
        for process in self.members() {
            if !self.root_lives || process.group != self.root.as_raw_pid() {
                send(process.pid, signal);
            }
        }
    }

    /// The living processes of the tree; dead orphans are reaped on the way.
    fn members(&self) -> Vec<Process> {
        let (processes, roots) = {
            let _nobody_starts = STARTING.write().unwrap_or_else(PoisonError::into_inner);
            (processes(), roots().clone())
        };
        let mut below: BTreeMap<i32, Vec<&Process>> = BTreeMap::new();
        for process in &processes {
            below.entry(process.parent).or_default().push(process);
        }
        let root = self.root.as_raw_pid();
        let mut todo: Vec<&Process> = processes
            .iter()
            .filter(|process| {
                process.group == root
                    || process.is_orphan(&roots)
                        && (carries(process.pid, &self.marker) || self.caged && is_ending(process.pid))
                    || self.root_lives && process.pid == root
            })
            .collect();
        let mut members = BTreeMap::new();
        while let Some(process) = todo.pop() {
            if members.insert(process.pid, *process).is_none() {
                todo.extend(below.get(&process.pid).into_iter().flatten());
            }
        }
        for process in processes
            .iter()
            .filter(|process| process.dead && process.is_orphan(&roots))
        {
            let _ = Pid::from_raw(process.pid).map(|pid| waitpid(Some(pid), WaitOptions::NOHANG));
        }
        members.into_values().filter(|process| !process.dead).collect()
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        // reached with a living root only when the call was given up half-way
        if self.root_lives {
            self.kill();
            self.root_is_gone();
        }
    }
}

/// Enters a child that is no tree and outlives them all.
pub(super) fn set_apart(pid: u32) {
    roots().insert(pid as i32);
}

fn roots() -> std::sync::MutexGuard<'static, BTreeSet<i32>> {
    ROOTS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn send(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _ = kill_process(pid, signal);
    }
}

/// Whether this process has children besides the roots. Cheap where the kernel lists
/// children, so that a short command does not pay for a walk over all processes.
fn has_orphans() -> bool {
    // an orphan is given to the first living thread of who adopts it: that is the main thread
    let main = getpid().as_raw_pid();
    let Ok(children) = fs::read_to_string(format!("/proc/self/task/{main}/children")) else {
        return true;
    };
    let roots = roots();
    let stranger = |pid: &str| pid.parse().is_ok_and(|pid: i32| !roots.contains(&pid));
    children.split_whitespace().any(stranger)
}
