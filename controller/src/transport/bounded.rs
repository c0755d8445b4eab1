//! How many HTTP connections are open, and for how long without a request: both
//! bounded, whoever they belong to.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    extract::connect_info::Connected,
    serve::{IncomingStream, Listener},
};
use protocol::http::problem::{Code, Problem};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::{Instant, Sleep, sleep_until, timeout},
};
use tracing::debug;

use super::Peer;

/// A connection on which nothing moved since a request is closed after so many times the idle time: a
/// request that never comes whole. Our slowest answer, a backup, begins within a minute.
const IN_REQUEST: u32 = 10;
/// Connections that are told at a time that there is no room; others are closed without a word.
const TOLD: usize = 16;
/// How long that may take.
const TELL: Duration = Duration::from_secs(1);
/// The places of all listeners together; cheap to clone.
#[derive(Clone, Debug)]
pub struct Places {
    open: Arc<Semaphore>,
    idle: Duration,
}

impl Places {
    /// So many connections, each open for so long without a request.
    pub fn new(connections: usize, idle: Duration) -> Self {
        let open = Arc::new(Semaphore::new(connections));
        Self { open, idle }
    }
}

/// A listener whose connections need a place.
pub struct Bounded<L> {
    inner: L,
    places: Places,
    told: JoinSet<()>,
}

impl<L> Bounded<L> {
    /// What `inner` accepts, as long as there are places.
    pub fn new(inner: L, places: Places) -> Self {
        let told = JoinSet::new();
        Self { inner, places, told }
    }
}

impl<L: Listener<Addr = Peer>> Bounded<L> {
    fn turn_away(&mut self, stream: L::Io, peer: &Peer) {
        debug!(peer = %peer.ip, "turned away: all HTTP connections are in use");
        while self.told.try_join_next().is_some() {}
        if self.told.len() < TOLD {
            self.told.spawn(async move {
                // whoever does not listen is closed all the same
                let _ = timeout(TELL, tell(stream)).await;
            });
        }
    }
}

/// Says that there is no room. What the client has said is read first: bytes that nobody read would
/// make the kernel throw the answer away.
async fn tell(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
    let mut request = [0; 4096];
    let _ = stream.read(&mut request).await?;
    let answer = no_room();
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

fn no_room() -> String {
    let problem = Problem::new(Code::Unavailable, "all HTTP connections of agentd are in use")
        .hint("try again a little later, or raise limits.http_connections in agentd's configuration");
    let body = serde_json::to_string(&problem).unwrap_or_default();
    format!(
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\nRetry-After: 1\r\n\
         Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

impl<L: Listener<Addr = Peer>> Listener for Bounded<L> {
    type Io = Placed<L::Io>;
    type Addr = Peer;

    async fn accept(&mut self) -> (Self::Io, Peer) {
        loop {
            let (stream, peer) = self.inner.accept().await;
            match self.places.open.clone().try_acquire_owned() {
                Ok(place) => return (Placed::new(stream, self.places.idle, place), peer),
                Err(_) => self.turn_away(stream, &peer),
            }
        }
    }

    fn local_addr(&self) -> io::Result<Peer> {
        self.inner.local_addr()
    }
}

impl<L: Listener<Addr = Peer>> Connected<IncomingStream<'_, Bounded<L>>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Bounded<L>>) -> Self {
        stream.remote_addr().clone()
    }
}

/// A connection in its place.
pub struct Placed<S> {
    stream: S,
    idle: Duration,
    moved: Instant,
    /// Something was read since the last write: an answer is being made.
    in_request: bool,
    alarm: Pin<Box<Sleep>>,
    _place: OwnedSemaphorePermit,
}

impl<S> Placed<S> {
    fn new(stream: S, idle: Duration, place: OwnedSemaphorePermit) -> Self {
        let moved = Instant::now();
        Self {
            stream,
            idle,
            moved,
            in_request: false,
            alarm: Box::pin(sleep_until(moved + idle)),
            _place: place,
        }
    }

    fn moved(&mut self, by_client: bool) {
        self.moved = Instant::now();
        self.in_request = by_client;
    }

    /// An error when nothing has moved for too long; otherwise whoever polls is woken to look again.
    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        while self.alarm.as_mut().poll(context).is_ready() {
            let patience = if self.in_request {
                self.idle * IN_REQUEST
            } else {
                self.idle
            };
            let until = self.moved + patience;
            if until <= Instant::now() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            self.alarm.as_mut().reset(until);
        }
        Ok(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Placed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if read.is_ready() {
            self.moved(true);
        } else {
            self.check(context)?;
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Placed<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        if written.is_ready() {
            self.moved(false);
        }
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, pieces);
        if written.is_ready() {
            self.moved(false);
        }
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpStream};

    use crate::transport::PlainListener;

    use super::*;

    async fn listener(connections: usize, idle: Duration) -> (Bounded<PlainListener>, std::net::SocketAddr) {
        let socket = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let address = socket.local_addr().expect("is bound");
        let places = Places::new(connections, idle);
        (Bounded::new(PlainListener::new(socket), places), address)
    }

    #[tokio::test]
    async fn who_finds_no_place_is_told_so_and_the_next_one_gets_the_place_that_came_free() {
        let (mut bounded, address) = listener(1, Duration::from_secs(60)).await;
        let _first = TcpStream::connect(address).await.expect("connects");
        let (held, _) = bounded.accept().await;
        let mut second = TcpStream::connect(address).await.expect("connects");
        second
            .write_all(b"GET / HTTP/1.1\r\n\r\n")
            .await
            .expect("is taken");
        let mut answer = String::new();
        tokio::select! {
            _ = bounded.accept() => panic!("there was no place"),
            read = second.read_to_string(&mut answer) => { read.expect("reads"); }
        }
        let (head, body) = answer.split_once("\r\n\r\n").expect("a whole answer");
        assert!(
            head.starts_with("HTTP/1.1 503 ") && head.contains("Retry-After: 1"),
            "{head}"
        );
        assert!(
            head.contains(&format!("Content-Length: {}", body.len())),
            "{head}"
        );
        drop(held);
        let _third = TcpStream::connect(address).await.expect("connects");
        bounded.accept().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_without_requests_ends_and_one_whose_answer_is_being_made_lives_longer() {
        let idle = Duration::from_secs(60);
        let place = || Arc::new(Semaphore::new(1)).try_acquire_owned().expect("a place");
        let (_client, server) = tokio::io::duplex(64);
        let begun = Instant::now();
        let ended = Placed::new(server, idle, place()).read_u8().await;
        assert_eq!(ended.map_err(|error| error.kind()), Err(io::ErrorKind::TimedOut));
        assert_eq!(begun.elapsed().as_secs(), 60);

        let (mut client, server) = tokio::io::duplex(64);
        let mut placed = Placed::new(server, idle, place());
        client.write_u8(1).await.expect("is taken");
        placed.read_u8().await.expect("reads");
        let begun = Instant::now();
        placed.read_u8().await.expect_err("the request never comes whole");
        assert_eq!(begun.elapsed().as_secs(), 600);
        placed.write_u8(2).await.expect("is taken");
        let begun = Instant::now();
        placed.read_u8().await.expect_err("no further request");
        assert_eq!(begun.elapsed().as_secs(), 60);
    }
}
