//! Logs of steps: uploaded by the worker, read or followed by people.

use std::{convert::Infallible, time::Duration};

use axum::{
    Extension,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use futures::stream;
use protocol::{
    http::{
        artifacts::UPLOAD_OFFSET,
        problem::{Code, Problem},
    },
    id::AttemptId,
};
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tracing::warn;

use crate::{
    artifact::logs::LogError,
    state::attempts::{self, owner},
};

use super::{
    Api,
    artifacts::{blocking, io_problem, number_header},
    attempts::owned,
    auth::Caller,
    extract::{OfAttempt, OfJob, OfStep, Params, Piece},
    problem::{ApiResult, not_found},
};

/// Bytes read at a time.
const CHUNK: usize = 64 << 10;
/// A follower looks again at least this often, in case the end of the attempt was missed.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// `PATCH /v1/attempts/{id}/log`: whole answers even to repeats.
pub(super) async fn upload(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    OfAttempt(attempt): OfAttempt,
    headers: HeaderMap,
    Piece(body): Piece,
) -> ApiResult<Response> {
    let (id, _) = owned(&api, &caller, &attempt).await?;
    let offset = number_header(&headers, UPLOAD_OFFSET)?;
    let (logs, mask) = (api.logs.clone(), api.mask.clone());
    let appended = blocking(move || {
        // the length stays, since the worker counts by offsets
        let mut body = Vec::from(body);
        if mask.blot(&mut body) {
            warn!(attempt = %id, "a worker sent a secret in a log: it was blotted out");
        }
        logs.append(id, offset, &body)
    });
    let appended = appended.await?;
    let end = appended.map_err(|error| {
        let detail = error.to_string();
        match error {
            LogError::Gap { expected } => {
                Problem::new(Code::WrongOffset, detail).field(UPLOAD_OFFSET, expected)
            }
            LogError::TooLarge { limit } => Problem::new(Code::TooLarge, detail).field("log", limit),
            LogError::Io(_) => Problem::new(Code::Storage, detail),
        }
    })?;
    let mut response = StatusCode::NO_CONTENT.into_response();
    response.headers_mut().insert(UPLOAD_OFFSET, end.into());
    Ok(response)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LogQuery {
    attempt: Option<u32>,
    #[serde(default)]
    offset: u64,
    #[serde(default)]
    follow: bool,
}

/// Text from an offset on; with `follow` until the attempt has ended.
pub(super) async fn read(
    State(api): State<Api>,
    job: OfJob,
    step: OfStep,
    Params(query): Params<LogQuery>,
) -> ApiResult<Response> {
    let (id, key, number) = (job.id, step.0.clone(), query.attempt);
    let found = api
        .readers
        .query(move |connection| attempts::of_step(connection, id, &key, number))
        .await?;
    let hint = format!("agentctl show {} lists steps and attempts", job.number);
    let Some((attempt, open)) = found else {
        let what = query.attempt.map_or_else(
            || format!("{}: it has no attempt yet", step.0),
            |n| format!("{} attempt {n}", step.0),
        );
        return Err(not_found("log of step", what, &hint));
    };
    let logs = api.logs.clone();
    let size = blocking(move || logs.size(attempt))
        .await?
        .map_err(|error| io_problem(&error))?;
    let follow = query.follow && open;
    let place = follow.then(|| api.admission.stream()).transpose()?;
    let tail = Tail {
        _place: place,
        growth: if follow { api.logs.watch(attempt) } else { None },
        api,
        attempt,
        offset: query.offset,
        follow,
    };
    let chunks = stream::unfold(tail, |mut tail| async move {
        let chunk = tail.next().await?;
        Some((Ok::<_, Infallible>(chunk), tail))
    });
    let mut response = Response::new(Body::from_stream(chunks));
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    headers.insert("log-size", size.into());
    Ok(response)
}

/// A reader of one log that may still grow.
struct Tail {
    _place: Option<OwnedSemaphorePermit>,
    api: Api,
    attempt: AttemptId,
    offset: u64,
    follow: bool,
    growth: Option<watch::Receiver<u64>>,
}

impl Tail {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            // whether it has ended is asked first: what was written before is then here
            let ended = !self.follow || self.has_ended().await;
            let (logs, attempt, offset) = (self.api.logs.clone(), self.attempt, self.offset);
            let read = blocking(move || logs.read(attempt, offset, CHUNK)).await.ok()?;
            let chunk = read.ok()?;
            if !chunk.is_empty() {
                self.offset += chunk.len() as u64;
                return Some(Bytes::from(chunk));
            }
            if ended {
                return None;
            }
            self.wait().await?;
        }
    }

    async fn has_ended(&self) -> bool {
        let attempt = self.attempt;
        let owner = self
            .api
            .readers
            .query(move |connection| owner(connection, attempt))
            .await;
        owner.map_or(true, |owner| owner.is_none_or(|owner| !owner.open))
    }

    async fn wait(&mut self) -> Option<()> {
        let growth = async {
            match &mut self.growth {
                Some(growth) => {
                    let _ = growth.changed().await;
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.api.stop.cancelled() => None,
            () = growth => Some(()),
            () = tokio::time::sleep(LOOK_AGAIN) => Some(()),
        }
    }
}
