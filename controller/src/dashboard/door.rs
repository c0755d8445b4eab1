//! What every page has in common: only our own names and our own forms come in, and what goes out
//! runs nothing but our own script. Problems become pages.

use std::net::IpAddr;

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header, uri::Authority},
    middleware::Next,
    response::{IntoResponse, Redirect, Response},
};
use protocol::http::{
    encode,
    problem::{Code, Problem},
};

use crate::api::{Api, problem::ApiError};

use super::frame;

/// Nothing but our own files and calls; no inline script or style.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      worker-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// Lets a request to the dashboard in, and dresses its answer.
pub(super) async fn door(State(api): State<Api>, request: Request, next: Next) -> Response {
    let (method, headers) = (request.method().clone(), request.headers().clone());
    let target = request.uri().path_and_query().map(ToString::to_string);
    let response = match known_host(&headers, &api).and_then(|host| own_form(&method, &headers, host)) {
        Ok(()) => next.run(request).await,
        Err(problem) => ApiError::from(problem).into_response(),
    };
    let mut response = shown(response, &headers, &method, target.as_deref().unwrap_or("/"));
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_FRAME_OPTIONS, "DENY"),
        // other sites learn nothing; our own forms still carry their origin
        (header::REFERRER_POLICY, "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// The host by which the browser knows us. Another site's name that points here is not ours.
fn known_host<'a>(headers: &'a HeaderMap, api: &Api) -> Result<&'a str, Problem> {
    let value = headers.get(header::HOST).and_then(|value| value.to_str().ok());
    let value = value.unwrap_or_default();
    let name = value
        .parse::<Authority>()
        .map(|authority| authority.host().to_lowercase());
    let name = name.unwrap_or_default();
    let address = name
        .trim_start_matches('[')
        .trim_end_matches(']')
        .parse::<IpAddr>();
    if address.is_ok() || name == "localhost" || api.about.hosts.contains(&name) {
        return Ok(value);
    }
    let shown: String = name.chars().take(80).collect();
    let problem = Problem::new(
        Code::Forbidden,
        format!("the dashboard does not know itself as {shown:?}"),
    );
    Err(problem.hint("use its address, or add the name to http.tls.names in the configuration"))
}

/// A form comes from a page of the same origin. Browsers say so themselves.
fn own_form(method: &Method, headers: &HeaderMap, host: &str) -> Result<(), Problem> {
    let said = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let origin = said("origin").map(|origin| origin.split_once("://").map_or(origin, |(_, rest)| rest));
    let other_origin = origin.is_some_and(|origin| origin != host);
    let other_site = said("sec-fetch-site").is_some_and(|site| site != "same-origin" && site != "none");
    if !method.is_safe() && (other_origin || other_site) {
        return Err(Problem::new(Code::Forbidden, "this form comes from another site"));
    }
    Ok(())
}

/// A problem as a page, for who wants pages; nobody is sent to the login with a form that would be lost silently.
fn shown(response: Response, headers: &HeaderMap, method: &Method, target: &str) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    let wants_page = accept.is_some_and(|accept| accept.contains("text/html"));
    let Some(problem) = response.extensions().get::<Problem>().filter(|_| wants_page) else {
        return response;
    };
    if problem.status == StatusCode::UNAUTHORIZED.as_u16() {
        let next = if method.is_safe() { target } else { "/" };
        return Redirect::to(&format!("/login?next={}", encode(next))).into_response();
    }
    let page = frame::problem(problem);
    let (mut parts, _) = response.into_parts();
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.insert(header::CONTENT_TYPE, frame::HTML);
    Response::from_parts(parts, page.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = pairs.iter();
        pairs
            .map(|(name, value)| (name.parse().expect("a name"), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn a_form_of_another_site_is_refused_and_looking_is_not() {
        let own = headers(&[
            ("origin", "http://127.0.0.1:1"),
            ("sec-fetch-site", "same-origin"),
        ]);
        assert_eq!(own_form(&Method::POST, &own, "127.0.0.1:1"), Ok(()));
        assert_eq!(
            own_form(&Method::POST, &headers(&[]), "127.0.0.1:1"),
            Ok(()),
            "no browser"
        );
        for bad in [
            headers(&[("origin", "http://evil.example")]),
            headers(&[("origin", "null")]),
            headers(&[("origin", "http://127.0.0.1:2")]),
            headers(&[("sec-fetch-site", "cross-site")]),
            headers(&[("sec-fetch-site", "same-site")]),
        ] {
            assert!(own_form(&Method::POST, &bad, "127.0.0.1:1").is_err(), "{bad:?}");
            assert_eq!(own_form(&Method::GET, &bad, "127.0.0.1:1"), Ok(()));
        }
    }

    #[test]
    fn who_must_log_in_comes_back_to_where_it_was_but_never_to_a_form() {
        let answer = || ApiError::from(Problem::new(Code::Unauthenticated, "no")).into_response();
        let browser = headers(&[("accept", "text/html,*/*")]);
        let location = |method: &Method| {
            let response = shown(answer(), &browser, method, "/jobs/1?step=a");
            assert_eq!(response.status(), StatusCode::SEE_OTHER);
            response.headers()[header::LOCATION]
                .to_str()
                .expect("text")
                .to_owned()
        };
        assert_eq!(location(&Method::GET), "/login?next=%2Fjobs%2F1%3Fstep%3Da");
        assert_eq!(location(&Method::POST), "/login?next=%2F");
        let program = shown(answer(), &headers(&[]), &Method::GET, "/");
        assert_eq!(program.status(), StatusCode::UNAUTHORIZED);
    }
}
