//! TLS handshakes, within bounds of time and number.

use std::{io, net::IpAddr, sync::Arc, time::Duration};

use rustls::ServerConfig;
use service::tls::Fingerprint;
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{Peer, Transport};

/// From the first byte to the end of a handshake. Two round trips and two signatures take a Pi a few
/// milliseconds; five seconds are for a bad radio link.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why a connection did not become one.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// It is no TLS, or of another authority.
    #[error("the TLS handshake failed: {0}")]
    Failed(#[from] io::Error),
    /// It took too long.
    #[error("the TLS handshake took longer than {PATIENCE:?}")]
    TimedOut,
}

/// Makes TLS connections of TCP connections; cheap to clone.
#[derive(Clone)]
pub struct Acceptor(TlsAcceptor);

impl Acceptor {
    /// With these settings, which may show another certificate from time to time.
    pub fn new(config: Arc<ServerConfig>) -> Self {
        Self(TlsAcceptor::from(config))
    }

    /// Shakes hands, and says who is there.
    pub async fn accept(
        &self,
        stream: TcpStream,
        ip: IpAddr,
    ) -> Result<(TlsStream<TcpStream>, Peer), HandshakeError> {
        let shaken = timeout(PATIENCE, self.0.accept(stream)).await;
        let stream = shaken.map_err(|_| HandshakeError::TimedOut)??;
        let shown = stream.get_ref().1.peer_certificates();
        let certificate = shown.and_then(<[_]>::first).map(|leaf| Fingerprint::of(leaf));
        let peer = Peer {
            ip,
            transport: Transport::Tls { certificate },
            connection: None,
        };
        Ok((stream, peer))
    }
}

impl std::fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Acceptor")
    }
}
