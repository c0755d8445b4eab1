//! From a bearer secret to an identity, and from an identity to a yes or no.
//!
//! Secrets are 256 random bits, so their SHA-256 is enough to keep. Wrong ones
//! are limited per address; a valid one is always served.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    extract::{ConnectInfo, MatchedPath, Request, State},
    http::{StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures::future::BoxFuture;
use jiff::Timestamp;
use protocol::{
    http::problem::{Code, Problem},
    id::{TokenId, WorkerId},
};
use service::clock::SharedClock;
use sha2::{Digest, Sha256};

use crate::{
    authorize::{Action, Identity, authorize},
    broker::{Authenticate, Refused},
    engine::Engine,
    state::{Readers, StateError, tokens, workers},
};

use super::{Api, problem::ApiError, routes};

/// Begins every API token.
pub const TOKEN_PREFIX: &str = "agt_";
/// Begins every worker's secret.
pub const WORKER_PREFIX: &str = "agw_";
/// Wrong secrets of one address within the window before they are refused unread.
const WRONG_ALLOWED: u32 = 20;
/// The window, in milliseconds.
const WRONG_WINDOW_MS: u64 = 60_000;
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

    /// Who has this secret.
    pub async fn identify(&self, secret: &str, peer: IpAddr) -> Result<Identity, NotKnown> {
        let hash = hash(secret);
        let (cached, generation) = {
            let memory = self.memory();
            (memory.known.get(&hash).cloned(), memory.generation)
        };
        let known = match cached {
            Some(known) => Some(known),
            None => self
                .look_up(secret, hash, generation)
                .await
                .map_err(NotKnown::State)?,
        };
        let wall = self.0.clock.wall();
        match known.filter(|known| known.expires_at.is_none_or(|end| wall < end)) {
            Some(known) => {
                self.touch(hash, &known).await;
                Ok(known.identity)
            }
            None => Err(self.count_wrong(peer)),
        }
    }

    async fn look_up(
        &self,
        secret: &str,
        hash: [u8; 32],
        generation: u64,
    ) -> Result<Option<Known>, StateError> {
        let is_worker = secret.starts_with(WORKER_PREFIX);
        let query = move |connection: &crate::state::Connection| -> Result<Option<(Identity, Option<Timestamp>)>, StateError> {
            if is_worker {
                let worker = workers::by_secret(connection, &hash)?;
                return Ok(worker.map(|worker| (Identity::Worker(worker), None)));
            }
            let token = tokens::by_secret(connection, &hash)?;
            Ok(token.map(|token| {
                let identity = Identity::Client {
                    token: token.id,
                    name: token.name,
                    scopes: token.scopes,
                };
                (identity, token.expires_at)
            }))
        };
        let found = self.0.readers.query(query).await?;
        let known = found.map(|(identity, expires_at)| Known {
            identity,
            expires_at,
            touched_ms: 0,
        });
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

    fn count_wrong(&self, peer: IpAddr) -> NotKnown {
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
        username: &'a str,
        password: &'a [u8],
        peer: IpAddr,
    ) -> BoxFuture<'a, Result<Identity, Refused>> {
        Box::pin(async move {
            let secret = std::str::from_utf8(password).map_err(|_| Refused::WrongCredential)?;
            let identity = self.identify(secret, peer).await.map_err(|error| match error {
                NotKnown::Wrong => Refused::WrongCredential,
                NotKnown::TooMany => Refused::TooManyTries,
                NotKnown::State(_) => Refused::Unavailable,
            })?;
            match &identity {
                // a worker logs in under its own id; a person's user name is free
                Identity::Worker(id) if username != id.to_string() => Err(Refused::WrongCredential),
                _ => Ok(identity),
            }
        })
    }
}

/// Who makes a request: put there by [`guard`].
#[derive(Clone, Debug)]
pub struct Caller {
    /// The identity; `None` on open routes without a credential.
    pub identity: Option<Identity>,
    /// From where.
    pub peer: IpAddr,
}

impl Caller {
    /// The worker that calls.
    pub fn worker(&self) -> Option<WorkerId> {
        match self.identity {
            Some(Identity::Worker(id)) => Some(id),
            _ => None,
        }
    }

    /// The token that calls.
    pub fn token(&self) -> Option<TokenId> {
        match self.identity {
            Some(Identity::Client { token, .. }) => Some(token),
            _ => None,
        }
    }

    /// The name for the audit.
    pub fn who(&self) -> String {
        self.identity
            .as_ref()
            .map_or_else(|| "nobody".to_owned(), ToString::to_string)
    }
}

/// Authentication, then scope, before the body, the look-up and the validation. A route that the table
/// does not know is denied.
pub async fn guard(State(api): State<Api>, mut request: Request, next: Next) -> Result<Response, ApiError> {
    let peer = request
        .extensions()
        .get::<ConnectInfo<SocketAddr>>()
        .map(|info| info.0.ip());
    let peer = peer.unwrap_or(IpAddr::from([127, 0, 0, 1]));
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map(|path| path.as_str().to_owned());
    let need = route
        .as_deref()
        .and_then(|route| routes::need_of(request.method(), route));
    let open = need.is_some_and(|need| matches!(need, crate::authorize::Need::Open));
    let bearer = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let secret = bearer
        .and_then(|value| value.strip_prefix("Bearer "))
        .map(str::trim);
    let identity = match secret {
        Some(secret) => Some(api.credentials.identify(secret, peer).await.map_err(refuse)?),
        None if open => None,
        None => return Err(unauthenticated("this call needs a token")),
    };
    let Some(need) = need else {
        // what is not in the table is denied, whoever asks and whatever the router knows
        let allow = routes::methods_of(route.as_deref().unwrap_or_default());
        return Ok((StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, allow)]).into_response());
    };
    if let Some(identity) = &identity {
        authorize(identity, Action::Call(need)).map_err(|denied| forbidden(&denied.to_string()))?;
    }
    request.extensions_mut().insert(Caller { identity, peer });
    Ok(next.run(request).await)
}

fn refuse(error: NotKnown) -> ApiError {
    match error {
        NotKnown::Wrong => unauthenticated("the token is unknown or has expired"),
        NotKnown::TooMany => {
            let problem = Problem::new(Code::RateLimited, "too many wrong tokens came from this address");
            ApiError::from(problem).retry_after(WRONG_WINDOW_MS / 1000)
        }
        NotKnown::State(error) => error.into(),
    }
}

fn unauthenticated(detail: &str) -> ApiError {
    Problem::new(Code::Unauthenticated, detail)
        .hint("send `Authorization: Bearer TOKEN`; `agentctl login URL` stores one for the command line")
        .into()
}

fn forbidden(detail: &str) -> ApiError {
    Problem::new(Code::Forbidden, detail)
        .hint("ask for a token with that scope: agentctl tokens create NAME --scope …")
        .into()
}

/// For what is outside the table: a valid credential at least.
pub async fn require_credential(
    api: &Api,
    extensions: &axum::http::Extensions,
    headers: &axum::http::HeaderMap,
) -> Result<(), ApiError> {
    let peer = extensions
        .get::<ConnectInfo<SocketAddr>>()
        .map(|info| info.0.ip());
    let bearer = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let secret = bearer
        .and_then(|value| value.strip_prefix("Bearer "))
        .map(str::trim);
    let secret = secret.ok_or_else(|| unauthenticated("this call needs a token"))?;
    let peer = peer.unwrap_or(IpAddr::from([127, 0, 0, 1]));
    api.credentials
        .identify(secret, peer)
        .await
        .map(|_| ())
        .map_err(refuse)
}
