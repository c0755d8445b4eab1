//! How alike blocks of lines are: a strict look that may decide, and a loose
//! one that only suggests text to the model.

use similar::TextDiff;

use super::find::plain;

/// Every line must be this much alike.
const LINE: f32 = 0.80;
/// The block as a whole must be this much alike.
const BLOCK: f32 = 0.92;
/// The second best place must be this much worse.
const LEAD: f32 = 0.10;
/// A suggestion must be this much alike to be worth reading.
const SUGGESTION: f32 = 0.45;
/// More pairs of lines are not compared: it would take seconds.
const MOST_PAIRS: usize = 400_000;
/// Longer lines count as alike only if they are equal.
const LONGEST_LINE: usize = 400;

/// The place among the file's non-blank `lines` that nearly is the search's
/// non-blank lines `wanted`: an index into `lines`. Lines whose digits differ
/// are never alike: `x1` is not a slip of `x2`.
pub(super) fn strict(file: &[&str], search: &[&str], lines: &[usize], wanted: &[usize]) -> Option<usize> {
    if wanted.is_empty() || lines.len().saturating_mul(wanted.len()) > MOST_PAIRS {
        return None;
    }
    let have: Vec<Line> = lines.iter().map(|i| Line::new(file[*i])).collect();
    let want: Vec<Line> = wanted.iter().map(|i| Line::new(search[*i])).collect();
    let mut best: Option<(usize, f32)> = None;
    let mut second = 0.0_f32;
    for (start, window) in have.windows(want.len()).enumerate() {
        let score = block_score(&want, window, BLOCK - LEAD);
        if best.is_none_or(|(_, top)| score > top) {
            second = best.map_or(second, |(_, top)| top.max(second));
            best = Some((start, score));
        } else {
            second = second.max(score);
        }
    }
    let (start, score) = best?;
    let alike = |(w, h): (&Line, &Line)| w.digits == h.digits && w.score(h) >= LINE;
    let every_line = want.iter().zip(&have[start..]).all(alike);
    (score >= BLOCK && score - second >= LEAD && every_line).then_some(start)
}

/// The lines of the file that look most like the search: (first, end), from 0.
pub(super) fn suggest(file: &[&str], search: &[&str]) -> Option<(usize, usize)> {
    let want: Vec<Line> = search.iter().map(|line| Line::new(line)).collect();
    let have: Vec<Line> = file.iter().map(|line| Line::new(line)).collect();
    let size = want.len().min(have.len());
    if size == 0 || have.len().saturating_mul(size) > MOST_PAIRS {
        return None;
    }
    let scored = have
        .windows(size)
        .enumerate()
        .map(|(start, window)| (start, block_score(&want, window, SUGGESTION)));
    let best = scored.max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)))?;
    (best.1 >= SUGGESTION).then_some((best.0, best.0 + size))
}

/// A line made ready for many comparisons.
struct Line {
    text: String,
    digits: String,
    /// How often each (folded) character occurs.
    counts: [u16; 64],
}

impl Line {
    fn new(line: &str) -> Self {
        let text = plain(line);
        let digits = text.chars().filter(char::is_ascii_digit).collect();
        let mut counts = [0_u16; 64];
        for c in text.chars() {
            let count = &mut counts[c as usize % 64];
            *count = count.saturating_add(1);
        }
        Self { text, digits, counts }
    }

    fn len(&self) -> usize {
        self.counts.iter().map(|n| usize::from(*n)).sum()
    }

    /// No pair of lines with these characters is more alike.
    fn at_most(&self, other: &Self) -> f32 {
        let shared = |(a, b): (&u16, &u16)| usize::from(*a.min(b));
        let common: usize = self.counts.iter().zip(&other.counts).map(shared).sum();
        ratio(common, self.len() + other.len())
    }

    fn score(&self, other: &Self) -> f32 {
        if self.text == other.text {
            1.0
        } else if self.len().max(other.len()) > LONGEST_LINE {
            0.0
        } else {
            TextDiff::from_chars(self.text.as_str(), other.text.as_str()).ratio()
        }
    }
}

/// Twice the common part of the whole; 1 for two empty texts.
fn ratio(common: usize, whole: usize) -> f32 {
    if whole == 0 {
        1.0
    } else {
        2.0 * common as f32 / whole as f32
    }
}

/// How alike two blocks are, long lines counting more; 0 when it is certainly below `floor`.
fn block_score(want: &[Line], have: &[Line], floor: f32) -> f32 {
    let weighted = |score: fn(&Line, &Line) -> f32| {
        let (mut sum, mut whole) = (0.0, 0.0);
        for (w, h) in want.iter().zip(have) {
            let weight = (w.len() + h.len()).max(1) as f32;
            sum += weight * score(w, h);
            whole += weight;
        }
        if whole == 0.0 { 0.0 } else { sum / whole }
    };
    if weighted(Line::at_most) < floor {
        return 0.0;
    }
    weighted(Line::score)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(lines: &[&str]) -> Vec<usize> {
        (0..lines.len()).collect()
    }

    fn strictly(file: &[&str], search: &[&str]) -> Option<usize> {
        strict(file, search, &all(file), &all(search))
    }

    #[test]
    fn one_wrong_character_is_forgiven_when_nothing_else_comes_near() {
        let file = [
            "fn total(items: &[Item]) -> u64 {",
            "    items.iter().map(price).sum()",
            "}",
        ];
        let slip = [
            "fn total(items: &[Item]) -> u64 {",
            "    items.iter().map(prise).sum()",
        ];
        assert_eq!(strictly(&file, &slip), Some(0));
        let twice = [file.as_slice(), &file].concat();
        assert_eq!(strictly(&twice, &slip), None);
    }

    #[test]
    fn another_number_or_another_line_is_no_slip() {
        assert_eq!(
            strictly(
                &["let value_17 = compute(base);"],
                &["let value_18 = compute(base);"]
            ),
            None
        );
        assert_eq!(
            strictly(&["let value = compute(base);"], &["return other;"]),
            None
        );
    }

    #[test]
    fn the_nearest_lines_are_suggested() {
        let file = ["a", "fn total(items: &[Item]) {", "b"];
        assert_eq!(suggest(&file, &["fn totals(list: &[Item]) {"]), Some((1, 2)));
        assert_eq!(suggest(&file, &["completely different"]), None);
        assert_eq!(suggest(&[], &["x"]), None);
    }
}
