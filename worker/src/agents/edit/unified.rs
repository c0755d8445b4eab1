//! Unified diffs, found again by their context: the line numbers are ignored.

use super::{EditOp, Problem, hunk::Hunk, scan};

/// Whether `lines` begin with the header of a diff.
pub(super) fn is_head(lines: &[&str]) -> bool {
    let line = lines.first().copied().unwrap_or("");
    line.starts_with("diff --git ") || is_file_header(lines)
}

fn is_file_header(lines: &[&str]) -> bool {
    matches!(lines, [old, new, ..] if old.starts_with("--- ") && new.starts_with("+++ "))
}

/// Reads every diff of the reply.
pub(super) fn parse(lines: &[&str]) -> (Vec<EditOp>, Vec<Problem>) {
    let (mut ops, mut problems) = (Vec::new(), Vec::new());
    let mut i = 0;
    // the line of the fence that is open
    let mut fence: Option<usize> = None;
    while i < lines.len() {
        if is_file_header(&lines[i..]) {
            let old = side(lines[i]);
            let new = side(lines[i + 1]);
            i = file(lines, i + 2, old, new, &mut ops, &mut problems);
        } else {
            if scan::fence(lines[i]).is_some() {
                fence = if fence.is_some() { None } else { Some(i + 1) };
            }
            if let (Some(from), Some(to)) = (
                lines[i].strip_prefix("rename from "),
                lines.get(i + 1).and_then(|line| line.strip_prefix("rename to ")),
            ) {
                ops.push(EditOp::Move {
                    from: from.trim().to_owned(),
                    to: to.trim().to_owned(),
                });
            }
            i += 1;
        }
    }
    // what came last is not whole, so that it must not wait for a repair of the rest
    if let Some(line) = fence
        && let Some(last) = ops.pop()
    {
        problems.push(Problem {
            path: Some(last.path().to_owned()),
            line,
            reason: "the fence is never closed: the diff is cut".to_owned(),
        });
    }
    (ops, problems)
}

/// The path of a `---` or `+++` line; `None` for `/dev/null`.
fn side(line: &str) -> Option<String> {
    let path = line[4..].split('\t').next().unwrap_or("").trim();
    let path = path.trim_matches('"');
    let inner = path.strip_prefix("a/").or_else(|| path.strip_prefix("b/"));
    (path != "/dev/null").then(|| inner.unwrap_or(path).to_owned())
}

/// Reads the hunks of one file from line `at`; gives the line after them.
fn file(
    lines: &[&str],
    at: usize,
    old: Option<String>,
    new: Option<String>,
    ops: &mut Vec<EditOp>,
    problems: &mut Vec<Problem>,
) -> usize {
    let end = (at..lines.len())
        .find(|i| ends_file(&lines[*i..]))
        .unwrap_or(lines.len());
    let problem = |path: Option<&String>, reason: &str| Problem {
        path: path.cloned(),
        line: at,
        reason: reason.to_owned(),
    };
    match (old, new) {
        (Some(path), None) => ops.push(EditOp::Delete { path }),
        (None, None) => problems.push(problem(None, "the diff names no file")),
        (None, Some(path)) => {
            let text = added(&lines[at..end]);
            ops.push(EditOp::Write { path, text });
        }
        (Some(old), Some(path)) => {
            let before = ops.len() + problems.len();
            // after a rename the file already has its new name
            let target = if ops
                .iter()
                .any(|op| matches!(op, EditOp::Move { to, .. } if *to == path))
            {
                path
            } else {
                old
            };
            hunks(&lines[at..end], at + 1, &target, ops, problems);
            if ops.len() + problems.len() == before {
                problems.push(problem(Some(&target), "the diff changes nothing"));
            }
        }
    }
    end
}

/// A fence, the next file's header or text that is no diff ends a file.
fn ends_file(lines: &[&str]) -> bool {
    let line = lines[0];
    line.starts_with("```") || line.starts_with("~~~") || is_head(lines)
}

fn added(lines: &[&str]) -> String {
    let added: Vec<&str> = lines.iter().filter_map(|line| line.strip_prefix('+')).collect();
    super::join(&added)
}

fn hunks(lines: &[&str], first: usize, path: &str, ops: &mut Vec<EditOp>, problems: &mut Vec<Problem>) {
    let mut open: Option<(Hunk, usize)> = None;
    let mut end = |open: Option<(Hunk, usize)>| {
        if let Some((hunk, line)) = open.filter(|(hunk, _)| hunk.is_change()) {
            match hunk.finish(path, line) {
                Ok(op) => ops.push(op),
                Err(problem) => problems.push(problem),
            }
        }
    };
    for (i, line) in lines.iter().enumerate() {
        if let Some(header) = line.strip_prefix("@@") {
            end(open.take());
            // `@@ -1,2 +1,3 @@ fn f()`: what follows the numbers is the last heading before the hunk
            let heading = header.split_once("@@").map_or("", |(_, heading)| heading);
            open = Some((Hunk::below(heading), first + i));
        } else if let Some((hunk, _)) = &mut open
            && !line.starts_with('\\')
        {
            hunk.line(line);
        }
    }
    end(open);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(reply: &str) -> (Vec<EditOp>, Vec<Problem>) {
        parse(&reply.lines().collect::<Vec<_>>())
    }

    #[test]
    fn changed_new_and_deleted_files_are_read() {
        let reply = "```diff\ndiff --git a/a.c b/a.c\n--- a/a.c\n+++ b/a.c\n@@ -10,3 +10,3 @@ int f(void)\n int x;\n-int y;\n+long y;\n\n@@\n-z\n+zz\n\\ No newline at end of file\n--- /dev/null\n+++ b/n.c\n@@ -0,0 +1 @@\n+new\n--- a/d.c\n+++ /dev/null\n@@ -1 +0,0 @@\n-old\n```\nDone.\n";
        let (ops, problems) = read(reply);
        assert_eq!(problems, []);
        let expected = [
            EditOp::Replace {
                path: "a.c".into(),
                search: "int x;\nint y;\n\n".into(),
                replace: "int x;\nlong y;\n\n".into(),
                anchor: Some("int f(void)".into()),
            },
            EditOp::Replace {
                path: "a.c".into(),
                search: "z\n".into(),
                replace: "zz\n".into(),
                anchor: None,
            },
            EditOp::Write {
                path: "n.c".into(),
                text: "new\n".into(),
            },
            EditOp::Delete { path: "d.c".into() },
        ];
        assert_eq!(ops, expected);
    }

    #[test]
    fn a_diff_whose_fence_is_never_closed_is_cut() {
        let (ops, problems) = read("```diff\n--- a/a.c\n+++ b/a.c\n@@ @@\n-int y;\n+lon");
        assert_eq!((ops.len(), problems.len()), (0, 1));
        let (_, problems) = read("--- a/a.c\n+++ b/a.c\n@@ @@\n-int y;\n+long y;\n");
        assert_eq!(problems, [], "without a fence nothing tells");
    }

    #[test]
    fn a_renamed_file_is_changed_under_its_new_name() {
        let (ops, _) = read(
            "diff --git a/o.c b/n.c\nrename from o.c\nrename to n.c\n--- a/o.c\n+++ b/n.c\n@@ -1 +1 @@\n-a\n+b\n",
        );
        assert!(matches!(&ops[0], EditOp::Move { from, to } if from == "o.c" && to == "n.c"));
        assert_eq!(ops[1].path(), "n.c");
    }
}
