//! Chance, as what the simulated world asks of it.

use std::ops::{Deref, DerefMut};

use controller::orchestrator::Entropy;
use e2e::Chance;
use protocol::id::AttemptId;
use uuid::Uuid;

/// Chance that also makes ids.
#[derive(Clone, Debug)]
pub(crate) struct Random(Chance);

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(Chance::new(seed))
    }

    pub(crate) fn uuid(&mut self, kind: u64) -> Uuid {
        Uuid::from_u64_pair(kind, self.draw())
    }
}

impl Deref for Random {
    type Target = Chance;

    fn deref(&self) -> &Chance {
        &self.0
    }
}

impl DerefMut for Random {
    fn deref_mut(&mut self) -> &mut Chance {
        &mut self.0
    }
}

impl Entropy for Random {
    fn attempt_id(&mut self) -> AttemptId {
        AttemptId::from_uuid(Uuid::from_u64_pair(self.draw(), self.draw()))
    }

    fn unit(&mut self) -> f64 {
        self.below(1_000) as f64 / 1_000.0
    }
}
