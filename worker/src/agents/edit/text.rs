//! A text file as lines, each with its own end: what an edit does not touch
//! keeps its bytes.

use std::collections::HashSet;

use similar::{Algorithm, DiffOp, capture_diff_slices};

use super::splice::Piece;

const BOM: &str = "\u{feff}";

/// How a line ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Lf,
    CrLf,
    /// The last line of a file without a final newline.
    None,
}

/// A file that can be edited as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FileText {
    bom: bool,
    lines: Vec<(String, End)>,
}

impl FileText {
    /// Reads bytes; `None` if they are no text (not UTF-8, or with a NUL).
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes)
            .ok()
            .filter(|text| !text.contains('\0'))?;
        let bom = text.starts_with(BOM);
        let lines = text.trim_start_matches(BOM).split_inclusive('\n').map(|line| {
            let (line, end) = match line.strip_suffix('\n') {
                None => (line, End::None),
                Some(line) => line
                    .strip_suffix('\r')
                    .map_or((line, End::Lf), |line| (line, End::CrLf)),
            };
            (line.to_owned(), end)
        });
        Some(Self {
            bom,
            lines: lines.collect(),
        })
    }

    /// A file that did not exist.
    pub(super) const fn new() -> Self {
        Self {
            bom: false,
            lines: Vec::new(),
        }
    }

    /// The lines without their ends.
    pub(super) fn lines(&self) -> Vec<&str> {
        self.lines.iter().map(|(line, _)| line.as_str()).collect()
    }

    /// Whether there is nothing but white space.
    pub(super) fn is_blank(&self) -> bool {
        self.lines.iter().all(|(line, _)| line.trim().is_empty())
    }

    /// The same file with the lines `first..end` replaced.
    pub(super) fn splice(&self, first: usize, end: usize, pieces: Vec<Piece>) -> Self {
        let usual = self.usual_end();
        let new = pieces.into_iter().map(|piece| match piece {
            Piece::Keep(i) => self.lines[i].clone(),
            Piece::New(line) => (line, usual),
        });
        let mut lines = self.lines[..first].to_vec();
        lines.extend(new);
        lines.extend_from_slice(&self.lines[end..]);
        self.with(lines)
    }

    /// The same file with all its lines replaced; lines that stay keep their ends.
    pub(super) fn rewrite(&self, text: &str) -> Self {
        let new: Vec<&str> = text.trim_start_matches(BOM).lines().collect();
        let mut pieces = Vec::with_capacity(new.len());
        for op in capture_diff_slices(Algorithm::Myers, &self.lines(), &new) {
            if let DiffOp::Equal { old_index, len, .. } = op {
                pieces.extend((old_index..old_index + len).map(Piece::Keep));
            } else {
                let added = new[op.new_range()].iter();
                pieces.extend(added.map(|line| Piece::New((*line).to_owned())));
            }
        }
        self.splice(0, self.lines.len(), pieces)
    }

    /// The bytes of the file.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut text = String::from(if self.bom { BOM } else { "" });
        for (line, end) in &self.lines {
            text.push_str(line);
            text.push_str(match end {
                End::Lf => "\n",
                End::CrLf => "\r\n",
                End::None => "",
            });
        }
        text.into_bytes()
    }

    /// Lines of `text` that this file does not have.
    pub(super) fn unknown<'t>(&self, text: &'t str) -> Vec<&'t str> {
        let known: HashSet<&str> = self.lines.iter().map(|(line, _)| line.trim()).collect();
        text.lines().filter(|line| !known.contains(line.trim())).collect()
    }

    /// Puts lines together so that the file ends as it did before.
    fn with(&self, mut lines: Vec<(String, End)>) -> Self {
        let usual = self.usual_end();
        let bare_end = self.lines.last().is_some_and(|(_, end)| *end == End::None);
        let last = lines.len().saturating_sub(1);
        for (i, (_, end)) in lines.iter_mut().enumerate() {
            if i == last && bare_end {
                *end = End::None;
            } else if *end == End::None {
                *end = usual;
            }
        }
        Self { bom: self.bom, lines }
    }

    /// The end that most lines have.
    fn usual_end(&self) -> End {
        let count = |wanted| self.lines.iter().filter(|(_, end)| *end == wanted).count();
        if count(End::CrLf) > count(End::Lf) {
            End::CrLf
        } else {
            End::Lf
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_survive_a_round_trip() {
        for bytes in ["", "a", "a\n", "a\r\nb\nc", "\u{feff}a\r\n", "\n\n", "a\rb\n"] {
            let text = FileText::read(bytes.as_bytes()).expect("text");
            assert_eq!(text.bytes(), bytes.as_bytes(), "{bytes:?}");
        }
        assert_eq!(FileText::read(b"a\0b"), None);
        assert_eq!(FileText::read(&[0xff, 0xfe]), None);
    }

    #[test]
    fn a_rewritten_file_keeps_bom_line_ends_and_its_last_line() {
        let rewrite = |old: &str, new: &str| {
            let bytes = FileText::read(old.as_bytes()).expect("text").rewrite(new).bytes();
            String::from_utf8(bytes).expect("text")
        };
        assert_eq!(rewrite("\u{feff}a\r\nb\r\n", "a\nc\n"), "\u{feff}a\r\nc\r\n");
        assert_eq!(rewrite("a\nb", "a\nb\nc\n"), "a\nb\nc");
        assert_eq!(rewrite("a\r\nb\nc\r\n", "a\nb\nx\n"), "a\r\nb\nx\r\n");
        assert_eq!(rewrite("", "a\n"), "a\n");
        assert_eq!(rewrite("a\n", ""), "");
    }
}
