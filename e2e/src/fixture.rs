//! The small repositories below `fixtures/`: each has a mistake, tests that show it
//! (`repo/`), and the files that mend it (`right/`).

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use crate::repo::git;

/// One of them.
pub struct Fixture {
    /// Its folder: `LANGUAGE-WHAT`.
    pub name: &'static str,
    /// How its tests are run.
    pub test: &'static [&'static str],
    /// Files that go when it is mended.
    pub gone: &'static [&'static str],
}

const CARGO: &[&str] = &["cargo", "test", "--offline", "--quiet"];
const PYTEST: &[&str] = &["python3", "-m", "pytest", "-q", "-p", "no:cacheprovider"];
const NODE: &[&str] = &["node", "--test"];
const GO: &[&str] = &["go", "test", "./..."];

const fn fixture(name: &'static str, test: &'static [&'static str]) -> Fixture {
    let gone = &[];
    Fixture { name, test, gone }
}

/// All of them. Some need two files, some a new one, some lose or rename one.
pub const FIXTURES: &[Fixture] = &[
    fixture("rust-roman", CARGO),
    fixture("rust-ledger", CARGO),
    fixture("rust-csvline", CARGO),
    Fixture {
        gone: &["src/intervall.rs"],
        ..fixture("rust-interval", CARGO)
    },
    fixture("python-slug", PYTEST),
    fixture("python-stock", PYTEST),
    fixture("python-settings", PYTEST),
    Fixture {
        gone: &["statistics.py"],
        ..fixture("python-report", PYTEST)
    },
    fixture("js-duration", &["npm", "test", "--silent"]),
    fixture("js-cart", NODE),
    fixture("js-queue", NODE),
    fixture("js-template", NODE),
    fixture("go-wordcount", GO),
    fixture("go-ring", GO),
    fixture("go-thermo", GO),
    Fixture {
        gone: &["stack_old.go"],
        ..fixture("go-stack", GO)
    },
    fixture("shell-rotate", &["sh", "test.sh"]),
    fixture("shell-version", &["make", "test"]),
    fixture("shell-tidy", &["bash", "tests/run.sh"]),
    fixture("shell-env", &["sh", "test.sh"]),
];

/// The fixture of this name.
pub fn named(name: &str) -> &'static Fixture {
    let found = FIXTURES.iter().find(|fixture| fixture.name == name);
    found.unwrap_or_else(|| panic!("there is no fixture {name}"))
}

/// What mending does to one file.
#[derive(Clone, Debug, Default)]
pub struct Change {
    /// Its path before, unless it is new.
    pub old: Option<String>,
    /// Its path afterwards, unless it goes.
    pub new: Option<String>,
    /// Its whole text afterwards.
    pub text: String,
    /// The lines that change, with some around them.
    pub hunks: Vec<Vec<Line>>,
}

/// A line of a hunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// It stays.
    Kept(String),
    /// It goes.
    Removed(String),
    /// It comes.
    Added(String),
}

impl Fixture {
    /// What comes before the first hyphen of its name.
    pub fn language(&self) -> &'static str {
        self.name.split('-').next().unwrap_or(self.name)
    }

    fn folder(&self, part: &str) -> PathBuf {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
        fixtures.join(self.name).join(part)
    }

    /// Makes the repository with one commit.
    pub fn create(&self, folder: &Path) {
        lay(&self.folder("repo"), folder);
        git(folder, &["init", "-q", "-b", "main"]);
        git(folder, &["add", "-A"]);
        git(folder, &["commit", "-q", "-m", self.name]);
    }

    /// Mends the files of a repository that [`create`](Self::create) made.
    pub fn mend(&self, folder: &Path) {
        if self.folder("right").is_dir() {
            lay(&self.folder("right"), folder);
        }
        for path in self.gone {
            fs::remove_file(folder.join(path)).expect("the file was there");
        }
    }

    /// What mending changes, as git sees it.
    pub fn changes(&self) -> Vec<Change> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        self.create(folder.path());
        self.mend(folder.path());
        git(folder.path(), &["add", "-A"]);
        let diff = git(folder.path(), &["diff", "--cached", "-M", "--no-color", "HEAD"]);
        let mut changes = read_diff(&diff);
        for change in &mut changes {
            if let Some(path) = &change.new {
                change.text = fs::read_to_string(folder.path().join(path)).expect("a text");
            }
        }
        changes
    }

    /// Runs its tests in a folder, as a person would.
    pub fn test(&self, folder: &Path) -> Result<(), String> {
        let (program, args) = self.test.split_first().expect("a command");
        let output = Command::new(program)
            .args(args)
            .current_dir(folder)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("GOFLAGS", "-buildvcs=false")
            .output()
            .map_err(|error| format!("{program}: {error}"))?;
        if output.status.success() {
            return Ok(());
        }
        let said = [output.stdout, output.stderr].concat();
        Err(String::from_utf8_lossy(&said).into_owned())
    }

    /// Why its tests cannot run here, if they cannot.
    pub fn lacks(&self) -> Option<String> {
        let probe: &[&str] = match self.test {
            ["python3", ..] => &["python3", "-m", "pytest", "--version"],
            ["go", ..] => &["go", "version"],
            ["sh" | "bash", ..] => return None,
            [program, ..] => &[program, "--version"],
            [] => return None,
        };
        let answer = Command::new(probe[0]).args(&probe[1..]).output();
        let works = answer.is_ok_and(|output| output.status.success());
        (!works).then(|| format!("`{}` does not work here", probe.join(" ")))
    }
}

/// Every file with its mode and digest, one a line: equal for equal trees.
pub fn tree(folder: &Path) -> String {
    git(folder, &["add", "-A"]);
    git(folder, &["ls-files", "-s"])
}

/// Copies a folder over another one; modes come along.
fn lay(from: &Path, to: &Path) {
    let entries: io::Result<Vec<_>> = fs::read_dir(from).and_then(Iterator::collect);
    for entry in entries.unwrap_or_else(|error| panic!("{}: {error}", from.display())) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            fs::create_dir_all(&target).expect("writable");
            lay(&entry.path(), &target);
        } else {
            fs::create_dir_all(to).expect("writable");
            let mode = fs::metadata(&target).map(|known| known.permissions());
            fs::copy(entry.path(), &target).expect("copied");
            if let Ok(mode) = mode {
                fs::set_permissions(&target, mode).expect("owned");
            }
        }
    }
}

/// Reads what git wrote.
fn read_diff(diff: &str) -> Vec<Change> {
    let mut changes: Vec<Change> = Vec::new();
    for line in diff.lines() {
        if let Some(paths) = line.strip_prefix("diff --git a/") {
            let (old, new) = paths.split_once(" b/").expect("two paths");
            changes.push(Change {
                old: Some(old.to_owned()),
                new: Some(new.to_owned()),
                ..Change::default()
            });
            continue;
        }
        let change = changes.last_mut().expect("a header comes first");
        if line.starts_with("new file") {
            change.old = None;
        } else if line.starts_with("deleted file") {
            change.new = None;
        } else if line.starts_with("@@ ") {
            change.hunks.push(Vec::new());
        } else if let Some(hunk) = change.hunks.last_mut() {
            let text = line[1..].to_owned();
            hunk.push(match line.as_bytes()[0] {
                b'-' => Line::Removed(text),
                b'+' => Line::Added(text),
                _ => Line::Kept(text),
            });
        }
    }
    changes
}
