//! A control group for each command: what the kernel counts, limits and ends for all of its
//! processes together, whoever started them and whatever they did to leave.
//!
//! Only where a part of the cgroup v2 tree is this worker's own: a delegated one (`Delegate=`
//! in its unit), or any for root. Must not: touch groups that somebody else made.

use std::{
    ffi::OsString,
    fs, io,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use sha2::{Digest as _, Sha256};

/// The first argument that makes `agent-worker` enter a group and become another program.
pub const WORD: &str = "enter";

/// The group of the worker itself, when it has to leave the one that it gives out parts of.
const OWN: &str = "agentd-worker";

/// What of a group's controllers is used, most important first: without the first there are no groups.
const CONTROLLERS: [&str; 3] = ["pids", "memory", "cpu"];

/// The group counts threads: so many per process on average is more than compilers and
/// runtimes have; a bomb meets the limit all the same.
const THREADS_PER_PROCESS: u64 = 4;

/// Half of what everybody else gets by default, so that a build does not starve the worker.
const CPU_WEIGHT: u64 = 50;

/// How often and how long it is tried to remove what an earlier life left.
const TRIES: u32 = 50;
const BETWEEN_TRIES: Duration = Duration::from_millis(10);

/// Exit code when the group could not be entered; what a shell uses.
const NOT_STARTED: u8 = 126;

/// Where groups are made.
#[derive(Debug)]
pub(crate) struct Groups {
    base: PathBuf,
    /// Begins the name of every group of this worker.
    prefix: String,
    /// The controllers that they have.
    controllers: Vec<&'static str>,
    next: AtomicU64,
    /// Groups whose last process took its time to end.
    left: Mutex<Vec<PathBuf>>,
}

/// The group of one command; its processes end with it.
#[derive(Debug)]
pub(crate) struct Group {
    folder: PathBuf,
    groups: Arc<Groups>,
}

/// What a group had too much of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Excess {
    /// Memory.
    Memory,
    /// Processes.
    Processes,
}

impl Groups {
    /// Finds a place for groups; the error says why there is none.
    pub(super) fn find(state_folder: &Path) -> Result<Arc<Self>, String> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").map_err(|error| error.to_string())?;
        let own = fs::read_to_string("/proc/self/cgroup").map_err(|error| error.to_string())?;
        let tree = Hierarchy::read(&mounts, &own).ok_or("this machine has no cgroup v2")?;
        let digest = hex::encode(&Sha256::digest(state_folder.as_os_str().as_encoded_bytes())[..6]);
        let prefix = format!("agentd-{digest}-");
        Self::at(tree.own.clone(), &prefix).or_else(|why| {
            if tree.own == tree.top {
                return Err(why);
            }
            // only root has a right to it
            Self::at(tree.top, &prefix).map_err(|_| why)
        })
    }

    fn at(base: PathBuf, prefix: &str) -> Result<Arc<Self>, String> {
        let place = base.display().to_string();
        let offered = fs::read_to_string(base.join("cgroup.controllers"));
        let offered = offered.map_err(|error| format!("{place}: {error}"))?;
        let controllers: Vec<&'static str> = CONTROLLERS
            .into_iter()
            .filter(|name| offered.split_whitespace().any(|known| known == *name))
            .filter(|name| enable(&base, name).is_ok())
            .collect();
        if controllers.first() != CONTROLLERS.first() {
            return Err(format!(
                "{place} does not count processes for this worker (in its unit, `Delegate=yes` makes it so)"
            ));
        }
        let groups = Arc::new(Self {
            base,
            prefix: prefix.to_owned(),
            controllers,
            next: AtomicU64::new(0),
            left: Mutex::default(),
        });
        groups.remove_earlier();
        let trial = Group::make(&groups, u64::MAX >> 1, 1).map_err(|error| format!("{place}: {error}"))?;
        let kills = trial.folder.join("cgroup.kill").exists();
        drop(trial);
        if !kills {
            return Err("this kernel ends no group at once: 5.14 or later does".to_owned());
        }
        Ok(groups)
    }

    /// What of a machine they limit.
    pub(super) fn controllers(&self) -> &[&'static str] {
        &self.controllers
    }

    /// Ends and removes the groups of an earlier life of this worker.
    fn remove_earlier(&self) {
        let entries = fs::read_dir(&self.base).into_iter().flatten().flatten();
        let earlier = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(&self.prefix));
        for folder in earlier.map(|entry| entry.path()) {
            kill(&folder);
            for _ in 0..TRIES {
                if fs::remove_dir(&folder).is_ok() {
                    break;
                }
                thread::sleep(BETWEEN_TRIES);
            }
        }
    }
}

impl Group {
    /// Makes a group with these limits: bytes of memory, processes.
    pub(super) fn make(groups: &Arc<Groups>, memory: u64, processes: u64) -> io::Result<Self> {
        let mut left = groups.left.lock().unwrap_or_else(PoisonError::into_inner);
        left.retain(|folder| fs::remove_dir(folder).is_err());
        drop(left);
        let number = groups.next.fetch_add(1, Ordering::Relaxed);
        let group = Self {
            folder: groups.base.join(format!("{}{number}", groups.prefix)),
            groups: groups.clone(),
        };
        fs::create_dir(&group.folder)?;
        let tasks = processes.saturating_mul(THREADS_PER_PROCESS);
        let mut limits = vec![("pids.max", tasks)];
        if groups.controllers.contains(&"memory") {
            // one victim would leave the rest of a command in an odd state
            limits.extend([("memory.max", memory), ("memory.oom.group", 1)]);
        }
        if groups.controllers.contains(&"cpu") {
            limits.push(("cpu.weight", CPU_WEIGHT));
        }
        for (file, value) in limits {
            fs::write(group.folder.join(file), value.to_string())?;
        }
        Ok(group)
    }

    /// The arguments that begin a program in the group.
    pub(super) fn arguments(&self) -> [OsString; 2] {
        [WORD.into(), self.folder.clone().into()]
    }

    /// Ends every process in it, at once.
    pub(crate) fn kill(&self) {
        kill(&self.folder);
    }

    /// What its processes were refused for having too much of it.
    pub(crate) fn excess(&self) -> Option<Excess> {
        let happened = |file: &str, event: &str| {
            let text = fs::read_to_string(self.folder.join(file)).unwrap_or_default();
            count(&text, event) > 0
        };
        if happened("memory.events", "oom_kill") {
            Some(Excess::Memory)
        } else {
            happened("pids.events", "max").then_some(Excess::Processes)
        }
    }

    /// Ends what is in it and removes it; whether it is gone.
    pub(crate) fn remove(&self) -> bool {
        match fs::remove_dir(&self.folder) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => true,
            Err(_) => {
                self.kill();
                false
            }
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if !self.remove() && !self.remove() {
            let mut left = self.groups.left.lock().unwrap_or_else(PoisonError::into_inner);
            left.push(self.folder.clone());
        }
    }
}

fn kill(folder: &Path) {
    // it may be gone, and then there is nothing to end
    let _ = fs::write(folder.join("cgroup.kill"), "1");
}

/// Lets the groups below `base` have a controller. Who shares a group with others gets nothing
/// to give out: the worker moves into a group of its own where it is alone in `base`.
fn enable(base: &Path, controller: &str) -> io::Result<()> {
    let file = base.join("cgroup.subtree_control");
    let enabled = fs::read_to_string(&file)?;
    if enabled.split_whitespace().any(|known| known == controller) {
        return Ok(());
    }
    let order = format!("+{controller}");
    fs::write(&file, &order).or_else(|error| {
        let members = fs::read_to_string(base.join("cgroup.procs")).unwrap_or_default();
        let alone = members.trim() == std::process::id().to_string();
        if !alone {
            return Err(error);
        }
        let own = base.join(OWN);
        fs::create_dir_all(&own)?;
        fs::write(own.join("cgroup.procs"), "0")?;
        fs::write(&file, &order)
    })
}

/// The number behind a word in a file of lines `word number`.
fn count(text: &str, word: &str) -> u64 {
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    let found = lines.find(|(key, _)| *key == word);
    found
        .and_then(|(_, number)| number.trim().parse().ok())
        .unwrap_or(0)
}

/// The cgroup v2 tree, as this process sees it.
#[derive(Debug, PartialEq, Eq)]
struct Hierarchy {
    top: PathBuf,
    /// The group of this process.
    own: PathBuf,
}

impl Hierarchy {
    /// From `/proc/self/mountinfo` and `/proc/self/cgroup`.
    fn read(mounts: &str, own: &str) -> Option<Self> {
        let path = own.lines().find_map(|line| line.strip_prefix("0::/"))?;
        let (root, top) = mounts.lines().find_map(|line| {
            let (place, kind) = line.split_once(" - ")?;
            let mut fields = place.split(' ').skip(3);
            kind.starts_with("cgroup2 ")
                .then_some((fields.next()?, fields.next()?))
        })?;
        // a container may show only its own part
        let path = Path::new("/").join(path);
        let within = path.strip_prefix(root).ok()?;
        let top = PathBuf::from(top);
        let own = if within.as_os_str().is_empty() {
            top.clone()
        } else {
            top.join(within)
        };
        Some(Self { top, own })
    }
}

/// Enters the group that the arguments behind [`WORD`] name and becomes the program behind it;
/// comes back only when that fails. Runs with the worker's rights, before any cage closes.
pub fn enter(mut words: impl Iterator<Item = OsString>) -> ExitCode {
    let why = match (words.next(), words.next(), words.next()) {
        (Some(folder), Some(file), Some(name)) => {
            let entered = fs::write(Path::new(&folder).join("cgroup.procs"), "0");
            match entered {
                Ok(()) => {
                    let error = Command::new(&file).arg0(name).args(words).exec();
                    format!("{} does not start: {error}", file.display())
                }
                Err(error) => format!(
                    "the control group {} cannot be entered: {error}",
                    folder.display()
                ),
            }
        }
        _ => "there is no program to become".to_owned(),
    };
    super::inside::complain(&why);
    ExitCode::from(NOT_STARTED)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "25 30 0:23 / /sys rw,nosuid - sysfs sysfs rw\n\
                          31 25 0:27 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";

    #[test]
    fn ones_own_group_is_found_in_the_tree() {
        let own = "1:name=x:/y\n0::/system.slice/agent-worker.service\n";
        let tree = Hierarchy::read(MOUNTS, own).unwrap();
        assert_eq!(tree.top, Path::new("/sys/fs/cgroup"));
        assert_eq!(
            tree.own,
            Path::new("/sys/fs/cgroup/system.slice/agent-worker.service")
        );
        assert_eq!(Hierarchy::read(MOUNTS, "0::/\n").unwrap().own, tree.top);
        let part = MOUNTS.replace("0:27 /", "0:27 /docker/x");
        assert_eq!(Hierarchy::read(&part, "0::/docker/x\n").unwrap().own, tree.top);
        assert_eq!(Hierarchy::read(&part, "0::/elsewhere\n"), None);
        assert_eq!(Hierarchy::read("", own), None);
        assert_eq!(Hierarchy::read(MOUNTS, "5:pids:/\n"), None);
    }

    #[test]
    fn events_are_counted_by_their_whole_word() {
        assert_eq!(count("low 0\noom 2\noom_kill 1\n", "oom_kill"), 1);
        assert_eq!(count("low 0\n", "max"), 0);
        assert_eq!(count("max many\n", "max"), 0);
    }

    /// A folder stands in for the file system of groups: what is written, and what is refused.
    #[test]
    fn limits_are_written_before_anybody_enters_and_a_place_without_pids_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().join("base");
        fs::create_dir(&base).unwrap();
        let offer = |controllers: &str| {
            fs::write(base.join("cgroup.controllers"), controllers).unwrap();
            fs::write(base.join("cgroup.subtree_control"), controllers).unwrap();
        };
        offer("hugetlb memory");
        let why = Groups::at(base.clone(), "agentd-x-").unwrap_err();
        assert!(why.contains("Delegate=yes"), "{why}");
        offer("cpu pids");
        let groups = Arc::new(Groups {
            base: base.clone(),
            prefix: "agentd-x-".into(),
            controllers: vec!["pids", "cpu"],
            next: AtomicU64::new(0),
            left: Mutex::default(),
        });
        let group = Group::make(&groups, 1 << 20, 100).unwrap();
        let read = |file: &str| fs::read_to_string(group.folder.join(file)).ok();
        assert_eq!(read("pids.max").as_deref(), Some("400"));
        assert_eq!(read("cpu.weight").as_deref(), Some("50"));
        assert_eq!(read("memory.max"), None);
        assert_eq!(group.excess(), None);
        fs::write(group.folder.join("pids.events"), "max 3\n").unwrap();
        assert_eq!(group.excess(), Some(Excess::Processes));
        fs::write(group.folder.join("memory.events"), "oom 1\noom_kill 1\n").unwrap();
        assert_eq!(group.excess(), Some(Excess::Memory));
    }
}
