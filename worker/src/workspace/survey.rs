//! How large a commit is, what in it stays a pointer, and what in it some program takes as an
//! instruction and this one does not.

use std::collections::BTreeSet;

use protocol::step::{ErrorClass, StepError};

use super::WorkspaceLimits;
use crate::tools::git::{Git, GitError};

/// What programs take as instructions wherever it lies, by what it is; a name with `/` at its end
/// is a folder's.
const INSTRUCTIONS: [(&str, &[&str]); 4] = [
    (
        "settings for agents",
        &[
            ".aider.conf.yml",
            ".claude/",
            ".codex/",
            ".cursor/",
            ".cursorrules",
            ".gemini/",
            ".github/copilot-instructions.md",
            ".windsurf/",
            ".windsurfrules",
            "CLAUDE.md",
            "GEMINI.md",
        ],
    ),
    ("tool servers", &[".mcp.json", "mcp.json"]),
    (
        "hooks",
        &[
            ".githooks/",
            ".hooks/",
            ".husky/",
            ".pre-commit-config.yaml",
            "lefthook.yml",
        ],
    ),
    ("environments", &[".env", ".envrc"]),
];

/// What `.gitattributes` calls programs that change, compare or merge files.
const DRIVERS: [&str; 3] = ["filter=", "diff=", "merge="];

/// The one whose files stay pointers.
const LFS: &str = "lfs";

/// What a commit consists of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Survey {
    files: u64,
    bytes: u64,
    submodules: u64,
    uses_lfs: bool,
    names_drivers: bool,
    /// What is taken as an instruction elsewhere: (which of [`INSTRUCTIONS`], its name there).
    instructions: BTreeSet<(usize, &'static str)>,
    /// Whether it holds repositories as plain files.
    embedded: bool,
}

/// Looks at every file of a commit.
pub(super) async fn of(git: &Git, commit: &str) -> Result<Survey, GitError> {
    let listing = git.bytes(["ls-tree", "-r", "-l", "-z", commit]).await?;
    let mut survey = Survey::read(&listing);
    if let Ok(attributes) = git
        .bytes(["cat-file", "blob", &format!("{commit}:.gitattributes")])
        .await
    {
        survey.read_attributes(&String::from_utf8_lossy(&attributes));
    }
    Ok(survey)
}

impl Survey {
    /// Reads `<mode> <type> <object> <size> TAB <path>` records.
    fn read(listing: &[u8]) -> Self {
        let mut survey = Self::default();
        for record in listing
            .split(|byte| *byte == 0)
            .filter(|record| !record.is_empty())
        {
            let mut parts = record.splitn(2, |byte| *byte == b'\t');
            let meta = String::from_utf8_lossy(parts.next().unwrap_or_default());
            survey.look_at(&String::from_utf8_lossy(parts.next().unwrap_or_default()));
            let mut fields = meta.split_ascii_whitespace();
            if fields.next() == Some("160000") {
                survey.submodules += 1;
            } else {
                survey.files += 1;
                survey.bytes += fields
                    .nth(2)
                    .and_then(|size| size.parse::<u64>().ok())
                    .unwrap_or(0);
            }
        }
        survey
    }

    fn look_at(&mut self, path: &str) {
        for (kind, (_, names)) in INSTRUCTIONS.iter().enumerate() {
            let found = names.iter().filter(|name| is_at(path, name));
            self.instructions.extend(found.map(|name| (kind, *name)));
        }
        self.embedded |= path.ends_with("/objects/info/packs") || path.ends_with("/HEAD");
    }

    fn read_attributes(&mut self, text: &str) {
        let words = text.split_whitespace();
        for value in words.filter_map(|word| DRIVERS.iter().find_map(|driver| word.strip_prefix(driver))) {
            self.uses_lfs |= value == LFS;
            self.names_drivers |= value != LFS;
        }
    }

    /// Whether the commit is within the limits.
    pub(super) fn check(&self, limits: &WorkspaceLimits) -> Result<(), StepError> {
        let (what, value, most) = if self.files > limits.files {
            ("files", self.files, limits.files)
        } else if self.bytes > limits.bytes {
            ("bytes", self.bytes, limits.bytes)
        } else {
            return Ok(());
        };
        Err(StepError::new(
            ErrorClass::Workspace,
            format!("the repository has {value} {what}, more than the {most} that this worker allows"),
        )
        .hint("raise the worker's limit for workspaces"))
    }

    pub(super) fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.files == 0 {
            notes.push("the base commit has no files".to_owned());
        }
        if self.submodules > 0 {
            notes.push(format!(
                "{} submodules are left as pointers: their folders are empty",
                self.submodules
            ));
        }
        if self.uses_lfs {
            notes.push("files of Git LFS are left as pointers: their contents were not fetched".to_owned());
        }
        if self.names_drivers {
            notes.push("filters and drivers that .gitattributes names are ignored".to_owned());
        }
        for (kind, (what, _)) in INSTRUCTIONS.iter().enumerate() {
            let found = self.instructions.iter().filter(|(of, _)| *of == kind);
            let names: Vec<&str> = found.map(|(_, name)| *name).collect();
            if !names.is_empty() {
                notes.push(format!(
                    "{what} in the repository are ignored: {}",
                    names.join(", ")
                ));
            }
        }
        if self.embedded {
            notes.push("repositories inside the repository are plain files here".to_owned());
        }
        notes
    }
}

/// Whether a path is, or lies in, what goes by this name in any folder.
fn is_at(path: &str, name: &str) -> bool {
    path.match_indices(name).any(|(at, _)| {
        let begins = at == 0 || path[..at].ends_with('/');
        begins && (name.ends_with('/') || at + name.len() == path.len())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_an_instruction_elsewhere_is_named() {
        let record = |path: &str| format!("100644 blob aaa 1\t{path}\0");
        let paths = [
            ".claude/settings.json",
            "sub/.cursor/mcp.json",
            ".mcp.json",
            ".husky/pre-commit",
            "my.env",
            "a.claude/x",
            "x/.envrc",
            "embedded/HEAD",
        ];
        let listing: String = paths.iter().map(|path| record(path)).collect();
        let mut survey = Survey::read(listing.as_bytes());
        survey.read_attributes("* filter=evil\n*.bin filter=lfs diff=lfs -text\n");
        assert_eq!(
            survey.notes(),
            [
                "files of Git LFS are left as pointers: their contents were not fetched",
                "filters and drivers that .gitattributes names are ignored",
                "settings for agents in the repository are ignored: .claude/, .cursor/",
                "tool servers in the repository are ignored: .mcp.json, mcp.json",
                "hooks in the repository are ignored: .husky/",
                "environments in the repository are ignored: .envrc",
                "repositories inside the repository are plain files here",
            ]
        );
        let mut plain = Survey::read(record("src/main.rs").as_bytes());
        plain.read_attributes("*.bin filter=lfs diff=lfs merge=lfs -text\n");
        assert_eq!(plain.notes().len(), 1);
    }

    #[test]
    fn files_bytes_and_submodules_are_counted() {
        let listing = b"100644 blob aaa     120\ta\tb.txt\x00160000 commit bbb       -\tsub\x00100755 blob ccc 8\tx\x00";
        let survey = Survey::read(listing);
        assert_eq!((survey.files, survey.bytes, survey.submodules), (2, 128, 1));
        let limits = WorkspaceLimits {
            files: 1,
            ..WorkspaceLimits::default()
        };
        assert!(survey.check(&limits).unwrap_err().message.contains("2 files"));
        assert_eq!(survey.notes().len(), 1);
    }
}
