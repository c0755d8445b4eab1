//! Programs that a killed worker left behind: none may be there two seconds later.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// How long they may live.
const LONGEST: Duration = Duration::from_secs(2);

/// A death of a worker.
struct Death {
    at: Instant,
    /// In ticks since the machine has started, as processes say it.
    ticks: u64,
    state: PathBuf,
}

/// The deaths that are not judged yet.
#[derive(Default)]
pub(crate) struct Orphans {
    deaths: Vec<Death>,
    judged: usize,
    /// Programs that were there right after a death.
    left: usize,
}

impl Orphans {
    /// A worker with this state folder has just been killed.
    pub(crate) fn died(&mut self, state: &Path) {
        let (at, ticks, state) = (Instant::now(), ticks(), state.to_owned());
        let death = Death { at, ticks, state };
        self.left += of(&death).len();
        self.deaths.push(death);
    }

    /// Looks at the deaths that are long enough ago.
    pub(crate) fn look(&mut self) {
        let (due, rest) = self
            .deaths
            .drain(..)
            .partition(|death: &Death| death.at.elapsed() > LONGEST);
        self.deaths = rest;
        for death in due {
            self.judged += 1;
            let found = of(&death);
            assert!(
                found.is_empty(),
                "{:?} after the death of a worker: {found:?}",
                death.at.elapsed()
            );
        }
    }

    /// Waits until all can be judged; answers how many deaths and how many programs there were.
    pub(crate) fn end(mut self) -> (usize, usize) {
        while !self.deaths.is_empty() {
            self.look();
            std::thread::sleep(Duration::from_millis(50));
        }
        (self.judged, self.left)
    }
}

/// The programs of the worker's steps that were there before it died.
fn of(death: &Death) -> Vec<String> {
    let state = death.state.to_string_lossy();
    let (home, scratch) = (format!("HOME={state}/"), format!("{state}/scratch/"));
    let mut found = vec![];
    for process in fs::read_dir("/proc").expect("a list of processes").flatten() {
        let read = |name: &str| {
            let bytes = fs::read(process.path().join(name)).unwrap_or_default();
            String::from_utf8_lossy(&bytes).replace('\0', " ")
        };
        let command = read("cmdline");
        let ours = command.contains(&scratch) || read("environ").contains(&home);
        if ours
            && read("stat")
                .rsplit_once(") ")
                .is_some_and(|(_, rest)| is_older(rest, death.ticks))
        {
            found.push(format!("{} {command}", process.file_name().display()));
        }
    }
    found
}

/// Whether a living process started before; its state is the first field behind its name.
fn is_older(stat: &str, ticks: u64) -> bool {
    let started = stat
        .split(' ')
        .nth(19)
        .and_then(|field| field.parse::<u64>().ok());
    !stat.starts_with(['Z', 'X']) && started.is_some_and(|started| started <= ticks)
}

fn ticks() -> u64 {
    let text = fs::read_to_string("/proc/uptime").expect("the time since the start");
    let seconds: f64 = text
        .split(' ')
        .next()
        .and_then(|first| first.parse().ok())
        .expect("a number");
    (seconds * 100.0) as u64
}
