//! Files of the work tree as a model reads them.

use super::edit::{repair::fenced, tree::Tree};

/// Where a repository says how it wants to be worked on, best first.
const CONVENTIONS: [&str; 4] = [
    "AGENTS.md",
    "CONTRIBUTING.md",
    ".github/CONTRIBUTING.md",
    "docs/CONTRIBUTING.md",
];
/// Bytes shown of the conventions.
const CONVENTION_BYTES: usize = 6000;

/// The text of a file inside the tree; the error is a sentence.
pub fn text(tree: &Tree, path: &str) -> Result<String, String> {
    let place = tree.readable(path).map_err(|refusal| refusal.0)?;
    let bytes = tree.read(&place).map_err(|refusal| refusal.0)?;
    let bytes = bytes.ok_or_else(|| format!("`{path}` does not exist"))?;
    String::from_utf8(bytes).map_err(|_| format!("`{path}` is not a text file"))
}

/// A file in a fence, whole.
pub fn shown(text: &str) -> String {
    if text.is_empty() {
        "(empty)\n".to_owned()
    } else {
        fenced(text)
    }
}

/// What the repository says about how to work on it.
pub fn conventions(tree: &Tree) -> String {
    let found = CONVENTIONS.iter().find_map(|path| text(tree, path).ok());
    found.map_or_else(String::new, |text| super::context::cut(&text, CONVENTION_BYTES))
}
