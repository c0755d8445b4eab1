//! What is looked for, made ready for one pass over a text.

use std::{collections::HashMap, ops::Range};

use aho_corasick::{AhoCorasick, AhoCorasickKind};

use super::{
    forms::forms,
    own::{Shape, shapes},
};

/// Bytes of a form that are looked for everywhere; what follows is compared where they are found.
const ANCHOR: usize = 16;
/// A piece of a form at the edge of a line counts from this length on: programs break long lines.
const GRAM: usize = 8;
/// Forms that are shorter are not broken by anybody.
const BREAKABLE: usize = 2 * GRAM;
/// Bytes of patterns up to which the automaton is a table: of some 8 MiB then.
const TABLE: usize = 32 << 10;

/// The secrets in all their forms.
pub(super) struct Needles {
    automaton: AhoCorasick,
    /// What each pattern of the automaton begins.
    beginnings: Vec<Beginning>,
    forms: Vec<Vec<u8>>,
    /// Each run of [`GRAM`] bytes of a form: (bytes, form, where), in order.
    grams: Vec<([u8; GRAM], u32, u32)>,
}

enum Beginning {
    /// Of these forms.
    Forms(Vec<u32>),
    /// Of a credential of our own.
    Own(Shape),
}

impl Needles {
    /// Everything for these secrets.
    pub(super) fn new(secrets: &[String]) -> Self {
        let mut all: Vec<Vec<u8>> = secrets.iter().flat_map(|secret| forms(secret)).collect();
        all.sort_unstable();
        all.dedup();
        let mut patterns: Vec<Vec<u8>> = vec![];
        let mut beginnings = vec![];
        let mut known: HashMap<Vec<u8>, usize> = HashMap::new();
        let mut grams = vec![];
        for (number, form) in all.iter().enumerate() {
            let number = number as u32;
            let anchor = &form[..form.len().min(ANCHOR)];
            match known.get(anchor) {
                Some(at) => {
                    if let Beginning::Forms(forms) = &mut beginnings[*at] {
                        forms.push(number);
                    }
                }
                None => {
                    known.insert(anchor.to_vec(), patterns.len());
                    patterns.push(anchor.to_vec());
                    beginnings.push(Beginning::Forms(vec![number]));
                }
            }
            if form.len() >= BREAKABLE {
                let runs = form.windows(GRAM).enumerate();
                grams.extend(runs.filter_map(|(at, run)| Some((run.try_into().ok()?, number, at as u32))));
            }
        }
        for shape in shapes() {
            patterns.push(shape.start.clone());
            beginnings.push(Beginning::Own(shape));
        }
        grams.sort_unstable();
        Self {
            automaton: automaton(&patterns),
            beginnings,
            forms: all,
            grams,
        }
    }

    /// Where secrets are, in order and without overlap. `edges` are the places where a line
    /// may begin; lines end at line ends and at the end of the text.
    pub(super) fn find(&self, text: &[u8]) -> Vec<Range<usize>> {
        let mut found: Vec<Range<usize>> = vec![];
        for hit in self.automaton.find_overlapping_iter(text) {
            let end = match &self.beginnings[hit.pattern().as_usize()] {
                Beginning::Forms(forms) => forms
                    .iter()
                    .map(|form| hit.start() + common(&self.forms[*form as usize], &text[hit.start()..]))
                    .max(),
                Beginning::Own(shape) => shape.end(text, hit.end()),
            };
            found.extend(end.map(|end| hit.start()..end));
        }
        if !self.grams.is_empty() {
            self.find_at_edges(text, &mut found);
        }
        merged(found)
    }

    /// Pieces of forms that a line break has cut.
    fn find_at_edges(&self, text: &[u8], found: &mut Vec<Range<usize>>) {
        let mut start = 0;
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            let end = start + line.trim_ascii_end().len();
            let first = start + line.len() - line.trim_ascii_start().len();
            found.extend(self.piece_from(text, first, end));
            // behind the time and the stream of a line of a log
            if let Some(behind) = behind_head(&text[first..end.max(first)]) {
                found.extend(self.piece_from(text, first + behind, end));
            }
            found.extend(self.piece_to(text, first, end));
            start += line.len();
        }
    }

    /// The longest piece of a form that begins at `from`.
    fn piece_from(&self, text: &[u8], from: usize, end: usize) -> Option<Range<usize>> {
        let line = text.get(from..end)?;
        let lengths = self
            .runs(line.get(..GRAM)?)
            .map(|(form, at)| common(&form[at..], line));
        lengths.max().map(|length| from..from + length)
    }

    /// The longest piece of a form that ends at `end`.
    fn piece_to(&self, text: &[u8], from: usize, end: usize) -> Option<Range<usize>> {
        let line = text.get(from..end)?;
        let run = line.get(line.len().checked_sub(GRAM)?..)?;
        let lengths = self.runs(run).map(|(form, at)| {
            let before = form[..at + GRAM].iter().rev();
            before.zip(line.iter().rev()).take_while(|(a, b)| a == b).count()
        });
        lengths.max().map(|length| end - length..end)
    }

    /// The forms with this run, and where in them it is.
    fn runs(&self, run: &[u8]) -> impl Iterator<Item = (&[u8], usize)> {
        let first = self.grams.partition_point(|(gram, _, _)| gram.as_slice() < run);
        self.grams[first..]
            .iter()
            .take_while(move |(gram, _, _)| gram.as_slice() == run)
            .map(|(_, form, at)| (self.forms[*form as usize].as_slice(), *at as usize))
    }
}

/// A table is the fastest, where it is small enough.
fn automaton(patterns: &[Vec<u8>]) -> AhoCorasick {
    let bytes: usize = patterns.iter().map(Vec::len).sum();
    let kind = (bytes <= TABLE).then_some(AhoCorasickKind::DFA);
    let built = AhoCorasick::builder().kind(kind).build(patterns);
    built.expect("short patterns make an automaton")
}

/// How many bytes both begin with.
fn common(form: &[u8], text: &[u8]) -> usize {
    form.iter().zip(text).take_while(|(a, b)| a == b).count()
}

/// Where the text of a line of a log begins: behind time and stream.
fn behind_head(line: &[u8]) -> Option<usize> {
    if !line.first()?.is_ascii_digit() {
        return None;
    }
    let mut spaces = line.iter().enumerate().filter(|(_, byte)| **byte == b' ');
    spaces.nth(1).map(|(at, _)| at + 1)
}

fn merged(mut found: Vec<Range<usize>>) -> Vec<Range<usize>> {
    found.sort_unstable_by_key(|range| (range.start, range.end));
    let mut merged: Vec<Range<usize>> = Vec::with_capacity(found.len());
    for range in found {
        match merged.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    merged
}
