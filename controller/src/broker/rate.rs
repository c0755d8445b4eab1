//! A token bucket that slows a sender down and drops nothing.

use std::time::{Duration, Instant};

/// Room for one second's worth of packets, refilled steadily.
#[derive(Debug)]
pub(super) struct Bucket {
    tokens: f64,
    per_second: f64,
    filled: Instant,
}

impl Bucket {
    /// A full bucket.
    pub(super) fn new(per_second: f64, now: Instant) -> Self {
        Self {
            tokens: per_second,
            per_second,
            filled: now,
        }
    }

    /// Takes one token, on credit if need be: then answers how long to read nothing.
    pub(super) fn take(&mut self, now: Instant) -> Option<Duration> {
        let gained = self.per_second * now.saturating_duration_since(self.filled).as_secs_f64();
        self.tokens = (self.tokens + gained).min(self.per_second) - 1.0;
        self.filled = now;
        (self.tokens < 0.0).then(|| Duration::from_secs_f64(-self.tokens / self.per_second))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_free_and_what_is_over_waits_its_turn() {
        let start = Instant::now();
        let mut bucket = Bucket::new(10.0, start);
        for _ in 0..10 {
            assert_eq!(bucket.take(start), None);
        }
        assert_eq!(bucket.take(start), Some(Duration::from_millis(100)));
        assert_eq!(bucket.take(start), Some(Duration::from_millis(200)));
        let later = start + Duration::from_secs(1);
        assert_eq!(bucket.take(later), None, "one second pays for the credit");
        for _ in 0..7 {
            assert_eq!(bucket.take(later), None);
        }
        assert!(bucket.take(later).is_some(), "time before does not pile up");
    }
}
