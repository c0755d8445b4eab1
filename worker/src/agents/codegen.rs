//! The role that changes files: plan, files and the last failure in, edits out.
//! Edits that fit are kept while the others are repaired; nothing is written
//! before every one of them fits.

use std::{
    collections::BTreeSet,
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

use protocol::{
    documents::{EditOpReport, EditProtocol},
    step::{ErrorClass, StepError},
};
use serde_json::Value;

use super::{
    brief::Brief,
    context::{Section, Shrink, compose},
    drive::{Judged, Role},
    edit::{
        EditOp, Problem,
        apply::{self, Cause, Failure},
        instructions::instructions,
        parse::parse,
        repair,
        tree::Tree,
    },
    files,
    repomap::RepoMap,
    turn::{Ask, Limits},
};

/// Files that are shown although the plan does not name them.
const MOST_EXTRA_FILES: usize = 8;
/// Largest of these, in bytes.
const LARGEST_EXTRA_FILE: usize = 32 * 1024;
/// Bytes of the repository map: the plan names the files, the map only the neighbours.
const MAP_BYTES: usize = 4 * 1024;

/// Plays codegen, or a custom role that writes.
pub struct Codegen {
    prompt: String,
    brief: Brief,
    tree: Tree,
    map: RepoMap,
    shown: Vec<Shown>,
    /// Edits that fit and wait for the others.
    kept: Vec<EditOp>,
    /// Files whose shrinking was asked about.
    asked: BTreeSet<String>,
    last: Last,
}

/// A file that the model sees.
struct Shown {
    path: String,
    /// Its text, or why there is none.
    text: Result<String, String>,
    /// Whether the plan names it.
    planned: bool,
}

/// What was wrong with the last answer.
#[derive(Default)]
struct Last {
    problems: Vec<Problem>,
    failures: Vec<Failure>,
    unchanged: bool,
}

/// Edits that were applied and written.
#[derive(Clone, Debug, PartialEq)]
pub struct Edited {
    /// The protocol of the last answer.
    pub protocol: EditProtocol,
    /// One entry per edit.
    pub ops: Vec<EditOpReport>,
}

impl Codegen {
    /// The role with this prompt on this tree. Reads the files that the model will see.
    pub fn new(prompt: &str, brief: Brief, tree: Tree, map: RepoMap) -> Self {
        let shown = choose(&brief, &tree, &map);
        Self {
            prompt: prompt.trim_end().to_owned(),
            brief,
            tree,
            map,
            shown,
            kept: Vec::new(),
            asked: BTreeSet::new(),
            last: Last::default(),
        }
    }

    /// The kept edits with the new ones: a whole file replaces what was kept for it.
    fn merged(&self, new: Vec<EditOp>) -> Vec<EditOp> {
        let is_whole = |path: &str| {
            let of_path = |op: &EditOp| matches!(op, EditOp::Write { path: whole, .. } if whole == path);
            new.iter().any(of_path)
        };
        let kept = self.kept.iter().filter(|op| !is_whole(op.path()));
        let mut ops: Vec<EditOp> = kept.cloned().collect();
        let fresh: Vec<EditOp> = new.into_iter().filter(|op| !ops.contains(op)).collect();
        ops.extend(fresh);
        ops
    }

    /// What to do about edits that do not all fit.
    fn repairable<T>(&mut self) -> Judged<T> {
        let shrinking = self
            .last
            .failures
            .iter()
            .filter(|failure| failure.cause == Cause::Shrinks);
        let shrinking: Vec<String> = shrinking.map(|failure| failure.op.path().to_owned()).collect();
        let only_shrinking = shrinking.len() == self.last.failures.len();
        self.asked.extend(shrinking);
        if !self.last.problems.is_empty() {
            return Judged::Malformed;
        }
        if only_shrinking {
            return Judged::Doubtful;
        }
        let mut hasher = DefaultHasher::new();
        for failure in &self.last.failures {
            (&failure.op, failure.cause).hash(&mut hasher);
        }
        Judged::Unfit {
            signature: hasher.finish(),
        }
    }
}

impl Role for Codegen {
    type Outcome = Edited;

    fn limits(&self, calls: u32) -> Limits {
        Limits {
            can_step_down: true,
            ..Limits::new(calls)
        }
    }

    fn system(&self, protocol: EditProtocol) -> String {
        format!("{}\n\n{}", self.prompt, instructions(protocol))
    }

    fn opening(&self, room: usize) -> String {
        let conventions = files::conventions(&self.tree);
        let map = self.map.render((room / 8).min(MAP_BYTES));
        let mut sections = vec![
            Section::new("Conventions of the repository", conventions, Shrink::Cut(1)),
            Section::new("Repository map", map, Shrink::Cut(0)),
        ];
        for file in &self.shown {
            let body = match &file.text {
                Ok(text) => files::shown(text),
                Err(why) => format!("({why}: it is new)\n"),
            };
            let shrink = if file.planned {
                Shrink::Never
            } else {
                Shrink::Drop(2)
            };
            sections.push(Section::new(format!("File `{}`", file.path), body, shrink));
        }
        let sections: Vec<Section> = sections
            .into_iter()
            .flatten()
            .chain(self.brief.sections())
            .collect();
        compose(&sections, room)
    }

    fn schema(&self, _files: bool) -> Option<(String, Value)> {
        None
    }

    fn judge(&mut self, answer: &str, protocol: EditProtocol) -> Result<Judged<Edited>, StepError> {
        let parsed = parse(protocol, answer);
        self.last = Last::default();
        if parsed.ops.is_empty() && parsed.problems.is_empty() {
            return Ok(Judged::Malformed);
        }
        let ops = self.merged(parsed.ops);
        let staged = apply::stage(&self.tree, &ops, &self.asked);
        if !parsed.problems.is_empty() || !staged.failures.is_empty() {
            self.last.problems = parsed.problems;
            self.kept = staged.fitting;
            self.last.failures = staged.failures;
            return Ok(self.repairable());
        }
        if staged.changed().is_empty() {
            self.kept.clear();
            self.last.unchanged = true;
            return Ok(Judged::Unfit { signature: 0 });
        }
        let ops = staged.reports();
        staged.write().map_err(|error| {
            StepError::new(
                ErrorClass::Workspace,
                format!("the edits could not be written: {error}"),
            )
        })?;
        let protocol = parsed.protocol;
        Ok(Judged::Accepted(Edited { protocol, ops }))
    }

    fn keep(&mut self, answer: &str, protocol: EditProtocol) {
        let mut parsed = parse(protocol, answer);
        if parsed.protocol == EditProtocol::UnifiedDiff && parsed.problems.is_empty() {
            // a bare diff has no mark at its end: its last hunk may be the one that was cut
            parsed.ops.pop();
        }
        self.kept = self.merged(parsed.ops);
        self.last = Last {
            problems: parsed.problems,
            ..Last::default()
        };
    }

    fn ask(&self, ask: Ask, protocol: EditProtocol, _room: usize) -> String {
        let Last {
            problems,
            failures,
            unchanged,
        } = &self.last;
        let nothing = problems.is_empty() && failures.is_empty();
        match ask {
            Ask::Continue => repair::cut(protocol, self.kept.len()),
            Ask::Confirm => repair::confirm(failures),
            Ask::WholeFiles if !nothing => repair::step_down(problems, failures, self.kept.len()),
            _ if *unchanged => repair::unchanged(protocol),
            _ if nothing => repair::no_edits(protocol),
            _ => repair::prompt(protocol, problems, failures, self.kept.len()),
        }
    }

    fn complaint(&self) -> String {
        if self.last.unchanged {
            return "the model changed nothing".to_owned();
        }
        let problem = self.last.problems.first().map(|problem| match &problem.path {
            Some(path) => format!("{path}: {}", problem.reason),
            None => problem.reason.clone(),
        });
        let failure = self.last.failures.first().map(|failure| failure.reason.clone());
        problem
            .or(failure)
            .unwrap_or_else(|| "there was no edit in it".to_owned())
    }
}

/// The files that the model will see: those of the plan, then those that checks and
/// reviewer name; without a plan those that the task points to.
fn choose(brief: &Brief, tree: &Tree, map: &RepoMap) -> Vec<Shown> {
    let mut shown: Vec<Shown> = Vec::new();
    let items = brief.plan.iter().flat_map(|plan| &plan.items);
    for file in items.flat_map(|item| &item.files) {
        add(&mut shown, tree, &file.path, true);
    }
    let pointed = if shown.is_empty() {
        map.pointed_to(MOST_EXTRA_FILES)
    } else {
        Vec::new()
    };
    let tests = brief
        .plan
        .iter()
        .flat_map(|plan| plan.may_change_tests.iter().map(String::as_str));
    let planned = shown.len();
    for path in tests.chain(brief.named_files()).chain(pointed) {
        if shown.len() < planned + MOST_EXTRA_FILES {
            add(&mut shown, tree, path, false);
        }
    }
    shown
}

fn add(shown: &mut Vec<Shown>, tree: &Tree, path: &str, planned: bool) {
    let Ok(place) = tree.readable(path) else { return };
    let text = files::text(tree, &place.name);
    let useful = planned || text.as_ref().is_ok_and(|text| text.len() <= LARGEST_EXTRA_FILE);
    if useful && shown.iter().all(|file| file.path != place.name) {
        shown.push(Shown {
            path: place.name,
            text,
            planned,
        });
    }
}

#[cfg(test)]
mod tests;
