//! How a worker joins, and how it renews its certificate.

use std::net::IpAddr;

use axum::{
    Extension, Json,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use jiff::SignedDuration;
use protocol::{
    http::{
        join::{IssuedCertificate, JoinToken, JoinWorker, PublicKey, RenewWorker, WorkerCredential},
        problem::{Code, Problem},
        workers::{CreateJoinToken, JoinTokenCreated},
    },
    id::WorkerId,
    worker::{Load, Wanted, WorkerState, check_worker_name},
};

use crate::{
    certificates::CertificateError,
    credentials::{NotKnown, WORKER_PREFIX, hash, new_secret},
    engine::{EngineError, NewWorker},
    orchestrator::world::Worker,
    state::workers,
};

use super::{
    Api, TlsAbout,
    auth::{Caller, too_many_wrong},
    extract::Body,
    jobs::note,
    problem::{ApiError, ApiResult},
};

/// Life of a join token, in seconds.
const JOIN_LIFE_S: i64 = 15 * 60;

pub(super) async fn create_join_token(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Body(_): Body<CreateJoinToken>,
) -> ApiResult<Response> {
    let (id, created) = make_join_token(&api).await?;
    note(&api, &caller, "worker.join_token", &id, "ok".to_owned()).await?;
    Ok((StatusCode::CREATED, Json(created)).into_response())
}

/// A token that lets one worker join, with its id; only its hash is kept.
pub async fn make_join_token(api: &Api) -> ApiResult<(String, JoinTokenCreated)> {
    let now = api.clock.wall();
    let expires_at = now + SignedDuration::from_secs(JOIN_LIFE_S);
    let id: [u8; 4] = rand::random();
    let tls = api.about.tls.as_ref().filter(|tls| tls.takes_workers());
    let token = JoinToken {
        urls: tls.map_or_else(|| vec![api.about.http_url.clone()], |tls| tls.urls.clone()),
        ca_fingerprint: tls.map(|tls| tls.authority.fingerprint().hex()),
        id: hex::encode(id),
        secret: new_secret(""),
    };
    let secret_hash = hash(&token.proof());
    api.engine
        .write(move |connection| workers::insert_join_token(connection, &secret_hash, now, expires_at))
        .await?;
    let created = JoinTokenCreated {
        token: token.encode(),
        expires_at,
    };
    Ok((token.id, created))
}

/// A join token in, a credential out: using the one and making the other is one transaction.
pub(super) async fn join(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    Body(wish): Body<JoinWorker>,
) -> ApiResult<Response> {
    let join_sha256 = hash(&wish.token);
    check_join_token(&api, &caller, join_sha256).await?;
    check_worker_name(&wish.name).map_err(|error| {
        ApiError::from(Problem::new(Code::InvalidField, error.to_string()).field("name", wish.name.as_str()))
    })?;
    let id = WorkerId::new();
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let (mut credential, secret_sha256) = credential(&api, &caller, id, wish.public_key.as_ref(), host)?;
    let token = JoinToken::id_of(&wish.token).to_owned();
    let new = NewWorker {
        join_sha256,
        secret_sha256,
        worker: worker(id, wish, api.clock.wall()),
    };
    match api.engine.join(new).await {
        Ok(name) => credential.name = name,
        Err(error) => {
            note(&api, &caller, "worker.join", &token, error.to_string()).await?;
            return Err(error.into());
        }
    }
    let result = format!("ok, by join token {token}");
    note(&api, &caller, "worker.join", &credential.name, result).await?;
    Ok((StatusCode::CREATED, Json(credential)).into_response())
}

/// A token that nobody can guess, but somebody may try: wrong ones are counted, and only read for.
async fn check_join_token(api: &Api, caller: &Caller, join_sha256: [u8; 32]) -> ApiResult<()> {
    let now = api.clock.wall();
    let is_good = move |connection: &_| workers::is_join_token(connection, &join_sha256, now);
    if api.readers.query(is_good).await? {
        return Ok(());
    }
    Err(match api.credentials.wrong(caller.peer.ip) {
        NotKnown::TooMany => too_many_wrong(),
        NotKnown::Wrong | NotKnown::State(_) => EngineError::JoinToken.into(),
    })
}

fn worker(id: WorkerId, wish: JoinWorker, joined_at: jiff::Timestamp) -> Worker {
    Worker {
        id,
        name: wish.name,
        state: WorkerState::Offline,
        wanted: Wanted::Active,
        labels: wish.labels,
        slots: wish.slots.clamp(1, 1024),
        used: 0,
        models: vec![],
        version: String::new(),
        load: Load::default(),
        joined_at,
        last_seen_at: None,
        session: None,
        live: false,
        boot: None,
        closed: None,
        warm: std::collections::VecDeque::new(),
    }
}

/// What fits the transport on which it is asked for, and the hash by which it is known: over TLS a
/// certificate, on plain loopback a secret.
fn credential(
    api: &Api,
    caller: &Caller,
    id: WorkerId,
    public_key: Option<&PublicKey>,
    host: Option<&str>,
) -> ApiResult<(WorkerCredential, [u8; 32])> {
    let about = &api.about;
    if !caller.peer.is_encrypted() {
        let secret = new_secret(WORKER_PREFIX);
        let known_by = hash(&secret);
        let credential = WorkerCredential {
            id,
            name: String::new(),
            secret: Some(secret),
            http_url: about.http_url.clone(),
            mqtt_address: about.mqtt_address.clone(),
            ca: None,
            certificate: None,
        };
        return Ok((credential, known_by));
    }
    let tls = tls_for_workers(api)?;
    let key = public_key.ok_or_else(|| {
        Problem::new(
            Code::InvalidField,
            "over TLS a worker joins with a key of its own, and none is named",
        )
        .field("public_key", serde_json::Value::Null)
        .hint("join with an agent-worker of this version")
    })?;
    let (certificate, known_by) = certify(api, tls, id, key)?;
    let (http_url, mqtt_address) = tls.addresses(host);
    let credential = WorkerCredential {
        id,
        name: String::new(),
        secret: None,
        http_url,
        mqtt_address,
        ca: Some(tls.authority.pem().to_owned()),
        certificate: Some(certificate),
    };
    Ok((credential, known_by))
}

/// A new certificate for the worker that asks over its present one, which goes on to be good until
/// it runs out.
pub(super) async fn renew(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Body(wish): Body<RenewWorker>,
) -> ApiResult<Json<IssuedCertificate>> {
    let present = caller.worker().zip(caller.peer.certificate());
    let (worker, asked_with) = present.ok_or_else(|| {
        Problem::new(
            Code::Conflict,
            "this worker has no certificate: it joined on plain loopback",
        )
        .hint("join it again over TLS")
    })?;
    let (certificate, known_by) = certify(&api, tls_for_workers(&api)?, worker, &wish.public_key)?;
    let renewed = api
        .engine
        .write(move |connection| workers::renew(connection, worker, &asked_with.0, &known_by))
        .await?;
    // the one before the present one may have gone
    api.credentials.forget();
    let result = if renewed { "ok" } else { "removed" };
    note(
        &api,
        &caller,
        "worker.renew",
        &worker.to_string(),
        result.to_owned(),
    )
    .await?;
    if !renewed {
        return Err(Problem::new(Code::Unauthenticated, "this worker was removed").into());
    }
    Ok(Json(certificate))
}

fn certify(
    api: &Api,
    tls: &TlsAbout,
    worker: WorkerId,
    key: &PublicKey,
) -> ApiResult<(IssuedCertificate, [u8; 32])> {
    let point = key.point().ok_or_else(|| {
        Problem::new(
            Code::InvalidField,
            "the key is no point on P-256, as 130 hex digits",
        )
        .field("public_key", serde_json::json!(key))
    })?;
    let now = api.clock.wall();
    let life = tls.worker_life;
    let issued = tls
        .authority
        .certify_worker(worker, &point, now, life)
        .map_err(not_certified)?;
    let certificate = IssuedCertificate {
        pem: issued.pem,
        lives_s: life.as_secs(),
    };
    Ok((certificate, issued.fingerprint.0))
}

fn not_certified(error: CertificateError) -> ApiError {
    tracing::error!(%error, "a worker's certificate was not made");
    Problem::new(Code::Internal, "the certificate could not be made").into()
}

fn tls_for_workers(api: &Api) -> ApiResult<&TlsAbout> {
    let tls = api.about.tls.as_ref().filter(|tls| tls.takes_workers());
    tls.ok_or_else(|| {
        Problem::new(Code::Conflict, "workers cannot join over TLS: mqtt.tls is off")
            .hint("set mqtt.tls in the controller's configuration, and start it again")
            .into()
    })
}

impl TlsAbout {
    /// Whether both the API and the broker can be reached over TLS.
    pub fn takes_workers(&self) -> bool {
        self.http.is_some() && self.mqtt.is_some()
    }

    /// Where a worker that came to `host` finds API and broker: where it came to, as long as the
    /// broker listens there too.
    fn addresses(&self, host: Option<&str>) -> (String, String) {
        let first = self.urls.first().cloned().unwrap_or_default();
        let url = host
            .filter(|host| is_authority(host))
            .map(|host| format!("https://{host}"));
        let url = url.unwrap_or(first);
        let authority = url.trim_start_matches("https://");
        let host = match authority.rsplit_once(':') {
            Some((host, port)) if port.parse::<u16>().is_ok() => host,
            _ => authority,
        };
        let (mqtt_ip, mqtt_port) = self.mqtt.map_or((None, 0), |mqtt| (Some(mqtt.ip()), mqtt.port()));
        let elsewhere =
            mqtt_ip.filter(|ip| !ip.is_unspecified() && Some(*ip) != self.http.map(|http| http.ip()));
        let mqtt = match elsewhere {
            Some(IpAddr::V6(ip)) => format!("[{ip}]:{mqtt_port}"),
            Some(ip) => format!("{ip}:{mqtt_port}"),
            None => format!("{host}:{mqtt_port}"),
        };
        (url, mqtt)
    }
}

/// Whether a `Host` header may stand in a URL.
fn is_authority(text: &str) -> bool {
    (1..=260).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte))
}
