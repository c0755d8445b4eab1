//! How a worker joins: the token that a person copies, what it is exchanged for,
//! and how a certificate is renewed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Endpoint, Method};
use crate::{id::WorkerId, label::Labels};

/// Under this name a controller is announced by multicast DNS, if its owner wishes so. What answers
/// to it may be anybody: the fingerprint in a join token judges.
pub const ANNOUNCED_AS: &str = "_agentd._tcp.local.";

/// `POST /v1/workers/join`: a join token in, a credential out.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct JoinWorker {
    /// What the controller knows by hash; see [`JoinToken::proof`].
    pub token: String,
    /// The name that it wishes; a number is added when it is taken.
    pub name: String,
    /// What it has, so that it can be shown at once.
    #[serde(default)]
    pub labels: Labels,
    /// How many attempts it takes at a time.
    #[serde(default)]
    pub slots: u32,
    /// The public half of the key that it made, over TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_key: Option<PublicKey>,
}

impl Endpoint for JoinWorker {
    const METHOD: Method = Method::Post;
    const ROUTE: &'static str = "/v1/workers/join";
    const HAS_BODY: bool = true;
    type Response = WorkerCredential;
    fn path(&self) -> String {
        Self::ROUTE.to_owned()
    }
}

/// `POST /v1/workers/renew`: a new certificate for the worker that asks, over its present one.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RenewWorker {
    /// The public half of a new key.
    pub public_key: PublicKey,
}

impl Endpoint for RenewWorker {
    const METHOD: Method = Method::Post;
    const ROUTE: &'static str = "/v1/workers/renew";
    const HAS_BODY: bool = true;
    type Response = IssuedCertificate;
    fn path(&self) -> String {
        Self::ROUTE.to_owned()
    }
}

/// An ECDSA key on P-256, its public half: the uncompressed point in hex.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PublicKey(String);

impl PublicKey {
    /// From the 65 bytes of the point.
    pub fn from_point(point: &[u8]) -> Self {
        Self(tohex(point))
    }

    /// The 65 bytes; `None` if the text is no such point.
    pub fn point(&self) -> Option<Vec<u8>> {
        let bytes = unhex(&self.0)?;
        (bytes.len() == 65 && bytes[0] == 4).then_some(bytes)
    }
}

/// A certificate that the controller has given to a worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct IssuedCertificate {
    /// The certificate, in PEM.
    pub pem: String,
    /// How long it lives from now, in seconds; it is renewed at two thirds.
    pub lives_s: u64,
}

/// What a worker gets when it joins. Over TLS its credential is its certificate, on plain
/// loopback a secret.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
pub struct WorkerCredential {
    /// Its id: MQTT client id and user name.
    pub id: WorkerId,
    /// Its name.
    pub name: String,
    /// On plain loopback: MQTT password, and bearer token over HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// Base URL of the HTTP API.
    pub http_url: String,
    /// `host:port` of the broker.
    pub mqtt_address: String,
    /// Over TLS: PEM of the CA to trust.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    /// Over TLS: the certificate for the key that it made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<IssuedCertificate>,
}

impl std::fmt::Debug for WorkerCredential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WorkerCredential")
            .field("id", &self.id)
            .field("name", &self.name)
            .field("secret", &self.secret.as_ref().map(|_| "•••"))
            .field("http_url", &self.http_url)
            .field("mqtt_address", &self.mqtt_address)
            .finish_non_exhaustive()
    }
}

/// A join token as text: `agj1.<addresses>.<fingerprint>.<id>.<secret>.<check>`, where the
/// addresses are the hex of base URLs with commas between, the fingerprint is `-` on plain
/// loopback, and the check is a checksum over what precedes it.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken {
    /// Base URLs of the HTTP API, to be tried in this order.
    pub urls: Vec<String>,
    /// SHA-256 of the CA's certificate in hex; `None` on plain loopback.
    pub ca_fingerprint: Option<String>,
    /// Names the token where its secret must not be seen.
    pub id: String,
    /// What nobody can guess.
    pub secret: String,
}

/// What is wrong with a join token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidJoinTokenText {
    /// It does not begin as one.
    #[error("this is no join token: it begins with `agj1.`")]
    NotAToken,
    /// Its check digits do not fit.
    #[error("the join token was cut or changed when it was copied: its check digits do not fit")]
    Cut,
}

impl JoinToken {
    /// The text that a person copies.
    pub fn encode(&self) -> String {
        let urls = tohex(self.urls.join(",").as_bytes());
        let fingerprint = self.ca_fingerprint.as_deref().unwrap_or("-");
        let body = format!("agj1.{urls}.{fingerprint}.{}.{}", self.id, self.secret);
        format!("{body}.{:08x}", checksum(&body))
    }

    /// Reads the text and its check digits.
    pub fn decode(text: &str) -> Result<Self, InvalidJoinTokenText> {
        let text = text.trim();
        if !text.starts_with("agj1.") {
            return Err(InvalidJoinTokenText::NotAToken);
        }
        let cut = InvalidJoinTokenText::Cut;
        let (body, check) = text.rsplit_once('.').ok_or(cut)?;
        if !check.eq_ignore_ascii_case(&format!("{:08x}", checksum(body))) {
            return Err(cut);
        }
        let parts: Vec<&str> = body.split('.').collect();
        let [_, urls, fingerprint, id, secret] = parts.as_slice() else {
            return Err(cut);
        };
        let urls = unhex(urls)
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .ok_or(cut)?;
        Ok(Self {
            urls: urls.split(',').map(str::to_owned).collect(),
            ca_fingerprint: (*fingerprint != "-").then(|| (*fingerprint).to_owned()),
            id: (*id).to_owned(),
            secret: (*secret).to_owned(),
        })
    }

    /// What the controller gets: id and secret.
    pub fn proof(&self) -> String {
        format!("{}.{}", self.id, self.secret)
    }

    /// The id of a proof, for logs and the audit; an odd one is not repeated.
    pub fn id_of(proof: &str) -> &str {
        match proof.split_once('.') {
            Some((id, _)) if is_id(id) => id,
            _ => "?",
        }
    }
}

fn is_id(text: &str) -> bool {
    (1..=32).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

fn tohex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        text.push_str(&format!("{byte:02x}"));
        text
    })
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) {
        return None;
    }
    let pairs = (0..text.len()).step_by(2);
    pairs
        .map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok())
        .collect()
}

/// FNV-1a, 32 bits: finds slips of copying, guards against nobody.
fn checksum(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn token() -> JoinToken {
        JoinToken {
            urls: vec!["https://pi.lan:8485".into(), "https://192.0.2.7:8485".into()],
            ca_fingerprint: Some("ab".repeat(32)),
            id: "0190f00d".into(),
            secret: "s3cret".into(),
        }
    }

    #[test]
    fn a_join_token_survives_copying_or_says_that_it_did_not() {
        let text = token().encode();
        assert!(JoinToken::decode(&format!(" {text}\n")).expect("whole") == token());
        let mut plain = token();
        plain.ca_fingerprint = None;
        assert!(JoinToken::decode(&plain.encode()).expect("whole") == plain);
        for cut in 5..text.len() {
            assert_eq!(
                JoinToken::decode(&text[..cut]).err(),
                Some(InvalidJoinTokenText::Cut)
            );
        }
        let hello = JoinToken::decode("hello").err();
        assert_eq!(hello, Some(InvalidJoinTokenText::NotAToken));
    }

    #[test]
    fn the_id_is_shown_and_the_secret_is_not() {
        assert_eq!(token().proof(), "0190f00d.s3cret");
        assert_eq!(JoinToken::id_of(&token().proof()), "0190f00d");
        for odd in ["", "no dot", "a b.c", ".c", "\n.x"] {
            assert_eq!(JoinToken::id_of(odd), "?");
        }
    }

    #[test]
    fn a_public_key_is_a_whole_point_or_nothing() {
        let point: Vec<u8> = std::iter::once(4).chain(0..64).collect();
        assert_eq!(PublicKey::from_point(&point).point(), Some(point.clone()));
        for bad in [&point[..64], &[5; 65][..], &[]] {
            assert_eq!(PublicKey::from_point(bad).point(), None);
        }
        assert_eq!(PublicKey("zz".repeat(65)).point(), None);
        assert_eq!(PublicKey("é".repeat(65)).point(), None);
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in "(agj1\\.)?\\PC{0,200}", check: bool) {
            let whole = format!("{text}.{:08x}", checksum(&text));
            let _ = JoinToken::decode(if check { &whole } else { &text });
        }
    }
}
