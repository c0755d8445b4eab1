//! `/v1/blobs` and the routes of the worker that holds an attempt.

use crate::{artifact::Sha256, id::AttemptId};

/// Header of a resumable upload: where the body begins, or how far the blob is.
pub const UPLOAD_OFFSET: &str = "upload-offset";
/// Header of a resumable upload: how long the blob will be.
pub const UPLOAD_LENGTH: &str = "upload-length";
/// Largest body of one upload request, in bytes.
pub const MAX_UPLOAD_CHUNK: usize = 8 << 20;

/// `HEAD` (how far is it), `PATCH` (go on) and `GET` of a blob.
pub fn blob_path(sha256: &Sha256) -> String {
    format!("/v1/blobs/{sha256}")
}

/// `GET`: the spec of an open attempt, as JSON of [`crate::spec::StepSpec`].
pub fn spec_path(attempt: AttemptId) -> String {
    format!("/v1/attempts/{attempt}/spec")
}

/// `GET`: the providers of an open attempt, as a JSON list of [`crate::model::ProviderDefinition`].
pub fn providers_path(attempt: AttemptId) -> String {
    format!("/v1/attempts/{attempt}/providers")
}

/// `PATCH`: bytes of the masked log spool from `Upload-Offset` on; answers 204 with the new offset.
pub fn attempt_log_path(attempt: AttemptId) -> String {
    format!("/v1/attempts/{attempt}/log")
}
