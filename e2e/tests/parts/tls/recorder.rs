//! A TLS server under an authority of its own that writes down what it is sent.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    thread::JoinHandle,
};

use controller::certificates::{Authority, Names, Serving};
use service::clock::{Clock as _, SystemClock};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    runtime::Builder,
    sync::oneshot,
};
use tokio_rustls::TlsAcceptor;

/// What came in.
#[derive(Default)]
struct Heard {
    raw: Vec<u8>,
    plain: Vec<u8>,
}

/// The server; ends when it is dropped.
pub(super) struct Recorder {
    address: SocketAddr,
    fingerprint: String,
    heard: Arc<Mutex<Heard>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Recorder {
    /// Starts it with an authority in this folder.
    pub(super) fn start(folder: &Path) -> Self {
        std::fs::create_dir_all(folder).expect("a folder");
        let authority = Arc::new(Authority::open(folder).expect("an authority"));
        let fingerprint = authority.fingerprint().to_string();
        let names = Names::new(vec![], vec![IpAddr::V4(Ipv4Addr::LOCALHOST)]);
        let now = SystemClock::new().wall();
        let config = Serving::new(authority, names, now).and_then(|serving| serving.config(&[]));
        let acceptor = TlsAcceptor::from(config.expect("settings"));
        let heard = Arc::<Mutex<Heard>>::default();
        let (stop, stopped) = oneshot::channel();
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let listener = runtime
            .block_on(TcpListener::bind("127.0.0.1:0"))
            .expect("a port");
        let address = listener.local_addr().expect("an address");
        let record = serve(listener, acceptor, heard.clone());
        let thread = std::thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = record => {}
                    _ = stopped => {}
                }
            });
        });
        Self {
            address,
            fingerprint,
            heard,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// Where it is.
    pub(super) fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// Of its authority.
    pub(super) fn fingerprint(&self) -> String {
        self.fingerprint.clone()
    }

    /// Every byte that came over the wire.
    pub(super) fn heard(&self) -> Vec<u8> {
        self.heard.lock().expect("sound").raw.clone()
    }

    /// Every byte that came through a finished handshake.
    pub(super) fn understood(&self) -> Vec<u8> {
        self.heard.lock().expect("sound").plain.clone()
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor, heard: Arc<Mutex<Heard>>) {
    loop {
        let (stream, _) = listener.accept().await.expect("accepts");
        let tapped = Tapped {
            stream,
            heard: heard.clone(),
        };
        let Ok(mut stream) = acceptor.accept(tapped).await else {
            continue;
        };
        let mut said = vec![0; 4096];
        while let Ok(count @ 1..) = stream.read(&mut said).await {
            heard
                .lock()
                .expect("sound")
                .plain
                .extend_from_slice(&said[..count]);
        }
    }
}

/// A connection that writes down what it reads.
struct Tapped {
    stream: TcpStream,
    heard: Arc<Mutex<Heard>>,
}

impl AsyncRead for Tapped {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        let new = &buffer.filled()[before..];
        self.heard.lock().expect("sound").raw.extend_from_slice(new);
        polled
    }
}

impl AsyncWrite for Tapped {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
