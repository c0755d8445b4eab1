//! The command line of bubblewrap: which namespaces a tool gets, and what it sees of the
//! file system. Pure; what a tool must do to itself is left to [`super::inside`].

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use super::view::View;

/// Where the worker's own program lies inside.
pub(super) const INSIDE: &str = "/run/agentd-inside";

/// The folder inside in which worker and tool's beginning meet: the mark that it began, the proxy's socket.
pub(super) const MEETING: &str = "/run/agentd";

/// How much of bubblewrap works on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Profile {
    /// All of it.
    Whole,
    /// An old bubblewrap, or a container that forbids a `/proc` of one's own: the machine's
    /// processes are seen, and only the filter of system calls forbids further namespaces.
    Reduced,
}

/// What one command gets to see.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sight<'a> {
    /// What everybody sees.
    pub(super) view: &'a View,
    /// Hidden even where the view would show it.
    pub(super) state_folder: &'a Path,
    /// Further files and folders to read.
    pub(super) readable: &'a [PathBuf],
    /// Folders to write in.
    pub(super) writable: &'a [PathBuf],
    /// The worker's own program.
    pub(super) inside: &'a Path,
    /// An empty folder that becomes `/tmp`.
    pub(super) tmp: &'a Path,
    /// A folder that becomes [`MEETING`].
    pub(super) meeting: &'a Path,
    /// Where the command runs.
    pub(super) dir: &'a Path,
}

/// The arguments up to the program that runs inside.
pub(super) fn arguments(profile: Profile, sight: &Sight<'_>) -> Vec<OsString> {
    let mut line = Line::default();
    for flag in [
        "--unshare-user",
        "--unshare-pid",
        "--unshare-ipc",
        "--unshare-uts",
        "--unshare-net",
        "--unshare-cgroup-try",
        "--die-with-parent",
        "--new-session",
    ] {
        line.add(flag);
    }
    line.option("--hostname", "sandbox");
    line.option("--cap-drop", "ALL");
    for (link, target) in &sight.view.links {
        line.pair("--symlink", target, link);
    }
    line.option("--dev", "/dev");
    match profile {
        Profile::Whole => {
            line.add("--disable-userns");
            line.option("--proc", "/proc");
        }
        Profile::Reduced => line.pair("--ro-bind", Path::new("/proc"), Path::new("/proc")),
    }
    line.pair("--bind", sight.tmp, Path::new("/tmp"));
    line.option("--tmpfs", "/var/tmp");
    line.pair("--bind", sight.meeting, Path::new(MEETING));
    line.pair("--ro-bind", sight.inside, Path::new(INSIDE));
    for path in &sight.view.read_only {
        line.pair("--ro-bind", path, path);
    }
    for (file, place) in &sight.view.stand_ins {
        line.pair("--ro-bind", file, place);
    }
    if sight.view.shows(sight.state_folder) {
        line.pair_of("--tmpfs", sight.state_folder);
    }
    for path in sight.readable {
        line.pair("--ro-bind", path, path);
    }
    let mut writable: Vec<&PathBuf> = sight.writable.iter().collect();
    // what lies in another one comes after it
    writable.sort();
    for path in writable {
        line.pair("--bind", path, path);
    }
    line.pair_of("--chdir", sight.dir);
    line.add("--");
    line.0
}

#[derive(Default)]
struct Line(Vec<OsString>);

impl Line {
    fn add(&mut self, argument: impl Into<OsString>) {
        self.0.push(argument.into());
    }

    fn option(&mut self, name: &str, value: &str) {
        self.add(name);
        self.add(value);
    }

    fn pair_of(&mut self, name: &str, path: &Path) {
        self.add(name);
        self.add(path);
    }

    fn pair(&mut self, name: &str, from: &Path, to: &Path) {
        self.pair_of(name, from);
        self.add(to);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(profile: Profile, view: &View) -> String {
        let sight = Sight {
            view,
            state_folder: Path::new("/state"),
            readable: &["/state/scratch/script".into()],
            writable: &["/state/trees/1/tree".into(), "/state/caches/x".into()],
            inside: Path::new("/usr/bin/agent-worker"),
            tmp: Path::new("/state/scratch/t/tmp"),
            meeting: Path::new("/state/scratch/t/meeting"),
            dir: Path::new("/state/trees/1/tree"),
        };
        let words = arguments(profile, &sight);
        let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
        words.join(" ")
    }

    #[test]
    fn only_what_is_named_can_be_written() {
        let view = View {
            read_only: vec!["/usr".into()],
            ..View::default()
        };
        let line = said(Profile::Whole, &view);
        let binds: Vec<&str> = line
            .split(" --")
            .filter(|part| part.starts_with("bind "))
            .collect();
        assert_eq!(
            binds,
            [
                "bind /state/scratch/t/tmp /tmp",
                "bind /state/scratch/t/meeting /run/agentd",
                "bind /state/caches/x /state/caches/x",
                "bind /state/trees/1/tree /state/trees/1/tree",
            ]
        );
        assert!(
            line.contains("--disable-userns") && line.contains("--unshare-net"),
            "{line}"
        );
        assert!(!line.contains("--tmpfs /state"), "{line}");
    }

    #[test]
    fn a_state_folder_in_a_shown_place_is_hidden_first() {
        let view = View {
            read_only: vec!["/state".into()],
            ..View::default()
        };
        let line = said(Profile::Reduced, &view);
        let at = |text: &str| line.find(text).expect(text);
        assert!(at("--ro-bind /state /state") < at("--tmpfs /state"));
        assert!(at("--tmpfs /state") < at("--bind /state/trees"));
        assert!(!line.contains("--proc"), "{line}");
    }
}
