//! Errors of the inside become problems of the API.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use protocol::http::problem::{Code, PROBLEM_JSON, Problem};
use tracing::error;

use crate::{engine::EngineError, orchestrator::Refusal, state::StateError};

/// A problem on its way to the client.
#[derive(Debug)]
pub struct ApiError {
    problem: Box<Problem>,
    retry_after_s: Option<u64>,
}

/// What handlers return.
pub type ApiResult<T> = Result<T, ApiError>;

impl ApiError {
    /// Tells the client when to come back.
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    /// The problem inside.
    pub fn problem(&self) -> &Problem {
        &self.problem
    }
}

impl From<Problem> for ApiError {
    fn from(problem: Problem) -> Self {
        Self {
            problem: Box::new(problem),
            retry_after_s: None,
        }
    }
}

/// Nothing has that name.
pub fn not_found(what: &str, name: impl std::fmt::Display, hint: &str) -> ApiError {
    Problem::new(Code::NotFound, format!("there is no {what} {name}"))
        .hint(hint)
        .into()
}

impl From<StateError> for ApiError {
    fn from(error: StateError) -> Self {
        storage(&error)
    }
}

fn storage(error: &StateError) -> ApiError {
    error!(%error, "the database failed");
    if error.is_full() {
        return full();
    }
    no_storage(format!(
        "the state folder cannot be used: {error}; nothing was changed"
    ))
}

fn full() -> ApiError {
    no_storage("the disk of the state folder is full: nothing was changed".to_owned())
}

fn no_storage(detail: String) -> ApiError {
    let problem = Problem::new(Code::Storage, detail).hint("free space in the state folder, then try again");
    ApiError::from(problem).retry_after(10)
}

impl From<EngineError> for ApiError {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Refused(refusal) => refusal.into(),
            EngineError::State(error) => storage(&error),
            EngineError::Full => full(),
            EngineError::IdempotencyMismatch => Problem::new(
                Code::IdempotencyMismatch,
                "the Idempotency-Key was used before with another request",
            )
            .hint("use a new key for a new request")
            .into(),
            EngineError::JoinToken => Problem::new(
                Code::InvalidJoinToken,
                "the join token is unknown, was used, or is older than 15 minutes",
            )
            .hint("make a new one: agentctl workers join-token")
            .into(),
            EngineError::Gone => {
                ApiError::from(Problem::new(Code::Unavailable, "agentd is stopping")).retry_after(5)
            }
        }
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        let code = match &refusal {
            Refusal::Unknown(_) | Refusal::Removed => Code::NotFound,
            Refusal::Changed { .. } => Code::PreconditionFailed,
            Refusal::JobState { .. }
            | Refusal::GroupFull { .. }
            | Refusal::Salvage(_)
            | Refusal::NotAwaiting { .. }
            | Refusal::Decided { .. }
            | Refusal::StaleSession
            | Refusal::StaleAttempt
            | Refusal::NotApplicable => Code::Conflict,
        };
        let problem = Problem::new(code, refusal.to_string());
        match refusal {
            Refusal::Changed { .. } => problem.hint("look at it again: agentctl show JOB").into(),
            _ => problem.into(),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(&*self.problem)).into_response();
        // pages show it in their own way
        response.extensions_mut().insert((*self.problem).clone());
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Bearer realm=\"agentd\""),
            );
        }
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}
