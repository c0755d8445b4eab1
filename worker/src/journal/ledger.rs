//! What the records of a journal amount to: one entry per attempt. Pure.

use std::collections::BTreeMap;

use protocol::{
    id::{AttemptId, JobId, JournalId},
    job::StepKey,
    message::Checkpoint,
};

use super::{
    Record,
    frame::{Place, Stamped},
};

/// How long an acknowledged result is kept, so that a restored controller can ask for it: 24 h.
const KEEP_S: u64 = 24 * 3600;
/// Acknowledged results that are kept at most, whatever their age: they cost memory.
const MAX_ACKED: usize = 20_000;
/// Bytes of acknowledged results that are kept at most: 32 MiB.
const MAX_ACKED_BYTES: u64 = 32 << 20;

/// What is known of an attempt.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Entry {
    /// Accepted, not ended.
    Open {
        job: JobId,
        step: StepKey,
        at: u64,
        /// Its last finished turn.
        checkpoint: Option<Box<Checkpoint>>,
    },
    /// Ended, not acknowledged; the result lies there.
    Unsent { result: Place },
    /// Acknowledged then; the result lies there.
    Acked { at: u64, result: Place },
    /// Never to be started.
    Barred { at: u64 },
}

/// All that a journal remembers.
#[derive(Clone, Debug, Default)]
pub(super) struct Ledger {
    /// Identity and starts; `None` for a file without its first record.
    pub(super) opened: Option<(JournalId, u64)>,
    /// The highest epoch seen.
    pub(super) epoch: u64,
    /// By attempt.
    pub(super) entries: BTreeMap<AttemptId, Entry>,
}

impl Ledger {
    /// Takes one record that lies at `place`.
    pub(super) fn apply(&mut self, stamped: &Stamped, place: Place) {
        let at = stamped.at;
        match &stamped.record {
            Record::Opened { journal, start } => self.opened = Some((*journal, *start)),
            Record::Epoch(epoch) => self.epoch = self.epoch.max(*epoch),
            Record::Accepted { attempt, job, step } => {
                self.entries.entry(*attempt).or_insert(Entry::Open {
                    job: *job,
                    step: step.clone(),
                    at,
                    checkpoint: None,
                });
            }
            Record::Checkpoint(turn) => {
                if let Some(Entry::Open { checkpoint, .. }) = self.entries.get_mut(&turn.attempt) {
                    *checkpoint = Some(turn.clone());
                }
            }
            Record::Result(result) => {
                let unsent = Entry::Unsent { result: place };
                self.entries.insert(result.attempt, unsent);
            }
            Record::Acked { attempt } => {
                if let Some(Entry::Unsent { result }) = self.entries.get(attempt) {
                    let result = *result;
                    self.entries.insert(*attempt, Entry::Acked { at, result });
                }
            }
            Record::Barred { attempt } => {
                self.entries.entry(*attempt).or_insert(Entry::Barred { at });
            }
        }
    }

    /// Forgets what is old or too much; never an attempt without its acknowledgement.
    pub(super) fn expire(&mut self, now: u64) -> Vec<AttemptId> {
        let old = |at: u64| at.saturating_add(KEEP_S) < now;
        let mut closed: Vec<(u64, AttemptId, u64)> = vec![];
        let mut gone = vec![];
        for (&attempt, entry) in &self.entries {
            match entry {
                Entry::Acked { at, .. } | Entry::Barred { at } if old(*at) => gone.push(attempt),
                Entry::Acked { at, result, .. } => closed.push((*at, attempt, u64::from(result.len))),
                Entry::Barred { at } => closed.push((*at, attempt, 0)),
                Entry::Open { .. } | Entry::Unsent { .. } => {}
            }
        }
        closed.sort_unstable();
        let (mut count, mut bytes) = (0, 0);
        for (_, attempt, size) in closed.into_iter().rev() {
            count += 1;
            bytes += size;
            if count > MAX_ACKED || bytes > MAX_ACKED_BYTES {
                gone.push(attempt);
            }
        }
        for attempt in &gone {
            self.entries.remove(attempt);
        }
        gone
    }

    /// Forgets attempts of an earlier life that did not end within a day: nobody asks for them now.
    pub(super) fn expire_dead(&mut self, now: u64) {
        self.entries
            .retain(|_, entry| !matches!(entry, Entry::Open { at, .. } if at.saturating_add(KEEP_S) < now));
    }
}
