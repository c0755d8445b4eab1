//! Room for attempts: which of them hold one of this worker's slots. Pure.

use std::collections::BTreeSet;

use protocol::id::AttemptId;

/// The slots of this worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slots {
    total: u32,
    holders: BTreeSet<AttemptId>,
}

/// Whether an attempt got a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seat {
    /// It holds one now (or held it before).
    Taken,
    /// All are held by others.
    NoneFree,
}

impl Slots {
    /// So many free slots.
    pub fn new(total: u32) -> Self {
        Self {
            total,
            holders: BTreeSet::new(),
        }
    }

    /// How many there are in all.
    pub const fn total(&self) -> u32 {
        self.total
    }

    /// How many are held.
    pub fn used(&self) -> u32 {
        self.holders.len() as u32
    }

    /// The attempts that hold one.
    pub fn holders(&self) -> impl Iterator<Item = AttemptId> {
        self.holders.iter().copied()
    }

    /// Gives an attempt a slot if one is free; asking again changes nothing.
    pub fn take(&mut self, attempt: AttemptId) -> Seat {
        if !self.holders.contains(&attempt) && self.used() >= self.total {
            return Seat::NoneFree;
        }
        self.holders.insert(attempt);
        Seat::Taken
    }

    /// Gives the slot of an attempt back, if it held one.
    pub fn free(&mut self, attempt: AttemptId) {
        self.holders.remove(&attempt);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_holds_one_slot_until_it_gives_it_back() {
        let mut slots = Slots::new(1);
        let (first, second) = (AttemptId::new(), AttemptId::new());
        assert_eq!(slots.take(first), Seat::Taken);
        assert_eq!(slots.take(first), Seat::Taken);
        assert_eq!(slots.take(second), Seat::NoneFree);
        slots.free(first);
        assert_eq!(slots.take(second), Seat::Taken);
        assert_eq!((slots.used(), slots.total()), (1, 1));
    }
}
