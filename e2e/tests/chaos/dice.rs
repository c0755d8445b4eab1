//! Chance that a seed decides.

use std::{thread::sleep, time::Duration};

/// SplitMix64.
#[derive(Clone)]
pub(crate) struct Dice(u64);

impl Dice {
    /// With the seed of `AGENTD_SEED`, else a new one.
    pub(crate) fn new() -> Self {
        let given = std::env::var("AGENTD_SEED").ok();
        let given = given.map(|text| text.parse().expect("AGENTD_SEED is a number"));
        Self(given.unwrap_or_else(|| uuid::Uuid::new_v4().as_u64_pair().0))
    }

    pub(crate) const fn seed(&self) -> u64 {
        self.0
    }

    /// Others of their own, such as one for each client.
    pub(crate) fn fork(&mut self) -> Self {
        Self(self.next())
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Uniform in `0..bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    pub(crate) fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    /// Lets some time pass, in milliseconds.
    pub(crate) fn pause(&mut self, from: u64, to: u64) {
        sleep(Duration::from_millis(from + self.below(to - from)));
    }
}
