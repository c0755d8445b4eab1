//! What a single line of a reply can be: a fence, a marker, a path. No file is
//! looked at here.

/// The opening line of a fenced block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fence<'a> {
    mark: char,
    len: usize,
    indent: usize,
    /// What follows the marks, trimmed.
    pub(super) info: &'a str,
}

impl Fence<'_> {
    /// Whether `line` ends the block: the same marks, at least as many, not further right.
    pub(super) fn closed_by(&self, line: &str) -> bool {
        fence(line).is_some_and(|other| self.covers(&other) && other.info.is_empty())
    }

    /// Whether `other` would count as a fence inside this block.
    pub(super) fn covers(&self, other: &Fence<'_>) -> bool {
        other.mark == self.mark && other.len >= self.len && other.indent <= self.indent
    }
}

/// Reads a line as a fence of three or more backticks or tildes.
pub(super) fn fence(line: &str) -> Option<Fence<'_>> {
    let body = line.trim_start();
    let mark = body.chars().next().filter(|c| matches!(c, '`' | '~'))?;
    let info = body.trim_start_matches(mark);
    let len = body.len() - info.len();
    let inline_code = mark == '`' && info.contains('`');
    (len >= 3 && !inline_code).then(|| Fence {
        mark,
        len,
        indent: line.len() - body.len(),
        info: info.trim(),
    })
}

/// Reads a line as a marker of 5 to 9 `mark`s; gives their number and what follows, trimmed.
pub(super) fn marker(line: &str, mark: char) -> Option<(usize, &str)> {
    let body = line.trim();
    let rest = body.trim_start_matches(mark);
    let len = body.len() - rest.len();
    let apart = rest.is_empty() || rest.starts_with(char::is_whitespace);
    ((5..=9).contains(&len) && apart).then(|| (len, rest.trim()))
}

/// An edit that needs no block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Directive {
    /// `DELETE FILE: path`
    Delete(String),
    /// `MOVE FILE: from -> to`
    Move(String, String),
}

/// Reads a line as `DELETE FILE: path` or `MOVE FILE: from -> to`.
pub(super) fn directive(line: &str) -> Option<Directive> {
    let line = line.trim().trim_start_matches("*** ").trim_matches(['*', '`']);
    let after = |words: &str| {
        let head = line.get(..words.len())?;
        head.eq_ignore_ascii_case(words)
            .then(|| line[words.len()..].trim())
    };
    if let Some(path) = after("DELETE FILE:") {
        return path_token(path).map(Directive::Delete);
    }
    let (from, to) = after("MOVE FILE:")?.split_once("->")?;
    Some(Directive::Move(path_token(from)?, path_token(to)?))
}

/// The path in the info of a fence: `rust src/a.rs`, `rust:src/a.rs`, `src/a.rs`, `title="src/a.rs"`.
pub(super) fn path_in_info(info: &str) -> Option<String> {
    let attributes = info.starts_with('{');
    let words = info.split_whitespace();
    // in `{.rust file=a.rs}` the first word is a class
    let mut words = words.skip(usize::from(attributes));
    words.find_map(|token| {
        let token = token.trim_matches(['{', '}', ',']);
        let value = ["title=", "file=", "filename=", "path=", "name="]
            .iter()
            .find_map(|key| token.strip_prefix(key));
        let tail = token.split_once(':').map(|(_, tail)| tail);
        [value, tail, Some(token)]
            .into_iter()
            .flatten()
            .find_map(path_token)
    })
}

/// The path that a line of prose (or a first line inside a fence) consists of:
/// bare, quoted, bold, as a heading, as a list item, as a comment, with a label
/// or a colon; or the one quoted path in a line that ends with a colon.
pub(super) fn path_in_line(line: &str) -> Option<String> {
    let mut rest = strip_comment(line.trim());
    rest = rest
        .trim_start_matches(['#', '*', '-', '+', '>', '_'])
        .trim_start();
    let digits = rest.trim_start_matches(|c: char| c.is_ascii_digit());
    if digits.len() < rest.len() && digits.starts_with(['.', ')']) {
        rest = digits[1..].trim_start();
    }
    let bare = strip_label(rest.trim_matches(['*', '_']).trim());
    let bare = bare.trim_end_matches(':').trim_matches(['*', '_']).trim();
    let bare = bare.split_once(" (").map_or(bare, |(path, _)| path);
    path_token(bare.trim_end_matches(':')).or_else(|| quoted_path(line))
}

/// The same for a comment in the first line of a file, and only that: what the file itself may begin with.
pub(super) fn path_in_comment(line: &str) -> Option<String> {
    let line = line.trim();
    let inside = strip_comment(line);
    (inside.len() < line.len())
        .then(|| path_token(strip_label(inside)))
        .flatten()
}

fn strip_comment(line: &str) -> &str {
    for (open, close) in [("<!--", "-->"), ("/*", "*/"), ("//", ""), ("# ", ""), ("-- ", "")] {
        if let Some(inside) = line.strip_prefix(open) {
            return inside.strip_suffix(close).unwrap_or(inside).trim();
        }
    }
    line
}

fn strip_label(text: &str) -> &str {
    for label in ["file path", "filepath", "filename", "new file", "file", "path"] {
        let tail = text
            .get(..label.len())
            .filter(|head| head.eq_ignore_ascii_case(label));
        if let Some(tail) = tail.and_then(|_| text[label.len()..].trim_start_matches('*').strip_prefix(':')) {
            return tail.trim_start_matches('*').trim();
        }
    }
    text
}

/// The one path in backticks of a line that ends with a colon.
fn quoted_path(line: &str) -> Option<String> {
    let line = line.trim_end().trim_end_matches('*').strip_suffix(':')?;
    let mut quoted = line.split('`').skip(1).step_by(2).filter_map(path_token);
    let path = quoted.next()?;
    quoted.next().is_none().then_some(path)
}

/// A word that can only be a path: it has a slash or an extension, or is a well-known bare name.
/// What is dangerous (`..`, absolute) is still a path: whoever applies it refuses it.
fn path_token(word: &str) -> Option<String> {
    let word = word.trim().trim_matches(['`', '"', '\'']);
    let odd = |c: char| c.is_whitespace() || c.is_control() || "<>|*?\"`:;,={}".contains(c);
    if word.is_empty() || word.len() > 1024 || word.contains(odd) || word.ends_with(['/', '.']) {
        return None;
    }
    let name = word.rsplit('/').next().unwrap_or(word);
    let extension = name.rsplit_once('.').is_some_and(|(_, ext)| {
        ext.len() <= 16
            && ext.chars().any(char::is_alphabetic)
            && ext.chars().all(|c| c.is_alphanumeric() || c == '_')
    });
    let known = matches!(
        name,
        "Makefile"
            | "Dockerfile"
            | "Containerfile"
            | "LICENSE"
            | "README"
            | "Justfile"
            | "justfile"
            | "Gemfile"
            | "Rakefile"
            | "Procfile"
            | "CODEOWNERS"
            | "Vagrantfile"
            | "go.mod"
            | "go.sum"
    );
    let folder = word.contains('/') && name.chars().any(char::is_alphanumeric);
    (extension || known || folder).then(|| word.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fences_of_backticks_and_tildes_close_with_as_many() {
        let open = fence("````rust src/a.rs").expect("a fence");
        assert_eq!(open.info, "rust src/a.rs");
        assert!(open.closed_by("````") && open.closed_by("`````"));
        assert!(!open.closed_by("```") && !open.closed_by("~~~~") && !open.closed_by("  ````"));
        assert!(fence("~~~").is_some());
        assert_eq!(fence("``"), None);
        assert_eq!(fence("```code```"), None);
    }

    #[test]
    fn markers_have_five_to_nine_characters() {
        assert_eq!(marker("<<<<<<< SEARCH", '<'), Some((7, "SEARCH")));
        assert_eq!(marker("=====", '='), Some((5, "")));
        assert_eq!(marker("====", '='), None);
        assert_eq!(marker("==========", '='), None);
        assert_eq!(marker("=====x", '='), None);
    }

    #[test]
    fn paths_are_found_before_in_and_after_the_fence_line() {
        for line in [
            "src/a.rs",
            "`src/a.rs`",
            "**src/a.rs**",
            "**`src/a.rs`**:",
            "### src/a.rs",
            "### `src/a.rs`",
            "1. `src/a.rs`",
            "File: src/a.rs",
            "**File:** `src/a.rs`",
            "// src/a.rs",
            "# src/a.rs",
            "<!-- src/a.rs -->",
            "src/a.rs (new file)",
            "Here is the updated `src/a.rs`:",
        ] {
            assert_eq!(path_in_line(line).as_deref(), Some("src/a.rs"), "{line}");
        }
        for info in [
            "rust src/a.rs",
            "rust:src/a.rs",
            "src/a.rs",
            "rust title=\"src/a.rs\"",
            "{.rust file=src/a.rs}",
        ] {
            assert_eq!(path_in_info(info).as_deref(), Some("src/a.rs"), "{info}");
        }
        for prose in [
            "I change two files.",
            "",
            "rust",
            "...",
            "Done",
            "1.",
            "fn main() {",
            "so I call `a.b` and `c.d`:",
            "---",
        ] {
            assert_eq!(path_in_line(prose), None, "{prose}");
        }
        assert_eq!(path_in_info("rust"), None);
        assert_eq!(
            path_in_line("../../etc/passwd").as_deref(),
            Some("../../etc/passwd")
        );
        assert_eq!(path_in_line("Makefile").as_deref(), Some("Makefile"));
    }

    #[test]
    fn directives_are_read() {
        assert_eq!(
            directive("DELETE FILE: a.rs"),
            Some(Directive::Delete("a.rs".into()))
        );
        assert_eq!(
            directive("Move file: `a.rs` -> b/c.rs"),
            Some(Directive::Move("a.rs".into(), "b/c.rs".into()))
        );
        assert_eq!(directive("delete the file a.rs"), None);
    }
}
