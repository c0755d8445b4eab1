//! SEARCH/REPLACE blocks. The markers decide, not the fences around them, so
//! that the text may contain fences.

use super::{
    EditOp, Problem, join,
    scan::{self, Directive},
};

/// Reads blocks and `DELETE FILE:` / `MOVE FILE:` lines. A path counts until the next one.
pub(super) fn parse(lines: &[&str]) -> (Vec<EditOp>, Vec<Problem>) {
    let (mut ops, mut problems) = (Vec::new(), Vec::new());
    let mut path: Option<String> = None;
    let mut i = 0;
    while i < lines.len() {
        if let Some((len, label_path)) = head(lines[i]) {
            path = label_path.or(path);
            let block = read_block(lines, i, len);
            match (block.text, &path) {
                (Ok((search, replace)), Some(path)) => ops.push(EditOp::Replace {
                    path: path.clone(),
                    search,
                    replace,
                    anchor: None,
                }),
                (Ok(_), None) => problems.push(problem(
                    None,
                    i,
                    "the block has no path: write the file's path on the line before it",
                )),
                (Err(reason), path) => problems.push(problem(path.clone(), i, reason)),
            }
            i = block.next;
            continue;
        }
        match scan::directive(lines[i]) {
            Some(Directive::Delete(path)) => ops.push(EditOp::Delete { path }),
            Some(Directive::Move(from, to)) => ops.push(EditOp::Move { from, to }),
            None => path = path_of(lines[i]).or(path),
        }
        i += 1;
    }
    (ops, problems)
}

/// Whether a line opens a block.
pub(super) fn is_head(line: &str) -> bool {
    head(line).is_some()
}

/// The number of marker characters of an opening line, and a path if it names one.
fn head(line: &str) -> Option<(usize, Option<String>)> {
    let (len, label) = scan::marker(line, '<')?;
    let (word, rest) = label.split_once(char::is_whitespace).unwrap_or((label, ""));
    let opens = matches!(word.to_ascii_uppercase().as_str(), "" | "SEARCH" | "ORIGINAL");
    opens.then(|| (len, scan::path_in_line(rest)))
}

fn path_of(line: &str) -> Option<String> {
    match scan::fence(line) {
        Some(fence) => scan::path_in_info(fence.info),
        None => scan::path_in_line(line),
    }
}

struct Block {
    text: Result<(String, String), &'static str>,
    next: usize,
}

/// Reads the block whose opening line is at `at`.
fn read_block(lines: &[&str], at: usize, len: usize) -> Block {
    let body = at + 1;
    let mut dividers: Vec<(usize, usize)> = Vec::new();
    for (i, line) in lines.iter().enumerate().skip(body) {
        if let Some((n, "")) = scan::marker(line, '=') {
            dividers.push((i, n));
        } else if is_end(line) {
            let text = match divider(&dividers, len) {
                Ok(middle) => Ok((join(&lines[body..middle]), join(&lines[middle + 1..i]))),
                Err(reason) => Err(reason),
            };
            return Block { text, next: i + 1 };
        } else if is_head(line) {
            let text = Err("the block is not closed by `>>>>>>> REPLACE`");
            return Block { text, next: i };
        }
    }
    Block {
        text: Err("the block is cut: it is not closed by `>>>>>>> REPLACE`"),
        next: lines.len(),
    }
}

fn is_end(line: &str) -> bool {
    scan::marker(line, '>')
        .is_some_and(|(_, label)| matches!(label.to_ascii_uppercase().as_str(), "" | "REPLACE" | "UPDATED"))
}

/// The one divider; of several the only one that is as long as the opening marker.
fn divider(dividers: &[(usize, usize)], len: usize) -> Result<usize, &'static str> {
    match dividers {
        [] => Err("the block has no `=======` line between SEARCH and REPLACE"),
        [(middle, _)] => Ok(*middle),
        several => {
            let mut fitting = several.iter().filter(|(_, n)| *n == len);
            match (fitting.next(), fitting.next()) {
                (Some((middle, _)), None) => Ok(*middle),
                _ => Err(
                    "the block has several `=======` lines: use markers of another length (5 to 9 characters) around such text",
                ),
            }
        }
    }
}

fn problem(path: Option<String>, line: usize, reason: &str) -> Problem {
    Problem {
        path,
        line: line + 1,
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(reply: &str) -> (Vec<EditOp>, Vec<Problem>) {
        parse(&reply.lines().collect::<Vec<_>>())
    }

    fn replace(path: &str, search: &str, replace: &str) -> EditOp {
        EditOp::Replace {
            path: path.into(),
            search: search.into(),
            replace: replace.into(),
            anchor: None,
        }
    }

    #[test]
    fn blocks_are_read_with_the_path_anywhere() {
        let reply = "I fix it.\n\nsrc/a.rs\n```rust\n<<<<<<< SEARCH\na\n=======\nb\n>>>>>>> REPLACE\n<<<<< SEARCH\nc\n=====\n>>>>> REPLACE\n```\n```\n// src/b.rs\n<<<<<<< SEARCH\n=======\nnew\n>>>>>>> REPLACE\n```\n<<<<<<< SEARCH src/c.rs\nx\n=======\ny\n>>>>>>> REPLACE\n";
        let (ops, problems) = read(reply);
        assert_eq!(problems, []);
        let expected = [
            replace("src/a.rs", "a\n", "b\n"),
            replace("src/a.rs", "c\n", ""),
            replace("src/b.rs", "", "new\n"),
            replace("src/c.rs", "x\n", "y\n"),
        ];
        assert_eq!(ops, expected);
    }

    #[test]
    fn text_may_contain_fences_and_rulers_of_another_length() {
        let reply = "a.md\n<<<<<<< SEARCH\nTitle\n=====\n```\nx\n```\n=======\nNew\n=====\n>>>>>>> REPLACE\n";
        let (ops, problems) = read(reply);
        assert_eq!(problems, []);
        assert_eq!(
            ops,
            [replace("a.md", "Title\n=====\n```\nx\n```\n", "New\n=====\n")]
        );
        let unclear = "a.md\n<<<<<<< SEARCH\nTitle\n=======\n=======\nNew\n>>>>>>> REPLACE\n";
        assert_eq!(read(unclear).1.len(), 1);
    }

    #[test]
    fn what_is_cut_or_nameless_is_a_problem() {
        for reply in [
            "a.rs\n<<<<<<< SEARCH\na\n=======\nb\n",
            "a.rs\n<<<<<<< SEARCH\na\n>>>>>>> REPLACE\n",
            "<<<<<<< SEARCH\na\n=======\nb\n>>>>>>> REPLACE\n",
        ] {
            let (ops, problems) = read(reply);
            assert!(ops.is_empty() && problems.len() == 1, "{reply}");
        }
    }
}
