//! How types that are written as text describe themselves in generated documents.
//!
//! Everything else derives its schema from its fields.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

/// A time, as documents describe it.
pub struct Time;

/// Describes a type that is written as text: its name, and what is said beside `"type": "string"`.
macro_rules! text_schema {
    ($type:ty, $name:literal, $($key:literal: $value:expr),+ $(,)?) => {
        impl JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({"type": "string", $($key: $value),+})
            }
        }
    };
}

text_schema!(Time, "Time", "format": "date-time", "description": "RFC 3339, UTC");
text_schema!(crate::artifact::Sha256, "Sha256", "pattern": "^[0-9a-fA-F]{64}$");
text_schema!(crate::duration::Millis, "Duration", "pattern": "^[0-9]+(ms|s|m|h|d)$");
text_schema!(crate::http::join::PublicKey, "PublicKey", "description": "A point on P-256, uncompressed, in hex");
text_schema!(
    crate::job::StepKey, "StepKey",
    "pattern": r"^[A-Za-z0-9_.#/=,\[\]-]+$", "minLength": 1, "maxLength": 200
);
text_schema!(crate::id::JobId, "JobId", "format": "uuid");
text_schema!(crate::id::AttemptId, "AttemptId", "format": "uuid");
text_schema!(crate::id::WorkerId, "WorkerId", "format": "uuid");
text_schema!(crate::id::TokenId, "TokenId", "format": "uuid");
