//! Chance, as a sequence that its seed decides.

use controller::orchestrator::Entropy;
use protocol::id::AttemptId;
use uuid::Uuid;

/// A small generator (SplitMix64) whose whole future follows from its seed.
#[derive(Clone, Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Uniform in `0..bound`; 0 for an empty range.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    pub(crate) fn chance(&mut self, one_in: u64) -> bool {
        self.below(one_in) == 0
    }

    pub(crate) fn pick<T: Clone>(&mut self, from: &[T]) -> Option<T> {
        from.get(self.below(from.len() as u64) as usize).cloned()
    }

    pub(crate) fn uuid(&mut self, kind: u64) -> Uuid {
        Uuid::from_u64_pair(kind, self.next())
    }
}

impl Entropy for Random {
    fn attempt_id(&mut self) -> AttemptId {
        AttemptId::from_uuid(Uuid::from_u64_pair(self.next(), self.next()))
    }

    fn unit(&mut self) -> f64 {
        self.below(1_000) as f64 / 1_000.0
    }
}
