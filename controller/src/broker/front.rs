//! The listener: takes connections, bounds those that have not logged in, and
//! owns the task of each.

use std::{
    collections::HashMap,
    io,
    net::IpAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::{
    config::BrokerConfig,
    event::Outlets,
    interest::Interest,
    login::{self, Authenticate},
    registry::Registry,
    router::RouterHandle,
    stats::Counters,
    topics::Summaries,
};

/// Connections of all addresses together that have not logged in yet, at most.
const MAX_WAITING: usize = 512;
/// How long sessions may take to end at a stop.
const DRAIN: Duration = Duration::from_secs(3);
/// Pause after a failed accept: out of file descriptors, usually.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// What all connections share.
pub(super) struct Shared {
    pub(super) config: BrokerConfig,
    pub(super) auth: Arc<dyn Authenticate>,
    pub(super) summaries: Arc<dyn Summaries>,
    pub(super) outlets: Outlets,
    pub(super) registry: Arc<Registry>,
    pub(super) interest: Arc<Interest>,
    pub(super) router: RouterHandle,
    pub(super) counters: Arc<Counters>,
    /// The password of the watchdog, new in each process.
    pub(super) probe_secret: String,
    /// The port that the watchdog connects from: nobody can crowd it out.
    pub(super) probe_port: AtomicU16,
    pub(super) waiting: Arc<Waiting>,
}

/// Takes connections until `stop`, then ends them all.
pub(super) async fn run(shared: Arc<Shared>, listener: TcpListener, stop: CancellationToken) {
    let mut sessions = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            Some(ended) = sessions.join_next() => {
                if let Err(reason) = ended {
                    error!("an MQTT session ended by a fault of ours: {reason}");
                }
            }
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    let (ip, port) = (peer.ip().to_canonical(), peer.port());
                    if let Some(ticket) = admit(&shared, &stream, ip, port) {
                        sessions.spawn(serve(Arc::clone(&shared), stream, ip, ticket));
                    }
                }
                Err(reason) => {
                    warn!("cannot accept an MQTT connection: {reason}");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    shared.registry.close();
    let ended = timeout(DRAIN, async { while sessions.join_next().await.is_some() {} }).await;
    if ended.is_err() {
        warn!(
            "{} MQTT sessions did not end in {DRAIN:?}: dropped",
            sessions.len()
        );
        sessions.shutdown().await;
    }
}

fn admit(shared: &Shared, stream: &TcpStream, ip: IpAddr, port: u16) -> Option<Ticket> {
    shared.counters.accepted.add();
    let limit = shared.config.waiting_per_address;
    let is_probe = port != 0 && port == shared.probe_port.load(Ordering::Relaxed);
    let ticket = shared
        .waiting
        .enter(ip, if is_probe { usize::MAX } else { limit });
    if ticket.is_none() {
        shared.counters.turned_away.add();
        return None;
    }
    if let Err(reason) = no_delay(stream) {
        warn!("cannot set TCP_NODELAY: {reason}");
    }
    ticket
}

fn no_delay(stream: &TcpStream) -> io::Result<()> {
    // Without it a QoS 1 round trip waits for delayed acknowledgements: 44 ms.
    stream.set_nodelay(true)
}

async fn serve(shared: Arc<Shared>, stream: TcpStream, peer: IpAddr, ticket: Ticket) {
    let session = login::login(&shared, stream, peer).await;
    drop(ticket);
    if let Some(session) = session {
        session.run().await;
    }
}

/// How many connections have not logged in yet, by address.
#[derive(Debug, Default)]
pub(super) struct Waiting(Mutex<HashMap<IpAddr, usize>>);

/// One connection that has not logged in yet.
#[derive(Debug)]
struct Ticket {
    waiting: Arc<Waiting>,
    address: IpAddr,
}

impl Waiting {
    fn enter(self: &Arc<Self>, address: IpAddr, limit: usize) -> Option<Ticket> {
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
