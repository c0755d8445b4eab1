//! The certificate of our own servers: made at each start, kept in memory alone,
//! and renewed in time or when the machine's names change. No restart is needed.

use std::{
    collections::BTreeSet,
    fmt,
    net::IpAddr,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use jiff::Timestamp;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, SanType};
use rustls::{
    RootCertStore, ServerConfig,
    client::danger::ServerCertVerifier,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime},
    server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier},
    sign::CertifiedKey,
};
use service::{
    clock::SharedClock,
    tls::{PinnedCa, provider},
};
use tokio_util::sync::CancellationToken;

use super::{Authority, CertificateError, Names};

/// 30 days: it costs nothing to make another.
const LIFE: Duration = Duration::from_secs(30 * 24 * 3600);
/// How often it is looked at. A machine that got a new address has its name an hour later at most.
const LOOK: Duration = Duration::from_secs(3600);

/// The servers' certificate, as TLS asks for it.
pub struct Serving {
    authority: Arc<Authority>,
    names: Names,
    current: RwLock<Current>,
}

struct Current {
    key: Arc<CertifiedKey>,
    names: BTreeSet<String>,
    made_at: Timestamp,
}

impl fmt::Debug for Serving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Serving({})", self.authority.fingerprint())
    }
}

impl Serving {
    /// Makes the first certificate.
    pub fn new(
        authority: Arc<Authority>,
        names: Names,
        now: Timestamp,
    ) -> Result<Arc<Self>, CertificateError> {
        let current = certify(&authority, names.all(), now)?;
        Ok(Arc::new(Self {
            authority,
            names,
            current: RwLock::new(current),
        }))
    }

    /// The settings of a listener. Clients may show a certificate of our authority; what is no
    /// such certificate ends the handshake.
    pub fn config(self: &Arc<Self>, protocols: &[&str]) -> Result<Arc<ServerConfig>, CertificateError> {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.certificate().clone())?;
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
            .allow_unauthenticated()
            .build()
            .map_err(|error| rustls::Error::General(error.to_string()))?;
        let resolver: Arc<dyn ResolvesServerCert> = Arc::<Self>::clone(self);
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(clients)
            .with_cert_resolver(resolver);
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        // a resumed session would not ask again whether a certificate has run out
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Arc::new(config))
    }

    /// Renews the certificate whenever it is time, until `stop`.
    pub async fn keep_fresh(self: Arc<Self>, clock: SharedClock, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK) => {}
            }
            match self.refresh(self.names.all(), clock.wall()) {
                Ok(false) => {}
                Ok(true) => tracing::info!("renewed the certificate of the TLS listeners"),
                Err(error) => tracing::warn!(%error, "the certificate of the TLS listeners is not renewed"),
            }
        }
    }

    /// Makes another one if two thirds of its life are over, or it lacks a name; whether it did.
    pub(super) fn refresh(&self, names: BTreeSet<String>, now: Timestamp) -> Result<bool, CertificateError> {
        let is_good = {
            let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
            let age = now.duration_since(current.made_at).as_secs();
            let renewal = LIFE.as_secs().cast_signed() / 3 * 2;
            (0..renewal).contains(&age) && current.names == names
        };
        if is_good {
            return Ok(false);
        }
        let next = certify(&self.authority, names, now)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = next;
        Ok(true)
    }

    pub(super) fn key(&self) -> Arc<CertifiedKey> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&current.key)
    }
}

impl ResolvesServerCert for Serving {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.key())
    }
}

fn certify(
    authority: &Authority,
    names: BTreeSet<String>,
    now: Timestamp,
) -> Result<Current, CertificateError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let san = |name: &String| -> Result<SanType, CertificateError> {
        Ok(match name.parse::<IpAddr>() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName(name.as_str().try_into()?),
        })
    };
    let sans = names.iter().map(san).collect::<Result<Vec<_>, _>>()?;
    let leaf = authority.certify_server(&key, sans, now, LIFE)?;
    // the authority goes along, so that a client that knows its fingerprint finds it
    let chain = vec![leaf, authority.certificate().clone()];
    let secret = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let signing = provider().key_provider.load_private_key(secret)?;
    // a `ca.pem` that is not `ca.key`'s would be noticed by every client, and by nobody here
    let seconds = u64::try_from(now.as_second()).unwrap_or(0);
    let at = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
    let host = ServerName::IpAddress(IpAddr::from([127, 0, 0, 1]).into());
    PinnedCa::new(authority.fingerprint())
        .verify_server_cert(&chain[0], &chain[1..], &host, &[], at)
        .map_err(|_| CertificateError::NotAPair)?;
    Ok(Current {
        key: Arc::new(CertifiedKey::new(chain, signing)),
        names,
        made_at: now,
    })
}
