//! The prompts of the roles: compiled in, replaced or added to by files that
//! the configuration names. A job pins the text that was current at its submit.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

/// Longest prompt in bytes: leaves most of a small model's window to the task.
const MAX_PROMPT: usize = 32 << 10;

const BUILTIN: [(&str, &str); 3] = [
    ("architect", include_str!("../../../configs/prompts/architect.md")),
    ("codegen", include_str!("../../../configs/prompts/codegen.md")),
    ("review", include_str!("../../../configs/prompts/review.md")),
];

/// The prompt of every known role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompts(BTreeMap<String, String>);

/// Why a prompt file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PromptError {
    /// It cannot be read.
    #[error("cannot read the prompt of the role {role} from {}", path.display())]
    Unreadable {
        /// The role.
        role: String,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It holds nothing, or too much.
    #[error("the prompt of the role {role} in {} {why}", path.display())]
    Unusable {
        /// The role.
        role: String,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

impl Prompts {
    /// The built-in ones.
    pub fn builtin() -> Self {
        Self(
            BUILTIN
                .map(|(role, prompt)| (role.to_owned(), prompt.to_owned()))
                .into(),
        )
    }

    /// Takes the prompt of a role from a file (`agents.<role>.prompt` of the
    /// configuration). Blocks; for the start of the process.
    pub fn read(&mut self, role: &str, path: &Path) -> Result<(), PromptError> {
        let text = std::fs::read_to_string(path).map_err(|source| PromptError::Unreadable {
            role: role.to_owned(),
            path: path.to_owned(),
            source,
        })?;
        let why = if text.trim().is_empty() {
            "is empty".to_owned()
        } else if text.len() > MAX_PROMPT {
            format!("has {} bytes, more than {} KiB", text.len(), MAX_PROMPT >> 10)
        } else {
            self.0.insert(role.to_owned(), text);
            return Ok(());
        };
        Err(PromptError::Unusable {
            role: role.to_owned(),
            path: path.to_owned(),
            why,
        })
    }

    /// The prompt of a role.
    pub fn get(&self, role: &str) -> Option<&str> {
        self.0.get(role).map(String::as_str)
    }

    /// The names of all roles.
    pub fn roles(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_builtin_prompts_have_a_usable_size() {
        let prompts = Prompts::builtin();
        assert_eq!(
            prompts.roles().collect::<Vec<_>>(),
            ["architect", "codegen", "review"]
        );
        for role in prompts.roles() {
            let prompt = prompts.get(role).expect("it is listed");
            assert!((100..MAX_PROMPT).contains(&prompt.len()), "{role}");
        }
    }

    #[test]
    fn a_file_replaces_a_prompt_or_adds_a_role() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("mine.md");
        let mut prompts = Prompts::builtin();
        std::fs::write(&path, "Be brief.").expect("written");
        prompts.read("review", &path).expect("usable");
        prompts.read("poet", &path).expect("usable");
        assert_eq!(
            (prompts.get("review"), prompts.get("poet")),
            (Some("Be brief."), Some("Be brief."))
        );

        std::fs::write(&path, " \n").expect("written");
        let error = prompts.read("review", &path).expect_err("empty").to_string();
        assert!(
            error.starts_with("the prompt of the role review in ") && error.ends_with(" is empty"),
            "{error}"
        );
        let error = prompts
            .read("review", &folder.path().join("none.md"))
            .expect_err("no such file");
        assert!(matches!(error, PromptError::Unreadable { .. }));
    }
}
