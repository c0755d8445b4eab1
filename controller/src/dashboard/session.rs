//! Who looks at a page: the cookie of a login, and the proof that a form came from our own page.

use std::collections::HashMap;

use axum::{
    Form,
    extract::{FromRequest, FromRequestParts, Request},
    http::{HeaderMap, header, request::Parts},
};
use protocol::http::{
    problem::{Code, Problem},
    tokens::Scope,
};
use serde::de::DeserializeOwned;
use subtle::ConstantTimeEq as _;

use crate::{
    api::{Api, auth::Caller, extract, problem::ApiError},
    authorize::{Action, Need, authorize},
    credentials::hash,
};

/// Name of the cookie that holds a session's secret.
pub const COOKIE: &str = "agentd_session";
/// Name of the field by which a form proves that it came from our own page.
pub(super) const CSRF: &str = "csrf";

/// The session's secret among a request's cookies.
pub fn cookie_of(headers: &HeaderMap) -> Option<&str> {
    let values = headers.get_all(header::COOKIE).iter();
    let mut pairs = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'));
    pairs.find_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        (name == COOKIE).then_some(value)
    })
}

/// What the forms of a session carry: only who knows the cookie can make it, and it does not give the cookie away.
pub fn csrf_of(secret: &str) -> String {
    hex::encode(hash(&format!("form of {secret}")))
}

/// Who looks at a page.
#[derive(Clone, Debug)]
pub(super) struct Visitor {
    /// The identity and where it is.
    pub(super) caller: Caller,
}

impl Visitor {
    /// Whether one of the token's scopes reaches this one; what it does not reach is not offered.
    pub(super) fn may(&self, scope: Scope) -> bool {
        let identity = self.caller.identity.as_ref();
        identity.is_some_and(|identity| authorize(identity, Action::Call(Need::Scope(scope))).is_ok())
    }

    /// What its forms carry; empty for one that came with a bearer token, which no other page can send.
    pub(super) fn csrf(&self) -> &str {
        self.caller.csrf.as_deref().unwrap_or_default()
    }
}

impl FromRequestParts<Api> for Visitor {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &Api) -> Result<Self, ApiError> {
        let caller = parts.extensions.get::<Caller>().cloned();
        let caller = caller.ok_or_else(|| Problem::new(Code::Unauthenticated, "nobody has logged in"))?;
        Ok(Self { caller })
    }
}

/// A form of one of our own pages, sent by who was shown it.
pub(super) struct Signed<T> {
    /// Who.
    pub(super) visitor: Visitor,
    /// The other fields.
    pub(super) form: T,
}

impl<T: DeserializeOwned> FromRequest<Api> for Signed<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, api: &Api) -> Result<Self, ApiError> {
        let (mut parts, body) = request.into_parts();
        let visitor = Visitor::from_request_parts(&mut parts, api).await?;
        let mut fields = fields(Request::from_parts(parts, body), api).await?;
        let shown = fields.remove(CSRF).unwrap_or_default();
        if !bool::from(shown.as_bytes().ct_eq(visitor.csrf().as_bytes())) {
            let problem = Problem::new(
                Code::Forbidden,
                "this form did not come from a page of your session",
            );
            return Err(problem.hint("load the page again and repeat what you did").into());
        }
        Ok(Self {
            visitor,
            form: typed(fields)?,
        })
    }
}

/// The other fields of a form that is only a button.
#[derive(serde::Deserialize)]
pub(super) struct Nothing {}

/// The fields of a form that anybody may send.
pub(super) async fn fields(request: Request, api: &Api) -> Result<HashMap<String, String>, ApiError> {
    let (parts, body) = request.into_parts();
    let bytes = extract::read(Request::from_parts(parts.clone(), body), api.body_limit).await?;
    let request = Request::from_parts(parts, bytes.into());
    let form = Form::<HashMap<String, String>>::from_request(request, &()).await;
    form.map(|Form(fields)| fields).map_err(|rejection| {
        Problem::new(
            Code::InvalidBody,
            format!("the form cannot be read: {}", rejection.body_text()),
        )
        .into()
    })
}

/// Fields as the type that a handler wants.
pub(super) fn typed<T: DeserializeOwned>(fields: HashMap<String, String>) -> Result<T, ApiError> {
    let value = fields
        .into_iter()
        .map(|(name, text)| (name, text.into()))
        .collect();
    serde_json::from_value(serde_json::Value::Object(value)).map_err(|error| {
        Problem::new(Code::InvalidField, format!("the form lacks something: {error}")).into()
    })
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn the_cookie_is_found_among_others() {
        let mut headers = HeaderMap::new();
        assert_eq!(cookie_of(&headers), None);
        headers.append(
            header::COOKIE,
            HeaderValue::from_static("a=1; agentd_session=ags_x; b=2"),
        );
        assert_eq!(cookie_of(&headers), Some("ags_x"));
        headers.insert(header::COOKIE, HeaderValue::from_static("xagentd_session=ags_x"));
        assert_eq!(cookie_of(&headers), None);
    }

    #[test]
    fn each_session_has_its_own_proof_which_is_not_the_cookie() {
        assert_ne!(csrf_of("ags_a"), csrf_of("ags_b"));
        assert!(!csrf_of("ags_a").contains("ags_a"));
        assert_ne!(csrf_of("ags_a"), hex::encode(hash("ags_a")));
    }
}
