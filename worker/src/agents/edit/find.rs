//! Finds the one place that a search text means. Each rung of the ladder is
//! looser than the one before and counts only with exactly one hit; two hits
//! end the search, because a looser look cannot make them one.

use super::{closest, indent::Indents};

/// The rungs of the ladder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rung {
    /// Every character.
    Exact,
    /// But for white space at the end of lines.
    TrailingSpace,
    /// But for a consistent difference of indentation.
    Indentation,
    /// But for typographic quotes, dashes and spaces.
    Punctuation,
    /// But for blank lines.
    BlankLines,
    /// Very nearly, and nothing else comes near.
    Similar,
}

impl Rung {
    /// The name in reports.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::TrailingSpace => "trailing_space",
            Self::Indentation => "indentation",
            Self::Punctuation => "punctuation",
            Self::BlankLines => "blank_lines",
            Self::Similar => "similar",
        }
    }
}

/// The place that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Match {
    /// First line in the file, from 0.
    pub(super) first: usize,
    /// The line after the last one.
    pub(super) end: usize,
    /// For each line of the search the file's line; `None` for a blank line that the file lacks.
    pub(super) pairs: Vec<Option<usize>>,
    /// How it was found.
    pub(super) rung: Rung,
}

/// More pairs of lines are not compared: it would take seconds.
const MOST_PAIRS: usize = 50_000_000;

/// The answer of [`find`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Exactly one place.
    One(Match),
    /// Several places: their first lines, from 0.
    Many(Vec<usize>),
    /// No place.
    Nowhere,
}

/// Finds `search` in `file` by the exact rungs. Of several equal places the only
/// one below the only line that starts with `anchor` counts.
pub(super) fn find(file: &[&str], search: &[&str], anchor: Option<&str>) -> Found {
    let rungs = [
        Rung::Exact,
        Rung::TrailingSpace,
        Rung::Indentation,
        Rung::Punctuation,
    ];
    let too_much = file.len().saturating_mul(search.len()) > MOST_PAIRS;
    if too_much || search.iter().all(|line| line.trim().is_empty()) {
        return Found::Nowhere;
    }
    let whole = rungs.into_iter().map(|rung| windows(file, search, rung));
    let loose = std::iter::once_with(|| without_blank_lines(file, search));
    for hits in whole.chain(loose) {
        match hits.len() {
            0 => {}
            1 => return hits.into_iter().next().map_or(Found::Nowhere, Found::One),
            _ => return below(file, hits, anchor),
        }
    }
    Found::Nowhere
}

/// The strict fuzzy rung, for what [`find`] did not find.
pub(super) fn find_similar(file: &[&str], search: &[&str]) -> Option<Match> {
    let (lines, wanted) = (solid(file), solid(search));
    let start = closest::strict(file, search, &lines, &wanted)?;
    let matched = pair_up(
        file,
        search,
        &lines[start..start + wanted.len()],
        &wanted,
        Rung::Similar,
    );
    indents(file, search, &matched.pairs).map(|_| matched)
}

/// What the model's indentation means in the file, learned from a match.
pub(super) fn indents(file: &[&str], search: &[&str], pairs: &[Option<usize>]) -> Option<Indents> {
    let solid = search
        .iter()
        .zip(pairs)
        .filter(|(line, _)| !line.trim().is_empty());
    Indents::learn(solid.filter_map(|(line, pair)| pair.map(|i| (*line, file[i]))))
}

/// A line without typographic punctuation and outer white space.
pub(super) fn plain(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    for c in line.trim().chars() {
        match plain_char(c) {
            Some(plain) => text.push_str(plain),
            None => text.push(c),
        }
    }
    text
}

/// What a typographic character stands for.
pub(super) const fn plain_char(c: char) -> Option<&'static str> {
    Some(match c {
        '\u{2018}' | '\u{2019}' | '\u{201a}' | '\u{201b}' => "'",
        '\u{201c}' | '\u{201d}' | '\u{201e}' | '\u{201f}' => "\"",
        '\u{2010}'..='\u{2015}' | '\u{2212}' => "-",
        '\u{a0}' | '\u{2002}'..='\u{200a}' | '\u{202f}' | '\u{3000}' => " ",
        '\u{2026}' => "...",
        _ => return None,
    })
}

/// Numbers of the lines that are not blank.
fn solid(lines: &[&str]) -> Vec<usize> {
    let solid = lines
        .iter()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty());
    solid.map(|(i, _)| i).collect()
}

/// Every place where all lines are alike as far as `rung` looks.
fn windows(file: &[&str], search: &[&str], rung: Rung) -> Vec<Match> {
    let key = |line: &str| match rung {
        Rung::Exact => line.to_owned(),
        Rung::TrailingSpace => line.trim_end().to_owned(),
        Rung::Indentation => line.trim().to_owned(),
        Rung::Punctuation | Rung::BlankLines | Rung::Similar => plain(line),
    };
    let keys: Vec<String> = file.iter().map(|line| key(line)).collect();
    let wanted: Vec<String> = search.iter().map(|line| key(line)).collect();
    let starts = keys
        .windows(wanted.len())
        .enumerate()
        .filter(|(_, window)| *window == wanted);
    let matches = starts.map(|(first, _)| Match {
        first,
        end: first + search.len(),
        pairs: (first..first + search.len()).map(Some).collect(),
        rung,
    });
    matches
        .filter(|m| rung < Rung::Indentation || indents(file, search, &m.pairs).is_some())
        .collect()
}

/// Every place where the non-blank lines are alike.
fn without_blank_lines(file: &[&str], search: &[&str]) -> Vec<Match> {
    let (lines, wanted) = (solid(file), solid(search));
    let keys: Vec<String> = lines.iter().map(|i| plain(file[*i])).collect();
    let keys_wanted: Vec<String> = wanted.iter().map(|i| plain(search[*i])).collect();
    let starts = keys
        .windows(wanted.len())
        .enumerate()
        .filter(|(_, window)| *window == keys_wanted);
    let matches = starts.map(|(start, _)| {
        pair_up(
            file,
            search,
            &lines[start..start + wanted.len()],
            &wanted,
            Rung::BlankLines,
        )
    });
    matches
        .filter(|m| indents(file, search, &m.pairs).is_some())
        .collect()
}

/// A match of non-blank lines: `lines` of the file for the lines `wanted` of the
/// search. Blank lines between the same two lines are paired in order.
fn pair_up(file: &[&str], search: &[&str], lines: &[usize], wanted: &[usize], rung: Rung) -> Match {
    let mut pairs = vec![None; search.len()];
    for (at, i) in wanted.iter().zip(lines) {
        pairs[*at] = Some(*i);
    }
    for (ats, is) in wanted.windows(2).zip(lines.windows(2)) {
        for (at, i) in (ats[0] + 1..ats[1]).zip(is[0] + 1..is[1]) {
            pairs[at] = Some(i);
        }
    }
    let first = lines.first().copied().unwrap_or(0);
    let end = lines.last().map_or(first, |last| last + 1);
    debug_assert!(end <= file.len());
    Match {
        first,
        end,
        pairs,
        rung,
    }
}

/// The only hit below the only line that starts with the anchor, else all hits.
fn below(file: &[&str], hits: Vec<Match>, anchor: Option<&str>) -> Found {
    let all = hits.iter().map(|hit| hit.first).collect();
    let Some(anchor) = anchor.map(str::trim).filter(|anchor| !anchor.is_empty()) else {
        return Found::Many(all);
    };
    let mut lines = file
        .iter()
        .enumerate()
        .filter(|(_, line)| line.trim_start().starts_with(anchor));
    let (Some((line, _)), None) = (lines.next(), lines.next()) else {
        return Found::Many(all);
    };
    let mut lower = hits.into_iter().filter(|hit| hit.first >= line);
    match (lower.next(), lower.next()) {
        (Some(hit), None) => Found::One(hit),
        _ => Found::Many(all),
    }
}
