//! A network between a worker and its controller that can be as bad as networks are.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering::Relaxed},
    },
    thread::JoinHandle,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{oneshot, watch},
};

/// What the network does with every byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    /// It passes.
    Open,
    /// It stays in between, and nobody is told: packets are dropped, without FIN or RST.
    Silent,
    /// What the worker says stays in between.
    DeafController,
    /// What the controller says stays in between.
    DeafWorker,
    /// It passes after so many milliseconds.
    Slow(u64),
    /// Every connection is reset.
    Reset,
    /// Every connection ends after so many bytes.
    CutAfter(i64),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    ToController,
    ToWorker,
}

impl Link {
    fn passes(self, way: Way) -> bool {
        match self {
            Self::Silent => false,
            Self::DeafController => way == Way::ToWorker,
            Self::DeafWorker => way == Way::ToController,
            Self::Open | Self::Slow(_) | Self::Reset | Self::CutAfter(_) => true,
        }
    }
}

/// Stands before one address.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    link: watch::Sender<Link>,
    _stop: oneshot::Sender<()>,
    _thread: JoinHandle<()>,
}

impl Proxy {
    pub(crate) fn before(target: &str) -> Self {
        let target = target.to_owned();
        let (link, seen) = watch::channel(Link::Open);
        let (stop, stopped) = oneshot::channel();
        let (bound, address) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async move {
                let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
                bound
                    .send(listener.local_addr().expect("an address"))
                    .expect("somebody waits");
                tokio::select! {
                    () = serve(listener, target, seen) => {}
                    _ = stopped => {}
                }
            });
        });
        Self {
            address: address.recv().expect("it listens"),
            link,
            _stop: stop,
            _thread: thread,
        }
    }

    pub(crate) fn set(&self, link: Link) {
        self.link.send_replace(link);
    }
}

async fn serve(listener: TcpListener, target: String, link: watch::Receiver<Link>) {
    while let Ok((worker, _)) = listener.accept().await {
        let (target, link) = (target.clone(), link.clone());
        tokio::spawn(async move {
            // the controller may be gone: then the worker's connection just ends
            let Ok(controller) = TcpStream::connect(target).await else {
                return;
            };
            let passed = Arc::new(AtomicI64::new(0));
            let ((from_worker, to_worker), (from_controller, to_controller)) =
                (worker.into_split(), controller.into_split());
            let up = Pump {
                way: Way::ToController,
                link: link.clone(),
                passed: passed.clone(),
            };
            let down = Pump {
                way: Way::ToWorker,
                link,
                passed,
            };
            // the end of one way ends both
            let _ended = tokio::select! {
                ended = up.run(from_worker, to_controller) => ended,
                ended = down.run(from_controller, to_worker) => ended,
            };
        });
    }
}

struct Pump {
    way: Way,
    link: watch::Receiver<Link>,
    passed: Arc<AtomicI64>,
}

impl Pump {
    async fn run(mut self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) -> io::Result<()> {
        let mut piece = vec![0; 16 * 1024];
        loop {
            let link = *self.link.borrow_and_update();
            match link {
                Link::Reset => {
                    from.as_ref().set_zero_linger()?;
                    return to.as_ref().set_zero_linger();
                }
                link if !link.passes(self.way) => {
                    if self.link.changed().await.is_err() {
                        return Ok(());
                    }
                    continue;
                }
                _ => {}
            }
            let count = tokio::select! {
                count = from.read(&mut piece) => count?,
                changed = self.link.changed() => match changed {
                    Ok(()) => continue,
                    Err(_) => return Ok(()),
                },
            };
            if count == 0 {
                return Ok(());
            }
            self.pass(&piece[..count], &mut to).await?;
        }
    }

    async fn pass(&mut self, bytes: &[u8], to: &mut OwnedWriteHalf) -> io::Result<()> {
        let link = *self.link.borrow();
        match link {
            Link::Slow(millis) => tokio::time::sleep(Duration::from_millis(millis)).await,
            Link::CutAfter(most) => {
                let before = self.passed.fetch_add(bytes.len() as i64, Relaxed);
                let rest = (most - before).clamp(0, bytes.len() as i64) as usize;
                to.write_all(&bytes[..rest]).await?;
                return if rest < bytes.len() {
                    Err(io::ErrorKind::BrokenPipe.into())
                } else {
                    Ok(())
                };
            }
            _ => {}
        }
        // read before the network failed: what is on its way may still get lost
        self.link
            .wait_for(|link| link.passes(self.way))
            .await
            .map_err(io::Error::other)?;
        to.write_all(bytes).await
    }
}
