//! The listeners of the HTTP server: plain, and with TLS.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::serve::Listener;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::sleep,
};
use tokio_rustls::server::TlsStream;
use tokio_util::sync::WaitForCancellationFutureOwned;
use tracing::{debug, warn};

use super::{Acceptor, Connections, Peer, Ticket, Waiting};

/// Handshakes at a time, and of one address: a handshake costs a signature.
const HANDSHAKES: usize = 64;
const HANDSHAKES_PER_ADDRESS: usize = 16;
/// Open connections of one address: a worker with many slots has some tens.
const OPEN_PER_ADDRESS: usize = 128;
/// Pause after a failed accept: out of file descriptors, usually.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Plain HTTP, on loopback.
pub struct PlainListener(TcpListener);

impl PlainListener {
    /// Over a bound socket.
    pub const fn new(socket: TcpListener) -> Self {
        Self(socket)
    }
}

impl Listener for PlainListener {
    type Io = TcpStream;
    type Addr = Peer;

    async fn accept(&mut self) -> (TcpStream, Peer) {
        let (stream, address) = accept(&self.0).await;
        (stream, Peer::plain(address.ip().to_canonical()))
    }

    fn local_addr(&self) -> io::Result<Peer> {
        Ok(Peer::plain(self.0.local_addr()?.ip()))
    }
}

/// HTTP over TLS.
pub struct TlsListener {
    socket: TcpListener,
    acceptor: Acceptor,
    connections: Connections,
    shaking: Arc<Waiting>,
    open: Arc<Waiting>,
    handshakes: JoinSet<Option<(Cuttable, Peer)>>,
}

impl TlsListener {
    /// Over a bound socket.
    pub fn new(socket: TcpListener, acceptor: Acceptor, connections: Connections) -> Self {
        Self {
            socket,
            acceptor,
            connections,
            shaking: Arc::default(),
            open: Arc::default(),
            handshakes: JoinSet::new(),
        }
    }

    /// Begins a handshake, unless its address has too many already.
    fn begin(&mut self, stream: TcpStream, address: SocketAddr) {
        let ip = address.ip().to_canonical();
        let shaking = self.shaking.enter(ip, HANDSHAKES_PER_ADDRESS);
        let open = self.open.enter(ip, OPEN_PER_ADDRESS);
        let (Some(shaking), Some(open)) = (shaking, open) else {
            debug!(peer = %ip, "turned away: too many connections of one address");
            return;
        };
        let (acceptor, connections) = (self.acceptor.clone(), self.connections.clone());
        self.handshakes.spawn(async move {
            let shaken = acceptor.accept(stream, ip).await;
            drop(shaking);
            match shaken {
                Ok((stream, mut peer)) => {
                    let connection = peer.certificate().map(|_| connections.open());
                    let cut = connection.as_ref().map(|connection| connection.cut().clone());
                    peer.connection = connection;
                    let stream = Cuttable {
                        stream,
                        cut: cut.map(|cut| Box::pin(cut.cancelled_owned())),
                        is_cut: false,
                        _place: open,
                    };
                    Some((stream, peer))
                }
                Err(error) => {
                    debug!(peer = %ip, %error, "no HTTP connection");
                    None
                }
            }
        });
    }
}

impl Listener for TlsListener {
    type Io = Cuttable;
    type Addr = Peer;

    async fn accept(&mut self) -> (Cuttable, Peer) {
        loop {
            let has_room = self.handshakes.len() < HANDSHAKES;
            tokio::select! {
                Some(done) = self.handshakes.join_next() => match done {
                    Ok(Some(ready)) => return ready,
                    Ok(None) => {}
                    Err(error) => warn!(%error, "a TLS handshake ended by a fault of ours"),
                },
                (stream, address) = accept(&self.socket), if has_room => self.begin(stream, address),
            }
        }
    }

    fn local_addr(&self) -> io::Result<Peer> {
        Ok(Peer::plain(self.socket.local_addr()?.ip()))
    }
}

async fn accept(socket: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match socket.accept().await {
            Ok((stream, address)) => {
                if let Err(error) = stream.set_nodelay(true) {
                    debug!(%error, "TCP_NODELAY could not be set");
                }
                return (stream, address);
            }
            Err(error) => {
                warn!(%error, "cannot accept an HTTP connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// A TLS connection that ends when it is cut.
pub struct Cuttable {
    stream: TlsStream<TcpStream>,
    cut: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    is_cut: bool,
    _place: Ticket,
}

impl Cuttable {
    /// An error once it was cut; otherwise whoever polls is woken by the cut too.
    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        // a future that is ready must not be asked again
        if !self.is_cut
            && let Some(cut) = &mut self.cut
        {
            self.is_cut = cut.as_mut().poll(context).is_ready();
        }
        if self.is_cut {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        Ok(())
    }
}

impl AsyncRead for Cuttable {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Cuttable {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
