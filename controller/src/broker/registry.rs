//! Who is connected: takeover, kick, and the queues of workers.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use protocol::id::{TokenId, WorkerId};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::{acl::Credential, event::ConnectionEnd};

/// Messages that wait for one worker, at most; what is over is said again later.
const INBOX: usize = 256;
/// Kicks that are remembered for logins under way.
const REMEMBERED_KICKS: usize = 256;

/// All logged-in connections.
#[derive(Debug)]
pub(super) struct Registry {
    limit: usize,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    closed: bool,
    connections_so_far: u64,
    live: HashMap<u64, Live>,
    by_client: HashMap<(Credential, String), u64>,
    inboxes: HashMap<WorkerId, (u64, mpsc::Sender<Bytes>)>,
    kicks_so_far: u64,
    kicks: VecDeque<(u64, Credential)>,
}

#[derive(Debug)]
struct Live {
    credential: Credential,
    client: Option<(Credential, String)>,
    evict: Option<oneshot::Sender<ConnectionEnd>>,
    ended: CancellationToken,
}

/// Why a login with a good credential is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotAdmitted {
    /// `limits.mqtt_connections` are connected.
    #[error("too many connections")]
    Full,
    /// The credential was taken back while it was being checked.
    #[error("credential was withdrawn during the login")]
    Withdrawn,
    /// The broker is stopping.
    #[error("the broker is stopping")]
    Stopping,
}

/// What a connection gets when it is let in.
#[derive(Debug)]
pub(super) struct Admitted {
    pub(super) membership: Membership,
    /// Fires when the connection must end.
    pub(super) evicted: oneshot::Receiver<ConnectionEnd>,
    /// A worker's queue.
    pub(super) inbox: Option<mpsc::Receiver<Bytes>>,
    /// Fires when the connection that this one replaces has ended.
    pub(super) predecessor: Option<CancellationToken>,
}

/// A place among the connected; dropping it gives it up.
#[derive(Debug)]
pub(super) struct Membership {
    registry: Arc<Registry>,
    connection: u64,
    ended: CancellationToken,
}

impl Membership {
    /// The number of this connection; later ones are higher.
    pub(super) const fn connection(&self) -> u64 {
        self.connection
    }

    /// Gives the place up now, and the successor its turn when `self` is dropped.
    pub(super) fn leave(&self) {
        self.registry.remove(self.connection);
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.leave();
        self.ended.cancel();
    }
}

/// Why a message cannot be put into a worker's queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotSent {
    /// The worker is not connected.
    #[error("worker is not connected")]
    Offline,
    /// The worker does not take its messages fast enough.
    #[error("worker's queue is full")]
    Full,
}

impl Registry {
    pub(super) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            limit,
            inner: Mutex::default(),
        })
    }

    /// To be taken before a credential is checked; see [`Self::admit`].
    pub(super) fn kicks_so_far(&self) -> u64 {
        self.lock().kicks_so_far
    }

    /// Lets a connection in and shows the one with the same credential and client id out.
    /// A kick since `kicks_seen` counts for this login too.
    pub(super) fn admit(
        self: &Arc<Self>,
        credential: Credential,
        client_id: &str,
        kicks_seen: u64,
    ) -> Result<Admitted, NotAdmitted> {
        let mut inner = self.lock();
        if inner.closed {
            return Err(NotAdmitted::Stopping);
        }
        if inner.was_kicked_since(credential, kicks_seen) {
            return Err(NotAdmitted::Withdrawn);
        }
        let client = (!client_id.is_empty()).then(|| (credential, client_id.to_owned()));
        let replaced = client
            .as_ref()
            .and_then(|client| inner.by_client.get(client).copied());
        if replaced.is_none() && credential != Credential::Probe && inner.clients() >= self.limit {
            return Err(NotAdmitted::Full);
        }
        let predecessor = replaced.and_then(|old| inner.remove(old, Some(ConnectionEnd::Replaced)));
        inner.connections_so_far += 1;
        let connection = inner.connections_so_far;
        let (evict, evicted) = oneshot::channel();
        let ended = CancellationToken::new();
        if let Some(client) = &client {
            inner.by_client.insert(client.clone(), connection);
        }
        let live = Live {
            credential,
            client,
            evict: Some(evict),
            ended: ended.clone(),
        };
        inner.live.insert(connection, live);
        let inbox = if let Credential::Worker(id) = credential {
            let (sender, receiver) = mpsc::channel(INBOX);
            inner.inboxes.insert(id, (connection, sender));
            Some(receiver)
        } else {
            None
        };
        Ok(Admitted {
            membership: Membership {
                registry: Arc::clone(self),
                connection,
                ended,
            },
            evicted,
            inbox,
            predecessor,
        })
    }

    /// Closes every connection of a credential; how many there were.
    pub(super) fn kick(&self, credential: Credential) -> usize {
        let mut inner = self.lock();
        inner.kicks_so_far += 1;
        let number = inner.kicks_so_far;
        inner.kicks.push_back((number, credential));
        if inner.kicks.len() > REMEMBERED_KICKS {
            inner.kicks.pop_front();
        }
        let of_credential = |(_, live): &(&u64, &Live)| live.credential == credential;
        let kicked: Vec<u64> = inner
            .live
            .iter()
            .filter(of_credential)
            .map(|(id, _)| *id)
            .collect();
        for connection in &kicked {
            inner.remove(*connection, Some(ConnectionEnd::Kicked));
        }
        kicked.len()
    }

    /// Whose tokens are connected.
    pub(super) fn tokens(&self) -> BTreeSet<TokenId> {
        let of = |live: &Live| match live.credential {
            Credential::Token(id) => Some(id),
            Credential::Worker(_) | Credential::Probe => None,
        };
        self.lock().live.values().filter_map(of).collect()
    }

    /// Closes everything, and lets nobody in any more.
    pub(super) fn close(&self) {
        let mut inner = self.lock();
        inner.closed = true;
        let all: Vec<u64> = inner.live.keys().copied().collect();
        for connection in all {
            inner.remove(connection, Some(ConnectionEnd::Stopping));
        }
    }

    /// Puts a message into a worker's queue; never waits.
    pub(super) fn send(&self, worker: WorkerId, message: Bytes) -> Result<(), NotSent> {
        let inner = self.lock();
        let (_, inbox) = inner.inboxes.get(&worker).ok_or(NotSent::Offline)?;
        inbox.try_send(message).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => NotSent::Full,
            mpsc::error::TrySendError::Closed(_) => NotSent::Offline,
        })
    }

    pub(super) fn is_connected(&self, worker: WorkerId) -> bool {
        self.lock().inboxes.contains_key(&worker)
    }

    /// Connections (without the watchdog's), and workers among them.
    pub(super) fn counts(&self) -> (usize, usize) {
        let inner = self.lock();
        (inner.clients(), inner.inboxes.len())
    }

    fn remove(&self, connection: u64) {
        self.lock().remove(connection, None);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Every change is complete before anything can panic.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn was_kicked_since(&self, credential: Credential, seen: u64) -> bool {
        let forgotten = self.kicks_so_far.saturating_sub(self.kicks.len() as u64);
        seen < forgotten
            || self
                .kicks
                .iter()
                .any(|(number, kicked)| *number > seen && *kicked == credential)
    }

    /// Connections that count against the limit.
    fn clients(&self) -> usize {
        let ours = |live: &&Live| live.credential != Credential::Probe;
        self.live.values().filter(ours).count()
    }

    /// Forgets a connection and tells it why; its own end of life is in the returned token.
    fn remove(&mut self, connection: u64, why: Option<ConnectionEnd>) -> Option<CancellationToken> {
        let live = self.live.remove(&connection)?;
        if let Some(client) = &live.client
            && self.by_client.get(client) == Some(&connection)
        {
            self.by_client.remove(client);
        }
        if let Credential::Worker(id) = live.credential
            && self
                .inboxes
                .get(&id)
                .is_some_and(|(owner, _)| *owner == connection)
        {
            self.inboxes.remove(&id);
        }
        if let (Some(evict), Some(why)) = (live.evict, why) {
            // The session may have ended by itself at this very moment.
            let _ = evict.send(why);
        }
        Some(live.ended)
    }
}

#[cfg(test)]
mod tests {
    use protocol::id::TokenId;

    use super::*;

    fn token() -> Credential {
        Credential::Token(TokenId::new())
    }

    #[test]
    fn a_client_id_is_taken_over_within_one_credential_only() {
        let registry = Registry::new(10);
        let (mine, yours) = (token(), token());
        let mut first = registry.admit(mine, "x", 0).expect("first");
        let mut other = registry.admit(yours, "x", 0).expect("another credential");
        let second = registry.admit(mine, "x", 0).expect("takes over");
        assert_eq!(first.evicted.try_recv(), Ok(ConnectionEnd::Replaced));
        assert!(other.evicted.try_recv().is_err());
        let ended = second.predecessor.expect("waits for the first");
        assert!(!ended.is_cancelled());
        drop(first.membership);
        assert!(ended.is_cancelled());
        let third = registry.admit(mine, "x", 0).expect("again");
        assert!(
            third.predecessor.is_some(),
            "the first one's end took nothing from the second"
        );
    }

    #[test]
    fn nameless_clients_live_side_by_side_up_to_the_limit() {
        let registry = Registry::new(2);
        let mine = token();
        let _a = registry.admit(mine, "", 0).expect("one");
        let b = registry.admit(mine, "b", 0).expect("two");
        assert_eq!(registry.admit(mine, "", 0).err(), Some(NotAdmitted::Full));
        let _b = registry.admit(mine, "b", 0).expect("a takeover needs no room");
        assert!(
            registry.admit(Credential::Probe, "", 0).is_ok(),
            "the watchdog always fits"
        );
        drop(b);
        assert_eq!(registry.counts(), (2, 0));
    }

    #[test]
    fn a_kick_closes_and_counts_for_logins_under_way() {
        let registry = Registry::new(10);
        let id = WorkerId::new();
        let seen = registry.kicks_so_far();
        let mut worker = registry.admit(Credential::Worker(id), "w", seen).expect("in");
        assert_eq!(registry.send(id, Bytes::from_static(b"x")), Ok(()));
        assert_eq!(registry.kick(Credential::Worker(id)), 1);
        assert_eq!(worker.evicted.try_recv(), Ok(ConnectionEnd::Kicked));
        assert_eq!(registry.send(id, Bytes::from_static(b"x")), Err(NotSent::Offline));
        let again = |seen| registry.admit(Credential::Worker(id), "w", seen).err();
        assert_eq!(again(seen), Some(NotAdmitted::Withdrawn));
        assert_eq!(again(registry.kicks_so_far()), None);
        for _ in 0..=REMEMBERED_KICKS {
            registry.kick(token());
        }
        let late = registry.admit(token(), "z", seen).err();
        assert_eq!(late, Some(NotAdmitted::Withdrawn), "too long ago to be sure");
    }

    #[test]
    fn a_full_queue_is_said_and_a_closed_registry_admits_nobody() {
        let registry = Registry::new(10);
        let id = WorkerId::new();
        let _worker = registry.admit(Credential::Worker(id), "w", 0).expect("in");
        for _ in 0..INBOX {
            assert_eq!(registry.send(id, Bytes::new()), Ok(()));
        }
        assert_eq!(registry.send(id, Bytes::new()), Err(NotSent::Full));
        registry.close();
        assert_eq!(registry.counts(), (0, 0));
        assert_eq!(registry.admit(token(), "", 0).err(), Some(NotAdmitted::Stopping));
    }
}
