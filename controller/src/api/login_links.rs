//! `/v1/login-links`: from a token on the command line to a browser that is logged in.

use axum::{Extension, Json, extract::State, http::StatusCode};
use protocol::http::{
    login_links::LoginLinkCreated,
    problem::{Code, Problem},
};

use crate::dashboard::login::LINK_LIFE_S;

use super::{Api, auth::Caller, jobs::note, problem::ApiResult};

/// Good once and for some minutes; the session gets the rights of the token that asks.
pub(super) async fn create(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
) -> ApiResult<(StatusCode, Json<LoginLinkCreated>)> {
    let token = caller
        .token()
        .ok_or_else(|| Problem::new(Code::Forbidden, "only a token can be logged in with"))?;
    let secret = api.dashboard.links.make(token, api.clock.mono_ms());
    note(&api, &caller, "session.link", "dashboard", "ok".to_owned()).await?;
    let created = LoginLinkCreated {
        path: format!("/login?link={secret}"),
        expires_in_s: LINK_LIFE_S,
    };
    Ok((StatusCode::CREATED, Json(created)))
}
