//! The watchdog: one connection of our own through listener, login, session and
//! router, and a message that must come back over all of it.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
};

use bytes::Bytes;
use tokio::{
    net::{TcpSocket, TcpStream},
    sync::{mpsc, oneshot},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{
    config::MAX_PACKET,
    front::Shared,
    packet::{Connect, ConnectCode, Delivery, Packet, PacketId, Publish, Qos},
    wire::{Wire, WireError},
};

/// The topic that only the watchdog may use, outside everything that others may read.
pub(super) const PROBE_TOPIC: &str = "agentd-watchdog/probe";
/// The watchdog's user name; its password is random in each process.
pub(super) const PROBE_USER: &str = "agentd-watchdog";
/// Probes in a row that may stay unanswered.
const MISSES: u32 = 2;

/// Questions that wait for a probe.
const ASKED: usize = 4;

/// Has a message sent through the whole broker when it is wanted.
#[derive(Clone, Debug)]
pub struct Echo(mpsc::Sender<oneshot::Sender<()>>);

/// The watchdog's end of an [`Echo`].
pub(super) type Asked = mpsc::Receiver<oneshot::Sender<()>>;

impl Echo {
    pub(super) fn new() -> (Self, Asked) {
        let (ask, asked) = mpsc::channel(ASKED);
        (Self(ask), asked)
    }

    /// Whether a message of now goes through listener, login, session and router, and comes back.
    pub async fn comes_back(&self) -> bool {
        let (done, answer) = oneshot::channel();
        self.0.send(done).await.is_ok() && answer.await.is_ok()
    }
}

/// Why one probe did not come back.
#[derive(Debug, thiserror::Error)]
enum Miss {
    #[error("no answer in time")]
    TimedOut,
    #[error("cannot connect: {0}")]
    Connect(#[source] io::Error),
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error("the connection broke: {0}")]
    Io(#[from] io::Error),
    #[error("unexpected answer {0:?}")]
    Unexpected(Box<Packet>),
}

/// Probes until `stop`, and whenever it is asked; returns `false` when the broker stays silent.
pub(super) async fn run(
    shared: Arc<Shared>,
    address: SocketAddr,
    mut asked: Asked,
    stop: CancellationToken,
) -> bool {
    let every = shared.config.probe_every;
    let (mut probe, mut misses, mut number) = (None, 0, 0_u64);
    let mut asker: Option<oneshot::Sender<()>> = None;
    loop {
        number += 1;
        match timeout(every, beat(&shared, address, probe.take(), number)).await {
            Ok(Ok(alive)) => {
                (probe, misses) = (Some(alive), 0);
                // who gave up meanwhile does not want the answer
                let _ = asker.take().map(|asker| asker.send(()));
            }
            failed => {
                asker = None;
                let reason = failed.map_or(Miss::TimedOut, |beat| beat.err().unwrap_or(Miss::TimedOut));
                misses += 1;
                warn!("the broker did not answer probe {number} ({misses} of {MISSES}): {reason}");
                if misses >= MISSES {
                    return false;
                }
            }
        }
        tokio::select! {
            () = stop.cancelled() => return true,
            () = sleep(every) => {}
            Some(question) = asked.recv() => asker = Some(question),
        }
    }
}

/// One probe there and back, on a new connection if there is none.
async fn beat(
    shared: &Shared,
    address: SocketAddr,
    wire: Option<Wire<TcpStream>>,
    number: u64,
) -> Result<Wire<TcpStream>, Miss> {
    let mut wire = match wire {
        Some(wire) => wire,
        None => connect(shared, address).await?,
    };
    let payload = Bytes::copy_from_slice(&number.to_be_bytes());
    let publish = Publish {
        topic: PROBE_TOPIC.to_owned(),
        payload: payload.clone(),
        delivery: Delivery::Zero,
        retain: false,
        dup: false,
    };
    wire.send(&Packet::Publish(publish)).await?;
    loop {
        match wire.receive(MAX_PACKET).await? {
            Packet::Publish(back) if back.payload == payload => return Ok(wire),
            // One that was given up before.
            Packet::Publish(_) => {}
            other => return Err(Miss::Unexpected(Box::new(other))),
        }
    }
}

async fn connect(shared: &Shared, address: SocketAddr) -> Result<Wire<TcpStream>, Miss> {
    let stream = open(shared, address).await.map_err(Miss::Connect)?;
    let mut wire = Wire::new(stream);
    let connect = Connect {
        clean_session: true,
        username: Some(PROBE_USER.to_owned()),
        password: Some(Bytes::from(shared.probe_secret.clone())),
        ..Connect::default()
    };
    wire.send(&Packet::Connect(Box::new(connect))).await?;
    let welcome = Packet::ConnAck(ConnectCode::Accepted);
    expect(&mut wire, &welcome).await?;
    let (id, filters) = (PacketId::MIN, vec![(PROBE_TOPIC.to_owned(), Qos::Zero)]);
    wire.send(&Packet::Subscribe { id, filters }).await?;
    let granted = vec![Some(Qos::Zero)];
    expect(&mut wire, &Packet::SubAck { id, granted }).await?;
    Ok(wire)
}

async fn expect(wire: &mut Wire<TcpStream>, wanted: &Packet) -> Result<(), Miss> {
    let packet = wire.receive(MAX_PACKET).await?;
    if packet == *wanted {
        Ok(())
    } else {
        Err(Miss::Unexpected(Box::new(packet)))
    }
}

/// Connects from a port that the listener is told before.
async fn open(shared: &Shared, address: SocketAddr) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    socket.bind(SocketAddr::new(address.ip(), 0))?;
    shared
        .probe_port
        .store(socket.local_addr()?.port(), Ordering::Relaxed);
    let stream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
