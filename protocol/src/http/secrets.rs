//! `/v1/secrets`: what steps may ask for by name. A value goes in and never comes back here.

use std::fmt;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Empty, Endpoint, Method, Page, encode};
use crate::id::AttemptId;

/// Shortest value, in bytes: a shorter text cannot be told from words of a log.
pub const MIN_SECRET: usize = 8;
/// Longest value, in bytes: a key file with its certificates fits.
pub const MAX_SECRET: usize = 16 << 10;

/// `POST /v1/secrets`: makes it, or gives it another value.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetSecret {
    /// Like `FORGE_TOKEN`.
    pub name: String,
    /// The text itself: 8 bytes to 16 KiB, without NUL.
    pub value: String,
}

impl fmt::Debug for SetSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SetSecret")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Endpoint for SetSecret {
    const METHOD: Method = Method::Post;
    const ROUTE: &'static str = "/v1/secrets";
    const HAS_BODY: bool = true;
    type Response = SecretView;
    fn path(&self) -> String {
        Self::ROUTE.to_owned()
    }
}

/// A secret as lists show it: never its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SecretView {
    /// Its name.
    pub name: String,
    /// When it was first set.
    #[schemars(with = "crate::schema::Time")]
    pub created_at: Timestamp,
    /// When it got its present value.
    #[schemars(with = "crate::schema::Time")]
    pub set_at: Timestamp,
    /// Who set that.
    pub set_by: String,
    /// When it was last handed to an attempt.
    #[schemars(with = "Option<crate::schema::Time>")]
    pub last_used_at: Option<Timestamp>,
}

/// `GET /v1/secrets`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ListSecrets {}

impl Endpoint for ListSecrets {
    const METHOD: Method = Method::Get;
    const ROUTE: &'static str = "/v1/secrets";
    type Response = Page<SecretView>;
    fn path(&self) -> String {
        Self::ROUTE.to_owned()
    }
}

/// `DELETE /v1/secrets/{name}`.
#[derive(Clone, Debug, Serialize)]
pub struct RemoveSecret {
    /// Its name.
    #[serde(skip)]
    pub name: String,
}

impl Endpoint for RemoveSecret {
    const METHOD: Method = Method::Delete;
    const ROUTE: &'static str = "/v1/secrets/{name}";
    type Response = Empty;
    fn path(&self) -> String {
        Self::ROUTE.replace("{name}", &encode(&self.name))
    }
}

/// `GET`: the secrets that the step of an open attempt names, once, as a JSON map from name to value.
pub fn secrets_path(attempt: AttemptId) -> String {
    format!("/v1/attempts/{attempt}/secrets")
}
