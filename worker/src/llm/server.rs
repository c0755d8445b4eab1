//! One provider's server: its address, its key, and how a request is opened.
//!
//! The key leaves this struct only as a header, never in an error.

use std::{
    error::Error,
    time::{Duration, SystemTime},
};

use protocol::model::ProviderDefinition;
use reqwest::{
    Client, Method, RequestBuilder, Response, Url,
    header::{HeaderMap, HeaderName, HeaderValue, LOCATION},
};
use serde_json::Value;
use service::clock::{Clock, SystemClock};
use tokio_util::sync::CancellationToken;

use super::{
    CallLimits, ChatRequest, LlmError,
    budget::{first_guess, prompt_bytes},
    exchange::Exchange,
    refusal::{Refusal, readable},
    retry_after::retry_after,
};

/// The most that is read of an error body.
const ERROR_BODY: usize = 64 * 1024;
/// The most that is read of a list of models.
const LIST_BODY: usize = 16 * 1024 * 1024;
/// Limits for a list of models.
const LIST_LIMITS: CallLimits = CallLimits {
    first_byte: Duration::from_secs(10),
    between: Duration::from_secs(10),
    total: Duration::from_secs(20),
};

/// Where a dialect puts the key.
#[derive(Clone, Copy, Debug)]
pub(super) enum KeyHeader {
    /// `authorization: Bearer …`
    Bearer,
    /// `x-api-key: …`
    ApiKey,
}

/// A server of models.
pub(super) struct Server {
    name: String,
    base: String,
    http: Client,
    headers: HeaderMap,
    key: Option<String>,
}

/// What came back first.
pub(super) enum Opened<'a> {
    /// Status 2xx.
    Answer(Exchange<'a>),
    /// Any other status.
    Refused(Refusal),
}

impl Server {
    /// The server of a definition; no connection is made.
    pub(super) fn new(
        definition: &ProviderDefinition,
        http: &Client,
        key_header: KeyHeader,
    ) -> Result<Self, LlmError> {
        let ProviderDefinition { name, base_url, .. } = definition;
        let url = Url::parse(base_url.trim())
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        let Some(url) = url else {
            return Err(LlmError::BadRequest(format!(
                "provider {name:?}: base_url {base_url:?} is no address such as http://host:11434"
            )));
        };
        if url.username() != "" || url.password().is_some() {
            return Err(LlmError::BadRequest(format!(
                "provider {name:?}: base_url holds a user or password; use api_key, which is never shown"
            )));
        }
        let key = definition
            .api_key
            .as_deref()
            .map(str::trim)
            .filter(|key| !key.is_empty());
        let mut headers = HeaderMap::new();
        if let Some(key) = key {
            let (header, text) = match key_header {
                KeyHeader::Bearer => ("authorization", format!("Bearer {key}")),
                KeyHeader::ApiKey => ("x-api-key", key.to_owned()),
            };
            let mut value = HeaderValue::from_str(&text).map_err(|_| {
                LlmError::Auth(format!(
                    "provider {name:?}: the key has characters that no header can carry"
                ))
            })?;
            value.set_sensitive(true);
            headers.insert(HeaderName::from_static(header), value);
        }
        Ok(Self {
            name: name.clone(),
            base: url.as_str().trim_end_matches('/').to_owned(),
            http: http.clone(),
            headers,
            key: key.map(str::to_owned),
        })
    }

    /// Adds a header that the dialect always sends.
    pub(super) fn header(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers
            .insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        self
    }

    /// Cuts an ending off the address, for dialects whose paths begin with it themselves.
    pub(super) fn without_suffix(mut self, suffix: &str) -> Self {
        if let Some(base) = self.base.strip_suffix(suffix) {
            self.base = base.to_owned();
        }
        self
    }

    /// The provider's name in the configuration.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Name and address for sentences.
    pub(super) fn who(&self) -> String {
        format!("provider {:?} at {}", self.name, self.base)
    }

    /// Sends a request and waits for the status.
    pub(super) async fn post<'a>(
        &'a self,
        path: &str,
        body: &Value,
        limits: CallLimits,
        stop: &'a CancellationToken,
    ) -> Result<Opened<'a>, LlmError> {
        let request = self.request(Method::POST, path).json(body);
        self.open(request, limits, stop).await
    }

    /// Gets a JSON document; none of these takes long.
    pub(super) async fn get(&self, path: &str) -> Result<Value, LlmError> {
        let never = CancellationToken::new();
        let request = self.request(Method::GET, path);
        match self.open(request, LIST_LIMITS, &never).await? {
            Opened::Refused(refusal) => Err(self.mask(refusal.into_error(&self.who(), 0, 0))),
            Opened::Answer(mut exchange) => {
                let body = exchange.read_all(LIST_BODY).await?;
                serde_json::from_slice(&body).map_err(|error| {
                    LlmError::BadRequest(format!(
                        "{} answered {path} with something that is no JSON: {error}",
                        self.who()
                    ))
                })
            }
        }
    }

    /// The error that a refusal of this request means.
    pub(super) fn refused(&self, refusal: Refusal, request: &ChatRequest) -> LlmError {
        let prompt = first_guess(prompt_bytes(&request.system, &request.messages));
        self.mask(refusal.into_error(&self.who(), prompt, u64::from(request.window)))
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http
            .request(method, format!("{}{path}", self.base))
            .headers(self.headers.clone())
    }

    async fn open<'a>(
        &'a self,
        request: RequestBuilder,
        limits: CallLimits,
        stop: &'a CancellationToken,
    ) -> Result<Opened<'a>, LlmError> {
        let mut exchange = Exchange::begin(self, limits, stop);
        let response = exchange.status(request.send()).await?;
        let status = response.status();
        if status.is_success() {
            exchange.body(response);
            return Ok(Opened::Answer(exchange));
        }
        if status.is_redirection() {
            return Err(self.redirected(&response));
        }
        let after = retry_after(response.headers(), now());
        exchange.body(response);
        // An error body that breaks off still leaves the status.
        let body = match exchange.read_all(ERROR_BODY).await {
            Err(LlmError::Stopped) => return Err(LlmError::Stopped),
            body => body.unwrap_or_default(),
        };
        let body = self.masked(&String::from_utf8_lossy(&body));
        Ok(Opened::Refused(Refusal::of_body(status.as_u16(), after, &body)))
    }

    fn redirected(&self, response: &Response) -> LlmError {
        let target = response
            .headers()
            .get(LOCATION)
            .and_then(|target| target.to_str().ok());
        let target = readable(target.unwrap_or("nowhere"));
        LlmError::BadRequest(format!(
            "{} redirects to {target}, which is not followed: set base_url to the final address",
            self.who()
        ))
    }

    /// The error for a connection that could not be made or broke.
    pub(super) fn broken(&self, error: reqwest::Error) -> LlmError {
        let error = error.without_url();
        let mut cause: &dyn Error = &error;
        while let Some(deeper) = cause.source() {
            cause = deeper;
        }
        let cause = readable(&cause.to_string());
        if error.is_builder() {
            return LlmError::BadRequest(format!("{} cannot be called: {cause}", self.who()));
        }
        let what = if error.is_connect() {
            "is not reachable"
        } else {
            "broke the connection"
        };
        self.try_again(&format!("{what}: {cause}"))
    }

    /// The error for something that another try may mend.
    pub(super) fn try_again(&self, what: &str) -> LlmError {
        self.mask(LlmError::Retry {
            message: format!("{} {what}", self.who()),
            after: None,
            rate_limited: false,
        })
    }

    /// The text without the key, which some servers repeat.
    fn masked(&self, text: &str) -> String {
        match &self.key {
            Some(key) => text.replace(key.as_str(), "•••"),
            None => text.to_owned(),
        }
    }

    fn mask(&self, mut error: LlmError) -> LlmError {
        match &mut error {
            LlmError::Retry { message, .. }
            | LlmError::Quota { message, .. }
            | LlmError::TooLong {
                detail: Some(message),
                ..
            }
            | LlmError::Auth(message)
            | LlmError::BadRequest(message)
            | LlmError::Endless(message)
            | LlmError::Replay(message) => *message = self.masked(message),
            LlmError::TooLong { detail: None, .. } | LlmError::Stopped => {}
        }
        error
    }
}

/// What the wall clock says, for headers that name a date.
fn now() -> SystemTime {
    let since_1970 = SystemClock::new().wall_ms();
    SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(since_1970).unwrap_or(0))
}
