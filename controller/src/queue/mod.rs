//! The queue: in which order ready steps are offered, and what holds a whole
//! job back. Pure, like the orchestrator whose world it reads.

use std::ops::Bound;

use protocol::{id::JobId, job::JobState, worker::Wanted};

use crate::orchestrator::{
    Draft, World,
    place::{Placement, place},
    world::{Job, Worker},
};

/// Rule 2 for everything that is ready, until no slot is free.
pub fn dispatch(draft: &mut Draft<'_>) {
    loop {
        let ended = draft.changes.ended.len();
        pass(draft);
        // a job that a spent budget ended has left its group to one that was passed over
        if draft.changes.ended.len() == ended {
            return;
        }
    }
}

fn pass(draft: &mut Draft<'_>) {
    if draft.world.paused {
        return;
    }
    let mut free: u32 = free_slots(draft.world);
    let mut after = None;
    while free > 0 {
        let next = match &after {
            None => draft.world.ready.first(),
            Some(key) => draft
                .world
                .ready
                .range((Bound::Excluded(key), Bound::Unbounded))
                .next(),
        };
        let Some(next) = next.cloned() else {
            break;
        };
        let (job, key) = (next.3, next.4.clone());
        after = Some(next.clone());
        // a spent budget takes steps back, but not the closing ones
        if !draft.may_dispatch(job) || !draft.world.ready.contains(&next) {
            continue;
        }
        let owner = &draft.world.jobs[&job];
        let step = owner.step(&key).expect("ready steps exist");
        if let Placement::On(worker) = place(draft.world, owner, step, draft.now.mono) {
            free -= u32::from(draft.offer(job, &key, worker));
        }
    }
}

fn free_slots(world: &World) -> u32 {
    let takes = |worker: &&Worker| worker.live && worker.wanted == Wanted::Active;
    world
        .workers
        .values()
        .filter(takes)
        .map(|worker| worker.slots.saturating_sub(worker.used))
        .sum()
}

/// What keeps all steps of a job from being offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold<'a> {
    /// A person stopped dispatch as a whole.
    Paused,
    /// The job was stopped until a person decides.
    Parked,
    /// As many jobs of its concurrency group as may have begun and not ended.
    GroupFull {
        /// The group.
        group: &'a str,
        /// How many jobs it lets run at once.
        max: u32,
    },
}

/// Rule 2's guards of the job as a whole; the first unmet one.
pub fn held<'a>(world: &World, job: &'a Job) -> Option<Hold<'a>> {
    if job.state == JobState::Parked {
        return Some(Hold::Parked);
    }
    if world.paused {
        return Some(Hold::Paused);
    }
    match (&job.group, &job.workflow.concurrency, job.started_at) {
        (Some(group), Some(rule), None) if group_running(world, group, job.id) >= rule.max => {
            Some(Hold::GroupFull { group, max: rule.max })
        }
        _ => None,
    }
}

/// Jobs of a group that have begun and not ended.
pub fn group_running(world: &World, group: &str, except: JobId) -> u32 {
    let counts = |job: &&Job| {
        job.id != except
            && job.started_at.is_some()
            && !job.state.is_terminal()
            && job.group.as_deref() == Some(group)
    };
    world.jobs.values().filter(counts).count() as u32
}

impl Draft<'_> {
    /// Whether the job as a whole may have a step offered now: rule 2's guards, and rule 16.
    fn may_dispatch(&mut self, id: JobId) -> bool {
        if held(self.world, &self.world.jobs[&id]).is_some() {
            return false;
        }
        self.is_within_budget(id) || self.world.jobs[&id].cancel_requested
    }
}
