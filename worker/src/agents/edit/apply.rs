//! Applies edits to a work tree: first all of them in memory, then, only if
//! every one fits, on disk. It never picks one of two places.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::PathBuf,
};

use protocol::documents::{EditOpReport, EditStatus};

use super::{
    EditOp,
    find::Rung,
    text::FileText,
    tree::{Place, Refusal, Tree},
};
use crate::agents::symbols;

mod disk;
mod replace;

use disk::Draft;

/// Why an edit does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// It is not allowed.
    Refused,
    /// It leaves code out (`… rest unchanged`).
    Elided,
    /// It would drop most of a file: the model may confirm it.
    Shrinks,
    /// The file or the text is not there.
    NotFound,
    /// The text is there more than once.
    Ambiguous,
}

/// An edit that does not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The edit.
    pub op: EditOp,
    /// Why, as a kind.
    pub cause: Cause,
    /// Why, as a sentence for the model.
    pub reason: String,
    /// The real lines that help to mend it.
    pub excerpts: Vec<Excerpt>,
}

/// Real lines of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excerpt {
    /// Number of the first line, from 1.
    pub first: usize,
    /// The lines.
    pub lines: Vec<String>,
}

impl Failure {
    fn new(op: &EditOp, cause: Cause, reason: impl Into<String>) -> Box<Self> {
        Box::new(Self {
            op: op.clone(),
            cause,
            reason: reason.into(),
            excerpts: Vec::new(),
        })
    }
}

/// Edits that were tried in memory.
#[derive(Debug)]
pub struct Staged {
    reports: Vec<EditOpReport>,
    /// The edits that do not fit; the others do.
    pub failures: Vec<Failure>,
    /// The edits that fit.
    pub fitting: Vec<EditOp>,
    drafts: BTreeMap<PathBuf, Draft>,
}

/// Tries `ops` in order. Files in `confirmed` may lose most of their lines.
pub fn stage(tree: &Tree, ops: &[EditOp], confirmed: &BTreeSet<String>) -> Staged {
    let mut stage = Stage {
        tree,
        confirmed,
        drafts: BTreeMap::new(),
    };
    let (mut reports, mut failures, mut fitting) = (Vec::new(), Vec::new(), Vec::new());
    for op in ops {
        let mut report = EditOpReport {
            path: op.path().to_owned(),
            kind: op.kind(),
            status: EditStatus::Applied,
            matched: None,
            reason: None,
            hint: None,
        };
        match stage.apply(op) {
            Ok(Fit { changed, rung }) => {
                report.matched = rung.map(|rung| rung.name().to_owned());
                if !changed {
                    report.status = EditStatus::Already;
                }
                fitting.push(op.clone());
            }
            Err(failure) => {
                report.status = match failure.cause {
                    Cause::Refused | Cause::Elided | Cause::Shrinks => EditStatus::Refused,
                    Cause::NotFound | Cause::Ambiguous => EditStatus::Failed,
                };
                report.reason = Some(failure.reason.clone());
                report.hint = hint(&failure.excerpts);
                failures.push(*failure);
            }
        }
        reports.push(report);
    }
    Staged {
        reports,
        failures,
        fitting,
        drafts: stage.drafts,
    }
}

impl Staged {
    /// One entry per edit. While one does not fit, none counts as applied.
    pub fn reports(&self) -> Vec<EditOpReport> {
        let mut reports = self.reports.clone();
        if !self.failures.is_empty() {
            for report in reports
                .iter_mut()
                .filter(|report| report.status == EditStatus::Applied)
            {
                report.status = EditStatus::Failed;
                report.reason = Some("not written: another edit of the same answer does not fit".to_owned());
            }
        }
        reports
    }

    /// The names of the files that would change.
    pub fn changed(&self) -> Vec<String> {
        let changed = self.drafts.values().filter(|draft| draft.before != draft.now);
        changed.map(|draft| draft.name.clone()).collect()
    }

    /// Writes every change, all or nothing.
    pub fn write(self) -> io::Result<()> {
        disk::write(self.drafts)
    }
}

fn hint(excerpts: &[Excerpt]) -> Option<String> {
    let ranges: Vec<String> = excerpts
        .iter()
        .map(|excerpt| {
            format!(
                "{}-{}",
                excerpt.first,
                excerpt.first + excerpt.lines.len().saturating_sub(1)
            )
        })
        .collect();
    (!ranges.is_empty()).then(|| format!("see lines {}", ranges.join(", ")))
}

/// An edit that fits.
struct Fit {
    changed: bool,
    rung: Option<Rung>,
}

struct Stage<'a> {
    tree: &'a Tree,
    confirmed: &'a BTreeSet<String>,
    drafts: BTreeMap<PathBuf, Draft>,
}

impl Stage<'_> {
    fn apply(&mut self, op: &EditOp) -> Result<Fit, Box<Failure>> {
        match op {
            EditOp::Write { path, text } => self.write(op, path, text),
            EditOp::Replace {
                path,
                search,
                replace,
                anchor,
            } => self.replace(op, path, [search, replace], anchor.as_deref()),
            EditOp::Delete { path } => self.delete(op, path),
            EditOp::Move { from, to } => self.rename(op, from, to),
        }
    }

    /// The draft of a file that may be changed.
    fn draft(&mut self, op: &EditOp, path: &str) -> Result<&mut Draft, Box<Failure>> {
        let refused = |refusal: Refusal| Failure::new(op, Cause::Refused, refusal.0);
        let place: Place = self.tree.writable(path).map_err(refused)?;
        if !self.drafts.contains_key(&place.file) {
            let before = self.tree.read(&place).map_err(refused)?;
            let mode = fs::metadata(&place.file).ok().map(|meta| meta.permissions());
            let draft = Draft {
                name: place.name,
                now: before.clone(),
                before,
                mode,
            };
            self.drafts.insert(place.file.clone(), draft);
        }
        Ok(self.drafts.get_mut(&place.file).expect("inserted just now"))
    }

    fn write(&mut self, op: &EditOp, path: &str, text: &str) -> Result<Fit, Box<Failure>> {
        let confirmed = self.confirmed.contains(path);
        let draft = self.draft(op, path)?;
        let old = match &draft.now {
            Some(bytes) => read_text(op, bytes)?,
            None => FileText::new(),
        };
        refuse_elision(op, path, old.unknown(text))?;
        let new = old.rewrite(text);
        if !confirmed && let Some(reason) = shrinks(path, &old, &new) {
            return Err(Failure::new(op, Cause::Shrinks, reason));
        }
        let bytes = Some(new.bytes());
        let changed = draft.now != bytes;
        draft.now = bytes;
        Ok(Fit { changed, rung: None })
    }

    fn delete(&mut self, op: &EditOp, path: &str) -> Result<Fit, Box<Failure>> {
        let changed = self.draft(op, path)?.now.take().is_some();
        Ok(Fit { changed, rung: None })
    }

    fn rename(&mut self, op: &EditOp, from: &str, to: &str) -> Result<Fit, Box<Failure>> {
        let arrived = self.draft(op, to)?.now.is_some();
        let source = self.draft(op, from)?;
        if source.now.is_none() {
            let reason = format!("`{from}` does not exist");
            return if arrived {
                Ok(Fit {
                    changed: false,
                    rung: None,
                })
            } else {
                Err(Failure::new(op, Cause::NotFound, reason))
            };
        }
        if arrived {
            return Err(Failure::new(op, Cause::Refused, format!("`{to}` exists already")));
        }
        let (bytes, mode) = (source.now.take(), source.mode.clone());
        let target = self.draft(op, to)?;
        (target.now, target.mode) = (bytes, mode);
        Ok(Fit {
            changed: true,
            rung: None,
        })
    }
}

fn read_text(op: &EditOp, bytes: &[u8]) -> Result<FileText, Box<Failure>> {
    FileText::read(bytes).ok_or_else(|| {
        Failure::new(
            op,
            Cause::Refused,
            format!("`{}` is not a UTF-8 text file", op.path()),
        )
    })
}

fn refuse_elision<'a>(
    op: &EditOp,
    path: &str,
    lines: impl IntoIterator<Item = &'a str>,
) -> Result<(), Box<Failure>> {
    super::elision::elision(path, lines).map_or(Ok(()), |line| {
        let reason = format!("the line `{}` leaves code out: write out every line", line.trim());
        Err(Failure::new(op, Cause::Elided, reason))
    })
}

/// Why a new text looks like a mere excerpt of the old one: it drops more than
/// four fifths of the lines, and definitions or a file of over 100 lines with them.
fn shrinks(path: &str, old: &FileText, new: &FileText) -> Option<String> {
    let solid = |text: &FileText| text.lines().iter().filter(|line| !line.trim().is_empty()).count();
    let (before, after) = (solid(old), solid(new));
    if after * 5 >= before {
        return None;
    }
    let names = |text: &FileText| -> BTreeSet<String> {
        let symbols = symbols::symbols(path, &text.lines().join("\n"));
        symbols.into_iter().map(|symbol| symbol.name).collect()
    };
    let gone: Vec<String> = names(old).difference(&names(new)).take(5).cloned().collect();
    if gone.is_empty() && old.lines().len() <= 100 {
        return None;
    }
    let mut reason = format!("this would shrink `{path}` from {before} to {after} lines");
    if !gone.is_empty() {
        reason.push_str(&format!(" and drop {}", gone.join(", ")));
    }
    Some(reason)
}
