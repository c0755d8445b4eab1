//! Which public filters somebody reads, and which the router has ever seen.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use protocol::topic::covers;
use tokio::sync::watch;

/// Distinct filters that clients may add to those that the router knows from its start:
/// each costs the router some kilobytes that are never freed.
const MAX_ADDED_FILTERS: usize = 128;

/// The live subscriptions to public topics.
#[derive(Debug)]
pub(super) struct Interest {
    filters: Mutex<Filters>,
    changes: watch::Sender<u64>,
}

#[derive(Debug)]
struct Filters {
    active: HashMap<String, usize>,
    added: HashSet<String>,
}

impl Interest {
    pub(super) fn new() -> Self {
        Self {
            filters: Mutex::new(Filters {
                active: HashMap::new(),
                added: HashSet::new(),
            }),
            changes: watch::Sender::new(0),
        }
    }

    /// Whether the router may see this filter: it knows it already, or has room for one more.
    pub(super) fn admit(&self, filter: &str) -> bool {
        if super::router::is_fixed(filter) {
            return true;
        }
        let mut filters = self.lock();
        if filters.added.contains(filter) {
            return true;
        }
        filters.added.len() < MAX_ADDED_FILTERS && filters.added.insert(filter.to_owned())
    }

    /// One more session reads `filter`.
    pub(super) fn join(&self, filter: &str) {
        *self.lock().active.entry(filter.to_owned()).or_default() += 1;
        self.changes.send_modify(|version| *version += 1);
    }

    /// One session fewer reads `filter`.
    pub(super) fn leave(&self, filter: &str) {
        let mut filters = self.lock();
        if let Some(count) = filters.active.get_mut(filter) {
            *count -= 1;
            if *count == 0 {
                filters.active.remove(filter);
            }
        }
        drop(filters);
        self.changes.send_modify(|version| *version += 1);
    }

    /// Whether somebody's filter matches `topic`.
    pub(super) fn reaches(&self, topic: &str) -> bool {
        self.lock().active.keys().any(|filter| covers(filter, topic))
    }

    /// Ticks whenever a subscription comes or goes.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, Filters> {
        // Every change is complete before anything can panic.
        self.filters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_read_as_long_as_one_filter_matches_it() {
        let interest = Interest::new();
        let mut changes = interest.changes();
        assert!(!interest.reaches("agentd/status"));
        interest.join("agentd/#");
        interest.join("agentd/#");
        interest.join("agentd/+/open");
        assert!(changes.has_changed().expect("open"));
        changes.mark_unchanged();
        interest.leave("agentd/#");
        assert!(interest.reaches("agentd/status"));
        interest.leave("agentd/#");
        assert!(!interest.reaches("agentd/status"));
        assert!(interest.reaches("agentd/jobs/open"));
        assert!(changes.has_changed().expect("open"));
        interest.leave("never/joined");
    }

    #[test]
    fn strange_filters_are_bounded_and_the_usual_ones_always_fit() {
        let interest = Interest::new();
        for n in 0..MAX_ADDED_FILTERS {
            assert!(interest.admit(&format!("agentd/{n}")));
        }
        assert!(!interest.admit("agentd/one-too-many"));
        assert!(interest.admit("agentd/7"), "known by now");
        assert!(interest.admit("agentd/#"));
        assert!(interest.admit("agentd/workers/+"));
    }
}
