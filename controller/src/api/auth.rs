//! Who calls, and whether that is enough.

use axum::{
    extract::{ConnectInfo, MatchedPath, Request, State},
    http::{Extensions, HeaderMap, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use protocol::{
    http::problem::{Code, Problem},
    id::{TokenId, WorkerId},
};

use crate::{
    authorize::{Action, Identity, Need, authorize},
    credentials::{NotKnown, WRONG_WINDOW_MS},
    dashboard::{cookie_of, csrf_of},
    transport::Peer,
};

use super::{Api, origin, problem::ApiError, routes};

/// Who makes a request: put there by [`guard`].
#[derive(Clone, Debug)]
pub struct Caller {
    /// The identity; `None` on open routes without a credential.
    pub identity: Option<Identity>,
    /// From where, and how.
    pub peer: Peer,
    /// For who has logged in with a browser: what its forms carry.
    pub csrf: Option<String>,
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

    /// Its address, for the audit.
    pub fn origin(&self) -> String {
        self.peer.ip.to_string()
    }

    /// Whether nobody can listen to what is answered: keys and secrets go over TLS, or stay on this machine.
    pub fn confidential(&self) -> Result<(), ApiError> {
        if self.peer.is_encrypted() || self.peer.ip.to_canonical().is_loopback() {
            return Ok(());
        }
        let problem = Problem::new(
            Code::Forbidden,
            "secrets and keys are handed out over TLS only, and this connection is plain",
        );
        Err(problem.hint("let the worker join by an https address").into())
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
    let peer = peer_of(request.extensions());
    origin::check(request.method(), request.headers(), &api.about.hosts)?;
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map(|path| path.as_str().to_owned());
    let need = route
        .as_deref()
        .and_then(|route| routes::need_of(request.method(), route));
    let mut csrf = None;
    let mut identity = identity(&api, &peer, request.headers()).await?;
    // a browser sends its cookie by itself: only looking and our own forms count
    let counts = request.method().is_safe() || route.as_deref().is_some_and(routes::is_page);
    if let (None, true, Some(secret)) = (&identity, counts, cookie_of(request.headers())) {
        identity = api.credentials.by_session(secret).await?;
        csrf = identity.is_some().then(|| csrf_of(secret));
    }
    if identity.is_none() && need != Some(Need::Open) {
        return Err(unauthenticated("this call needs a token"));
    }
    let Some(need) = need else {
        // what is not in the table is denied, whoever asks and whatever the router knows
        let allow = routes::methods_of(route.as_deref().unwrap_or_default());
        return Ok((StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, allow)]).into_response());
    };
    if let Some(identity) = &identity {
        authorize(identity, Action::Call(need)).map_err(|denied| {
            let call = format!("{} {}", request.method(), route.as_deref().unwrap_or_default());
            api.denials
                .note(&identity.to_string(), peer.ip, "http.call", &call, "denied");
            forbidden(&denied.to_string())
        })?;
    }
    request.extensions_mut().insert(Caller { identity, peer, csrf });
    Ok(next.run(request).await)
}

/// A bearer secret says who calls, else the certificate of the connection; `None` without either.
async fn identity(api: &Api, peer: &Peer, headers: &HeaderMap) -> Result<Option<Identity>, ApiError> {
    let bearer = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let secret = bearer
        .and_then(|value| value.strip_prefix("Bearer "))
        .map(str::trim);
    let found = match (secret, peer.certificate()) {
        (Some(secret), _) => api.credentials.by_secret(secret, peer).await,
        (None, Some(certificate)) => api.credentials.by_certificate(certificate, peer).await,
        (None, None) => return Ok(None),
    };
    let identity = found.map_err(|error| refuse(api, peer, error))?;
    if let (Identity::Worker(worker), Some(connection)) = (&identity, &peer.connection) {
        connection.belongs_to(*worker);
    }
    Ok(Some(identity))
}

fn peer_of(extensions: &Extensions) -> Peer {
    let info = extensions.get::<ConnectInfo<Peer>>();
    info.map_or_else(Peer::local, |info| info.0.clone())
}

fn refuse(api: &Api, peer: &Peer, error: NotKnown) -> ApiError {
    let why = match &error {
        NotKnown::Wrong => Some("wrong credential"),
        NotKnown::TooMany => Some("too many wrong credentials"),
        NotKnown::State(_) => None,
    };
    if let Some(why) = why {
        api.denials.note("nobody", peer.ip, "login", "HTTP", why);
    }
    match error {
        NotKnown::Wrong => unauthenticated("the credential is unknown, was removed or has expired"),
        NotKnown::TooMany => too_many_wrong(),
        NotKnown::State(error) => error.into(),
    }
}

/// This address has guessed too often.
pub(super) fn too_many_wrong() -> ApiError {
    let problem = Problem::new(Code::RateLimited, "too many wrong tokens came from this address");
    ApiError::from(problem).retry_after(WRONG_WINDOW_MS / 1000)
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
    extensions: &Extensions,
    headers: &HeaderMap,
) -> Result<(), ApiError> {
    let found = identity(api, &peer_of(extensions), headers).await?;
    found
        .map(|_| ())
        .ok_or_else(|| unauthenticated("this call needs a token"))
}
