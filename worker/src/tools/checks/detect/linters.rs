//! Linters that the repository configures: they inform and never decide. One that is
//! configured but not on this worker is skipped with a note.

use std::path::{Path, PathBuf};

use super::{CheckPlan, read};
use crate::tools::checks::parse::Runner;

struct Linter {
    name: &'static str,
    /// The program that must be here.
    program: &'static str,
    argv: &'static [&'static str],
    configured: fn(&Path) -> bool,
}

const LINTERS: [Linter; 6] = [
    Linter {
        name: "cargo fmt",
        program: "cargo-fmt",
        argv: &["cargo", "fmt", "--check"],
        configured: |root| any(root, &["rustfmt.toml", ".rustfmt.toml"]),
    },
    Linter {
        name: "cargo clippy",
        program: "cargo-clippy",
        argv: &["cargo", "clippy", "--workspace", "--all-targets"],
        configured: |root| {
            any(root, &["clippy.toml", ".clippy.toml"])
                || mentions(root, "Cargo.toml", &["[lints", "[workspace.lints"])
        },
    },
    Linter {
        name: "ruff",
        program: "ruff",
        argv: &["ruff", "check", "--no-cache", "."],
        configured: |root| {
            any(root, &["ruff.toml", ".ruff.toml"]) || mentions(root, "pyproject.toml", &["[tool.ruff"])
        },
    },
    Linter {
        name: "eslint",
        program: "eslint",
        argv: &["eslint", "."],
        configured: |root| {
            any(
                root,
                &[
                    "eslint.config.js",
                    "eslint.config.mjs",
                    "eslint.config.cjs",
                    ".eslintrc.json",
                    ".eslintrc.js",
                    ".eslintrc.yml",
                ],
            )
        },
    },
    Linter {
        name: "golangci-lint",
        program: "golangci-lint",
        argv: &["golangci-lint", "run"],
        configured: |root| any(root, &[".golangci.yml", ".golangci.yaml", ".golangci.toml"]),
    },
    Linter {
        name: "shellcheck",
        program: "shellcheck",
        argv: &["shellcheck"],
        configured: |root| root.join(".shellcheckrc").is_file(),
    },
];

pub(super) fn detect(root: &Path, has_program: &dyn Fn(&str) -> bool) -> Vec<CheckPlan> {
    let configured = LINTERS.iter().filter(|linter| (linter.configured)(root));
    configured.map(|linter| linter.plan(root, has_program)).collect()
}

impl Linter {
    fn plan(&self, root: &Path, has_program: &dyn Fn(&str) -> bool) -> CheckPlan {
        let mut argv: Vec<String> = self.argv.iter().map(|arg| (*arg).to_owned()).collect();
        // eslint is the repository's own where its dependencies were fetched
        let local = Path::new("node_modules/.bin").join(self.program);
        let is_local = root.join(&local).is_file();
        if is_local {
            argv[0] = format!("./{}", local.display());
        }
        if self.name == "shellcheck" {
            argv.extend(shell_scripts(root));
        }
        let here = is_local || has_program(self.program);
        CheckPlan {
            name: self.name.to_owned(),
            argv,
            build: Vec::new(),
            dir: PathBuf::new(),
            runner: Runner::Unknown,
            advisory: true,
            skip: (!here).then(|| format!("{} is configured but not on this worker", self.program)),
        }
    }
}

fn any(root: &Path, names: &[&str]) -> bool {
    names.iter().any(|name| root.join(name).is_file())
}

fn mentions(root: &Path, file: &str, words: &[&str]) -> bool {
    read(&root.join(file)).is_some_and(|text| words.iter().any(|word| text.contains(word)))
}

/// The scripts at the root and in `scripts`.
fn shell_scripts(root: &Path) -> Vec<String> {
    let mut scripts = Vec::new();
    for folder in ["", "scripts"] {
        for entry in std::fs::read_dir(root.join(folder))
            .into_iter()
            .flatten()
            .flatten()
        {
            let name = entry.file_name().to_string_lossy().into_owned();
            if Path::new(&name)
                .extension()
                .is_some_and(|extension| extension == "sh")
            {
                scripts.push(format!("./{}", Path::new(folder).join(name).display()));
            }
        }
    }
    scripts.sort();
    scripts
}
