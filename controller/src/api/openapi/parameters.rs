//! Parameters and headers of calls, by their names.

use std::num::{NonZeroU32, NonZeroU64};

use protocol::{
    artifact::Sha256,
    id::AttemptId,
    job::{JobState, StepKey},
};
use serde_json::{Value, json};

use super::shape::{Shape, inline};

/// Where a parameter is.
#[derive(Clone, Copy)]
pub(super) enum Place {
    Query,
    Header,
}

/// A parameter of a call.
pub(super) struct Parameter {
    name: &'static str,
    place: Place,
    required: bool,
    shape: Form,
    about: &'static str,
}

/// How its value is written.
enum Form {
    Of(Shape),
    Text(&'static str),
    States,
}

const fn query<T: schemars::JsonSchema>(name: &'static str, about: &'static str) -> Parameter {
    Parameter {
        name,
        place: Place::Query,
        required: false,
        shape: Form::Of(Shape::of::<T>()),
        about,
    }
}

const fn header(name: &'static str, pattern: &'static str, about: &'static str) -> Parameter {
    Parameter {
        name,
        place: Place::Header,
        required: false,
        shape: Form::Text(pattern),
        about,
    }
}

const fn offset(name: &'static str, about: &'static str) -> Parameter {
    Parameter {
        name,
        place: Place::Header,
        required: true,
        shape: Form::Of(Shape::of::<u64>()),
        about,
    }
}

pub(super) const IDEMPOTENCY: &[Parameter] = &[header(
    "Idempotency-Key",
    "^[!-~]{1,255}$",
    "The same key with the same body makes one job: first 201, then 200; for 7 days",
)];
pub(super) const JOBS: &[Parameter] = &[
    Parameter {
        name: "state",
        place: Place::Query,
        required: false,
        shape: Form::States,
        about: "Only these states, with commas between",
    },
    query::<String>("workflow", "Only these workflows, with commas between"),
    query::<String>("search", "Only titles with this text"),
];
pub(super) const AUDIT: &[Parameter] = &[
    query::<String>("who", "Only those of this name"),
    query::<String>(
        "action",
        "Only this action, or this group of actions: `job` is every `job.…`",
    ),
];
pub(super) const PAGE: &[Parameter] = &[
    Parameter {
        name: "cursor",
        place: Place::Query,
        required: false,
        shape: Form::Text("^[0-9]{1,19}$"),
        about: "`next_cursor` of the page before",
    },
    query::<NonZeroU32>("limit", "Rows of the page; brought within what a page may have"),
];
pub(super) const LIMIT: &[Parameter] = &[query::<NonZeroU32>(
    "limit",
    "Rows of the page, at most 1,000; 200 if missing",
)];
pub(super) const AFTER: &[Parameter] = &[query::<u64>("after", "Only those after this sequence number")];
pub(super) const LAST_EVENT: &[Parameter] = &[header(
    "Last-Event-ID",
    "^[0-9]{1,19}$",
    "Where a stream goes on; if what follows is not kept any more, `event: reset` comes first, and then everything that is",
)];
pub(super) const LOG: &[Parameter] = &[
    query::<NonZeroU32>("attempt", "Which attempt; the last one if missing"),
    query::<u64>("offset", "From this byte on"),
    query::<bool>("follow", "Go on until the attempt has ended"),
];
pub(super) const IF_MATCH: &[Parameter] = &[header(
    "If-Match",
    r#"^("[!#-~]*"|\*)$"#,
    "The ETag of what was looked at: a decision about something else is refused",
)];
pub(super) const RANGES: &[Parameter] = &[
    header(
        "Range",
        "^bytes=([0-9]{1,18}-[0-9]{0,18}|-[0-9]{1,18})$",
        "One range of bytes",
    ),
    header(
        "If-Range",
        r#"^"[0-9a-f]{64}"$"#,
        "The range counts only if the file still has this ETag",
    ),
    header(
        "If-None-Match",
        r#"^("[!#-~]*"|\*)$"#,
        "Nothing is sent if the file has this ETag",
    ),
];
pub(super) const UPLOAD: &[Parameter] = &[
    offset("Upload-Offset", "Where the body begins: how far the upload is"),
    Parameter {
        name: "Upload-Length",
        place: Place::Header,
        required: true,
        shape: Form::Of(Shape::of::<NonZeroU64>()),
        about: "How long the whole will be",
    },
];
pub(super) const UPLOAD_OFFSET: &[Parameter] = &[offset(
    "Upload-Offset",
    "Where the body begins: how far the upload is",
)];

impl Parameter {
    pub(super) fn is_query(&self) -> bool {
        matches!(self.place, Place::Query)
    }

    /// As the document says it.
    pub(super) fn describe(&self) -> Value {
        let place = if self.is_query() { "query" } else { "header" };
        let mut described =
            json!({"name": self.name, "in": place, "required": self.required, "description": self.about});
        described["schema"] = match &self.shape {
            Form::Of(shape) => inline(shape),
            Form::Text(pattern) => json!({"type": "string", "pattern": pattern}),
            Form::States => {
                described["style"] = json!("form");
                described["explode"] = json!(false);
                json!({"type": "array", "items": {"type": "string", "enum": JobState::ALL}})
            }
        };
        described
    }
}

/// A header of an answer.
pub(super) struct Header(&'static str, &'static str);

pub(super) const ETAG: Header = Header("ETag", "Changes with what is shown");
pub(super) const LOCATION: Header = Header("Location", "The path of the job");
pub(super) const ACCEPT_RANGES: Header = Header("Accept-Ranges", "`bytes`");
pub(super) const CONTENT_RANGE: Header = Header("Content-Range", "Which bytes of how many");
pub(super) const UPLOAD_OFFSET_NOW: Header = Header("Upload-Offset", "How far the upload is now");
pub(super) const LOG_SIZE: Header = Header("Log-Size", "Bytes of the log when the answer began");

impl Header {
    /// Its name, and what the document says of it.
    pub(super) fn describe(&self) -> (String, Value) {
        (
            self.0.to_owned(),
            json!({"description": self.1, "required": true, "schema": {"type": "string"}}),
        )
    }
}

/// A placeholder of a route.
pub(super) fn of_path(name: &str) -> Value {
    let (schema, example, about) = match name {
        "job" => {
            let uuid = "[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}";
            let pattern = format!("^([0-9]{{1,19}}|{uuid})$");
            (
                json!({"type": "string", "pattern": pattern}),
                "1",
                "Number or UUID of the job",
            )
        }
        "step" => (
            inline(&Shape::of::<StepKey>()),
            "run",
            "Key of the step, percent-encoded",
        ),
        "attempt" => (
            inline(&Shape::of::<AttemptId>()),
            "01940000-0000-7000-8000-000000000001",
            "UUID of the attempt",
        ),
        "sha256" => (
            inline(&Shape::of::<Sha256>()),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "SHA-256 of the bytes, in hex",
        ),
        _ => (json!({"type": "string", "minLength": 1}), "one", "Its name"),
    };
    json!({"name": name, "in": "path", "required": true, "description": about, "schema": schema, "example": example})
}
