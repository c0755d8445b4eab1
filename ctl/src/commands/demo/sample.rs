//! The sample that the demonstration works on: a small crate with a failing
//! test, and the conversation that plays the model where there is none.

use std::{fs, io, path::Path};

use serde_json::json;

use crate::{error::CliError, repo::git::Git};

/// What the demonstration asks for.
pub(super) const TASK: &str = "Make the failing test pass: punctuation leaves one dash between words, and none at the ends. \
     Do not change the tests.";

/// The name of the sample's folder.
pub(super) const NAME: &str = "slug";

const FILES: [(&str, &str); 6] = [
    (".gitignore", include_str!("../../../demo/slug/gitignore")),
    ("Cargo.toml", include_str!("../../../demo/slug/Cargo.toml")),
    ("Cargo.lock", include_str!("../../../demo/slug/Cargo.lock")),
    ("README.md", include_str!("../../../demo/slug/README.md")),
    ("src/lib.rs", include_str!("../../../demo/slug/src/lib.rs")),
    ("tests/slug.rs", include_str!("../../../demo/slug/tests/slug.rs")),
];

/// Step, a text that the request must contain, and the reply. The first edit is not
/// quite right, as a model's often is: the check says so, and the second round mends it.
const CONVERSATION: [(&str, &str, &str); 4] = [
    (
        "plan",
        "punctuation leaves one dash",
        include_str!("../../../demo/replies/plan.json"),
    ),
    (
        "cycle#1/edit",
        "slug.push('-');",
        include_str!("../../../demo/replies/edit-1.txt"),
    ),
    (
        "cycle#2/edit",
        "hello-world-again-",
        include_str!("../../../demo/replies/edit-2.txt"),
    ),
    (
        "cycle#2/review",
        "trim_end_matches",
        include_str!("../../../demo/replies/review.json"),
    ),
];

/// Writes the crate and makes it a repository with one commit.
pub(super) async fn write(folder: &Path) -> Result<(), CliError> {
    for (name, text) in FILES {
        let path = folder.join(name);
        let write = || -> io::Result<()> {
            fs::create_dir_all(path.parent().unwrap_or(folder))?;
            fs::write(&path, text)
        };
        write().map_err(|error| CliError::file(&path, "write", &error))?;
    }
    let git = ["AUTHOR", "COMMITTER"].iter().fold(Git::at(folder), |git, who| {
        git.with(&format!("GIT_{who}_NAME"), "agentd demo")
            .with(&format!("GIT_{who}_EMAIL"), "agentd@localhost")
    });
    git.run(&["init", "--quiet", "--template=", "--initial-branch=main", "."])
        .await?;
    git.run(&["add", "--all"]).await?;
    git.run(&["commit", "--quiet", "-m", "A slug, and a test that fails"])
        .await?;
    Ok(())
}

/// The conversation as a recording that the provider `replay` reads.
pub(super) fn recording() -> String {
    let lines = CONVERSATION.iter().map(|(step, expected, reply)| {
        let line = json!({"step": step, "call": 1, "expect": [expected], "reply": reply});
        format!("{line}\n")
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_scripted_edit_fits_once_on_top_of_the_last() {
        let source = FILES.iter().find(|(name, _)| *name == "src/lib.rs");
        let mut source = source.expect("there").1.to_owned();
        let edits = CONVERSATION.iter().filter(|(step, ..)| step.ends_with("/edit"));
        for (step, _, edit) in edits {
            let block = edit.split_once("<<<<<<< SEARCH\n").expect("a block").1;
            let (search, replace) = block.split_once("=======\n").expect("two halves");
            let replace = replace.trim_end_matches(">>>>>>> REPLACE\n");
            assert_eq!(source.matches(search).count(), 1, "{step}");
            source = source.replace(search, replace);
        }
        assert!(source.contains("trim_end_matches"));
    }

    #[tokio::test]
    async fn the_sample_is_a_clean_repository() {
        let folder = tempfile::tempdir().expect("a folder");
        write(folder.path()).await.expect("written");
        let status = Git::at(folder.path())
            .run(&["status", "--porcelain"])
            .await
            .expect("status");
        assert!(status.is_empty());
        assert_eq!(recording().lines().count(), CONVERSATION.len());
    }
}
