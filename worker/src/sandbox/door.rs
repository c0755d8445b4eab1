//! The one way out of a cage: an HTTP proxy of the worker behind a Unix socket, for one
//! command. It asks the [`Egress`] rules, resolves a name once, connects to nothing but what it
//! resolved, and counts what passes.
//!
//! Runs as a part of the command's own future: no task outlives the command.

mod request;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    fs::File,
    io,
    net::SocketAddr,
    os::fd::AsRawFd as _,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::{StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpStream, UnixListener, UnixStream, lookup_host},
    sync::Notify,
    time::timeout,
};

use self::request::{Wish, parse};
use super::{
    egress::{Egress, Refused},
    forward::{MAX_CONNECTIONS, SOCKET},
};
use crate::log::LogSink;

/// Longest head of a request.
const MAX_HEAD: usize = 16 << 10;

/// How long a head, a look-up or a connection may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// How long a connection may carry nothing in one direction and the other.
const MAX_IDLE: Duration = Duration::from_secs(120);

/// Refusals and hosts that are named in the log; the rest is a repetition.
const MAX_NAMED: usize = 20;

/// Bytes that are carried at a time.
const PIECE: usize = 16 << 10;

/// An open door.
pub struct Door {
    listener: UnixListener,
    guests: FuturesUnordered<BoxFuture<'static, ()>>,
    desk: Arc<Desk>,
}

/// What all connections of a command share.
struct Desk {
    egress: Egress,
    log: LogSink,
    /// Bytes that may still pass.
    left: AtomicU64,
    /// Tells idle directions that the other one is alive, and all that nothing may pass any more.
    over: Notify,
    book: Mutex<Book>,
}

/// What passed, and what did not.
#[derive(Debug, Default)]
struct Book {
    /// Bytes out and in by host.
    passed: BTreeMap<String, (u64, u64)>,
    refused: BTreeSet<String>,
}

/// Why a request goes nowhere.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Refused(#[from] Refused),
    #[error("the request cannot be read")]
    Unreadable,
    #[error("the host cannot be reached: {0}")]
    Unreachable(io::Error),
    #[error("the step has sent and got as many bytes as it may")]
    TooMuch,
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Door")
            .field("egress", &self.desk.egress)
            .finish_non_exhaustive()
    }
}

impl Door {
    /// Opens it in a folder, for what these rules let pass.
    pub(super) fn open(folder: &Path, egress: Egress, log: LogSink) -> io::Result<Self> {
        // the path of a socket has at most 107 bytes, which a folder of the worker's may exceed
        let folder = File::open(folder)?;
        let short = format!("/proc/self/fd/{}/{SOCKET}", folder.as_raw_fd());
        Ok(Self {
            listener: UnixListener::bind(short)?,
            guests: FuturesUnordered::new(),
            desk: Arc::new(Desk {
                left: AtomicU64::new(egress.bytes),
                egress,
                log,
                over: Notify::new(),
                book: Mutex::default(),
            }),
        })
    }

    /// Lets things pass until something has changed; to be called again and again.
    pub async fn turn(&mut self) {
        let full = self.guests.len() >= MAX_CONNECTIONS;
        tokio::select! {
            accepted = self.listener.accept(), if !full => if let Ok((stream, _)) = accepted {
                self.guests.push(Box::pin(guide(stream, self.desk.clone())));
            },
            Some(()) = self.guests.next() => {}
        }
    }

    /// Says into the log what passed.
    pub fn close(self) {
        let Self { guests, desk, .. } = self;
        drop(guests);
        let book = desk.book.lock().unwrap_or_else(PoisonError::into_inner);
        for (host, (out, back)) in book.passed.iter().take(MAX_NAMED) {
            desk.log
                .info(&format!("network: {host}: {out} bytes out, {back} bytes in"));
        }
        let more = book.passed.len().saturating_sub(MAX_NAMED);
        if more > 0 {
            desk.log.info(&format!("network: and {more} hosts more"));
        }
    }
}

impl Desk {
    fn note(&self, write: impl FnOnce(&mut Book)) {
        write(&mut self.book.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Says into the log, once a host, what was refused.
    fn complain(&self, name: &str, why: &Failure) {
        self.note(|book| {
            if book.refused.len() < MAX_NAMED && book.refused.insert(name.to_owned()) {
                self.log.info(&format!("network: {name} was not reached: {why}"));
            }
        });
    }

    /// Takes bytes from what may still pass.
    fn take(&self, bytes: u64) -> Result<(), Failure> {
        let taken = self
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(bytes)
            });
        if taken.is_ok() {
            return Ok(());
        }
        self.left.store(0, Ordering::Relaxed);
        self.over.notify_waiters();
        Err(Failure::TooMuch)
    }
}

/// One connection from its first byte to its end.
async fn guide(mut guest: UnixStream, desk: Arc<Desk>) {
    let Ok(Ok((wish, rest))) = timeout(PATIENCE, read_wish(&mut guest)).await else {
        let _ = refuse(&mut guest, "400 Bad Request", &Failure::Unreadable).await;
        return;
    };
    let name = wish.name();
    let mut host = match reach(&wish, &desk.egress).await {
        Ok(host) if desk.left.load(Ordering::Relaxed) > 0 => host,
        Ok(_) => {
            desk.complain(&name, &Failure::TooMuch);
            let _ = refuse(&mut guest, "403 Forbidden", &Failure::TooMuch).await;
            return;
        }
        Err(failure) => {
            desk.complain(&name, &failure);
            let status = match failure {
                Failure::Unreachable(_) => "502 Bad Gateway",
                _ => "403 Forbidden",
            };
            let _ = refuse(&mut guest, status, &failure).await;
            return;
        }
    };
    let first = match &wish.head {
        None => {
            guest
                .write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
                .await
        }
        Some(head) => host.write_all(head).await,
    };
    if first.is_err() || host.write_all(&rest).await.is_err() {
        return;
    }
    let ahead = (wish.head.map_or(0, |head| head.len()) + rest.len()) as u64;
    desk.note(|book| book.passed.entry(name.clone()).or_default().0 += ahead);
    if let Err(failure) = carry(&mut guest, &mut host, &desk, &name).await {
        desk.complain(&name, &failure);
    }
}

/// Carries bytes both ways until both ends are done, one breaks, or all is idle.
async fn carry(guest: &mut UnixStream, host: &mut TcpStream, desk: &Desk, name: &str) -> Result<(), Failure> {
    let (mut from_guest, mut to_guest) = guest.split();
    let (mut from_host, mut to_host) = host.split();
    let alive = Notify::new();
    let out = one_way(&mut from_guest, &mut to_host, desk, &alive, |bytes| {
        desk.note(|book| book.passed.entry(name.to_owned()).or_default().0 += bytes);
    });
    let back = one_way(&mut from_host, &mut to_guest, desk, &alive, |bytes| {
        desk.note(|book| book.passed.entry(name.to_owned()).or_default().1 += bytes);
    });
    tokio::select! {
        carried = async { tokio::try_join!(out, back) } => carried.map(drop),
        () = desk.over.notified() => Err(Failure::TooMuch),
        () = idle(&alive) => Ok(()),
    }
}

/// Ends when nothing was alive for a while.
async fn idle(alive: &Notify) {
    while timeout(MAX_IDLE, alive.notified()).await.is_ok() {}
}

async fn one_way(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    desk: &Desk,
    alive: &Notify,
    count: impl Fn(u64),
) -> Result<(), Failure> {
    let mut piece = vec![0; PIECE];
    loop {
        // an end that breaks is its peer's to notice
        let Ok(read @ 1..) = from.read(&mut piece).await else {
            let _ = to.shutdown().await;
            return Ok(());
        };
        alive.notify_one();
        desk.take(read as u64)?;
        if to.write_all(&piece[..read]).await.is_err() {
            return Ok(());
        }
        count(read as u64);
    }
}

async fn refuse(guest: &mut UnixStream, status: &str, why: &Failure) -> io::Result<()> {
    let text = format!("sandbox: {why}\n");
    let answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}",
        text.len()
    );
    guest.write_all(answer.as_bytes()).await
}

/// Resolves once, and connects only to an address that may be used.
async fn reach(wish: &Wish, egress: &Egress) -> Result<TcpStream, Failure> {
    let judgement = egress.judge(&wish.host, wish.port)?;
    let late = || Failure::Unreachable(io::ErrorKind::TimedOut.into());
    let found = timeout(PATIENCE, lookup_host((wish.host.as_str(), wish.port))).await;
    let found = found.map_err(|_| late())?.map_err(Failure::Unreachable)?;
    let usable: Vec<SocketAddr> = found.filter(|address| judgement.allows(address.ip())).collect();
    if usable.is_empty() {
        return Err(Refused::Private.into());
    }
    let connected = timeout(PATIENCE, TcpStream::connect(usable.as_slice())).await;
    connected.map_err(|_| late())?.map_err(Failure::Unreachable)
}

/// The head of a request, and what came behind it.
async fn read_wish(guest: &mut UnixStream) -> Result<(Wish, Vec<u8>), Failure> {
    let mut bytes = Vec::with_capacity(1024);
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let rest = bytes.split_off(end + 4);
            let head = String::from_utf8(bytes).map_err(|_| Failure::Unreadable)?;
            return Ok((parse(&head).ok_or(Failure::Unreadable)?, rest));
        }
        let read = guest.read_buf(&mut bytes).await;
        if bytes.len() > MAX_HEAD || !matches!(read, Ok(1..)) {
            return Err(Failure::Unreadable);
        }
    }
}

#[cfg(test)]
mod tests;
