//! The lines that replace a match: what the model repeats stays as the file has
//! it, what is new is re-indented by the matched offset.

use similar::{Algorithm, DiffOp, capture_diff_slices};

use super::find::{self, Match, Rung};

/// A line of the result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// The file's own line, by number.
    Keep(usize),
    /// A new line.
    New(String),
}

/// The pieces that stand in place of the file's lines `found.first..found.end`.
pub(super) fn splice(file: &[&str], search: &[&str], replace: &[&str], found: &Match) -> Vec<Piece> {
    let mut out = Splicer {
        found,
        cursor: found.first,
        pieces: Vec::new(),
    };
    let style = Style::learn(file, search, found);
    let new = |lines: &[&str]| {
        lines
            .iter()
            .map(|line| Piece::New(style.apply(line)))
            .collect::<Vec<_>>()
    };
    for op in capture_diff_slices(Algorithm::Myers, search, replace) {
        match op {
            DiffOp::Equal { old_index, len, .. } => (old_index..old_index + len).for_each(|at| out.keep(at)),
            DiffOp::Delete {
                old_index, old_len, ..
            } => out.drop(old_index, old_len),
            DiffOp::Insert { .. } => out.pieces.extend(new(&replace[op.new_range()])),
            DiffOp::Replace {
                old_index, old_len, ..
            } => {
                out.keep_blank_lines_before(old_index);
                out.drop(old_index, old_len);
                out.pieces.extend(new(&replace[op.new_range()]));
            }
        }
    }
    out.pieces.extend((out.cursor..found.end).map(Piece::Keep));
    out.pieces
}

struct Splicer<'a> {
    found: &'a Match,
    /// The first line of the file that is neither kept nor dropped yet.
    cursor: usize,
    pieces: Vec<Piece>,
}

impl Splicer<'_> {
    fn keep(&mut self, at: usize) {
        if let Some(line) = self.found.pairs[at] {
            self.pieces.extend((self.cursor..=line).map(Piece::Keep));
            self.cursor = line + 1;
        }
    }

    /// Blank lines of the file that the search left out stay before a changed line.
    fn keep_blank_lines_before(&mut self, at: usize) {
        if let Some(line) = self.found.pairs[at] {
            self.pieces.extend((self.cursor..line).map(Piece::Keep));
            self.cursor = line;
        }
    }

    fn drop(&mut self, at: usize, len: usize) {
        let last = self.found.pairs[at..at + len].iter().flatten().max();
        self.cursor = last.map_or(self.cursor, |last| last + 1);
    }
}

/// How the file writes what the model writes otherwise.
struct Style {
    indents: super::indent::Indents,
    /// Typographic characters that the model put where the file has plain ones.
    typographic: Vec<char>,
}

impl Style {
    fn learn(file: &[&str], search: &[&str], found: &Match) -> Self {
        let indents = find::indents(file, search, &found.pairs).unwrap_or_default();
        let mut typographic = Vec::new();
        if found.rung >= Rung::Punctuation {
            let has = |c: char| file[found.first..found.end].iter().any(|line| line.contains(c));
            let odd = |c: &char| find::plain_char(*c).is_some();
            typographic = search.iter().flat_map(|line| line.chars()).filter(odd).collect();
            typographic.retain(|c| !has(*c));
        }
        Self { indents, typographic }
    }

    fn apply(&self, line: &str) -> String {
        let mut line = self.indents.apply(line);
        for c in &self.typographic {
            line = line.replace(*c, find::plain_char(*c).unwrap_or_default());
        }
        line
    }
}
