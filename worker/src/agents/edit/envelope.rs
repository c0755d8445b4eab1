//! The `*** Begin Patch` envelope.

use super::{EditOp, Problem, hunk::Hunk};

/// Reads every envelope of the reply.
pub(super) fn parse(lines: &[&str]) -> (Vec<EditOp>, Vec<Problem>) {
    let mut reader = Reader::default();
    let mut inside = false;
    for (i, line) in lines.iter().enumerate() {
        match (inside, line.trim()) {
            (_, "*** Begin Patch") => inside = true,
            (true, "*** End Patch") => {
                reader.end_section();
                inside = false;
            }
            (true, _) => reader.line(line, i + 1),
            (false, _) => {}
        }
    }
    if inside {
        reader.abandon("the patch is cut: `*** End Patch` is missing");
    }
    (reader.ops, reader.problems)
}

#[derive(Default)]
enum Section {
    #[default]
    None,
    Add {
        path: String,
        text: String,
    },
    Update {
        path: String,
        to: Option<String>,
        hunk: Hunk,
        changes: bool,
    },
}

#[derive(Default)]
struct Reader {
    section: Section,
    /// The line on which the section or hunk began.
    began: usize,
    ops: Vec<EditOp>,
    problems: Vec<Problem>,
}

impl Reader {
    fn line(&mut self, line: &str, number: usize) {
        if let Some(header) = line.trim_end().strip_prefix("*** ") {
            return self.header(header.trim(), number);
        }
        match &mut self.section {
            Section::None if line.trim().is_empty() => {}
            Section::None => self.problem(None, number, "this line belongs to no file of the patch"),
            Section::Add { text, .. } => {
                text.push_str(line.strip_prefix('+').unwrap_or(line));
                text.push('\n');
            }
            Section::Update { hunk, .. } => {
                if let Some(header) = line.strip_prefix("@@") {
                    let next = Hunk::after(header.trim().trim_end_matches("@@"));
                    self.end_hunk(next);
                    self.began = number;
                } else {
                    hunk.line(line);
                }
            }
        }
    }

    fn header(&mut self, header: &str, number: usize) {
        if header == "End of File" {
            return;
        }
        if let (Some(target), Section::Update { to, .. }) =
            (header.strip_prefix("Move to:"), &mut self.section)
        {
            *to = Some(target.trim().to_owned());
            return;
        }
        self.end_section();
        self.began = number;
        let Some((kind, path)) = header.split_once(':') else {
            return self.problem(None, number, "unknown line of a patch");
        };
        let path = path.trim().to_owned();
        match kind {
            "Add File" => {
                self.section = Section::Add {
                    path,
                    text: String::new(),
                }
            }
            "Update File" => {
                self.section = Section::Update {
                    path,
                    to: None,
                    hunk: Hunk::default(),
                    changes: false,
                }
            }
            "Delete File" => self.ops.push(EditOp::Delete { path }),
            _ => self.problem(Some(path), number, "unknown line of a patch"),
        }
    }

    /// Ends the hunk of the present update, if it changes anything.
    fn end_hunk(&mut self, next: Hunk) {
        let Section::Update {
            path, hunk, changes, ..
        } = &mut self.section
        else {
            return;
        };
        let ended = std::mem::replace(hunk, next);
        if ended.is_change() {
            *changes = true;
            match ended.finish(path, self.began) {
                Ok(op) => self.ops.push(op),
                Err(problem) => self.problems.push(problem),
            }
        }
    }

    fn end_section(&mut self) {
        self.end_hunk(Hunk::default());
        match std::mem::take(&mut self.section) {
            Section::None => {}
            Section::Add { path, text } => self.ops.push(EditOp::Write { path, text }),
            Section::Update {
                path, to: Some(to), ..
            } => self.ops.push(EditOp::Move { from: path, to }),
            Section::Update {
                path,
                to: None,
                changes: false,
                ..
            } => self.problem(Some(path), self.began, "the update changes nothing"),
            Section::Update { .. } => {}
        }
    }

    /// Drops what is unfinished.
    fn abandon(&mut self, reason: &str) {
        let path = match std::mem::take(&mut self.section) {
            Section::None => None,
            Section::Add { path, .. } | Section::Update { path, .. } => Some(path),
        };
        self.problem(path, self.began, reason);
    }

    fn problem(&mut self, path: Option<String>, line: usize, reason: &str) {
        self.problems.push(Problem {
            path,
            line,
            reason: reason.to_owned(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(reply: &str) -> (Vec<EditOp>, Vec<Problem>) {
        parse(&reply.lines().collect::<Vec<_>>())
    }

    #[test]
    fn every_kind_of_section_is_read() {
        let reply = "Here:\n```\n*** Begin Patch\n*** Update File: a.py\n@@ def f():\n     x = 1\n-    return x\n+    return x + 1\n*** Add File: b.py\n+b = 1\n+\n*** Delete File: c.py\n*** Update File: d.py\n*** Move to: e.py\n*** End Patch\n```\n";
        let (ops, problems) = read(reply);
        assert_eq!(problems, []);
        let expected = [
            EditOp::Replace {
                path: "a.py".into(),
                search: "    x = 1\n    return x\n".into(),
                replace: "    x = 1\n    return x + 1\n".into(),
                anchor: Some("def f():".into()),
            },
            EditOp::Write {
                path: "b.py".into(),
                text: "b = 1\n\n".into(),
            },
            EditOp::Delete { path: "c.py".into() },
            EditOp::Move {
                from: "d.py".into(),
                to: "e.py".into(),
            },
        ];
        assert_eq!(ops, expected);
    }

    #[test]
    fn lines_that_are_only_added_need_an_anchor() {
        let (ops, problems) =
            read("*** Begin Patch\n*** Update File: a.py\n@@ import os\n+import sys\n*** End Patch\n");
        assert_eq!(problems, []);
        assert!(matches!(&ops[0], EditOp::Replace { search, replace, .. }
            if search == "import os\n" && replace == "import os\nimport sys\n"));
        let (ops, problems) = read("*** Begin Patch\n*** Update File: a.py\n+import sys\n*** End Patch\n");
        assert!(ops.is_empty() && problems.len() == 1);
    }

    #[test]
    fn a_cut_patch_is_a_problem() {
        let (_, problems) = read("*** Begin Patch\n*** Update File: a.py\n-x\n+y\n");
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].path.as_deref(), Some("a.py"));
    }
}
