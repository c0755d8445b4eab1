//! Bounds on connections that have not said who they are.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

/// Connections of all addresses together that have not logged in yet, at most.
const MAX_WAITING: usize = 512;

/// How many connections have not logged in yet, by address.
#[derive(Debug, Default)]
pub struct Waiting(Mutex<HashMap<IpAddr, usize>>);

/// One connection that has not logged in yet.
#[derive(Debug)]
pub struct Ticket {
    waiting: Arc<Waiting>,
    address: IpAddr,
}

impl Waiting {
    /// A place for a connection of this address, which may hold `limit` of them; none if it has as
    /// many. Without a limit the bound of all addresses does not count either.
    pub fn enter(self: &Arc<Self>, address: IpAddr, limit: usize) -> Option<Ticket> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let total: usize = counts.values().sum();
        let here = counts.get(&address).copied().unwrap_or(0);
        if here >= limit || (limit != usize::MAX && total >= MAX_WAITING) {
            return None;
        }
        counts.insert(address, here + 1);
        Some(Ticket {
            waiting: Arc::clone(self),
            address,
        })
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut counts = self.waiting.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn an_address_can_hold_only_so_many_places_and_gets_them_back() {
        let waiting = Arc::new(Waiting::default());
        let (a, b) = (IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from([192, 0, 2, 1]));
        let mut held: Vec<_> = (0..2).map(|_| waiting.enter(a, 2).expect("room")).collect();
        assert!(waiting.enter(a, 2).is_none());
        assert!(waiting.enter(a, usize::MAX).is_some(), "the watchdog passes");
        assert!(waiting.enter(b, 2).is_some());
        held.pop();
        assert!(waiting.enter(a, 2).is_some());
        drop(held);
        assert!(waiting.0.lock().expect("sound").is_empty());
    }
}
