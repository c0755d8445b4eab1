//! The listener: takes connections, bounds those that have not logged in, and
//! owns the task of each.

use std::{
    io,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

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
use crate::transport::{Acceptor, Peer, Ticket, Waiting};

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

/// Takes connections until `stop`, then ends them all; with an acceptor they begin with TLS.
pub(super) async fn run(
    shared: Arc<Shared>,
    listener: TcpListener,
    acceptor: Option<Acceptor>,
    stop: CancellationToken,
) {
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
                        let shared = Arc::clone(&shared);
                        sessions.spawn(open(shared, acceptor.clone(), stream, ip, ticket));
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

/// The handshake, where there is one, counts as a part of the login: its place is held for both.
async fn open(
    shared: Arc<Shared>,
    acceptor: Option<Acceptor>,
    stream: TcpStream,
    ip: IpAddr,
    ticket: Ticket,
) {
    let Some(acceptor) = acceptor else {
        return serve(shared, stream, Peer::plain(ip), ticket).await;
    };
    match acceptor.accept(stream, ip).await {
        Ok((stream, peer)) => serve(shared, stream, peer, ticket).await,
        Err(reason) => debug!(peer = %ip, "no MQTT connection: {reason}"),
    }
}

async fn serve<S: AsyncRead + AsyncWrite>(shared: Arc<Shared>, stream: S, peer: Peer, ticket: Ticket) {
    let session = login::login(&shared, stream, peer).await;
    drop(ticket);
    if let Some(session) = session {
        session.run().await;
    }
}
