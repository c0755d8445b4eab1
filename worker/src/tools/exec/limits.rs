//! The limits of one child process and of what it starts.

use std::{fs, sync::OnceLock, time::Duration};

use rustix::process::{Pid, Resource, Rlimit, getuid, prlimit};

/// Limits of a child; the tree's memory and processes are counted once a second.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How long it may take.
    pub time: Duration,
    /// Memory in bytes: written private memory of one process, resident memory of the tree.
    pub memory: u64,
    /// Processes of the tree.
    pub processes: u64,
    /// Bytes of one output stream that go to the log as they come; of the rest the end is logged.
    pub output: u64,
}

impl Default for Limits {
    /// 1 h, three quarters of this machine's memory, 1,024 processes (a parallel build with its
    /// compilers stays well below), 16 MiB of output (as much as a step's log keeps).
    fn default() -> Self {
        Self {
            time: Duration::from_secs(3600),
            memory: most_of_the_memory(),
            processes: 1024,
            output: 16 << 20,
        }
    }
}

/// What the user's other programs may run besides a tree, for the limit that counts per user.
const OTHER_PROCESSES: u64 = 4096;

impl Limits {
    /// The same with another time limit.
    pub const fn time(mut self, time: Duration) -> Self {
        self.time = time;
        self
    }

    /// Puts the per-process limits on a child. It may have ended already: then nothing happens.
    ///
    /// Memory is limited as data, not as address space: runtimes such as V8 reserve address
    /// space that they never use. Root is exempt from the kernel's limit on processes; the
    /// count of the tree holds for root too.
    pub(super) fn apply(&self, child: Pid) {
        let set = |resource, most: u64| {
            let limit = Rlimit {
                current: Some(most),
                maximum: Some(most),
            };
            let _ = prlimit(Some(child), resource, limit);
        };
        set(Resource::Core, 0);
        set(Resource::Data, self.memory);
        if !getuid().is_root() {
            set(Resource::Nproc, self.processes + OTHER_PROCESSES);
        }
    }
}

fn most_of_the_memory() -> u64 {
    static MEMORY: OnceLock<u64> = OnceLock::new();
    *MEMORY.get_or_init(|| {
        let total_kib = fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
            text.lines()
                .next()?
                .split_whitespace()
                .nth(1)?
                .parse::<u64>()
                .ok()
        });
        // 4 GiB where nobody says: a small machine that can still build
        total_kib.map_or(4 << 30, |kib| kib * 1024 / 4 * 3)
    })
}
