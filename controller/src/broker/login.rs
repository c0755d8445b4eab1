//! From an accepted socket to a logged-in session, or to a clear refusal.

use std::sync::Arc;

use futures::future::BoxFuture;
use protocol::id::WorkerId;
use service::tls::Fingerprint;
use subtle::ConstantTimeEq;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};
use tracing::{debug, info};

use super::{
    acl::Principal,
    config::MAX_LOGIN_PACKET,
    front::Shared,
    packet::{Connect, ConnectCode, DecodeError, Packet},
    registry::{Admitted, NotAdmitted},
    session::Session,
    watchdog::PROBE_USER,
    wire::{Wire, WireError},
};
use crate::{authorize::Identity, transport::Peer};

/// Longest client id, in bytes.
const MAX_CLIENT_ID: usize = 256;
/// How long a login waits for the connection that it replaces to end.
const PREDECESSOR_PATIENCE: std::time::Duration = std::time::Duration::from_secs(2);

/// Why a credential is not good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Unknown, wrong, expired or revoked.
    #[error("wrong user name or password")]
    WrongCredential,
    /// Too many wrong ones came from this address.
    #[error("too many wrong credentials from this address")]
    TooManyTries,
    /// It cannot be checked now.
    #[error("credentials cannot be checked now")]
    Unavailable,
}

/// What a client logs in with.
#[derive(Clone, Copy, Debug)]
pub enum Presented<'a> {
    /// User name and password. A worker's user name is its id.
    Password {
        /// The user name.
        username: &'a str,
        /// The password.
        password: &'a [u8],
    },
    /// The certificate of its connection; what CONNECT says beside it does not count.
    Certificate(Fingerprint),
}

/// Checks credentials. It limits wrong ones per address by itself, and is never
/// asked about a connection that brings none.
pub trait Authenticate: Send + Sync + 'static {
    /// Whose credential this is.
    fn authenticate<'a>(
        &'a self,
        presented: Presented<'a>,
        peer: &'a Peer,
    ) -> BoxFuture<'a, Result<Identity, Refused>>;
}

/// Why a connection ends before it is logged in.
#[derive(Debug, thiserror::Error)]
enum NoLogin {
    #[error("no CONNECT in time")]
    TimedOut,
    #[error("the first packet is not CONNECT")]
    NotConnect,
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error("client id of more than {MAX_CLIENT_ID} bytes, or none without a clean session")]
    ClientId,
    #[error("worker {0} must use its id as client id")]
    WorkerClientId(WorkerId),
    #[error("no credential")]
    NoCredential,
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error(transparent)]
    NotAdmitted(#[from] NotAdmitted),
}

impl NoLogin {
    /// What to answer; `None` closes without a word, as the specification wants it.
    const fn code(&self) -> Option<ConnectCode> {
        match self {
            Self::Wire(WireError::Decode(DecodeError::ProtocolVersion(_))) => {
                Some(ConnectCode::BadProtocolVersion)
            }
            Self::TimedOut | Self::NotConnect | Self::Wire(_) => None,
            Self::ClientId | Self::WorkerClientId(_) => Some(ConnectCode::IdentifierRejected),
            Self::NoCredential | Self::NotAdmitted(NotAdmitted::Withdrawn) => {
                Some(ConnectCode::NotAuthorized)
            }
            Self::Refused(Refused::WrongCredential) => Some(ConnectCode::BadCredentials),
            Self::Refused(Refused::TooManyTries | Refused::Unavailable)
            | Self::NotAdmitted(NotAdmitted::Full | NotAdmitted::Stopping) => {
                Some(ConnectCode::ServerUnavailable)
            }
        }
    }
}

/// Logs a connection in; a refusal has been answered when this returns `None`.
pub(super) async fn login<S: AsyncRead + AsyncWrite>(
    shared: &Arc<Shared>,
    stream: S,
    peer: Peer,
) -> Option<Session<S>> {
    let mut wire = Wire::new(stream);
    let ip = peer.ip;
    match try_login(shared, &mut wire, &peer).await {
        Ok((connect, principal, admitted)) => {
            shared.counters.logins.add();
            debug!(peer = %ip, connection = admitted.membership.connection(), "MQTT login of {principal:?}");
            Some(Session::new(
                Arc::clone(shared),
                wire,
                ip,
                connect,
                principal,
                admitted,
            ))
        }
        Err(reason) => {
            refuse(shared, wire, &peer, &reason).await;
            None
        }
    }
}

async fn try_login<S: AsyncRead + AsyncWrite>(
    shared: &Arc<Shared>,
    wire: &mut Wire<S>,
    peer: &Peer,
) -> Result<(Connect, Principal, Admitted), NoLogin> {
    let limit = shared.config.login_timeout;
    let first = timeout(limit, wire.receive(MAX_LOGIN_PACKET)).await;
    let Packet::Connect(connect) = first.map_err(|_| NoLogin::TimedOut)?? else {
        return Err(NoLogin::NotConnect);
    };
    if connect.client_id.len() > MAX_CLIENT_ID || (connect.client_id.is_empty() && !connect.clean_session) {
        return Err(NoLogin::ClientId);
    }
    let kicks_seen = shared.registry.kicks_so_far();
    let check = principal(shared, &connect, peer);
    let principal = timeout(limit, check).await.map_err(|_| Refused::Unavailable)??;
    if let Principal::Known(Identity::Worker(id)) = &principal
        && connect.client_id != id.to_string()
    {
        return Err(NoLogin::WorkerClientId(*id));
    }
    let credential = principal.credential();
    let admitted = shared
        .registry
        .admit(credential, &connect.client_id, kicks_seen)?;
    if let Some(predecessor) = &admitted.predecessor {
        // Its end is told before our beginning, unless it takes too long.
        let _ = timeout(PREDECESSOR_PATIENCE, predecessor.cancelled()).await;
    }
    Ok((*connect, principal, admitted))
}

async fn principal(shared: &Shared, connect: &Connect, peer: &Peer) -> Result<Principal, NoLogin> {
    if let Some(certificate) = peer.certificate() {
        let presented = Presented::Certificate(certificate);
        return Ok(Principal::Known(shared.auth.authenticate(presented, peer).await?));
    }
    let (Some(username), Some(password)) = (&connect.username, &connect.password) else {
        return Err(NoLogin::NoCredential);
    };
    if username == PROBE_USER && bool::from(password.ct_eq(shared.probe_secret.as_bytes())) {
        return Ok(Principal::Probe);
    }
    let presented = Presented::Password { username, password };
    Ok(Principal::Known(shared.auth.authenticate(presented, peer).await?))
}

async fn refuse<S: AsyncRead + AsyncWrite>(
    shared: &Shared,
    mut wire: Wire<S>,
    peer: &Peer,
    reason: &NoLogin,
) {
    let Some(code) = reason.code() else {
        if matches!(reason, NoLogin::Wire(WireError::Decode(_)) | NoLogin::NotConnect) {
            shared.counters.protocol_errors.add();
        }
        debug!(peer = %peer.ip, "MQTT connection without login: {reason}");
        return;
    };
    shared.counters.refused_logins.add();
    info!(peer = %peer.ip, "MQTT login refused: {reason}");
    let denials = &shared.outlets.denials;
    denials.note("nobody", peer.ip, "login", "MQTT", &reason.to_string());
    let answer = async {
        wire.send(&Packet::ConnAck(code)).await?;
        wire.output.close().await
    };
    // Whoever does not take the answer does not get it.
    let _ = timeout(shared.config.login_timeout, answer).await;
}
