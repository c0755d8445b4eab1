//! Trust in one certificate authority, known by its fingerprint alone.
//!
//! A server shows its authority's certificate behind its own; here it is recognised
//! and then checked as any chain is. The name of the server is not asked for: the
//! authority of a controller certifies no other server, so that neither a new
//! address nor a tunnel needs a new pin. What it gives to workers is for clients
//! alone, and no server's. This holds for authorities of agentd only, so that no other
//! can be pinned.

use std::{
    fmt,
    sync::{Mutex, PoisonError},
};

use rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme,
    client::{
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor,
    },
    crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
};

use super::{Fingerprint, provider};

/// How the name of every authority of agentd begins.
pub const NAME: &str = "agentd CA ";

/// Checks servers against one pinned authority, and remembers what another one showed.
pub struct PinnedCa {
    pin: Option<Fingerprint>,
    shown: Mutex<Option<Fingerprint>>,
    algorithms: WebPkiSupportedAlgorithms,
}

/// A server of another authority.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("its certificate authority is {shown}, which is not the one that is known")]
struct AnotherCa {
    shown: Fingerprint,
}

impl PinnedCa {
    /// Trusts the authority with this fingerprint.
    pub fn new(pin: Fingerprint) -> Self {
        Self::with(Some(pin))
    }

    /// Trusts nobody: no handshake succeeds, and [`Self::stranger`] says who was met.
    pub fn nobody() -> Self {
        Self::with(None)
    }

    fn with(pin: Option<Fingerprint>) -> Self {
        Self {
            pin,
            shown: Mutex::new(None),
            algorithms: provider().signature_verification_algorithms,
        }
    }

    /// The authority that the last server showed which was refused for it.
    pub fn stranger(&self) -> Option<Fingerprint> {
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remember(&self, shown: Option<Fingerprint>) {
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = shown;
    }
}

impl fmt::Debug for PinnedCa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PinnedCa({:?})", self.pin)
    }
}

impl ServerCertVerifier for PinnedCa {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let pinned = intermediates
            .iter()
            .find(|certificate| Some(Fingerprint::of(certificate)) == self.pin);
        let Some(pinned) = pinned else {
            let shown = Fingerprint::of(intermediates.last().unwrap_or(end_entity));
            self.remember(Some(shown));
            let other = OtherError(std::sync::Arc::new(AnotherCa { shown }));
            return Err(CertificateError::Other(other).into());
        };
        self.remember(None);
        let mut roots = RootCertStore::empty();
        roots.add(pinned.clone().into_owned())?;
        let is_ours = |subject: &[u8]| subject.windows(NAME.len()).any(|part| part == NAME.as_bytes());
        if !roots.roots.iter().all(|root| is_ours(&root.subject)) {
            return Err(CertificateError::ApplicationVerificationFailure.into());
        }
        let server = ParsedCertificate::try_from(end_entity)?;
        verify_server_cert_signed_by_trust_anchor(&server, &roots, &[], now, self.algorithms.all)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
