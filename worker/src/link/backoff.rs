//! How long to wait before the next connection. Pure: time comes in, and the
//! answer is an upper bound for a random wait.

use std::{collections::VecDeque, time::Duration};

/// First and longest wait after a lost or failed connection (full jitter: from 0 to this).
const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(30);
/// Wait after a refused login: only a person can help.
const REFUSED: Duration = Duration::from_secs(60);
/// Wait when another process uses the same identity.
const CLASH: Duration = Duration::from_secs(180);
/// So many drops of good connections within so long mean a clash.
const CLASH_DROPS: usize = 3;
const CLASH_WITHIN: Duration = Duration::from_secs(30);

/// How a connection ended, or did not begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// It did not come up, or had no Sync.
    Failed,
    /// The controller refused the login.
    Refused,
    /// It had its Sync, from the controller's start with this epoch.
    Dropped {
        /// That epoch.
        epoch: u64,
    },
}

/// What to do before the next try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// Wait from nothing up to this long.
    UpTo(Duration),
    /// Wait at least half and at most the whole: the credential was refused.
    Refused(Duration),
    /// The same: another process has this identity.
    Clash(Duration),
}

/// The memory of the last connections.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
    drops: VecDeque<(Duration, u64)>,
}

impl Backoff {
    /// A connection ended at `now` (on a monotonic clock).
    pub(super) fn after(&mut self, ending: Ending, now: Duration) -> Wait {
        match ending {
            Ending::Refused => Wait::Refused(REFUSED),
            Ending::Failed => {
                self.failures = self.failures.saturating_add(1);
                Wait::UpTo(self.longest())
            }
            Ending::Dropped { epoch } => {
                self.failures = 1;
                self.drops.push_back((now, epoch));
                self.drops
                    .retain(|&(at, of)| of == epoch && now.saturating_sub(at) <= CLASH_WITHIN);
                if self.drops.len() >= CLASH_DROPS {
                    self.drops.clear();
                    return Wait::Clash(CLASH);
                }
                Wait::UpTo(self.longest())
            }
        }
    }

    fn longest(&self) -> Duration {
        let doublings = self.failures.saturating_sub(1).min(10);
        (FIRST * 2_u32.pow(doublings)).min(LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn waits_double_up_to_the_longest_and_a_good_connection_resets_them() {
        let mut backoff = Backoff::default();
        let waits: Vec<Wait> = (0..9).map(|_| backoff.after(Ending::Failed, SECOND)).collect();
        assert_eq!(waits[0], Wait::UpTo(FIRST));
        assert_eq!(waits[1], Wait::UpTo(2 * FIRST));
        assert_eq!(waits[8], Wait::UpTo(LONGEST));
        assert_eq!(
            backoff.after(Ending::Dropped { epoch: 1 }, SECOND),
            Wait::UpTo(FIRST)
        );
    }

    #[test]
    fn three_quick_drops_under_one_epoch_are_a_clash_of_identities() {
        let mut backoff = Backoff::default();
        let dropped = Ending::Dropped { epoch: 7 };
        assert!(matches!(backoff.after(dropped, SECOND), Wait::UpTo(_)));
        assert!(matches!(backoff.after(dropped, 2 * SECOND), Wait::UpTo(_)));
        assert_eq!(backoff.after(dropped, 3 * SECOND), Wait::Clash(CLASH));
        assert!(matches!(backoff.after(dropped, 4 * SECOND), Wait::UpTo(_)));
    }

    #[test]
    fn restarts_of_the_controller_and_slow_drops_are_none() {
        let mut backoff = Backoff::default();
        for epoch in 1..10 {
            let wait = backoff.after(Ending::Dropped { epoch }, SECOND);
            assert!(matches!(wait, Wait::UpTo(_)), "{epoch}");
        }
        let mut backoff = Backoff::default();
        for minute in 1..10 {
            let wait = backoff.after(Ending::Dropped { epoch: 1 }, minute * 60 * SECOND);
            assert!(matches!(wait, Wait::UpTo(_)), "{minute}");
        }
    }
}
