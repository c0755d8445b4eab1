//! What handlers take from a request, with errors that name what was wrong.

use std::time::Duration;

use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Path, Query, Request},
    http::request::Parts,
};
use protocol::{
    http::{
        artifacts::MAX_UPLOAD_CHUNK,
        problem::{Code, Problem},
    },
    id::{JobId, JobRef},
    job::StepKey,
};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use crate::state::{jobs, views};

use super::{
    Api,
    problem::{ApiError, not_found},
};

/// A JSON body; an empty one reads as `{}`.
pub struct Body<T>(pub T);

impl<T: DeserializeOwned> FromRequest<Api> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, api: &Api) -> Result<Self, ApiError> {
        let bytes = read(request, api.body_limit).await?;
        decode(&bytes).map(Self)
    }
}

/// How long a body may take to come: whoever is slower holds up others.
const BODY_TIME: Duration = Duration::from_secs(30);

/// A piece of a file.
pub struct Piece(pub Bytes);

impl FromRequest<Api> for Piece {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &Api) -> Result<Self, ApiError> {
        read(request, MAX_UPLOAD_CHUNK).await.map(Self)
    }
}

/// The bytes of a body; its route holds it to the limit, which is named to who goes beyond.
pub async fn read(request: Request, limit: usize) -> Result<Bytes, ApiError> {
    let Ok(bytes) = timeout(BODY_TIME, Bytes::from_request(request, &())).await else {
        let detail = format!("the body did not come within {} s", BODY_TIME.as_secs());
        return Err(Problem::new(Code::TooSlow, detail).into());
    };
    bytes.map_err(|rejection| {
        if rejection.status() == axum::http::StatusCode::PAYLOAD_TOO_LARGE {
            let detail = format!("the body is larger than the limit of {limit} bytes");
            Problem::new(Code::TooLarge, detail)
                .hint("upload large things as blobs: PATCH /v1/blobs/{sha256}")
        } else {
            Problem::new(
                Code::InvalidBody,
                format!("the body could not be read: {rejection}"),
            )
        }
        .into()
    })
}

/// Reads JSON; the error names the place and, for an unknown field, what is known.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    let bytes = if bytes.is_empty() { b"{}" } else { bytes };
    serde_json::from_slice(bytes).map_err(|error| {
        let (code, what) = if error.is_data() {
            (
                Code::InvalidField,
                "the body has another shape than this call wants",
            )
        } else {
            (Code::InvalidBody, "the body is not valid JSON")
        };
        Problem::new(code, format!("{what}: {error}"))
            .hint("see /openapi.json for the shape")
            .into()
    })
}

/// Query parameters.
pub struct Params<T>(pub T);

impl<T: DeserializeOwned + Send> FromRequestParts<Api> for Params<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &Api) -> Result<Self, ApiError> {
        let query = Query::<T>::try_from_uri(&parts.uri);
        query.map(|Query(value)| Self(value)).map_err(|rejection| {
            Problem::new(
                Code::InvalidQuery,
                format!("a query parameter is wrong: {}", rejection.body_text()),
            )
            .into()
        })
    }
}

/// The job that the path names by number or UUID.
pub struct OfJob {
    /// Its id.
    pub id: JobId,
    /// Its number.
    pub number: u64,
}

impl FromRequestParts<Api> for OfJob {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, ApiError> {
        let text = path_value(parts, api, "job").await?;
        let hint = "agentctl ps lists the jobs";
        let name: JobRef = text.parse().map_err(|_| not_found("job", &text, hint))?;
        let found = api.readers.query(move |connection| {
            let Some(id) = jobs::find(connection, name)? else {
                return Ok(None);
            };
            Ok(views::number(connection, id)?.map(|number| Self { id, number }))
        });
        found.await?.ok_or_else(|| not_found("job", &text, hint))
    }
}

/// The step key that the path names.
pub struct OfStep(pub StepKey);

impl FromRequestParts<Api> for OfStep {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, ApiError> {
        let text = path_value(parts, api, "step").await?;
        text.parse()
            .map(Self)
            .map_err(|_| not_found("step", &text, "agentctl show JOB lists the steps"))
    }
}

/// The name that ends the path.
pub struct OfName(pub String);

impl FromRequestParts<Api> for OfName {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, ApiError> {
        path_value(parts, api, "name").await.map(Self)
    }
}

/// The hash that ends the path, unchecked.
pub struct OfBlob(pub String);

impl FromRequestParts<Api> for OfBlob {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, ApiError> {
        path_value(parts, api, "sha256").await.map(Self)
    }
}

/// The attempt in the path, unchecked.
pub struct OfAttempt(pub String);

impl FromRequestParts<Api> for OfAttempt {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, ApiError> {
        path_value(parts, api, "attempt").await.map(Self)
    }
}

async fn path_value(parts: &mut Parts, api: &Api, name: &str) -> Result<String, ApiError> {
    let path = Path::<std::collections::HashMap<String, String>>::from_request_parts(parts, api).await;
    let value = path.ok().and_then(|Path(mut values)| values.remove(name));
    value.ok_or_else(|| Problem::new(Code::NotFound, "the path cannot be read").into())
}
