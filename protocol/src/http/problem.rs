//! RFC 9457 problems: every error of the API has a stable code, the field at
//! fault, and a way out.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Media type of a problem.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// An error of the API.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error, JsonSchema)]
#[error("{detail}")]
pub struct Problem {
    /// `urn:agentd:problem:<code>`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The code as words.
    pub title: String,
    /// HTTP status.
    pub status: u16,
    /// The stable code.
    pub code: Code,
    /// One sentence that names what was wrong.
    pub detail: String,
    /// The field at fault, such as `inputs.task`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// Its value, cut to something readable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

macro_rules! codes {
    ($($(#[doc = $doc:literal])* $variant:ident = $text:literal, $status:literal;)+) => {
        /// The stable code of a problem.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
        pub enum Code { $($(#[doc = $doc])* #[serde(rename = $text)] $variant),+ }

        impl Code {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The text, as documentation spells it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }

            /// What it says, as a sentence for references.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),*).trim()),+ }
            }

            /// The HTTP status that it comes with.
            pub const fn status(self) -> u16 {
                match self { $(Self::$variant => $status),+ }
            }
        }
    };
}

codes! {
    /// No credential, or an unknown one.
    Unauthenticated = "unauthenticated", 401;
    /// The credential's scope does not reach.
    Forbidden = "forbidden", 403;
    /// Nothing has that name.
    NotFound = "not_found", 404;
    /// The route exists with other methods.
    MethodNotAllowed = "method_not_allowed", 405;
    /// The body is no JSON, or of another shape.
    InvalidBody = "invalid_body", 400;
    /// A field has a value that cannot be.
    InvalidField = "invalid_field", 422;
    /// A query parameter has a value that cannot be.
    InvalidQuery = "invalid_query", 400;
    /// No workflow has that name.
    UnknownWorkflow = "unknown_workflow", 422;
    /// The workflow cannot be loaded.
    InvalidWorkflow = "invalid_workflow", 422;
    /// A required input is missing.
    MissingInput = "missing_input", 422;
    /// No secret has that name, or it cannot be opened.
    UnknownSecret = "unknown_secret", 422;
    /// No model alias has that name.
    UnknownModel = "unknown_model", 422;
    /// No model is configured and none was found.
    NoModel = "no_model", 422;
    /// A blob that the request names is not here.
    MissingBlob = "missing_blob", 422;
    /// The idempotency key was used with another body.
    IdempotencyMismatch = "idempotency_mismatch", 422;
    /// The thing is not in a state that allows this.
    Conflict = "conflict", 409;
    /// What `If-Match` names is not how the thing is now.
    PreconditionFailed = "precondition_failed", 412;
    /// The upload goes on at another offset.
    WrongOffset = "wrong_offset", 409;
    /// The uploaded bytes have another hash.
    WrongHash = "wrong_hash", 422;
    /// The body or the stored thing would be too large.
    TooLarge = "too_large", 413;
    /// Too many wrong secrets or requests; see Retry-After.
    RateLimited = "rate_limited", 429;
    /// The join token is unknown, used or too old.
    InvalidJoinToken = "invalid_join_token", 401;
    /// The body did not come in time.
    TooSlow = "too_slow", 408;
    /// The range cannot be served.
    RangeNotSatisfiable = "range_not_satisfiable", 416;
    /// The state folder is full or cannot be written.
    Storage = "storage", 507;
    /// Stopping, or not ready yet.
    Unavailable = "unavailable", 503;
    /// A defect of agentd.
    Internal = "internal", 500;
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Problem {
    /// A problem with its sentence.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("urn:agentd:problem:{code}"),
            title: code.as_str().replace('_', " "),
            status: code.status(),
            code,
            detail: detail.into(),
            field: None,
            value: None,
            hint: None,
        }
    }

    /// Names the field and, cut to 200 characters, its value.
    pub fn field(mut self, field: impl Into<String>, value: impl Into<Value>) -> Self {
        let value = match value.into() {
            Value::String(text) if text.chars().count() > 200 => {
                Value::String(text.chars().take(200).chain(['…']).collect())
            }
            value => value,
        };
        self.field = Some(field.into());
        self.value = Some(value);
        self
    }

    /// Adds the way out.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}
