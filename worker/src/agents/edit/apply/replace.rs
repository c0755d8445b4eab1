//! Replacing a part of a file that is found by its text.

use super::{Cause, Excerpt, Failure, Fit, Stage, read_text, refuse_elision};
use crate::agents::edit::{
    EditOp, closest,
    find::{self, Found, Match, Rung},
    splice,
    text::FileText,
};

/// A replacement must have this many visible characters to be recognised as
/// present when the text that it replaces is gone: a lone brace proves nothing.
const TELLING: usize = 12;
/// At most so many places of an ambiguous text are shown.
const SHOWN_PLACES: usize = 4;
/// Lines of the file shown around a place.
const AROUND: usize = 3;
/// At most so many lines are shown of one place.
const SHOWN_LINES: usize = 60;

impl Stage<'_> {
    pub(super) fn replace(
        &mut self,
        op: &EditOp,
        path: &str,
        [search, replace]: [&str; 2],
        anchor: Option<&str>,
    ) -> Result<Fit, Box<Failure>> {
        let draft = self.draft(op, path)?;
        let blank = search.trim().is_empty();
        let Some(bytes) = &draft.now else {
            if !blank {
                return Err(Failure::new(
                    op,
                    Cause::NotFound,
                    format!("`{path}` does not exist"),
                ));
            }
            refuse_elision(op, path, replace.lines())?;
            draft.now = Some(FileText::new().rewrite(replace).bytes());
            return Ok(Fit {
                changed: true,
                rung: None,
            });
        };
        let text = read_text(op, bytes)?;
        let known: Vec<&str> = search.lines().map(str::trim).collect();
        let new_lines = text
            .unknown(replace)
            .into_iter()
            .filter(|line| !known.contains(&line.trim()));
        refuse_elision(op, path, new_lines)?;
        let (new, rung) = if blank && text.is_blank() {
            (text.rewrite(replace), None)
        } else {
            match change(op, &text, search, replace, anchor)? {
                Change::Already => {
                    return Ok(Fit {
                        changed: false,
                        rung: None,
                    });
                }
                Change::To(new, rung) => (new, Some(rung)),
            }
        };
        let changed = new != text;
        draft.now = Some(new.bytes());
        Ok(Fit { changed, rung })
    }
}

enum Change {
    /// The file has it.
    Already,
    /// The new text and how the place was found.
    To(FileText, Rung),
}

fn change(
    op: &EditOp,
    text: &FileText,
    search: &str,
    replace: &str,
    anchor: Option<&str>,
) -> Result<Change, Box<Failure>> {
    let file = text.lines();
    let (wanted, new): (Vec<&str>, Vec<&str>) = (search.lines().collect(), replace.lines().collect());
    let path = op.path();
    if search.trim().is_empty() {
        let present = file
            .iter()
            .map(|line| line.trim_end())
            .eq(new.iter().map(|line| line.trim_end()));
        let reason = format!("the text to replace is empty, but `{path}` is not: name the lines to replace");
        return if present {
            Ok(Change::Already)
        } else {
            Err(Failure::new(op, Cause::NotFound, reason))
        };
    }
    let found = match find::find(&file, &wanted, anchor) {
        Found::One(found) if stands_there(&file, &wanted, &new, &found) => return Ok(Change::Already),
        Found::One(found) => found,
        Found::Many(lines) => return Err(ambiguous(op, &file, wanted.len(), &lines)),
        Found::Nowhere if is_present(&file, &new) => return Ok(Change::Already),
        Found::Nowhere => find::find_similar(&file, &wanted).ok_or_else(|| not_found(op, &file, &wanted))?,
    };
    let pieces = splice::splice(&file, &wanted, &new, &found);
    Ok(Change::To(
        text.splice(found.first, found.end, pieces),
        found.rung,
    ))
}

/// Whether the replacement, which repeats the search, already stands around the match.
fn stands_there(file: &[&str], search: &[&str], replace: &[&str], found: &Match) -> bool {
    let same = |a: &[&str], b: &[&str]| {
        a.iter()
            .map(|line| find::plain(line))
            .eq(b.iter().map(|line| find::plain(line)))
    };
    let offsets = 0..=replace.len().saturating_sub(search.len());
    replace.len() > search.len()
        && offsets
            .filter(|at| same(&replace[*at..*at + search.len()], search))
            .any(|at| {
                let start = found.first.checked_sub(at);
                start.is_some_and(|start| {
                    file.get(start..start + replace.len())
                        .is_some_and(|lines| same(lines, replace))
                })
            })
}

/// Whether the file has the replacement, exactly once.
fn is_present(file: &[&str], replace: &[&str]) -> bool {
    let visible = replace
        .iter()
        .flat_map(|line| line.chars())
        .filter(|c| !c.is_whitespace());
    visible.count() >= TELLING
        && matches!(find::find(file, replace, None), Found::One(found) if found.rung <= Rung::TrailingSpace)
}

fn ambiguous(op: &EditOp, file: &[&str], len: usize, lines: &[usize]) -> Box<Failure> {
    let numbers: Vec<String> = lines.iter().take(20).map(|line| (line + 1).to_string()).collect();
    let reason = format!(
        "the text to replace stands {} times in `{}`, at lines {}: add lines around it until it is unique",
        lines.len(),
        op.path(),
        numbers.join(", ")
    );
    let places = lines.iter().take(SHOWN_PLACES);
    Box::new(Failure {
        excerpts: places.map(|line| excerpt(file, *line, line + len)).collect(),
        ..*Failure::new(op, Cause::Ambiguous, reason)
    })
}

fn not_found(op: &EditOp, file: &[&str], search: &[&str]) -> Box<Failure> {
    let reason = format!("the text to replace does not stand in `{}`", op.path());
    let near = closest::suggest(file, search);
    Box::new(Failure {
        excerpts: near
            .map(|(first, end)| excerpt(file, first, end))
            .into_iter()
            .collect(),
        ..*Failure::new(op, Cause::NotFound, reason)
    })
}

fn excerpt(file: &[&str], first: usize, end: usize) -> Excerpt {
    let from = first.saturating_sub(AROUND);
    let to = (end + AROUND).min(file.len()).min(from + SHOWN_LINES);
    Excerpt {
        first: from + 1,
        lines: file[from..to].iter().map(|line| (*line).to_owned()).collect(),
    }
}
