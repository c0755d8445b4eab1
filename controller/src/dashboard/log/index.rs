//! Where the lines of a log begin, and where its commands do. Pure.

use serde::Serialize;

/// Lines between two remembered places.
const EVERY: usize = 256;
/// Commands that are remembered.
const HEADS: usize = 2000;

/// The start of a command's output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Head {
    /// The line, counted from 0.
    pub(super) line: usize,
}

/// Grows with the log; knows whole lines only.
#[derive(Clone, Debug, Default)]
pub(super) struct LineIndex {
    /// The byte at which every 256th line begins.
    places: Vec<u64>,
    lines: usize,
    end: u64,
    heads: Vec<Head>,
}

impl LineIndex {
    /// The byte from which on it wants to read.
    pub(super) const fn read_to(&self) -> u64 {
        self.end
    }

    /// Whole lines so far.
    pub(super) const fn lines(&self) -> usize {
        self.lines
    }

    /// Where commands begin.
    pub(super) fn heads(&self) -> &[Head] {
        &self.heads
    }

    /// Takes the bytes from [`Self::read_to`] on; false if no whole line was among them.
    pub(super) fn extend(&mut self, bytes: &[u8]) -> bool {
        let before = self.lines;
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            if line.last() != Some(&b'\n') {
                break;
            }
            if self.lines.is_multiple_of(EVERY) {
                self.places.push(self.end);
            }
            if is_head(line) && self.heads.len() < HEADS {
                self.heads.push(Head { line: self.lines });
            }
            self.lines += 1;
            self.end += line.len() as u64;
        }
        self.lines > before
    }

    /// The bytes that hold `count` lines from `from` on, and how many lines are before them in there.
    pub(super) fn range(&self, from: usize, count: usize) -> (u64, u64, usize) {
        let from = from.min(self.lines);
        let start = self.places.get(from / EVERY).copied().unwrap_or(self.end);
        let after = (from + count).div_ceil(EVERY);
        let end = self.places.get(after).copied().unwrap_or(self.end);
        (start, end.max(start), from % EVERY)
    }
}

/// `TIME info $ COMMAND`.
fn is_head(line: &[u8]) -> bool {
    let mut parts = line.splitn(3, |byte| *byte == b' ');
    parts.nth(1) == Some(b"info") && parts.next().is_some_and(|text| text.starts_with(b"$ "))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn commands_begin_where_we_said_so_and_not_where_a_program_says_it() {
        let mut index = LineIndex::default();
        assert!(index.extend(b"t out $ fake\nt info $ make\nt info done\nt info $ cut"));
        assert_eq!(index.heads(), [Head { line: 1 }]);
        assert_eq!(index.lines(), 3);
        assert!(!index.extend(b"t info $ cut"), "no whole line");
    }

    proptest! {
        #[test]
        fn any_lines_are_found_again(lengths in prop::collection::vec(0usize..40, 0..1200), cut in 1usize..200, from in 0usize..1300, count in 0usize..600) {
            let lines: Vec<String> = lengths.iter().enumerate().map(|(number, length)| format!("{number} {}", "x".repeat(*length))).collect();
            let log = lines.iter().fold(String::new(), |log, line| log + line + "\n");
            let mut index = LineIndex::default();
            // bytes come in pieces, and each time from where the last whole line ended
            let mut size = cut;
            while (index.read_to() as usize) < log.len() {
                let start = index.read_to() as usize;
                let end = (start + size).min(log.len());
                size = if index.extend(&log.as_bytes()[start..end]) { cut } else { size + cut };
            }
            prop_assert_eq!(index.lines(), lines.len());
            let (start, end, skip) = index.range(from, count);
            let found: Vec<&str> = log[start as usize..end as usize].lines().skip(skip).take(count).collect();
            let wanted: Vec<&str> = lines.iter().skip(from).take(count).map(String::as_str).collect();
            prop_assert_eq!(found, wanted);
        }
    }
}
