//! Time, as a value that tests can set.
//!
//! The only place in our programs that asks the system what time it is.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use jiff::Timestamp;

/// A wall clock for people and dates, and a monotonic one for leases and timeouts.
pub trait Clock: Send + Sync {
    /// The date; may jump in both directions.
    fn wall(&self) -> Timestamp;

    /// Milliseconds since this clock was made; never goes back.
    fn mono_ms(&self) -> u64;

    /// Milliseconds since 1970, as tables store them.
    fn wall_ms(&self) -> i64 {
        self.wall().as_millisecond()
    }
}

/// A clock that many share.
pub type SharedClock = Arc<dyn Clock>;

/// The clock of this machine.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// Starts the monotonic clock at 0.
    pub fn new() -> Self {
        Self {
            start: Instant::now(),
        }
    }

    /// The same, to be shared.
    pub fn shared() -> SharedClock {
        Arc::new(Self::new())
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn wall(&self) -> Timestamp {
        Timestamp::now()
    }

    fn mono_ms(&self) -> u64 {
        self.start.elapsed().as_millis() as u64
    }
}

/// A clock that moves only when a test moves it; clones show the same time.
#[derive(Clone, Debug)]
pub struct ManualClock {
    wall_ms: Arc<AtomicI64>,
    mono_ms: Arc<AtomicU64>,
}

impl ManualClock {
    /// Starts at this date, the monotonic clock at 0.
    pub fn new(wall: Timestamp) -> Self {
        Self {
            wall_ms: Arc::new(AtomicI64::new(wall.as_millisecond())),
            mono_ms: Arc::default(),
        }
    }

    /// Lets time pass on both clocks.
    pub fn advance(&self, by: Duration) {
        self.mono_ms.fetch_add(by.as_millis() as u64, Ordering::SeqCst);
        self.wall_ms.fetch_add(by.as_millis() as i64, Ordering::SeqCst);
    }

    /// Sets the date alone, as NTP or a person does.
    pub fn set_wall(&self, wall: Timestamp) {
        self.wall_ms.store(wall.as_millisecond(), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn wall(&self) -> Timestamp {
        let wall_ms = self.wall_ms.load(Ordering::SeqCst);
        // out of range only after a test added ten thousand years
        Timestamp::from_millisecond(wall_ms).unwrap_or(Timestamp::MAX)
    }

    fn mono_ms(&self) -> u64 {
        self.mono_ms.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jump_of_the_date_moves_no_monotonic_clock() {
        let clock = ManualClock::new(Timestamp::UNIX_EPOCH);
        let seen_elsewhere = clock.clone();
        clock.advance(Duration::from_secs(2));
        clock.set_wall("2026-11-24T00:00:00Z".parse().expect("a date"));
        assert_eq!(seen_elsewhere.mono_ms(), 2000);
        assert_eq!(seen_elsewhere.wall().to_string(), "2026-11-24T00:00:00Z");
        assert_eq!(seen_elsewhere.wall_ms() % 86_400_000, 0);
    }

    #[test]
    fn the_system_clock_never_goes_back() {
        let clock = SystemClock::new();
        let first = clock.mono_ms();
        assert!(clock.mono_ms() >= first);
    }
}
