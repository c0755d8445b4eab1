//! From a secret or a certificate to an identity.
//!
//! Each is known by its SHA-256: secrets are 256 random bits, so that this is enough
//! to keep. Wrong ones are limited per address; a valid one is always served. What an
//! identity may do is decided elsewhere.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use futures::future::BoxFuture;
use jiff::Timestamp;
use service::{clock::SharedClock, tls::Fingerprint};
use sha2::{Digest, Sha256};

use crate::{
    authorize::Identity,
    broker::{Authenticate, Presented, Refused},
    engine::Engine,
    state::{Connection, Readers, StateError, sessions, tokens, workers},
    transport::Peer,
};

/// Begins every API token.
pub const TOKEN_PREFIX: &str = "agt_";
/// Begins every worker's secret.
pub const WORKER_PREFIX: &str = "agw_";
/// Begins what a browser's cookie holds.
pub const SESSION_PREFIX: &str = "ags_";
/// Wrong secrets of one address within the window before they are refused unread.
const WRONG_ALLOWED: u32 = 20;
/// The window, in milliseconds.
pub const WRONG_WINDOW_MS: u64 = 60_000;
/// Addresses remembered, at most.
const ADDRESSES: usize = 4096;
/// Known secrets kept in memory, at most.
const CACHED: usize = 1024;
/// A token's last use is written at most this often, in milliseconds.
const TOUCH_MS: i64 = 60_000;

/// A new secret: 256 random bits behind its prefix.
pub fn new_secret(prefix: &str) -> String {
    let bytes: [u8; 32] = rand::random();
    format!("{prefix}{}", hex::encode(bytes))
}

/// What is kept of a secret.
pub fn hash(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

/// Checks secrets for HTTP and MQTT alike; cheap to clone.
#[derive(Clone)]
pub struct Credentials(Arc<Inner>);

struct Inner {
    readers: Readers,
    engine: Engine,
    clock: SharedClock,
    memory: Mutex<Memory>,
}

#[derive(Default)]
struct Memory {
    known: HashMap<[u8; 32], Known>,
    /// Counts up whenever a credential ends, so that a look-up that began before is not kept.
    generation: u64,
    wrong: HashMap<IpAddr, (u64, u32)>,
}

#[derive(Clone)]
struct Known {
    identity: Identity,
    expires_at: Option<Timestamp>,
    touched_ms: i64,
}

/// Whose credential is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Token,
    Session,
    Worker,
}

/// Why a secret opens nothing.
#[derive(Debug)]
pub enum NotKnown {
    /// It is wrong, or has expired.
    Wrong,
    /// Too many wrong ones came from this address.
    TooMany,
    /// It could not be looked up.
    State(StateError),
}

impl Credentials {
    /// A checker over the tables.
    pub fn new(readers: Readers, engine: Engine, clock: SharedClock) -> Self {
        Self(Arc::new(Inner {
            readers,
            engine,
            clock,
            memory: Mutex::default(),
        }))
    }

    /// A token or worker has ended: nothing that was known before counts.
    pub fn forget(&self) {
        let mut memory = self.memory();
        memory.known.clear();
        memory.generation += 1;
    }

    /// Who has this secret. A worker's opens nothing over TLS: there its certificate does.
    pub async fn by_secret(&self, secret: &str, peer: &Peer) -> Result<Identity, NotKnown> {
        let kind = if secret.starts_with(WORKER_PREFIX) {
            Kind::Worker
        } else {
            Kind::Token
        };
        if kind == Kind::Worker && peer.is_encrypted() {
            return Err(self.wrong(peer.ip));
        }
        self.identify(kind, hash(secret), peer.ip).await
    }

    /// Which worker has this certificate, whose key the connection has proved.
    pub async fn by_certificate(&self, certificate: Fingerprint, peer: &Peer) -> Result<Identity, NotKnown> {
        self.identify(Kind::Worker, certificate.0, peer.ip).await
    }

    /// Who has logged in with this cookie. One that has ended is nobody's, and no guess to be counted.
    pub async fn by_session(&self, secret: &str) -> Result<Option<Identity>, StateError> {
        let known = self.valid(Kind::Session, hash(secret)).await?;
        Ok(known.map(|known| known.identity))
    }

    async fn identify(&self, kind: Kind, hash: [u8; 32], ip: IpAddr) -> Result<Identity, NotKnown> {
        match self.valid(kind, hash).await.map_err(NotKnown::State)? {
            Some(known) => Ok(known.identity),
            None => Err(self.wrong(ip)),
        }
    }

    /// A credential that counts now; its use is noted.
    async fn valid(&self, kind: Kind, hash: [u8; 32]) -> Result<Option<Known>, StateError> {
        let (cached, generation) = {
            let memory = self.memory();
            (memory.known.get(&hash).cloned(), memory.generation)
        };
        let known = match cached {
            Some(known) => Some(known),
            None => self.look_up(kind, hash, generation).await?,
        };
        let wall = self.0.clock.wall();
        let valid = known.filter(|known| known.expires_at.is_none_or(|end| wall < end));
        if let Some(known) = &valid {
            self.touch(hash, known).await;
        }
        Ok(valid)
    }

    async fn look_up(
        &self,
        kind: Kind,
        hash: [u8; 32],
        generation: u64,
    ) -> Result<Option<Known>, StateError> {
        let known = match kind {
            Kind::Worker => {
                let worker = move |connection: &Connection| workers::by_credential(connection, &hash);
                self.0.readers.query(worker).await?.map(|worker| Known {
                    identity: Identity::Worker(worker),
                    expires_at: None,
                    touched_ms: 0,
                })
            }
            Kind::Token | Kind::Session => {
                let token = move |connection: &Connection| match kind {
                    Kind::Session => sessions::token(connection, &hash),
                    Kind::Token | Kind::Worker => tokens::by_secret(connection, &hash),
                };
                self.0.readers.query(token).await?.map(|token| Known {
                    identity: Identity::Client {
                        token: token.id,
                        name: token.name,
                        scopes: token.scopes,
                    },
                    expires_at: token.expires_at,
                    touched_ms: 0,
                })
            }
        };
        let mut memory = self.memory();
        if let (Some(known), true) = (
            &known,
            memory.generation == generation && memory.known.len() < CACHED,
        ) {
            memory.known.insert(hash, known.clone());
        }
        Ok(known)
    }

    /// Notes a token's use, at most once a minute.
    async fn touch(&self, hash: [u8; 32], known: &Known) {
        let Identity::Client { token, .. } = known.identity else {
            return;
        };
        let wall = self.0.clock.wall();
        let now_ms = wall.as_millisecond();
        if now_ms - known.touched_ms < TOUCH_MS {
            return;
        }
        if let Some(known) = self.memory().known.get_mut(&hash) {
            known.touched_ms = now_ms;
        }
        // a last use that was not written is no reason to refuse a valid token
        let _ = self
            .0
            .engine
            .write(move |connection| tokens::touch(connection, token, wall))
            .await;
    }

    /// Counts a wrong secret of this address: what to answer.
    pub fn wrong(&self, peer: IpAddr) -> NotKnown {
        let now = self.0.clock.mono_ms();
        let mut memory = self.memory();
        if memory.wrong.len() >= ADDRESSES {
            memory
                .wrong
                .retain(|_, (since, _)| now - *since < WRONG_WINDOW_MS);
        }
        if memory.wrong.len() >= ADDRESSES && !memory.wrong.contains_key(&peer) {
            return NotKnown::TooMany;
        }
        let (since, count) = memory.wrong.entry(peer).or_insert((now, 0));
        if now - *since >= WRONG_WINDOW_MS {
            (*since, *count) = (now, 0);
        }
        *count = count.saturating_add(1);
        if *count > WRONG_ALLOWED {
            NotKnown::TooMany
        } else {
            NotKnown::Wrong
        }
    }

    fn memory(&self) -> std::sync::MutexGuard<'_, Memory> {
        self.0.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Authenticate for Credentials {
    fn authenticate<'a>(
        &'a self,
        presented: Presented<'a>,
        peer: &'a Peer,
    ) -> BoxFuture<'a, Result<Identity, Refused>> {
        Box::pin(async move {
            let (found, username) = match presented {
                Presented::Certificate(certificate) => (self.by_certificate(certificate, peer).await, None),
                Presented::Password { username, password } => {
                    let secret = std::str::from_utf8(password).map_err(|_| Refused::WrongCredential)?;
                    (self.by_secret(secret, peer).await, Some(username))
                }
            };
            let identity = found.map_err(|error| match error {
                NotKnown::Wrong => Refused::WrongCredential,
                NotKnown::TooMany => Refused::TooManyTries,
                NotKnown::State(_) => Refused::Unavailable,
            })?;
            match (&identity, username) {
                // a worker logs in under its own id; a person's user name is free
                (Identity::Worker(id), Some(name)) if name != id.to_string() => Err(Refused::WrongCredential),
                _ => Ok(identity),
            }
        })
    }
}
