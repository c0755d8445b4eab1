//! `/v1/tokens`: a secret is shown once, and only its hash is kept.

use axum::{
    Extension, Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use jiff::SignedDuration;
use protocol::{
    http::{
        Page,
        problem::{Code, Problem},
        tokens::{CreateToken, TokenCreated, TokenView},
    },
    id::TokenId,
    text::misleads,
};

use crate::{
    credentials::{TOKEN_PREFIX, hash, new_secret},
    state::tokens,
};

use super::{
    Api,
    auth::Caller,
    extract::{Body, OfName},
    jobs::note,
    problem::{ApiResult, not_found},
};

pub(super) async fn list(State(api): State<Api>) -> ApiResult<Json<Page<TokenView>>> {
    let items = api.readers.query(tokens::all).await?;
    Ok(Json(Page {
        items,
        next_cursor: None,
    }))
}

pub(super) async fn create(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Body(wish): Body<CreateToken>,
) -> ApiResult<Response> {
    let name_ok = !wish.name.is_empty() && wish.name.len() <= 64 && !wish.name.contains(misleads);
    if !name_ok {
        let problem = Problem::new(
            Code::InvalidField,
            "the name of a token has 1 to 64 bytes on one line",
        );
        return Err(problem.field("name", wish.name).into());
    }
    if wish.scopes.is_empty() {
        let problem = Problem::new(Code::InvalidField, "a token needs at least one scope")
            .field("scopes", serde_json::json!([]));
        return Err(problem.hint("read, run, approve or admin").into());
    }
    let now = api.clock.wall();
    let life = wish
        .expires_in_s
        .and_then(|seconds| i64::try_from(seconds).ok())
        .map(SignedDuration::from_secs);
    let expires_at = life.map(|life| now.checked_add(life).unwrap_or(jiff::Timestamp::MAX));
    let secret = new_secret(TOKEN_PREFIX);
    let view = TokenView {
        id: TokenId::new(),
        name: wish.name,
        scopes: wish.scopes,
        created_at: now,
        expires_at,
        last_used_at: None,
    };
    let (row, secret_hash) = (view.clone(), hash(&secret));
    let inserted = api
        .engine
        .write(move |connection| tokens::insert(connection, &row, &secret_hash))
        .await?;
    let result = if inserted { "ok" } else { "conflict" };
    note(&api, &caller, "token.create", &view.name, result.to_owned()).await?;
    if !inserted {
        let problem = Problem::new(
            Code::Conflict,
            format!("a token is already named {:?}", view.name),
        );
        return Err(problem
            .field("name", view.name)
            .hint("choose another name, or remove that token first")
            .into());
    }
    let created = TokenCreated { token: secret, view };
    Ok((StatusCode::CREATED, Json(created)).into_response())
}

pub(super) async fn remove(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    OfName(name): OfName,
) -> ApiResult<Response> {
    let wanted = name.clone();
    let removed = api
        .engine
        .write(move |connection| tokens::remove(connection, &wanted))
        .await?;
    api.credentials.forget();
    let result = if removed { "ok" } else { "not_found" };
    note(&api, &caller, "token.remove", &name, result.to_owned()).await?;
    if removed {
        Ok(StatusCode::NO_CONTENT.into_response())
    } else {
        Err(not_found("token", name, "agentctl tokens lists them"))
    }
}
