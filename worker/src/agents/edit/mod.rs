//! From a model's words to changed files: parse the reply ([`parse`]), find
//! the one place that each edit means (`find`), apply all of them or none
//! ([`apply`]), and say what was wrong in a way that a model can mend
//! ([`repair`]). Nothing here talks to a model, and nothing here guesses: what
//! is not clear is refused.

pub mod apply;
mod blocks;
mod closest;
mod elision;
mod envelope;
mod find;
mod hunk;
mod indent;
pub mod instructions;
pub mod parse;
pub mod repair;
mod scan;
mod splice;
mod text;
pub mod tree;
mod unified;
mod whole;

#[cfg(test)]
mod tests;

use protocol::documents::{EditKind, EditProtocol};

/// One edit, whatever protocol it came in. Paths are as the model wrote them;
/// texts are whole lines, each with a line feed at its end.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum EditOp {
    /// The whole new text of a file.
    Write {
        /// Where.
        path: String,
        /// All of it.
        text: String,
    },
    /// A part of a file.
    Replace {
        /// Where.
        path: String,
        /// Lines that the file has exactly once; blank: the file must be new or empty.
        search: String,
        /// What stands there afterwards.
        replace: String,
        /// A line that comes before the place, to tell equal places apart.
        anchor: Option<String>,
    },
    /// The file goes.
    Delete {
        /// Where.
        path: String,
    },
    /// The file moves.
    Move {
        /// From where.
        from: String,
        /// To where.
        to: String,
    },
}

impl EditOp {
    /// The path that the edit is about; the old one of a move.
    pub fn path(&self) -> &str {
        match self {
            Self::Write { path, .. } | Self::Replace { path, .. } | Self::Delete { path } => path,
            Self::Move { from, .. } => from,
        }
    }

    /// Its kind, as reports name it.
    pub const fn kind(&self) -> EditKind {
        match self {
            Self::Write { .. } => EditKind::Write,
            Self::Replace { .. } => EditKind::Replace,
            Self::Delete { .. } => EditKind::Delete,
            Self::Move { .. } => EditKind::Move,
        }
    }
}

/// What a reply holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// The protocol in which it was written, which may differ from the one asked for.
    pub protocol: EditProtocol,
    /// The edits, in order.
    pub ops: Vec<EditOp>,
    /// What looked like an edit and could not be read; any problem refuses the reply.
    pub problems: Vec<Problem>,
}

/// Something in a reply that looked like an edit and could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Problem {
    /// The file, if it was named.
    pub path: Option<String>,
    /// The line of the reply, from 1.
    pub line: usize,
    /// What is wrong, as a sentence for the model.
    pub reason: String,
}

/// Lines as one text in which each ends with a line feed.
fn join(lines: &[&str]) -> String {
    let mut text = String::with_capacity(lines.iter().map(|line| line.len() + 1).sum());
    for line in lines {
        text.push_str(line);
        text.push('\n');
    }
    text
}
