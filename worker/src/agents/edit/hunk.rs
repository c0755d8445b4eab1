//! A hunk of a patch: lines kept, removed and added, as one replacement that is
//! found again by its text. Line numbers of a model are never believed.

use super::{EditOp, Problem};

/// Collects the lines of one hunk.
#[derive(Debug, Default)]
pub(super) struct Hunk {
    anchor: Option<String>,
    /// Whether lines that are only added go right after the anchor.
    places: bool,
    old: String,
    new: String,
    touched: bool,
}

impl Hunk {
    /// Starts after an `@@ line` that names the line right before or above the hunk.
    pub(super) fn after(line: &str) -> Self {
        Self {
            places: true,
            ..Self::below(line)
        }
    }

    /// Starts after an `@@ -1,2 +1,3 @@ heading`, which names some line above the hunk.
    pub(super) fn below(heading: &str) -> Self {
        let anchor = heading.trim();
        Self {
            anchor: (!anchor.is_empty()).then(|| anchor.to_owned()),
            ..Self::default()
        }
    }

    /// Takes a line with its sign; without one it counts as kept.
    pub(super) fn line(&mut self, line: &str) {
        let (old, new, text) = match line.as_bytes().first() {
            Some(b'-') => (true, false, &line[1..]),
            Some(b'+') => (false, true, &line[1..]),
            Some(b' ') => (true, true, &line[1..]),
            _ => (true, true, line),
        };
        for (wanted, side) in [(old, &mut self.old), (new, &mut self.new)] {
            if wanted {
                side.push_str(text);
                side.push('\n');
            }
        }
        self.touched |= old != new;
    }

    /// Whether a line was removed or added.
    pub(super) const fn is_change(&self) -> bool {
        self.touched
    }

    /// The replacement; lines that are only added go after the anchor.
    pub(super) fn finish(self, path: &str, line: usize) -> Result<EditOp, Problem> {
        let (search, replace, anchor) = if self.old.trim().is_empty() {
            let Some(anchor) = self.anchor.filter(|_| self.places) else {
                return Err(Problem {
                    path: Some(path.to_owned()),
                    line,
                    reason: "the hunk only adds lines and does not say where: repeat some lines of the file around them"
                        .to_owned(),
                });
            };
            (format!("{anchor}\n"), format!("{anchor}\n{}", self.new), None)
        } else {
            (self.old, self.new, self.anchor)
        };
        Ok(EditOp::Replace {
            path: path.to_owned(),
            search,
            replace,
            anchor,
        })
    }
}
