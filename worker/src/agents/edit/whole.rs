//! Whole files: a path, then the file in a fence.

use super::{
    EditOp, Problem, join,
    scan::{self, Directive, Fence},
};

/// Reads files, `DELETE FILE:` and `MOVE FILE:` lines. Fences without a path are
/// prose, unless nothing else is there.
pub(super) fn parse(lines: &[&str]) -> (Vec<EditOp>, Vec<Problem>) {
    let mut reader = Reader::default();
    let mut before: Option<String> = None;
    let mut i = 0;
    while i < lines.len() {
        let line = lines[i];
        if let Some(fence) = scan::fence(line) {
            i = reader.block(lines, i, fence, before.take());
            continue;
        }
        i += 1;
        match scan::directive(line) {
            Some(Directive::Delete(path)) => reader.ops.push(EditOp::Delete { path }),
            Some(Directive::Move(from, to)) => reader.ops.push(EditOp::Move { from, to }),
            None if line.trim().is_empty() => {}
            None => before = scan::path_in_line(line),
        }
    }
    if let (Some(line), true) = (reader.nameless, reader.ops.is_empty()) {
        reader.problem(
            None,
            line,
            "a fenced block has no path: write the file's path on the line before the fence",
        );
    }
    (reader.ops, reader.problems)
}

#[derive(Default)]
struct Reader {
    ops: Vec<EditOp>,
    problems: Vec<Problem>,
    /// The line of the first fence without a path.
    nameless: Option<usize>,
    /// The last file, if it is of a kind that often contains fences.
    nesting: Option<(String, usize)>,
}

impl Reader {
    /// Reads the block that opens at line `at`; gives the line after it.
    fn block(&mut self, lines: &[&str], at: usize, fence: Fence<'_>, before: Option<String>) -> usize {
        let first = lines.get(at + 1).copied().unwrap_or("");
        let named = scan::path_in_info(fence.info).or(before);
        let mut start = at + 1;
        let path = if let Some(path) = named {
            start += usize::from(first.trim() == path);
            Some(path)
        } else {
            let inside = bare_path(first).or_else(|| scan::path_in_comment(first));
            start += usize::from(inside.is_some());
            inside
        };
        let end = end_of_block(lines, start, &fence, path.as_deref().is_some_and(may_nest));
        match (path, end) {
            (Some(path), End::Closed(end)) => {
                self.nesting = may_nest(&path).then(|| (path.clone(), at + 1));
                self.write(path, join(&lines[start..end]));
                end + 1
            }
            (Some(path), End::Nested(line)) => {
                let reason = "another fence opens before this one is closed: close it, or put a longer fence (````) around a file that contains fences";
                self.problem(Some(path), at + 1, reason);
                // the line before it may be the next file's path
                (line - 1).max(at + 1)
            }
            (Some(path), End::Missing) => {
                self.problem(Some(path), at + 1, "the fence is never closed: the file is cut");
                lines.len()
            }
            (None, end) => {
                self.nameless.get_or_insert(at + 1);
                if let Some((path, line)) = self.nesting.take() {
                    let reason = "it is not clear where the file ends: put a longer fence (````) around a file that contains fences";
                    self.problem(Some(path), line, reason);
                }
                match end {
                    End::Closed(end) => end + 1,
                    End::Nested(line) => line,
                    End::Missing => lines.len(),
                }
            }
        }
    }

    /// A file that is written twice counts as its last text.
    fn write(&mut self, path: String, text: String) {
        self.ops
            .retain(|op| !matches!(op, EditOp::Write { path: earlier, .. } if *earlier == path));
        self.ops.push(EditOp::Write { path, text });
    }

    fn problem(&mut self, path: Option<String>, line: usize, reason: &str) {
        self.problems.push(Problem {
            path,
            line,
            reason: reason.to_owned(),
        });
    }
}

enum End {
    /// The line of the closing fence.
    Closed(usize),
    /// The line of an opening fence that comes first.
    Nested(usize),
    /// The reply ends first.
    Missing,
}

fn end_of_block(lines: &[&str], start: usize, fence: &Fence<'_>, nests: bool) -> End {
    let mut depth = 0;
    for (i, line) in lines.iter().enumerate().skip(start) {
        let Some(inner) = scan::fence(line).filter(|inner| fence.covers(inner)) else {
            continue;
        };
        match (inner.info.is_empty(), depth) {
            (true, 0) => return End::Closed(i),
            (true, _) => depth -= 1,
            (false, _) if nests && scan::path_in_info(inner.info).is_none() => depth += 1,
            (false, _) => return End::Nested(i),
        }
    }
    End::Missing
}

/// Documents often contain fences of their own.
fn may_nest(path: &str) -> bool {
    let extension = path.rsplit_once('.').map_or("", |(_, extension)| extension);
    matches!(
        extension,
        "md" | "mdx" | "markdown" | "rst" | "qmd" | "txt" | "adoc"
    )
}

/// A first line that is nothing but a path with a folder in it.
fn bare_path(line: &str) -> Option<String> {
    let line = line.trim();
    scan::path_in_line(line).filter(|path| path == line && path.contains('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(reply: &str) -> (Vec<EditOp>, Vec<Problem>) {
        parse(&reply.lines().collect::<Vec<_>>())
    }

    fn write(path: &str, text: &str) -> EditOp {
        EditOp::Write {
            path: path.into(),
            text: text.into(),
        }
    }

    #[test]
    fn files_come_with_their_path_before_in_or_after_the_fence_line() {
        let reply = "Sure!\n\nsrc/a.rs\n```rust\nfn a() {}\n```\n\n```python src/b.py\nb = 1\n```\n~~~\n// src/c.js\nc();\n~~~\nrun it:\n```sh\nmake\n```\nDELETE FILE: old.rs\n";
        let (ops, problems) = read(reply);
        assert_eq!(problems, []);
        let delete = EditOp::Delete {
            path: "old.rs".into(),
        };
        let expected = [
            write("src/a.rs", "fn a() {}\n"),
            write("src/b.py", "b = 1\n"),
            write("src/c.js", "c();\n"),
            delete,
        ];
        assert_eq!(ops, expected);
    }

    #[test]
    fn a_document_may_contain_fences() {
        let reply = "README.md\n```markdown\n# A\n```sh\nmake\n```\nend\n```\n";
        let (ops, problems) = read(reply);
        assert_eq!(
            (ops, problems),
            (vec![write("README.md", "# A\n```sh\nmake\n```\nend\n")], vec![])
        );
        let unclear = "README.md\n```markdown\n# A\n```\nmake\n```\nend\n```\n";
        assert_eq!(read(unclear).1.len(), 1);
        let longer = "README.md\n````markdown\n# A\n```\nmake\n```\nend\n````\n";
        assert_eq!(read(longer).0, [write("README.md", "# A\n```\nmake\n```\nend\n")]);
    }

    #[test]
    fn what_is_cut_or_nameless_is_a_problem() {
        let (ops, problems) = read("src/a.rs\n```rust\nfn a() {\n");
        assert!(ops.is_empty() && problems[0].path.as_deref() == Some("src/a.rs"));
        let (_, problems) = read("src/a.rs\n```rust\nfn a() {}\nsrc/b.rs\n```rust\nfn b() {}\n```\n");
        assert_eq!(problems.len(), 1, "{problems:?}");
        let (ops, problems) = read("```rust\nfn a() {}\n```\n");
        assert!(ops.is_empty() && problems.len() == 1);
    }

    #[test]
    fn the_last_version_of_a_file_counts() {
        let (ops, _) = read("a.py\n```\nx = 1\n```\nBetter:\n\na.py\n```\nx = 2\n```\n");
        assert_eq!(ops, [write("a.py", "x = 2\n")]);
    }
}
