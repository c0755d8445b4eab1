//! What tools may read of the machine: its system folders, a few settings, and the real
//! roots of the toolchains on the search path. Resolved once, at the start.
//!
//! Must not: show the home of the worker's user as a whole, or anything of the state folder.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
};

use crate::tools::environment::Toolchains;

/// Folders of the system, as far as they exist.
const SYSTEM: [&str; 9] = [
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/nix/store",
    "/gnu/store",
];

/// Settings that programs need and that are no secret; the rest of `/etc` stays hidden.
const SETTINGS: [&str; 30] = [
    "alternatives",
    "ca-certificates",
    "ca-certificates.conf",
    "crypto-policies",
    "debian_version",
    "fonts",
    "gai.conf",
    "host.conf",
    "inputrc",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "localtime",
    "locale.conf",
    "lsb-release",
    "magic",
    "mime.types",
    "nsswitch.conf",
    "os-release",
    "perl",
    "pki/ca-trust",
    "pki/tls/cert.pem",
    "pki/tls/certs",
    "protocols",
    "services",
    "ssl/certs",
    "ssl/openssl.cnf",
    "terminfo",
    "timezone",
    "xml",
];

/// A JDK keeps its settings in a folder of its own version.
const JAVA: &str = "java";

/// What makes the folder above a `bin` the root of an installation.
const PARTS_OF_A_ROOT: [&str; 6] = ["lib", "lib64", "libexec", "include", "pkg", "pyvenv.cfg"];

/// Most entries of a folder of programs that are looked at for links.
const MAX_PROGRAMS: usize = 4096;

/// Longest chain of links that is followed, as the kernel's own limit.
const MAX_LINKS: usize = 40;

/// The parts of the machine that every tool may read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct View {
    /// Links at the top of the file system: `/bin` to `usr/bin`.
    pub(super) links: Vec<(PathBuf, PathBuf)>,
    /// System folders, settings and roots of toolchains; no two overlap.
    pub(super) read_only: Vec<PathBuf>,
    /// Files of ours that stand in for settings of the machine: ours, and their place.
    pub(super) stand_ins: Vec<(PathBuf, PathBuf)>,
    /// What was left out, for the log.
    pub(super) left_out: Vec<String>,
}

impl View {
    /// Looks at this machine. `more` are the folders that its owner adds.
    pub(super) fn of_machine(
        toolchains: &Toolchains,
        state_folder: &Path,
        more: &[PathBuf],
    ) -> io::Result<Self> {
        let mut view = Self::default();
        let mut shown = BTreeSet::new();
        for folder in SYSTEM.map(Path::new) {
            match fs::read_link(folder) {
                Ok(target) => {
                    view.links.push((folder.to_owned(), target));
                    shown.insert(folder.to_owned());
                }
                Err(_) if folder.is_dir() => drop(shown.insert(folder.to_owned())),
                Err(_) => {}
            }
        }
        shown.extend(settings());
        let mut roots = Roots {
            private: [toolchains.user_home().to_owned(), state_folder.to_owned()]
                .into_iter()
                .flat_map(|path| [path.canonicalize().ok(), Some(path)])
                .flatten()
                .collect(),
            shown,
            left_out: vec![],
        };
        for folder in toolchains.roots() {
            roots.add(&folder);
        }
        for folder in std::env::split_paths(toolchains.path()) {
            roots.add_programs(&folder);
        }
        for folder in more {
            roots.add(folder);
        }
        for (link, _) in &view.links {
            roots.shown.remove(link);
        }
        view.read_only = outermost(roots.shown);
        view.left_out = roots.left_out;
        view.stand_ins = stand_ins(&state_folder.join("sandbox"), &view.read_only)?;
        Ok(view)
    }

    /// Whether a file can be seen through it.
    pub(super) fn shows(&self, file: &Path) -> bool {
        let within = |folder: &PathBuf| file.starts_with(folder);
        self.read_only.iter().any(within) || self.links.iter().any(|(link, _)| within(link))
    }
}

fn settings() -> Vec<PathBuf> {
    let etc = Path::new("/etc");
    let mut found: Vec<PathBuf> = SETTINGS
        .iter()
        .map(|name| etc.join(name))
        .filter(|path| path.exists())
        .collect();
    let entries = fs::read_dir(etc).into_iter().flatten().flatten();
    let java = entries.filter(|entry| entry.file_name().as_encoded_bytes().starts_with(JAVA.as_bytes()));
    found.extend(java.map(|entry| entry.path()).filter(|path| path.is_dir()));
    found
}

/// Collects what toolchains consist of.
struct Roots {
    /// What must stay hidden as a whole: only folders below it may be shown.
    private: Vec<PathBuf>,
    shown: BTreeSet<PathBuf>,
    left_out: Vec<String>,
}

impl Roots {
    /// Shows a folder or file, under its own name and under its real one.
    fn add(&mut self, path: &Path) {
        let Ok(real) = path.canonicalize() else { return };
        for path in [path.to_owned(), real] {
            if self.is_shown(&path) {
                continue;
            }
            if self.private.iter().any(|private| private.starts_with(&path)) || path.parent().is_none() {
                self.left_out.push(format!(
                    "{} holds what tools must not see and stays hidden from them",
                    path.display()
                ));
                continue;
            }
            self.shown.insert(path);
        }
    }

    fn is_shown(&self, path: &Path) -> bool {
        path.ancestors().any(|folder| self.shown.contains(folder))
    }

    /// Shows a folder of the search path and all that its programs are links to.
    fn add_programs(&mut self, folder: &Path) {
        if !folder.is_dir() {
            return;
        }
        let system = self.is_shown(folder);
        self.add(&self.root_of(folder));
        if system {
            // of thousands of programs only few lead elsewhere, into /opt or a home
            let outside = links_in(folder).into_iter();
            let outside = outside.filter(|link| link.canonicalize().is_ok_and(|real| !self.is_shown(&real)));
            for link in outside.collect::<Vec<_>>() {
                self.follow(&link);
            }
            return;
        }
        for link in links_in(folder) {
            self.follow(&link);
        }
    }

    /// Shows every step of a chain of links.
    fn follow(&mut self, link: &Path) {
        let mut at = link.to_owned();
        for _ in 0..MAX_LINKS {
            let Ok(target) = fs::read_link(&at) else { break };
            at = lexical(&at.parent().unwrap_or(Path::new("/")).join(target));
            if !self.is_shown(&at) && at.exists() {
                let folder = at.parent().unwrap_or(Path::new("/"));
                if at.is_symlink() {
                    // one step of the chain; what it leads to comes with its whole installation
                    self.shown.insert(at.clone());
                } else if folder.file_name() == Some(OsStr::new("bin")) {
                    self.add(&self.root_of(folder));
                } else {
                    self.add(&at);
                }
            }
        }
    }

    /// The installation that a folder of programs belongs to: the folder above a `bin`, if it
    /// looks like one and hides nothing private.
    fn root_of(&self, folder: &Path) -> PathBuf {
        let bin = matches!(folder.file_name().and_then(OsStr::to_str), Some("bin" | "sbin"));
        let Some(parent) = folder.parent().filter(|_| bin) else {
            return folder.to_owned();
        };
        // ~/.local and ~/.cargo hold programs beside credentials and other programs' data
        let mixed = self.private.iter().any(|private| {
            private.starts_with(parent) || parent.parent() == Some(private) && is_hidden(parent)
        });
        let complete = PARTS_OF_A_ROOT.iter().any(|part| parent.join(part).exists());
        if complete && !mixed { parent } else { folder }.to_owned()
    }
}

fn is_hidden(path: &Path) -> bool {
    path.file_name()
        .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
        && !path.join("pyvenv.cfg").exists()
}

fn links_in(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .take(MAX_PROGRAMS)
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_symlink()))
        .map(|entry| entry.path())
        .collect()
}

/// The path without `.` and `..`, by its text.
fn lexical(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::ParentDir => drop(clean.pop()),
            std::path::Component::CurDir => {}
            other => clean.push(other),
        }
    }
    clean
}

/// Without what lies in another one.
fn outermost(paths: BTreeSet<PathBuf>) -> Vec<PathBuf> {
    let mut kept: Vec<PathBuf> = vec![];
    for path in paths {
        if !kept.iter().any(|folder| path.starts_with(folder)) {
            kept.push(path);
        }
    }
    kept
}

/// Users, groups and hosts as tools see them: enough to find out one's own name.
fn stand_ins(folder: &Path, shown: &[PathBuf]) -> io::Result<Vec<(PathBuf, PathBuf)>> {
    let (user, group) = (
        rustix::process::getuid().as_raw(),
        rustix::process::getgid().as_raw(),
    );
    let (mut passwd, mut groups) = (
        "root:x:0:0:root:/root:/bin/sh\n".to_owned(),
        "root:x:0:\n".to_owned(),
    );
    if user != 0 {
        passwd += &format!("agent:x:{user}:{group}:agent:/nonexistent:/bin/sh\n");
    }
    if group != 0 {
        groups += &format!("agent:x:{group}:\n");
    }
    passwd += "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n";
    groups += "nogroup:x:65534:\n";
    let hosts = "127.0.0.1 localhost\n::1 localhost ip6-localhost\n";
    fs::create_dir_all(folder)?;
    let mut made = vec![];
    for (name, text) in [("passwd", passwd.as_str()), ("group", &groups), ("hosts", hosts)] {
        let (file, place) = (folder.join(name), Path::new("/etc").join(name));
        fs::write(&file, text)?;
        if !shown.iter().any(|folder| place.starts_with(folder)) {
            made.push((file, place));
        }
    }
    Ok(made)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::tools::exec::Environment;

    fn made(root: &Path, files: &[&str]) {
        for file in files {
            let path = root.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
    }

    fn view(home: &Path, path: &[PathBuf], more: &[PathBuf]) -> View {
        let variables: Environment = [
            ("HOME".into(), home.into()),
            ("PATH".into(), std::env::join_paths(path).unwrap()),
        ]
        .into();
        View::of_machine(
            &Toolchains::new(&variables),
            &home.join(".local/state/worker"),
            more,
        )
        .unwrap()
    }

    #[test]
    fn toolchains_are_shown_and_the_home_around_them_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().canonicalize().unwrap();
        made(
            &home,
            &[
                ".ssh/id_ed25519",
                ".cargo/bin/cargo",
                ".cargo/credentials.toml",
                ".rustup/toolchains/stable/bin/rustc",
                ".local/bin/tool",
                ".local/lib/x",
                ".local/share/pipx/venvs/ruff/bin/ruff",
                ".local/share/pipx/venvs/ruff/pyvenv.cfg",
                ".local/share/keyrings/login",
                ".local/state/worker/credential.json",
                "sdk/go/bin/go",
                "sdk/go/pkg/x",
                "bin/mine",
                "lib/x",
            ],
        );
        symlink("../share/pipx/venvs/ruff/bin/ruff", home.join(".local/bin/ruff")).unwrap();
        let path = [".local/bin", "sdk/go/bin", "bin"].map(|part| home.join(part));
        let view = view(&home, &path, std::slice::from_ref(&home));
        for shown in [
            ".cargo/bin/cargo",
            ".rustup/toolchains/stable/bin/rustc",
            ".local/bin/tool",
            ".local/share/pipx/venvs/ruff/bin/ruff",
            "sdk/go/pkg/x",
            "bin/mine",
        ] {
            assert!(view.shows(&home.join(shown)), "{shown}: {view:?}");
        }
        for hidden in [
            ".ssh/id_ed25519",
            ".cargo/credentials.toml",
            ".local/share/keyrings/login",
            ".local/state/worker/credential.json",
            "lib/x",
        ] {
            assert!(!view.shows(&home.join(hidden)), "{hidden}: {view:?}");
        }
        assert!(!view.shows(Path::new("/etc/shadow")) && view.shows(Path::new("/usr/bin/env")));
        assert!(
            view.left_out
                .iter()
                .any(|line| line.starts_with(&*home.to_string_lossy())),
            "{view:?}"
        );
    }

    #[test]
    fn every_step_of_a_chain_of_links_is_shown() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().canonicalize().unwrap();
        made(&home, &["real/3.11/bin/python3.11", "real/3.11/lib/x"]);
        fs::create_dir_all(home.join("venv/bin")).unwrap();
        fs::write(home.join("venv/pyvenv.cfg"), "").unwrap();
        fs::create_dir_all(home.join("hop")).unwrap();
        symlink(home.join("hop/python"), home.join("venv/bin/python3")).unwrap();
        symlink(home.join("real/3.11/bin/python3.11"), home.join("hop/python")).unwrap();
        let view = view(&home, &[home.join("venv/bin")], &[]);
        for shown in ["venv/bin/python3", "hop/python", "real/3.11/lib/x"] {
            assert!(view.shows(&home.join(shown)), "{shown}: {view:?}");
        }
    }
}
