//! The controller over HTTP: blobs, logs, specs and providers. Every call has
//! a time limit and ends with the attempt that it serves.

mod blobs;
mod log;
mod source;
#[cfg(test)]
mod tests;

use std::time::Duration;

use protocol::{
    http::{
        Endpoint,
        join::{IssuedCertificate, JoinWorker, RenewWorker, WorkerCredential},
        problem::Problem,
    },
    step::{ErrorClass, StepError},
};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use crate::access::Access;

pub use blobs::{AttemptBlobs, BlobCache, BlobsMissing};
pub use log::LogUpload;
pub use source::AttemptSource;

/// Until a connection is given up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Without a byte from the controller.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// A connection that idles for longer is closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// First and longest wait before a call is made again.
const FIRST_RETRY: Duration = Duration::from_millis(250);
const LONGEST_RETRY: Duration = Duration::from_secs(10);
/// Longest body of a problem that is read.
const MAX_PROBLEM: usize = 64 << 10;

/// Why a call did not do what it should.
#[derive(Clone, Debug, thiserror::Error)]
pub enum HttpError {
    /// No answer, or it broke off.
    #[error("{0}")]
    Unreachable(String),
    /// The controller said no.
    #[error("{detail}")]
    Refused {
        /// Status.
        status: StatusCode,
        /// Its words.
        detail: String,
        /// What it advises.
        hint: Option<String>,
    },
    /// The answer is not what it should be.
    #[error("{0}")]
    Unexpected(String),
    /// A file here cannot be read or written.
    #[error("{0}")]
    Local(String),
    /// The attempt was stopped.
    #[error("the attempt was stopped")]
    Stopped,
}

impl HttpError {
    /// Whether the same call may do better later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable(_) => true,
            Self::Refused { status, .. } => {
                status.is_server_error()
                    || matches!(
                        *status,
                        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS
                    )
            }
            Self::Unexpected(_) | Self::Local(_) | Self::Stopped => false,
        }
    }

    /// Whether the controller said this status.
    pub fn is_status(&self, wanted: StatusCode) -> bool {
        matches!(self, Self::Refused { status, .. } if *status == wanted)
    }
}

impl From<reqwest::Error> for HttpError {
    fn from(error: reqwest::Error) -> Self {
        use std::error::Error as _;
        let error = error.without_url();
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            text = format!("{text}: {cause}");
            source = cause.source();
        }
        if error.is_decode() {
            Self::Unexpected(text)
        } else {
            Self::Unreachable(text)
        }
    }
}

impl From<HttpError> for StepError {
    fn from(error: HttpError) -> Self {
        let class = match error {
            HttpError::Stopped => ErrorClass::Killed,
            _ => ErrorClass::Infra,
        };
        Self::new(class, error.to_string())
    }
}

/// The controller's HTTP API with this worker's credential; cheap to clone.
#[derive(Clone)]
pub struct Controller {
    http: reqwest::Client,
    base: String,
    access: Access,
}

impl Controller {
    /// The API at a base URL.
    pub fn new(base: &str, access: Access) -> Result<Self, HttpError> {
        service::tls::install();
        let builder = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .tcp_nodelay(true)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("agent-worker/", env!("CARGO_PKG_VERSION")));
        let builder = match &access {
            Access::Tls(tls) => builder
                .https_only(true)
                .tls_backend_preconfigured(tls.config("http/1.1")),
            Access::Nobody | Access::Secret(_) => builder.tls_certs_only([]),
        };
        let http = builder.build()?;
        let base = base.trim_end_matches('/').to_owned();
        Ok(Self { http, base, access })
    }

    /// A request with the credential.
    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        match &self.access {
            Access::Secret(secret) => request.bearer_auth(secret),
            // over TLS the connection itself says who we are
            Access::Nobody | Access::Tls(_) => request,
        }
    }

    /// Sends a request; an answer that is no success becomes an error with the problem's words.
    async fn send(request: RequestBuilder) -> Result<Response, HttpError> {
        let response = request.send().await?;
        if response.status().is_success() {
            return Ok(response);
        }
        Err(refusal(response).await.0)
    }

    /// Gets JSON.
    async fn get_json<T: DeserializeOwned>(&self, path: &str) -> Result<T, HttpError> {
        Ok(Self::send(self.request(Method::GET, path)).await?.json().await?)
    }

    /// Joins with a one-time token.
    pub async fn join(&self, join: &JoinWorker) -> Result<WorkerCredential, HttpError> {
        let request = self.request(Method::POST, &join.path()).json(join);
        Ok(Self::send(request).await?.json().await?)
    }

    /// Asks for a new certificate.
    pub async fn renew(&self, renew: &RenewWorker) -> Result<IssuedCertificate, HttpError> {
        let request = self.request(Method::POST, &renew.path()).json(renew);
        Ok(Self::send(request).await?.json().await?)
    }
}

/// What an answer that is no success says.
async fn refusal(response: Response) -> (HttpError, Option<Problem>) {
    let status = response.status();
    let problem = read_problem(response).await;
    let detail = problem.as_ref().map_or_else(
        || format!("the controller answered with {status}"),
        |problem| problem.detail.clone(),
    );
    let hint = problem.as_ref().and_then(|problem| problem.hint.clone());
    let error = HttpError::Refused { status, detail, hint };
    (error, problem)
}

async fn read_problem(mut response: Response) -> Option<Problem> {
    let mut body = vec![];
    while let Ok(Some(chunk)) = response.chunk().await {
        body.extend_from_slice(&chunk);
        if body.len() > MAX_PROBLEM {
            return None;
        }
    }
    serde_json::from_slice(&body).ok()
}

/// Makes a call until it succeeds or cannot, or the attempt is stopped.
async fn persistently<T, F>(stop: &CancellationToken, mut call: impl FnMut() -> F) -> Result<T, HttpError>
where
    F: Future<Output = Result<T, HttpError>>,
{
    let mut longest = FIRST_RETRY;
    loop {
        let outcome = tokio::select! {
            outcome = call() => outcome,
            () = stop.cancelled() => return Err(HttpError::Stopped),
        };
        match outcome {
            Err(error) if error.is_transient() => {
                tracing::debug!(%error, "a call to the controller is made again");
                let wait = longest.mul_f64(0.5 + rand::random::<f64>() / 2.0);
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    () = stop.cancelled() => return Err(HttpError::Stopped),
                }
                longest = (2 * longest).min(LONGEST_RETRY);
            }
            outcome => return outcome,
        }
    }
}
