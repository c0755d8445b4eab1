//! The HTTP client: one `call(&endpoint)` for everything that has a type, and
//! raw requests for streams and blobs.

use std::{fs, sync::Arc, time::Duration};

use protocol::http::{
    Endpoint, Method,
    problem::{PROBLEM_JSON, Problem},
};
use reqwest::{
    Certificate, RequestBuilder, Response, StatusCode,
    header::{CONTENT_TYPE, HeaderMap, IF_MATCH},
};
use serde::de::DeserializeOwned;
use service::tls::{self, Fingerprint, PinnedCa};

use crate::{
    codes::Code,
    context::Target,
    error::{CliError, chain},
};

/// A controller in the LAN answers a connect within milliseconds; 5 s covers a Pi that wakes its disk.
const CONNECT: Duration = Duration::from_secs(5);
/// The limit of one call that is no stream.
const CALL: Duration = Duration::from_secs(30);
/// Silence after which a stream counts as dead: three missed heartbeats of 15 s.
const SILENCE: Duration = Duration::from_secs(45);
/// The largest JSON answer that is read into memory, in bytes.
const MAX_ANSWER: usize = 64 << 20;
/// Header that makes a repeated submit harmless.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// A connection to one controller; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    target: Target,
    /// What a pinned connection trusts.
    trust: Option<Arc<PinnedCa>>,
}

impl Client {
    /// A client for this controller; nothing is sent yet.
    pub(crate) fn new(target: Target) -> Result<Self, CliError> {
        let trust = target.pin.map(PinnedCa::new);
        Self::trusting(target, trust)
    }

    /// Which certificate authority a server shows, if it is one of agentd; nothing is sent to it.
    pub(crate) async fn shown_by(url: &str) -> Result<Fingerprint, CliError> {
        let target = Target {
            url: url.to_owned(),
            token: None,
            pin: None,
            ca: None,
            source: "login".to_owned(),
        };
        let client = Self::trusting(target, Some(PinnedCa::nobody()))?;
        let error = client
            .request(reqwest::Method::GET, "/healthz")
            .send()
            .await
            .err();
        let shown = client.trust.as_ref().and_then(|trust| trust.stranger());
        shown.ok_or_else(|| match error {
            Some(error) => client.unreachable(&error),
            None => CliError::new(Code::UnexpectedAnswer, format!("{url} answered without TLS")),
        })
    }

    fn trusting(target: Target, trust: Option<PinnedCa>) -> Result<Self, CliError> {
        let trust = trust.map(Arc::new);
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("agentctl/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT)
            .read_timeout(SILENCE)
            .redirect(reqwest::redirect::Policy::none());
        if is_loopback(&target.url) {
            builder = builder.no_proxy();
        }
        if let Some(trust) = &trust {
            let config = tls::client(trust.clone(), None)
                .map_err(|error| CliError::new(Code::Io, "cannot set up TLS").cause(error.to_string()))?;
            builder = builder.tls_backend_preconfigured(config);
        } else if let Some(file) = &target.ca {
            let pem = fs::read(file).map_err(|error| CliError::file(file, "read the CA", &error))?;
            let certificates = Certificate::from_pem_bundle(&pem).map_err(|error| {
                let sentence = format!("{} holds no certificate", file.display());
                CliError::new(Code::UnreadableFile, sentence).cause(chain(&error))
            })?;
            builder = builder.tls_certs_only(certificates);
        }
        let http = builder
            .build()
            .map_err(|error| CliError::new(Code::Io, "cannot set up the HTTP client").cause(chain(&error)))?;
        Ok(Self { http, target, trust })
    }

    /// The controller that is talked to.
    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    /// One call of the API.
    pub(crate) async fn call<E: Endpoint>(&self, endpoint: &E) -> Result<E::Response, CliError> {
        let response = self.send(self.build(endpoint).timeout(CALL)).await?;
        self.read_json(response).await
    }

    /// The same with an idempotency key: may be repeated until an answer comes.
    pub(crate) async fn call_once<E: Endpoint>(
        &self,
        endpoint: &E,
        key: &str,
    ) -> Result<E::Response, CliError> {
        let request = self.build(endpoint).timeout(CALL).header(IDEMPOTENCY_KEY, key);
        let response = self.send(request).await?;
        self.read_json(response).await
    }

    /// The same about a thing that was looked at: refused if it has changed since.
    pub(crate) async fn call_about<E: Endpoint>(
        &self,
        endpoint: &E,
        etag: &str,
    ) -> Result<E::Response, CliError> {
        let request = self.build(endpoint).timeout(CALL).header(IF_MATCH, etag);
        let response = self.send(request).await?;
        self.read_json(response).await
    }

    fn build<E: Endpoint>(&self, endpoint: &E) -> RequestBuilder {
        let method = match E::METHOD {
            Method::Get => reqwest::Method::GET,
            Method::Post => reqwest::Method::POST,
            Method::Put => reqwest::Method::PUT,
            Method::Delete => reqwest::Method::DELETE,
        };
        let request = self.request(method, &endpoint.path());
        if E::HAS_BODY {
            request.json(endpoint)
        } else {
            request
        }
    }

    /// A request to a path of the API, with the credential.
    pub(crate) fn request(&self, method: reqwest::Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.target.url));
        match &self.target.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// Sends a request whose answer is read by the caller; an error status becomes an error.
    pub(crate) async fn send(&self, request: RequestBuilder) -> Result<Response, CliError> {
        let response = self.answer(request).await?;
        if response.status().is_success() {
            Ok(response)
        } else {
            Err(self.refusal(response).await)
        }
    }

    /// Sends a request and takes any status as an answer.
    pub(crate) async fn answer(&self, request: RequestBuilder) -> Result<Response, CliError> {
        request.send().await.map_err(|error| self.unreachable(&error))
    }

    /// `GET` of something that is no JSON: a log, an artifact, an event stream.
    pub(crate) async fn get(&self, path: &str, headers: HeaderMap) -> Result<Response, CliError> {
        self.send(self.request(reqwest::Method::GET, path).headers(headers))
            .await
    }

    /// The whole body, at most `limit` bytes of it.
    pub(crate) async fn read(&self, mut response: Response, limit: usize) -> Result<Vec<u8>, CliError> {
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.unreachable(&error))? {
            if body.len() + chunk.len() > limit {
                let sentence = format!("the answer of {} is larger than {limit} bytes", self.target.url);
                return Err(CliError::new(Code::UnexpectedAnswer, sentence));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    async fn read_json<T: DeserializeOwned>(&self, response: Response) -> Result<T, CliError> {
        let status = response.status();
        let body = self.read(response, MAX_ANSWER).await?;
        // an answer without content reads as `{}`
        let text: &[u8] = if body.is_empty() { b"{}" } else { &body };
        serde_json::from_slice(text).map_err(|error| {
            let sentence = format!("{} answered {status}, but not as agentd does", self.target.url);
            CliError::new(Code::UnexpectedAnswer, sentence)
                .cause(error.to_string())
                .hint("check address and versions with `agentctl doctor`")
        })
    }

    /// What an error status means.
    pub(crate) async fn refusal(&self, response: Response) -> CliError {
        let status = response.status();
        let content = response.headers().get(CONTENT_TYPE).cloned();
        let is_problem = content.is_some_and(|value| value.as_bytes().starts_with(PROBLEM_JSON.as_bytes()));
        let body = self.read(response, MAX_ANSWER).await.unwrap_or_default();
        if is_problem && let Ok(problem) = serde_json::from_slice::<Problem>(&body) {
            return problem.into();
        }
        self.strange(status, &body)
    }

    fn strange(&self, status: StatusCode, body: &[u8]) -> CliError {
        let start = String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned();
        let sentence = format!(
            "{} answered {status}, which is no answer of agentd",
            self.target.url
        );
        let error = CliError::new(Code::UnexpectedAnswer, sentence)
            .hint("check that the URL is agentd's and not a proxy's: `agentctl doctor`");
        if start.trim().is_empty() {
            error
        } else {
            error.cause(start)
        }
    }

    /// No answer, or one that broke off.
    pub(crate) fn unreachable(&self, error: &reqwest::Error) -> CliError {
        let url = &self.target.url;
        if let (Some(shown), Some(pin)) = (self.trust.as_ref().and_then(|t| t.stranger()), self.target.pin) {
            let sentence =
                format!("what answers at {url} is not the controller that was pinned; nothing was sent");
            return CliError::new(Code::AnotherCa, sentence)
                .cause(format!("pinned certificate authority: {pin}\nthe one that answers:         {shown}"))
                .hint(format!(
                    "compare with what agentd logs at its start; if it was set up anew: `agentctl login {url}`"
                ));
        }
        let sentence = if error.is_timeout() {
            format!("the controller at {url} did not answer in time")
        } else if error.is_connect() {
            format!("no controller answers at {url}")
        } else {
            format!("the connection to the controller at {url} broke")
        };
        let hint = if url.starts_with("https://") && self.trust.is_none() && self.target.ca.is_none() {
            "if this is agentd's own TLS, `agentctl login URL` pins its certificate authority first; \
             `agentctl doctor` looks closer"
        } else if is_loopback(url) {
            "start it with `agentd`, or name another one with --url; `agentctl doctor` looks closer"
        } else {
            "check that machine and address are right; `agentctl doctor` looks closer"
        };
        CliError::new(Code::Unreachable, sentence)
            .cause(reason(error))
            .hint(hint)
    }
}

/// What lies behind an error of the client, whose own text only repeats the URL.
fn reason(error: &reqwest::Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => chain(source),
        None => error.to_string(),
    }
}

/// Whether a URL names this machine.
pub(crate) fn is_loopback(url: &str) -> bool {
    let Ok(url) = reqwest::Url::parse(url) else {
        return false;
    };
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
}
