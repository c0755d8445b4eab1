//! Finds a repository's checks by its files. Only names and a few settings are
//! looked at; no command is taken from a repository except by running its own
//! test runner.

mod linters;
mod node;

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::parse::Runner;

/// Test scripts by name, in order of preference.
pub(super) const SCRIPTS: [&str; 8] = [
    "test.sh",
    "tests/run.sh",
    "tests/test.sh",
    "tests/run_tests.sh",
    "test/run.sh",
    "run_tests.sh",
    "run-tests.sh",
    "check.sh",
];

/// How deep test files are looked for.
const MAX_DEPTH: usize = 8;

/// Most folders that are looked into, so that a huge tree costs little.
const MAX_FOLDERS: usize = 5000;

/// Most subfolders that are taken for projects of their own.
const MAX_PROJECTS: usize = 8;

/// One check of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckPlan {
    /// Such as `cargo test`; the same in every step of a job.
    pub name: String,
    /// What to run.
    pub argv: Vec<String>,
    /// What builds it beforehand, so that its time limit is for the tests alone; empty for
    /// what needs no build. Its failure is not reported: the check shows it again.
    pub build: Vec<String>,
    /// Where, below the repository's root.
    pub dir: PathBuf,
    /// How its output is read.
    pub runner: Runner,
    /// Whether a failure only informs.
    pub advisory: bool,
    /// Why it cannot run, known beforehand.
    pub skip: Option<String>,
}

impl CheckPlan {
    fn tests(name: &str, argv: &[&str], dir: &Path, runner: Runner) -> Self {
        Self {
            name: in_folder(name, dir),
            argv: argv.iter().map(|arg| (*arg).to_owned()).collect(),
            build: Vec::new(),
            dir: dir.to_owned(),
            runner,
            advisory: false,
            skip: None,
        }
    }

    fn built_by(mut self, argv: &[&str]) -> Self {
        self.build = argv.iter().map(|arg| (*arg).to_owned()).collect();
        self
    }

    /// A command that the owner of the workflow configured.
    pub fn configured(argv: Vec<String>) -> Self {
        Self {
            name: argv.join(" "),
            argv,
            build: Vec::new(),
            dir: PathBuf::new(),
            runner: Runner::Unknown,
            advisory: false,
            skip: None,
        }
    }
}

fn in_folder(name: &str, dir: &Path) -> String {
    if dir.as_os_str().is_empty() {
        name.to_owned()
    } else {
        format!("{name} ({})", dir.display())
    }
}

/// The checks of a repository; `has_program` says what this worker has.
pub fn detect(root: &Path, has_program: &dyn Fn(&str) -> bool) -> Vec<CheckPlan> {
    let mut plans = runners(root, Path::new(""));
    if plans.is_empty() {
        for dir in subfolders(root).into_iter().take(MAX_PROJECTS) {
            plans.extend(manifests(&root.join(&dir), &dir));
        }
    }
    plans.extend(linters::detect(root, has_program));
    plans
}

/// Runners by manifest; make and scripts only where there is none, as they mostly call them.
fn runners(root: &Path, dir: &Path) -> Vec<CheckPlan> {
    let mut plans = manifests(root, dir);
    if plans.is_empty() {
        plans.extend(make(root, dir).or_else(|| script(root, dir)));
    }
    plans
}

fn manifests(root: &Path, dir: &Path) -> Vec<CheckPlan> {
    let mut plans = Vec::new();
    let has = |name: &str| root.join(name).is_file();
    if has("Cargo.toml") {
        let argv = ["cargo", "test", "--workspace", "--no-fail-fast"];
        let build = ["cargo", "test", "--workspace", "--no-run"];
        plans.push(CheckPlan::tests("cargo test", &argv, dir, Runner::Libtest).built_by(&build));
    }
    if has("go.mod") {
        // compiles and links every test, and runs `true` in its place
        let build = ["go", "test", "-exec", "true", "./..."];
        let argv = ["go", "test", "-v", "./..."];
        plans.push(CheckPlan::tests("go test", &argv, dir, Runner::Go).built_by(&build));
    }
    if has_python_tests(root) {
        let argv = ["python3", "-m", "pytest", "-q", "-rfE", "-p", "no:cacheprovider"];
        plans.push(CheckPlan::tests("pytest", &argv, dir, Runner::Pytest));
    }
    plans.extend(node::detect(root, dir));
    plans
}

fn make(root: &Path, dir: &Path) -> Option<CheckPlan> {
    let makefile = ["GNUmakefile", "makefile", "Makefile"]
        .iter()
        .find_map(|name| read(&root.join(name)))?;
    let target = ["test", "check"].into_iter().find(|target| {
        makefile.lines().any(|line| {
            let targets = line.split_once(':').filter(|(_, rest)| !rest.starts_with('='));
            !line.starts_with(['\t', ' ', '#', '.'])
                && targets.is_some_and(|(names, _)| names.split_whitespace().any(|name| name == *target))
        })
    })?;
    Some(CheckPlan::tests(
        &format!("make {target}"),
        &["make", target],
        dir,
        Runner::Unknown,
    ))
}

fn script(root: &Path, dir: &Path) -> Option<CheckPlan> {
    let name = SCRIPTS.into_iter().find(|name| root.join(name).is_file())?;
    let shell = if first_line(&root.join(name)).contains("bash") {
        "bash"
    } else {
        "sh"
    };
    Some(CheckPlan::tests(name, &[shell, name], dir, Runner::Unknown))
}

/// Python tests are found by `test_*.py` alone.
fn has_python_tests(root: &Path) -> bool {
    any_file(root, &|name| {
        name.starts_with("test_")
            && Path::new(name)
                .extension()
                .is_some_and(|extension| extension == "py")
    })
}

/// Whether a file with such a name exists; links and the folders of tools are not entered.
fn any_file(root: &Path, wanted: &dyn Fn(&str) -> bool) -> bool {
    let mut todo = vec![(root.to_owned(), 0)];
    let mut looked_into = 0;
    while let Some((folder, depth)) = todo.pop() {
        looked_into += 1;
        if looked_into > MAX_FOLDERS {
            return false;
        }
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            match entry.file_type() {
                Ok(kind) if kind.is_file() && wanted(&name) => return true,
                Ok(kind) if kind.is_dir() && depth < MAX_DEPTH && !is_tool_folder(&name) => {
                    todo.push((entry.path(), depth + 1));
                }
                _ => {}
            }
        }
    }
    false
}

fn is_tool_folder(name: &str) -> bool {
    name.starts_with('.')
        || matches!(
            name,
            "node_modules" | "target" | "venv" | "vendor" | "__pycache__" | "site-packages"
        )
}

fn subfolders(root: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(root).into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .filter(|entry| !is_tool_folder(&entry.file_name().to_string_lossy()))
        .map(|entry| PathBuf::from(entry.file_name()))
        .collect();
    folders.sort();
    folders
}

/// A settings file of sane size.
fn read(path: &Path) -> Option<String> {
    let metadata = fs::metadata(path).ok()?;
    (metadata.is_file() && metadata.len() < 1 << 20).then(|| fs::read_to_string(path).ok())?
}

fn first_line(path: &Path) -> String {
    read(path)
        .and_then(|text| text.lines().next().map(str::to_owned))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests;
