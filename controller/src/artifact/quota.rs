//! How much each worker may upload within a day, so that one in strange hands cannot fill the disk.
//!
//! Counted in memory: a start of the process begins a new day, and the room that stays free on the
//! disk does not depend on it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use protocol::id::WorkerId;

/// How long a count lasts: a day, in milliseconds.
const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// What every worker has uploaded; cheap to clone.
#[derive(Clone)]
pub struct Quotas(Arc<Inner>);

struct Inner {
    most: u64,
    days: Mutex<HashMap<WorkerId, Day>>,
}

/// What one of them has, since when (monotonic).
#[derive(Clone, Copy)]
struct Day {
    begun_ms: u64,
    bytes: u64,
}

/// An upload is more than a worker may bring today.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{bytes} bytes more are over this worker's quota: it has {left} of {most} bytes left for today")]
pub struct OverQuota {
    bytes: u64,
    left: u64,
    most: u64,
}

impl Quotas {
    /// At most so many bytes a day for each worker.
    pub fn new(most: u64) -> Self {
        Self(Arc::new(Inner {
            most,
            days: Mutex::default(),
        }))
    }

    /// Takes what an upload may bring, at a monotonic time.
    pub fn take(&self, worker: WorkerId, bytes: u64, now_ms: u64) -> Result<Taken, OverQuota> {
        let mut days = self.days();
        let fresh = Day {
            begun_ms: now_ms,
            bytes: 0,
        };
        let day = days.entry(worker).or_insert(fresh);
        if now_ms.saturating_sub(day.begun_ms) >= DAY_MS {
            *day = fresh;
        }
        let (most, left) = (self.0.most, self.0.most.saturating_sub(day.bytes));
        if bytes > left {
            return Err(OverQuota { bytes, left, most });
        }
        day.bytes += bytes;
        Ok(Taken {
            quotas: self.clone(),
            worker,
            unused: bytes,
        })
    }

    fn days(&self) -> MutexGuard<'_, HashMap<WorkerId, Day>> {
        self.0.days.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an upload may bring; what it has not brought is given back at its end.
pub struct Taken {
    quotas: Quotas,
    worker: WorkerId,
    unused: u64,
}

impl Taken {
    /// So many bytes came.
    pub fn brought(&mut self, bytes: u64) {
        self.unused = self.unused.saturating_sub(bytes);
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if let Some(day) = self.quotas.days().get_mut(&self.worker) {
            day.bytes = day.bytes.saturating_sub(self.unused);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_has_its_own_quota_that_a_new_day_renews() {
        let quotas = Quotas::new(100);
        let (one, other) = (WorkerId::new(), WorkerId::new());
        let mut taken = quotas.take(one, 90, 0).expect("within");
        assert_eq!(
            quotas.take(one, 11, 0).err(),
            Some(OverQuota {
                bytes: 11,
                left: 10,
                most: 100
            })
        );
        assert!(quotas.take(other, 100, 0).is_ok());
        // 50 of 90 came: the rest is given back
        taken.brought(50);
        drop(taken);
        assert!(quotas.take(one, 51, DAY_MS - 1).is_err());
        assert!(quotas.take(one, 50, DAY_MS - 1).is_ok());
        assert!(quotas.take(one, 100, DAY_MS).is_ok());
    }
}
