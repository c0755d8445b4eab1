//! Counters of the front door, for metrics.

use std::sync::atomic::{AtomicU64, Ordering};

/// One counter; relaxed, because nothing is decided by it.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What is counted where it happens.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) accepted: Counter,
    pub(super) turned_away: Counter,
    pub(super) logins: Counter,
    pub(super) refused_logins: Counter,
    pub(super) protocol_errors: Counter,
    pub(super) denied_publishes: Counter,
    pub(super) denied_subscriptions: Counter,
    pub(super) dropped_wills: Counter,
    pub(super) unreadable_messages: Counter,
    pub(super) dropped_messages: Counter,
    pub(super) messages_in: Counter,
    pub(super) messages_out: Counter,
}

impl Counters {
    pub(super) fn snapshot(&self, connections: usize, workers: usize) -> BrokerStats {
        BrokerStats {
            connections,
            workers,
            accepted: self.accepted.get(),
            turned_away: self.turned_away.get(),
            logins: self.logins.get(),
            refused_logins: self.refused_logins.get(),
            protocol_errors: self.protocol_errors.get(),
            denied_publishes: self.denied_publishes.get(),
            denied_subscriptions: self.denied_subscriptions.get(),
            dropped_wills: self.dropped_wills.get(),
            unreadable_messages: self.unreadable_messages.get(),
            dropped_messages: self.dropped_messages.get(),
            messages_in: self.messages_in.get(),
            messages_out: self.messages_out.get(),
        }
    }
}

/// The broker at a moment; all but the first two count since the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrokerStats {
    /// Logged-in connections now.
    pub connections: usize,
    /// Of those, workers.
    pub workers: usize,
    /// TCP connections taken.
    pub accepted: u64,
    /// TCP connections closed at once: too many of that address had not logged in.
    pub turned_away: u64,
    /// Successful logins.
    pub logins: u64,
    /// Logins answered with a code other than 0.
    pub refused_logins: u64,
    /// Connections closed because of bytes that are not MQTT 3.1.1.
    pub protocol_errors: u64,
    /// Messages that the rules do not allow: acknowledged and dropped.
    pub denied_publishes: u64,
    /// Filters answered with 0x80.
    pub denied_subscriptions: u64,
    /// Wills that the rules do not allow.
    pub dropped_wills: u64,
    /// Messages of workers that could not be decoded.
    pub unreadable_messages: u64,
    /// Messages that found a full queue: live logs and public topics.
    pub dropped_messages: u64,
    /// Messages from clients that were taken.
    pub messages_in: u64,
    /// Messages written to clients.
    pub messages_out: u64,
}
