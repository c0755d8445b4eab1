//! Tables that fit: columns are dropped or cut, lines never wrap.

use super::{
    style::{Style, Tone},
    text::{fit, one_line, width},
};

/// A column of a table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    title: &'static str,
    rank: u8,
    wide_only: bool,
    right: bool,
    /// The least width to which it may be cut, if it may.
    flexible: Option<usize>,
}

impl Column {
    /// A column that stays in every table.
    pub(crate) const fn new(title: &'static str) -> Self {
        Self {
            title,
            rank: 0,
            wide_only: false,
            right: false,
            flexible: None,
        }
    }

    /// It may be dropped; the highest rank goes first.
    pub(crate) const fn rank(mut self, rank: u8) -> Self {
        self.rank = rank;
        self
    }

    /// Only `-o wide` shows it.
    pub(crate) const fn wide(mut self) -> Self {
        self.wide_only = true;
        self
    }

    /// Numbers line up at their right end.
    pub(crate) const fn right(mut self) -> Self {
        self.right = true;
        self
    }

    /// It takes what the others leave, and is cut with `…` down to `least` columns.
    pub(crate) const fn flexible(mut self, least: usize) -> Self {
        self.flexible = Some(least);
        self
    }
}

/// A cell: one line of harmless text and its tone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// A cell with meaning.
    pub(crate) fn toned(text: impl AsRef<str>, tone: Tone) -> Self {
        Self {
            text: one_line(text.as_ref()),
            tone,
        }
    }

    /// A cell whose leading spaces count.
    pub(crate) fn indented(indent: &str, text: impl AsRef<str>, tone: Tone) -> Self {
        Self {
            text: format!("{indent}{}", one_line(text.as_ref())),
            tone,
        }
    }
}

impl<T: AsRef<str>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::toned(text, Tone::Plain)
    }
}

/// A table before it is fitted to a width.
#[derive(Debug)]
pub(crate) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
}

/// Blanks between two columns.
const GAP: usize = 2;

impl Table {
    /// A table of these columns; each row has one cell for each.
    pub(crate) fn new(columns: &[Column], rows: Vec<Vec<Cell>>) -> Self {
        Self {
            columns: columns.to_vec(),
            rows,
        }
    }

    /// The lines, at most `columns` wide each (unlimited if `None`).
    pub(crate) fn render(&self, columns: Option<usize>, wide: bool, style: Style) -> Vec<String> {
        let mut shown: Vec<usize> = (0..self.columns.len())
            .filter(|index| (wide || !self.columns[*index].wide_only) && self.has_content(*index))
            .collect();
        let widths = self.fit_columns(&mut shown, columns);
        let title = |index: usize| Cell {
            text: self.columns[index].title.to_owned(),
            tone: Tone::Dim,
        };
        let head: Vec<Cell> = (0..self.columns.len()).map(title).collect();
        std::iter::once(&head)
            .chain(&self.rows)
            .map(|row| self.line(row, &shown, &widths, style))
            .collect()
    }

    /// A droppable column in which no row says anything is left out.
    fn has_content(&self, index: usize) -> bool {
        self.columns[index].rank == 0 || self.rows.iter().any(|row| !row[index].text.is_empty())
    }

    fn natural(&self, index: usize) -> usize {
        let cells = self.rows.iter().map(|row| width(&row[index].text));
        cells.max().unwrap_or(0).max(width(self.columns[index].title))
    }

    /// Drops what does not fit; answers the widths of what stays.
    fn fit_columns(&self, shown: &mut Vec<usize>, limit: Option<usize>) -> Vec<usize> {
        let Some(limit) = limit else {
            return shown.iter().map(|index| self.natural(*index)).collect();
        };
        loop {
            let mut widths: Vec<usize> = shown.iter().map(|index| self.natural(*index)).collect();
            let gaps = GAP * shown.len().saturating_sub(1);
            let mut excess = (widths.iter().sum::<usize>() + gaps).saturating_sub(limit);
            for (width, index) in widths.iter_mut().zip(shown.iter()) {
                if let Some(least) = self.columns[*index].flexible {
                    let cut = excess.min(width.saturating_sub(least));
                    *width -= cut;
                    excess -= cut;
                }
            }
            if excess == 0 {
                return widths;
            }
            let last = (0..shown.len()).max_by_key(|place| (self.columns[shown[*place]].rank, *place));
            match last {
                Some(place) if self.columns[shown[place]].rank > 0 => {
                    shown.remove(place);
                }
                _ => return widths_within(widths, limit),
            }
        }
    }

    fn line(&self, row: &[Cell], shown: &[usize], widths: &[usize], style: Style) -> String {
        let mut line = String::new();
        for (place, (index, columns)) in shown.iter().zip(widths).enumerate() {
            if place > 0 {
                line.push_str(&" ".repeat(GAP.min(*columns)));
            }
            let text = fit(&row[*index].text, *columns);
            let pad = " ".repeat(columns - width(&text));
            let painted = style.paint(&text, row[*index].tone);
            let last = place + 1 == shown.len();
            match (self.columns[*index].right, last) {
                (true, _) => line.push_str(&format!("{pad}{painted}")),
                (false, true) => line.push_str(&painted),
                (false, false) => line.push_str(&format!("{painted}{pad}")),
            }
        }
        line.truncate(line.trim_end().len());
        line
    }
}

/// Cuts the last columns when even the indispensable ones are too wide.
fn widths_within(mut widths: Vec<usize>, limit: usize) -> Vec<usize> {
    let mut left = limit;
    for (place, width) in widths.iter_mut().enumerate() {
        let gap = if place == 0 { 0 } else { GAP };
        *width = (*width).min(left.saturating_sub(gap));
        left = left.saturating_sub(*width + gap);
    }
    widths
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 5] = [
        Column::new("JOB").right(),
        Column::new("STATE"),
        Column::new("TITLE").flexible(12),
        Column::new("WORKFLOW").rank(1),
        Column::new("AGE").rank(2).right(),
    ];

    fn table() -> Table {
        let row = |job: &str, title: &str| {
            [job, "succeeded", title, "implement", "12m ago"]
                .map(Cell::from)
                .to_vec()
        };
        Table::new(
            &COLUMNS,
            vec![
                row("7", "Make the failing test pass without touching the tests"),
                row("123", "short"),
            ],
        )
    }

    #[test]
    fn columns_are_cut_then_dropped() {
        let at = |columns| table().render(Some(columns), false, Style::PLAIN).join("\n");
        insta::assert_snapshot!(at(140), @r"
        JOB  STATE      TITLE                                                  WORKFLOW       AGE
          7  succeeded  Make the failing test pass without touching the tests  implement  12m ago
        123  succeeded  short                                                  implement  12m ago
        ");
        insta::assert_snapshot!(at(80), @r"
        JOB  STATE      TITLE                                         WORKFLOW       AGE
          7  succeeded  Make the failing test pass without touching…  implement  12m ago
        123  succeeded  short                                         implement  12m ago
        ");
        insta::assert_snapshot!(at(40), @r"
        JOB  STATE      TITLE          WORKFLOW
          7  succeeded  Make the fai…  implement
        123  succeeded  short          implement
        ");
        insta::assert_snapshot!(at(20), @r"
        JOB  STATE      TIT…
          7  succeeded  Mak…
        123  succeeded  sho…
        ");
    }

    #[test]
    fn no_line_is_wider_than_asked_for() {
        for columns in 0..120 {
            for line in table().render(Some(columns), true, Style::PLAIN) {
                assert!(width(&line) <= columns, "{columns}: {line:?}");
            }
        }
    }
}
