//! What this worker proves itself with: on plain loopback a secret, over TLS a
//! certificate for a key that never leaves its state folder.

use std::sync::{Arc, PoisonError, RwLock};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::{SignedDuration, Timestamp};
use protocol::{
    http::join::{IssuedCertificate, PublicKey, WorkerCredential},
    id::WorkerId,
};
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use rustls::{
    SignatureScheme,
    client::ResolvesClientCert,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    sign::CertifiedKey,
};
use serde::{Deserialize, Serialize};
use service::tls::{self, Fingerprint};

/// Everything that joining brought; the file `credential.json`.
#[derive(Clone, Serialize, Deserialize)]
pub struct Credential {
    /// This worker.
    pub id: WorkerId,
    /// Its name.
    pub name: String,
    /// Base URL of the controller's API.
    pub http_url: String,
    /// `host:port` of the broker.
    pub mqtt_address: String,
    /// On plain loopback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// Over TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certified: Option<Certified>,
}

/// A certificate with its key and whom it came from.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certified {
    /// The controller's authority, in PEM.
    ca: String,
    /// The certificate, in PEM.
    certificate: String,
    key: Key,
    /// When it came, on this machine's clock.
    got_at: Timestamp,
    /// How long it lived then.
    lives_s: u64,
}

/// A key on P-256: PKCS#8 in base64.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Key(String);

/// A credential that opens nothing, or cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// The system has no randomness for a key.
    #[error("a key cannot be made: {0}")]
    NoKey(&'static str),
    /// What the controller answered, or the file holds, cannot be used.
    #[error("the credential cannot be used: {0}")]
    Unusable(String),
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credential({} at {})", self.name, self.http_url)
    }
}

fn unusable(reason: impl ToString) -> CredentialError {
    CredentialError::Unusable(reason.to_string())
}

impl Credential {
    /// What nobody else may see of it.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        let key = self.certified.as_ref().map(|certified| certified.key.0.as_str());
        self.secret.as_deref().into_iter().chain(key)
    }

    /// What the controller answered to a join with this key; `url` is where it was asked.
    pub fn of(
        answer: WorkerCredential,
        url: &str,
        key: Option<Key>,
        now: Timestamp,
    ) -> Result<Self, CredentialError> {
        let mut credential = Self {
            id: answer.id,
            name: answer.name,
            http_url: answer.http_url,
            mqtt_address: answer.mqtt_address,
            secret: answer.secret,
            certified: None,
        };
        if let Some(key) = key {
            let (Some(ca), Some(issued)) = (answer.ca, answer.certificate) else {
                return Err(unusable("the controller gave no certificate"));
            };
            url.clone_into(&mut credential.http_url);
            credential.secret = None;
            credential.certified = Some(Certified::new(ca, issued, key, now)?);
        } else if credential.secret.is_none() {
            return Err(unusable("the controller gave no secret"));
        }
        Ok(credential)
    }
}

impl Certified {
    fn new(ca: String, issued: IssuedCertificate, key: Key, now: Timestamp) -> Result<Self, CredentialError> {
        let certified = Self {
            ca,
            certificate: issued.pem,
            key,
            got_at: now,
            lives_s: issued.lives_s,
        };
        certified.signing()?.keys_match().map_err(unusable)?;
        Ok(certified)
    }

    /// The same with a renewed certificate.
    pub fn renewed(
        &self,
        issued: IssuedCertificate,
        key: Key,
        now: Timestamp,
    ) -> Result<Self, CredentialError> {
        Self::new(self.ca.clone(), issued, key, now)
    }

    /// Which authority to trust.
    pub fn authority(&self) -> Result<Fingerprint, CredentialError> {
        let found = tls::certificates(&self.ca).map_err(unusable)?;
        let first = found.first().ok_or_else(|| unusable("it names no authority"))?;
        Ok(Fingerprint::of(first))
    }

    /// How long until it is to be renewed: two thirds of its life after it came. Not positive: now.
    pub fn renewal_in(&self, now: Timestamp) -> SignedDuration {
        self.got_at.duration_since(now) + self.life() * 2 / 3
    }

    /// How long it lives yet. Not positive: it has run out.
    pub fn left(&self, now: Timestamp) -> SignedDuration {
        self.got_at.duration_since(now) + self.life()
    }

    /// How long it lives in all.
    pub fn life(&self) -> SignedDuration {
        SignedDuration::from_secs(i64::try_from(self.lives_s).unwrap_or(i64::MAX / 4))
    }

    fn signing(&self) -> Result<CertifiedKey, CredentialError> {
        let chain = tls::certificates(&self.certificate).map_err(unusable)?;
        let secret = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.der()?));
        let signing = tls::provider().key_provider.load_private_key(secret);
        Ok(CertifiedKey::new(chain, signing.map_err(unusable)?))
    }
}

impl Key {
    /// A new one.
    pub fn generate() -> Result<Self, CredentialError> {
        let random = ring::rand::SystemRandom::new();
        let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random);
        let made = made.map_err(|_| CredentialError::NoKey("the system has no randomness"))?;
        Ok(Self(STANDARD.encode(made.as_ref())))
    }

    /// Its public half.
    pub fn public(&self) -> Result<PublicKey, CredentialError> {
        let random = ring::rand::SystemRandom::new();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &self.der()?, &random);
        Ok(PublicKey::from_point(
            pair.map_err(unusable)?.public_key().as_ref(),
        ))
    }

    fn der(&self) -> Result<Vec<u8>, CredentialError> {
        STANDARD.decode(&self.0).map_err(unusable)
    }
}

/// The certificate that connections show: the one that is in use, also after a renewal.
pub struct Shown(RwLock<Arc<CertifiedKey>>);

impl Shown {
    /// Shows this one.
    pub fn new(certified: &Certified) -> Result<Arc<Self>, CredentialError> {
        Ok(Arc::new(Self(RwLock::new(Arc::new(certified.signing()?)))))
    }

    /// From now on shows another one.
    pub fn replace(&self, certified: &Certified) -> Result<(), CredentialError> {
        let next = Arc::new(certified.signing()?);
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = next;
        Ok(())
    }
}

impl std::fmt::Debug for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shown")
    }
}

impl ResolvesClientCert for Shown {
    fn resolve(&self, _issuers: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let current = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Some(Arc::clone(&current))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer() -> WorkerCredential {
        WorkerCredential {
            id: WorkerId::new(),
            name: "tower".into(),
            secret: Some("agw_x".into()),
            http_url: "http://127.0.0.1:8484".into(),
            mqtt_address: "127.0.0.1:1883".into(),
            ca: None,
            certificate: None,
        }
    }

    #[test]
    fn an_answer_must_bring_what_was_asked_for() {
        let now = Timestamp::UNIX_EPOCH;
        let plain = Credential::of(answer(), "http://127.0.0.1:1", None, now).expect("a secret");
        assert_eq!(plain.http_url, "http://127.0.0.1:8484");
        let key = Key::generate().expect("a key");
        let error = Credential::of(answer(), "https://pi:8485", Some(key), now).err();
        assert!(error.expect("none").to_string().contains("no certificate"));
        let none = WorkerCredential {
            secret: None,
            ..answer()
        };
        assert!(Credential::of(none, "http://127.0.0.1:1", None, now).is_err());
    }

    #[test]
    fn a_file_of_a_worker_that_joined_with_a_secret_is_read() {
        let text = r#"{"id":"0190f00d-0000-7000-8000-000000000001","name":"tower","secret":"agw_x",
            "http_url":"http://127.0.0.1:8484","mqtt_address":"127.0.0.1:1883","ca":null}"#;
        let read: Credential = serde_json::from_str(text).expect("an older file");
        assert_eq!(read.secret.as_deref(), Some("agw_x"));
        assert!(read.certified.is_none());
    }

    #[test]
    fn renewal_is_due_after_two_thirds_of_the_life() {
        let certified = Certified {
            ca: String::new(),
            certificate: String::new(),
            key: Key::generate().expect("a key"),
            got_at: Timestamp::from_second(1000).expect("in range"),
            lives_s: 90,
        };
        let at = |second| Timestamp::from_second(second).expect("in range");
        assert_eq!(certified.renewal_in(at(1000)), SignedDuration::from_secs(60));
        assert!(certified.renewal_in(at(1060)) <= SignedDuration::ZERO);
        assert_eq!(certified.left(at(1060)), SignedDuration::from_secs(30));
        assert!(certified.left(at(1090)) <= SignedDuration::ZERO);
    }

    #[test]
    fn a_key_has_a_public_half() {
        let key = Key::generate().expect("a key");
        assert_eq!(key.public().expect("a point").point().expect("a point").len(), 65);
        assert!(key != Key::generate().expect("another"));
        assert!(Key("no".into()).public().is_err());
    }
}
