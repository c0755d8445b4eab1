//! How this worker reaches its controller: plainly on this machine, or over TLS,
//! trusting one authority alone.

use std::sync::Arc;

use rustls::ClientConfig;
use service::tls::{self, Fingerprint, PinnedCa};

use crate::credential::{Credential, CredentialError, Shown};

/// What goes with every connection; cheap to clone.
#[derive(Clone)]
pub enum Access {
    /// Plain, without a credential.
    Nobody,
    /// Plain, with a secret.
    Secret(String),
    /// Over TLS; the certificate is the credential.
    Tls(Box<TlsAccess>),
}

/// Trust in one authority, and perhaps a certificate of our own.
#[derive(Clone)]
pub struct TlsAccess {
    config: ClientConfig,
    trust: Arc<PinnedCa>,
    pin: Fingerprint,
}

impl Access {
    /// That of a worker that has joined, and what it shows over TLS.
    pub fn of(credential: &Credential) -> Result<(Self, Option<Arc<Shown>>), CredentialError> {
        match (&credential.certified, &credential.secret) {
            (Some(certified), _) => {
                let shown = Shown::new(certified)?;
                let tls = TlsAccess::new(certified.authority()?, Some(shown.clone()))?;
                Ok((Self::Tls(Box::new(tls)), Some(shown)))
            }
            (None, Some(secret)) => Ok((Self::Secret(secret.clone()), None)),
            (None, None) => Err(CredentialError::Unusable(
                "it holds neither a secret nor a certificate".to_owned(),
            )),
        }
    }

    /// TLS without a certificate of our own: to join.
    pub fn stranger(pin: Fingerprint) -> Result<Self, CredentialError> {
        Ok(Self::Tls(Box::new(TlsAccess::new(pin, None)?)))
    }

    /// The authority that a server showed instead of the trusted one, and the trusted one.
    pub fn clash(&self) -> Option<(Fingerprint, Fingerprint)> {
        match self {
            Self::Tls(tls) => Some((tls.trust.stranger()?, tls.pin)),
            Self::Nobody | Self::Secret(_) => None,
        }
    }
}

impl TlsAccess {
    fn new(pin: Fingerprint, shown: Option<Arc<Shown>>) -> Result<Self, CredentialError> {
        let trust = Arc::new(PinnedCa::new(pin));
        let identity = shown.map(|shown| -> Arc<dyn rustls::client::ResolvesClientCert> { shown });
        let config = tls::client(trust.clone(), identity)
            .map_err(|error| CredentialError::Unusable(error.to_string()))?;
        Ok(Self { config, trust, pin })
    }

    /// The settings for a client that speaks this protocol.
    pub fn config(&self, protocol: &str) -> ClientConfig {
        let mut config = self.config.clone();
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        config
    }
}
