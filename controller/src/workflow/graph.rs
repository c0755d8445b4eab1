//! The order of steps and where each one's files come from. Pure questions
//! about a checked workflow; the orchestrator asks, and so does the loader.

use std::collections::BTreeSet;

use indexmap::IndexMap;
use protocol::job::StepKey;

use super::model::{StepDef, StepKind, Workflow};

/// The steps of one block, in the order of the file.
pub type Steps = IndexMap<String, StepDef>;

/// Two different steps both change the files that a step would start from.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it would start from the files of both {first} and {second}")]
pub struct TwoBases {
    /// One of them.
    pub first: String,
    /// The other.
    pub second: String,
}

/// The definition behind a step's key, rounds left aside; `finally` steps count as top-level ones.
pub fn step<'a>(workflow: &'a Workflow, key: &StepKey) -> Option<&'a StepDef> {
    let mut names = path(key).into_iter();
    let top = names.next()?.name;
    let first = workflow.steps.get(top).or_else(|| workflow.finally.get(top))?;
    names.try_fold(first, |step, segment| inner(step)?.get(segment.name))
}

/// The step that `key` starts from: its nearest changing ancestor by `needs`,
/// looked for in its round, then at the end of the round before, then before
/// the enclosing block. A block counts as a whole, and stands for the last
/// changing step of its last round. `rounds` tells how many rounds of a block
/// have begun (1 for a block without a loop, 0 for a skipped one). `None` means
/// the job's base.
///
/// What it names may have been skipped or have failed, and then left no commit:
/// ask again with its key.
pub fn base_step(workflow: &Workflow, key: &StepKey, rounds: &dyn Fn(&StepKey) -> u32) -> Option<StepKey> {
    let path = path(key);
    let (last, blocks) = path.split_last()?;
    let place = Place::of(workflow, blocks, rounds)?;
    if blocks.is_empty() && workflow.finally.contains_key(last.name) {
        let before = nearest_changing(&workflow.finally, last.name).ok().flatten();
        let finally = Place {
            steps: &workflow.finally,
            block: None,
            rounds,
        };
        return match before {
            Some(name) => finally.end_of(name),
            None => last_changing(&workflow.steps)
                .ok()
                .flatten()
                .and_then(|name| place.end_of(name)),
        };
    }
    if let Some(name) = nearest_changing(place.steps, last.name).ok().flatten() {
        if let Some(found) = place.end_of(name) {
            return Some(found);
        }
        return base_step(workflow, &place.key(name), rounds);
    }
    let block = place.block?;
    if let Some(round) = block.round.filter(|round| *round > 1)
        && let Some(found) = end_of_round(place.steps, &block.key, Some(round - 1), rounds)
    {
        return Some(found);
    }
    base_step(workflow, &block.key, rounds)
}

/// The nearest steps among `needs` that change files, as one name.
pub fn nearest_changing<'a>(steps: &'a Steps, name: &str) -> Result<Option<&'a str>, TwoBases> {
    let needs = steps
        .get(name)
        .map(|step| step.needs.as_slice())
        .unwrap_or_default();
    only(steps, changing_among(steps, needs.iter().map(String::as_str)))
}

/// The step that changes files last in a block, as one name.
pub fn last_changing(steps: &Steps) -> Result<Option<&str>, TwoBases> {
    only(steps, changing_among(steps, steps.keys().map(String::as_str)))
}

/// Every step that comes before `name`, by `needs` of `needs`.
pub fn ancestors<'a>(steps: &'a Steps, name: &str) -> BTreeSet<&'a str> {
    let mut found = BTreeSet::new();
    let mut todo: Vec<&str> = vec![name];
    while let Some(step) = todo.pop().and_then(|name| steps.get(name)) {
        for need in &step.needs {
            if let Some((name, _)) = steps.get_key_value(need)
                && found.insert(name.as_str())
            {
                todo.push(name);
            }
        }
    }
    found
}

/// Steps that need each other in a ring, as the names along it; `None` if there is an order.
pub fn cycle(steps: &Steps) -> Option<Vec<&str>> {
    let name = steps
        .keys()
        .find(|name| ancestors(steps, name).contains(name.as_str()))?;
    let mut ring = vec![name.as_str()];
    loop {
        let last = *ring.last()?;
        let next = steps[last]
            .needs
            .iter()
            .find(|need| need.as_str() == name || ancestors(steps, need).contains(name.as_str()))?;
        if next == name || ring.contains(&next.as_str()) {
            return Some(ring);
        }
        ring.push(next);
    }
}

fn inner(step: &StepDef) -> Option<&Steps> {
    match &step.kind {
        StepKind::Block { steps, .. } => Some(steps),
        StepKind::Agent { .. } | StepKind::Run { .. } | StepKind::Use(_) | StepKind::Approval(_) => None,
    }
}

/// The first changing steps on every way back from `from`, those included.
fn changing_among<'a>(steps: &'a Steps, from: impl Iterator<Item = &'a str>) -> BTreeSet<&'a str> {
    let mut found = BTreeSet::new();
    let mut seen = BTreeSet::new();
    let mut todo: Vec<&str> = from.collect();
    while let Some(name) = todo.pop() {
        let Some(step) = steps.get(name).filter(|_| seen.insert(name)) else {
            continue;
        };
        if step.changes_files() {
            found.insert(name);
        } else {
            todo.extend(step.needs.iter().map(String::as_str));
        }
    }
    found
}

/// What comes before another candidate is already contained in it.
fn only<'a>(steps: &'a Steps, mut candidates: BTreeSet<&'a str>) -> Result<Option<&'a str>, TwoBases> {
    let contained: BTreeSet<&str> = candidates
        .iter()
        .flat_map(|name| ancestors(steps, name))
        .collect();
    candidates.retain(|name| !contained.contains(name));
    let mut candidates = candidates.into_iter();
    match (candidates.next(), candidates.next()) {
        (Some(first), Some(second)) => Err(TwoBases {
            first: first.to_owned(),
            second: second.to_owned(),
        }),
        (found, _) => Ok(found),
    }
}

/// One segment of a key: `cycle#2` or `edit`.
struct Segment<'a> {
    name: &'a str,
    round: Option<u32>,
}

fn path(key: &StepKey) -> Vec<Segment<'_>> {
    let segments = key.as_str().split('/');
    segments
        .map(|text| match text.split_once('#') {
            Some((name, round)) => Segment {
                name,
                round: round.parse().ok(),
            },
            None => Segment {
                name: text,
                round: None,
            },
        })
        .collect()
}

/// A block in a certain round, or the top of the workflow.
struct Place<'a> {
    steps: &'a Steps,
    block: Option<Block>,
    rounds: &'a dyn Fn(&StepKey) -> u32,
}

struct Block {
    key: StepKey,
    round: Option<u32>,
}

impl<'a> Place<'a> {
    fn of(
        workflow: &'a Workflow,
        blocks: &[Segment<'_>],
        rounds: &'a dyn Fn(&StepKey) -> u32,
    ) -> Option<Self> {
        let mut place = Self {
            steps: &workflow.steps,
            block: None,
            rounds,
        };
        for segment in blocks {
            let key = place.key(segment.name);
            let finally = place
                .block
                .is_none()
                .then(|| workflow.finally.get(segment.name))
                .flatten();
            let steps = inner(place.steps.get(segment.name).or(finally)?)?;
            place = Self {
                steps,
                block: Some(Block {
                    key,
                    round: segment.round,
                }),
                rounds,
            };
        }
        Some(place)
    }

    fn key(&self, name: &str) -> StepKey {
        match &self.block {
            None => StepKey::top(name),
            Some(block) => child(&block.key, block.round, name),
        }
    }

    /// The key of the step itself, or of the last changing step within it.
    fn end_of(&self, name: &str) -> Option<StepKey> {
        let key = self.key(name);
        let StepKind::Block {
            rounds: looped,
            steps,
        } = &self.steps.get(name)?.kind
        else {
            return Some(key);
        };
        let begun = (self.rounds)(&key);
        let round = looped.is_some().then_some(begun);
        if begun == 0 {
            None
        } else {
            end_of_round(steps, &key, round, self.rounds)
        }
    }
}

fn child(block: &StepKey, round: Option<u32>, name: &str) -> StepKey {
    round.map_or_else(|| block.child(name), |round| block.in_round(round, name))
}

fn end_of_round(
    steps: &Steps,
    block: &StepKey,
    round: Option<u32>,
    rounds: &dyn Fn(&StepKey) -> u32,
) -> Option<StepKey> {
    let name = last_changing(steps).ok().flatten()?;
    let place = Place {
        steps,
        block: Some(Block {
            key: block.clone(),
            round,
        }),
        rounds,
    };
    place.end_of(name)
}

#[cfg(test)]
mod tests;
