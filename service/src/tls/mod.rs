//! TLS with a certificate authority of our own: fingerprints, and trust in exactly
//! one of them.
//!
//! Knows no files and opens no connection. One stack: rustls with ring.

mod fingerprint;
mod pin;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use rustls::{
    ClientConfig, ConfigBuilder, WantsVerifier, client::ResolvesClientCert, crypto::CryptoProvider,
    pki_types::CertificateDer,
};

pub use self::{
    fingerprint::{Fingerprint, InvalidFingerprint},
    pin::{NAME, PinnedCa},
};

/// The cryptography that everything uses.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Makes it the default of this process, for libraries that ask for one.
pub fn install() {
    // only the first call of a process installs it; that it is there is what counts
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// The certificates of a PEM text, in order.
pub fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, rustls::pki_types::pem::Error> {
    use rustls::pki_types::pem::PemObject;
    CertificateDer::pem_slice_iter(pem.as_bytes()).collect()
}

/// A client that trusts one authority alone, and shows `identity` to whoever asks.
pub fn client(
    trust: Arc<PinnedCa>,
    identity: Option<Arc<dyn ResolvesClientCert>>,
) -> Result<ClientConfig, rustls::Error> {
    let builder: ConfigBuilder<ClientConfig, WantsVerifier> =
        ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let builder = builder.dangerous().with_custom_certificate_verifier(trust);
    Ok(match identity {
        Some(identity) => builder.with_client_cert_resolver(identity),
        None => builder.with_no_client_auth(),
    })
}
