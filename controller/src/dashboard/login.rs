//! In by a token or a one-time link, and out again.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    Extension,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Redirect, Response},
};
use jiff::SignedDuration;
use maud::html;
use protocol::id::TokenId;
use serde::Deserialize;

use crate::{
    api::{Api, auth::Caller, extract::Params, jobs::note, problem::ApiResult},
    authorize::Identity,
    credentials::{NotKnown, SESSION_PREFIX, WRONG_WINDOW_MS, hash, new_secret},
    state::{Connection, sessions, tokens},
};

use super::{
    frame,
    session::{COOKIE, Nothing, Signed, cookie_of, fields, typed},
};

/// How long a session lasts.
const SESSION: SignedDuration = SignedDuration::from_hours(7 * 24);
/// How long a link is good for, in seconds.
pub const LINK_LIFE_S: u64 = 300;
/// Links that wait to be used, at most; a new one displaces the oldest.
const LINKS: usize = 64;
/// Begins what a link holds.
const LINK_PREFIX: &str = "agl_";

/// One-time links into the dashboard. They live in memory: a restart ends them.
#[derive(Clone, Default)]
pub struct Links(Arc<Mutex<VecDeque<Link>>>);

struct Link {
    secret: [u8; 32],
    token: TokenId,
    expires_ms: u64,
}

impl Links {
    /// A link that logs in once with the rights of this token; times are of the monotonic clock.
    pub fn make(&self, token: TokenId, now_ms: u64) -> String {
        let secret = new_secret(LINK_PREFIX);
        let mut links = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if links.len() >= LINKS {
            links.pop_front();
        }
        links.push_back(Link {
            secret: hash(&secret),
            token,
            expires_ms: now_ms + LINK_LIFE_S * 1000,
        });
        secret
    }

    /// Uses a link; it is gone afterwards.
    fn take(&self, secret: &str, now_ms: u64) -> Option<TokenId> {
        let secret = hash(secret);
        let mut links = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        links.retain(|link| now_ms < link.expires_ms);
        let at = links.iter().position(|link| link.secret == secret)?;
        links.remove(at).map(|link| link.token)
    }
}

#[derive(Deserialize)]
pub(super) struct Wish {
    #[serde(default)]
    next: String,
    link: Option<String>,
}

/// A form, or with a link a form that is filled in.
pub(super) async fn page(Params(wish): Params<Wish>) -> Response {
    form(&wish.next, wish.link.as_deref(), None)
}

#[derive(Deserialize)]
struct LoginForm {
    #[serde(default)]
    token: String,
    #[serde(default)]
    link: String,
    #[serde(default)]
    next: String,
}

/// A token or a link in, a cookie out.
pub(super) async fn login(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> ApiResult<Response> {
    let form: LoginForm = typed(fields(request, &api).await?)?;
    let token = match who(&api, &caller, &form).await {
        Ok(token) => token,
        Err(NotKnown::State(error)) => return Err(error.into()),
        Err(error) => return Ok(refused(&api, &caller, &form, &error)),
    };
    let secret = new_secret(SESSION_PREFIX);
    let (secret_hash, now) = (hash(&secret), api.clock.wall());
    let made = api.engine.write(move |connection: &Connection| {
        let Some(token) = tokens::by_id(connection, token)? else {
            return Ok(None);
        };
        sessions::insert(connection, &secret_hash, token.id, now, now + SESSION)?;
        Ok(Some(token))
    });
    let Some(token) = made.await? else {
        return Ok(refused(&api, &caller, &form, &NotKnown::Wrong));
    };
    let caller = Caller {
        identity: Some(Identity::Client {
            token: token.id,
            name: token.name.clone(),
            scopes: token.scopes,
        }),
        ..caller
    };
    note(&api, &caller, "session.create", &token.name, "ok".to_owned()).await?;
    let cookie = format!("{secret}; Max-Age={}", SESSION.as_secs());
    Ok(with_cookie(Redirect::to(own_path(&form.next)), &cookie, &caller))
}

/// Whose token, or whose link.
async fn who(api: &Api, caller: &Caller, form: &LoginForm) -> Result<TokenId, NotKnown> {
    if !form.link.is_empty() {
        let known = api.dashboard.links.take(&form.link, api.clock.mono_ms());
        return known.ok_or_else(|| api.credentials.wrong(caller.peer.ip));
    }
    match api.credentials.by_secret(form.token.trim(), &caller.peer).await? {
        Identity::Client { token, .. } => Ok(token),
        Identity::Worker(_) => Err(NotKnown::Wrong),
    }
}

fn refused(api: &Api, caller: &Caller, form: &LoginForm, error: &NotKnown) -> Response {
    let (status, why) = match (error, form.link.is_empty()) {
        (NotKnown::TooMany, _) => (
            StatusCode::TOO_MANY_REQUESTS,
            "Too many wrong logins came from your address. Try again in a minute.",
        ),
        (_, true) => (
            StatusCode::UNAUTHORIZED,
            "This token is unknown, was removed or has expired.",
        ),
        (_, false) => (
            StatusCode::UNAUTHORIZED,
            "This link was used before or is too old. Make another: agentctl dashboard",
        ),
    };
    api.denials
        .note("nobody", caller.peer.ip, "login", "dashboard", "wrong credential");
    let mut response = self::form(&form.next, None, Some(why));
    *response.status_mut() = status;
    if status == StatusCode::TOO_MANY_REQUESTS {
        let seconds = WRONG_WINDOW_MS / 1000;
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

/// Ends the session on both sides.
pub(super) async fn logout(
    State(api): State<Api>,
    headers: HeaderMap,
    Signed { visitor, .. }: Signed<Nothing>,
) -> ApiResult<Response> {
    if let Some(secret) = cookie_of(&headers).map(hash) {
        api.engine
            .write(move |connection: &Connection| sessions::remove(connection, &secret))
            .await?;
        api.credentials.forget();
    }
    Ok(with_cookie(
        Redirect::to("/login"),
        "; Max-Age=0",
        &visitor.caller,
    ))
}

fn with_cookie(to: Redirect, value: &str, caller: &Caller) -> Response {
    let secure = if caller.peer.is_encrypted() {
        "; Secure"
    } else {
        ""
    };
    let cookie = format!("{COOKIE}={value}; Path=/; HttpOnly; SameSite=Strict{secure}");
    let mut response = to.into_response();
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}

/// A place of ours to go to; anything else is the first page.
fn own_path(next: &str) -> &str {
    let own =
        next.starts_with('/') && !next.starts_with("//") && next.bytes().all(|byte| byte.is_ascii_graphic());
    if own && !next.contains('\\') { next } else { "/" }
}

fn form(next: &str, link: Option<&str>, wrong: Option<&str>) -> Response {
    let content = html! {
        main.login {
            h1 { "agentd" }
            form method="post" action="/login" data-link[link.is_some()] {
                input type="hidden" name="next" value=(own_path(next));
                @if let Some(wrong) = wrong {
                    p.wrong role="alert" id="wrong" { (wrong) }
                }
                @if let Some(link) = link {
                    input type="hidden" name="link" value=(link);
                    p { "The link is good for one login." }
                } @else {
                    label for="token" { "API token" }
                    input #token name="token" type="password" autocomplete="current-password" required autofocus
                        aria-describedby=[wrong.map(|_| "wrong")];
                }
                button.primary type="submit" { "Log in" }
            }
            @if link.is_none() {
                p.hint { "Or run " code { "agentctl dashboard" } " for a link that logs you in." }
            }
        }
    };
    frame::bare("Log in", &content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_good_once_and_not_for_long() {
        let (links, token) = (Links::default(), TokenId::new());
        let link = links.make(token, 0);
        assert_eq!(links.take("agl_other", 1), None);
        assert_eq!(links.take(&link, 1), Some(token));
        assert_eq!(links.take(&link, 1), None, "it was used");
        let late = links.make(token, 0);
        assert_eq!(links.take(&late, LINK_LIFE_S * 1000), None, "it is too old");
        let first = links.make(token, 0);
        for _ in 0..LINKS {
            links.make(token, 0);
        }
        assert_eq!(links.take(&first, 1), None, "it was displaced");
    }

    #[test]
    fn a_login_leads_to_our_own_pages_only() {
        assert_eq!(own_path("/jobs/1?step=a"), "/jobs/1?step=a");
        for bad in [
            "",
            "https://evil.example",
            "//evil.example",
            "/\\evil.example",
            "/a\r\nb",
            "javascript:x",
        ] {
            assert_eq!(own_path(bad), "/", "{bad}");
        }
    }
}
