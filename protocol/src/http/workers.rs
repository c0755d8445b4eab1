//! `/v1/workers` and joining.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Empty, Endpoint, Method, Page, encode};
use crate::{
    id::WorkerId,
    job::{JobLink, StepKey},
    label::Labels,
    model::ReachableModel,
    worker::{Load, Wanted, WorkerState},
};

/// A worker as the API shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkerView {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: WorkerId,
    /// What is seen of it.
    pub state: WorkerState,
    /// What is wanted of it.
    pub wanted: Wanted,
    /// What it has.
    pub labels: Labels,
    /// How many attempts it takes at a time.
    pub slots: u32,
    /// How many it has.
    pub slots_used: u32,
    /// Models that it reaches by itself.
    pub models: Vec<ReachableModel>,
    /// Version of its program.
    pub version: String,
    /// How busy its machine is.
    pub load: Load,
    /// When it joined.
    pub joined_at: Timestamp,
    /// When it was last heard.
    pub last_seen_at: Option<Timestamp>,
    /// What it does now.
    pub current: Vec<CurrentStep>,
}

/// A step on a worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CurrentStep {
    /// Of which job.
    pub job: JobLink,
    /// Which.
    pub step: StepKey,
}

/// `GET /v1/workers`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ListWorkers {}

impl Endpoint for ListWorkers {
    const METHOD: Method = Method::Get;
    const ROUTE: &'static str = "/v1/workers";
    type Response = Page<WorkerView>;
    fn path(&self) -> String {
        Self::ROUTE.to_owned()
    }
}

macro_rules! worker_calls {
    ($($(#[$doc:meta])* $name:ident $method:ident $route:literal -> $response:ty;)+) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, Serialize)]
        pub struct $name {
            /// Which worker.
            #[serde(skip)]
            pub name: String,
        }

        impl Endpoint for $name {
            const METHOD: Method = Method::$method;
            const ROUTE: &'static str = $route;
            type Response = $response;
            fn path(&self) -> String {
                Self::ROUTE.replace("{name}", &encode(&self.name))
            }
        }
    )+};
}

worker_calls! {
    /// One worker.
    GetWorker Get "/v1/workers/{name}" -> WorkerView;
    /// Take nothing new.
    PauseWorker Post "/v1/workers/{name}/pause" -> WorkerView;
    /// Take nothing new and finish what runs.
    DrainWorker Post "/v1/workers/{name}/drain" -> WorkerView;
    /// Take steps again.
    ResumeWorker Post "/v1/workers/{name}/resume" -> WorkerView;
    /// Forget it.
    RemoveWorker Delete "/v1/workers/{name}" -> Empty;
}

/// `POST /v1/workers/join-tokens`: a token that lets one worker join within 15 minutes.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateJoinToken {}

impl Endpoint for CreateJoinToken {
    const METHOD: Method = Method::Post;
    const ROUTE: &'static str = "/v1/workers/join-tokens";
    const HAS_BODY: bool = true;
    type Response = JoinTokenCreated;
    fn path(&self) -> String {
        Self::ROUTE.to_owned()
    }
}

/// The only time that the token is shown.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct JoinTokenCreated {
    /// What `agent-worker join` takes.
    pub token: String,
    /// Until when.
    pub expires_at: Timestamp,
}

/// `POST /v1/workers/join`: a join token in, a credential out.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct JoinWorker {
    /// The secret part of the join token; see [`crate::http::workers::JoinToken`].
    pub token: String,
    /// The name that it wishes; a number is added when it is taken.
    pub name: String,
    /// What it has, so that it can be shown at once.
    #[serde(default)]
    pub labels: Labels,
    /// How many attempts it takes at a time.
    #[serde(default)]
    pub slots: u32,
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

/// What a worker keeps in its state folder (mode 0600).
#[derive(Clone, Serialize, Deserialize)]
pub struct WorkerCredential {
    /// Its id: MQTT client id and user name.
    pub id: WorkerId,
    /// Its name.
    pub name: String,
    /// Its secret: MQTT password, and bearer token over HTTP.
    pub secret: String,
    /// Base URL of the HTTP API.
    pub http_url: String,
    /// `host:port` of the broker.
    pub mqtt_address: String,
    /// PEM of the CA to trust; `None` on plain loopback.
    #[serde(default)]
    pub ca: Option<String>,
}

impl std::fmt::Debug for WorkerCredential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WorkerCredential")
            .field("id", &self.id)
            .field("name", &self.name)
            .field("secret", &"•••")
            .field("http_url", &self.http_url)
            .field("mqtt_address", &self.mqtt_address)
            .finish_non_exhaustive()
    }
}

/// A join token as text: `agj1.<url>.<secret>.<check>`, where the URL is hex and
/// the check is the first eight hex digits of a checksum over what precedes it.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken {
    /// Base URL of the HTTP API.
    pub url: String,
    /// Fingerprint of the CA; `None` on plain loopback.
    pub ca_fingerprint: Option<String>,
    /// What the controller knows by hash.
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
        let mut body = "agj1.".to_owned();
        for byte in self.url.bytes() {
            body.push_str(&format!("{byte:02x}"));
        }
        let fingerprint = self.ca_fingerprint.as_deref().unwrap_or("-");
        body.push_str(&format!(".{fingerprint}.{}", self.secret));
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
        let [_, url, fingerprint, secret] = parts.as_slice() else {
            return Err(cut);
        };
        let bytes: Option<Vec<u8>> = (0..url.len())
            .step_by(2)
            .map(|i| {
                url.get(i..i + 2)
                    .and_then(|pair| u8::from_str_radix(pair, 16).ok())
            })
            .collect();
        let url = bytes.and_then(|bytes| String::from_utf8(bytes).ok()).ok_or(cut)?;
        Ok(Self {
            url,
            ca_fingerprint: (*fingerprint != "-").then(|| (*fingerprint).to_owned()),
            secret: (*secret).to_owned(),
        })
    }
}

/// FNV-1a, 32 bits: finds slips of copying, guards against nobody.
fn checksum(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_join_token_survives_copying_or_says_that_it_did_not() {
        let token = JoinToken {
            url: "http://127.0.0.1:8484".into(),
            ca_fingerprint: None,
            secret: "s3cret".into(),
        };
        let text = token.encode();
        assert!(JoinToken::decode(&format!(" {text}\n")).expect("whole") == token);
        assert_eq!(
            JoinToken::decode(&text[..text.len() - 3]).err(),
            Some(InvalidJoinTokenText::Cut)
        );
        assert_eq!(
            JoinToken::decode("hello").err(),
            Some(InvalidJoinTokenText::NotAToken)
        );
    }
}
