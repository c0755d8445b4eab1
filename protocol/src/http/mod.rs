//! One HTTP call = one type, which server and clients share.

pub mod approvals;
pub mod artifacts;
pub mod audit;
pub mod backup;
pub mod events;
pub mod jobs;
pub mod join;
pub mod login_links;
pub mod problem;
pub mod secrets;
pub mod status;
pub mod tokens;
pub mod topics;
pub mod workers;
pub mod workflows;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// HTTP methods in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// Reads.
    Get,
    /// Makes or does.
    Post,
    /// Replaces.
    Put,
    /// Removes.
    Delete,
}

/// One call of the API. The type itself is the request's JSON body (`()`-like types send none).
pub trait Endpoint: Serialize {
    /// The method.
    const METHOD: Method;
    /// The route with `{placeholders}`, as the server registers it.
    const ROUTE: &'static str;
    /// Whether the request carries `self` as a JSON body.
    const HAS_BODY: bool = false;
    /// The JSON answer; [`Empty`] where there is none.
    type Response: DeserializeOwned;
    /// The route with its placeholders filled in, and the query.
    fn path(&self) -> String;
}

/// An answer without content.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Empty {}

/// One page of a list.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Page<T> {
    /// The rows.
    pub items: Vec<T>,
    /// Where the next page begins; `None` at the end.
    pub next_cursor: Option<String>,
}

/// Percent-encodes one path segment or query value.
pub fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(byte as char);
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// Builds `?a=b&c=d` from the pairs that have a value.
pub fn query(pairs: &[(&str, Option<String>)]) -> String {
    let mut out = String::new();
    for (key, value) in pairs {
        if let Some(value) = value {
            out.push(if out.is_empty() { '?' } else { '&' });
            out.push_str(&format!("{key}={}", encode(value)));
        }
    }
    out
}
