//! The broker as a whole: start, failure, stop.

use std::{
    collections::BTreeSet,
    io,
    net::SocketAddr,
    sync::{Arc, atomic::AtomicU16},
    thread,
    time::Duration,
};

use protocol::id::{TokenId, WorkerId};
use rand::Rng;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use super::{
    acl::Credential,
    config::BrokerConfig,
    event::Outlets,
    front::{self, Shared},
    interest::Interest,
    link::WorkerLink,
    login::Authenticate,
    registry::Registry,
    router::{self, RouterGone},
    stats::{BrokerStats, Counters},
    topics::{Publisher, Summaries},
    watchdog::{self, Asked, Echo},
};
use crate::transport::{Acceptor, Waiting};

/// How long a stop waits for the router, which answers within a millisecond when it lives.
const ROUTER_PATIENCE: Duration = Duration::from_secs(2);

/// Why there is no broker, or no longer one.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Passwords would cross the network in the clear.
    #[error(
        "plain MQTT listens on loopback only, not on {0}: use an address of this host alone, such as 127.0.0.1"
    )]
    NotLoopback(SocketAddr),
    /// The address cannot be had.
    #[error(
        "cannot listen for MQTT on {address}: stop what listens there, or set mqtt.listen (--mqtt) to another"
    )]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// A thread cannot be had.
    #[error("cannot start the thread of the MQTT router")]
    Thread(#[source] io::Error),
}

/// A broker that cannot go on: the process should end and be started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BrokerFailure {
    /// See [`RouterGone`].
    #[error(transparent)]
    Router(#[from] RouterGone),
    /// Probes through the whole path stay unanswered.
    #[error("the MQTT broker does not answer its watchdog")]
    Silent,
}

/// The running broker. Dropping it stops nothing: call [`Broker::stop`].
pub struct Broker {
    pub(super) shared: Arc<Shared>,
    address: SocketAddr,
    stop: CancellationToken,
    fronts: Vec<JoinHandle<()>>,
    watchdog: JoinHandle<()>,
    links: JoinHandle<()>,
    echo: Echo,
    failure: watch::Receiver<Option<BrokerFailure>>,
}

impl Broker {
    /// Binds, starts the router and serves. What comes in goes to `outlets`.
    pub async fn start(
        config: BrokerConfig,
        auth: Arc<dyn Authenticate>,
        summaries: Arc<dyn Summaries>,
        outlets: Outlets,
    ) -> Result<Self, StartError> {
        let wanted = config.listen;
        if !wanted.ip().to_canonical().is_loopback() {
            return Err(StartError::NotLoopback(wanted));
        }
        let listen_error = |source| StartError::Listen {
            address: wanted,
            source,
        };
        let listener = TcpListener::bind(wanted).await.map_err(listen_error)?;
        let address = listener.local_addr().map_err(listen_error)?;
        let (router, thread) = router::start(config.mqtt_connections).map_err(StartError::Thread)?;
        let shared = Arc::new(Shared {
            registry: Registry::new(config.mqtt_connections),
            config,
            auth,
            summaries,
            outlets,
            interest: Arc::new(Interest::new()),
            router,
            counters: Arc::default(),
            probe_secret: random_secret(),
            probe_port: AtomicU16::new(0),
            waiting: Arc::new(Waiting::default()),
        });
        let stop = CancellationToken::new();
        let (failed, failure) = watch::channel(None);
        let links = tokio::spawn(report_thread(thread, failed.clone()));
        let front = tokio::spawn(front::run(Arc::clone(&shared), listener, None, stop.clone()));
        let (echo, asked) = Echo::new();
        let watched = Arc::clone(&shared);
        let watchdog = tokio::spawn(report_silence(watched, address, asked, stop.clone(), failed));
        info!(%address, "MQTT broker listens");
        Ok(Self {
            shared,
            address,
            stop,
            fronts: vec![front],
            watchdog,
            links,
            echo,
            failure,
        })
    }

    /// Listens on another socket too, where connections begin with TLS.
    pub fn listen_tls(&mut self, socket: TcpListener, acceptor: Acceptor) {
        let shared = Arc::clone(&self.shared);
        let front = front::run(shared, socket, Some(acceptor), self.stop.clone());
        self.fronts.push(tokio::spawn(front));
    }

    /// Where it listens.
    pub const fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// The way to the workers.
    pub fn link(&self) -> WorkerLink {
        WorkerLink::new(Arc::clone(&self.shared.registry))
    }

    /// The way to the readers of public topics.
    pub fn publisher(&self) -> Publisher {
        Publisher {
            router: self.shared.router.clone(),
            interest: Arc::clone(&self.shared.interest),
            counters: Arc::clone(&self.shared.counters),
        }
    }

    /// Shows on demand that the whole broker works.
    pub fn echo(&self) -> Echo {
        self.echo.clone()
    }

    /// A handle that closes connections and reads counters.
    pub fn control(&self) -> BrokerControl {
        BrokerControl {
            registry: Arc::clone(&self.shared.registry),
            counters: Arc::clone(&self.shared.counters),
        }
    }

    /// Waits until the broker cannot go on. The owner ends the process then.
    pub fn failure(&self) -> impl Future<Output = BrokerFailure> + Send + use<> {
        let mut failure = self.failure.clone();
        async move {
            loop {
                if let Some(failure) = *failure.borrow_and_update() {
                    return failure;
                }
                if failure.changed().await.is_err() {
                    // Stopped in good order.
                    std::future::pending::<()>().await;
                }
            }
        }
    }

    /// Delivers what was published before, closes all connections, ends tasks and thread.
    pub async fn stop(self) {
        // Without a router that answers there is nothing to deliver.
        let _ = timeout(ROUTER_PATIENCE, self.shared.router.settle()).await;
        self.stop.cancel();
        for front in self.fronts {
            join("listener", front).await;
        }
        join("watchdog", self.watchdog).await;
        let links = async {
            self.shared.router.stop().await;
            join("router links", self.links).await;
        };
        if timeout(ROUTER_PATIENCE, links).await.is_err() {
            error!("the MQTT router does not take its end");
        }
    }
}

/// Closes connections and reads counters.
#[derive(Clone, Debug)]
pub struct BrokerControl {
    registry: Arc<Registry>,
    counters: Arc<Counters>,
}

impl BrokerControl {
    /// Closes the connection of a worker that was removed, and refuses a login of it
    /// that is being checked right now; whether there was one.
    pub fn kick_worker(&self, worker: WorkerId) -> bool {
        self.registry.kick(Credential::Worker(worker)) > 0
    }

    /// Closes all connections of a token that was revoked or has expired; how many.
    pub fn kick_token(&self, token: TokenId) -> usize {
        self.registry.kick(Credential::Token(token))
    }

    /// The tokens that connections are logged in with.
    pub fn tokens(&self) -> BTreeSet<TokenId> {
        self.registry.tokens()
    }

    /// The counters as of now.
    pub fn stats(&self) -> BrokerStats {
        let (connections, workers) = self.registry.counts();
        self.counters.snapshot(connections, workers)
    }
}

async fn report_thread(
    thread: thread::JoinHandle<Result<(), RouterGone>>,
    failed: watch::Sender<Option<BrokerFailure>>,
) {
    let joined = tokio::task::spawn_blocking(move || thread.join()).await;
    if !matches!(joined, Ok(Ok(Ok(())))) {
        error!("the thread that speaks to the MQTT router has ended");
        failed.send_replace(Some(RouterGone.into()));
    }
}

async fn report_silence(
    shared: Arc<Shared>,
    address: SocketAddr,
    asked: Asked,
    stop: CancellationToken,
    failed: watch::Sender<Option<BrokerFailure>>,
) {
    let probing = watchdog::run(shared, address, asked, stop.clone());
    let answered = tokio::select! {
        () = stop.cancelled() => true,
        answered = probing => answered,
    };
    if !answered {
        failed.send_replace(Some(BrokerFailure::Silent));
    }
}

async fn join(name: &str, task: JoinHandle<()>) {
    if let Err(reason) = task.await {
        error!("the MQTT broker's {name} ended by a fault: {reason}");
    }
}

/// 256 random bits.
fn random_secret() -> String {
    let mut bytes = [0_u8; 32];
    rand::rng().fill_bytes(&mut bytes);
    hex::encode(bytes)
}
