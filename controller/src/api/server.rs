//! The listener of the API, and what all answers have in common.

use axum::{
    Router,
    extract::{Request, State, connect_info::Connected},
    http::{HeaderValue, Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
    serve::{IncomingStream, Listener},
};
use protocol::http::problem::{Code, Problem};

use crate::transport::Peer;

use super::{
    Api, auth,
    problem::{ApiError, not_found},
    routes,
};

/// Serves until the process stops; open streams end with it. `beside` is what this listener
/// serves besides the API.
pub async fn serve<L>(listener: L, api: Api, beside: Router) -> std::io::Result<()>
where
    L: Listener<Addr = Peer>,
    Peer: for<'a> Connected<IncomingStream<'a, L>>,
{
    let stop = api.stop.clone();
    let service = routes::router(api, beside).into_make_service_with_connect_info::<Peer>();
    axum::serve(listener, service)
        .with_graceful_shutdown(stop.cancelled_owned())
        .await
}

/// No such route: said only to those who may know.
pub(super) async fn unknown_route(State(api): State<Api>, request: Request) -> Result<Response, ApiError> {
    let (method, uri): (Method, Uri) = (request.method().clone(), request.uri().clone());
    if uri.path().starts_with("/v1") {
        auth::require_credential(&api, request.extensions(), request.headers()).await?;
    }
    let path: String = uri.path().chars().take(120).collect();
    Err(not_found(
        "route",
        format!("{method} {path}"),
        "see /openapi.json",
    ))
}

/// What a browser may do with an answer that says nothing else: show it, run nothing, load nothing.
const POLICY: HeaderValue = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");

/// What every answer gets: no sniffing, no framing; a bare 405 becomes a problem.
pub(super) async fn finish(response: Response) -> Response {
    let mut response = if response.status() == StatusCode::METHOD_NOT_ALLOWED {
        let allow = response.headers().get(header::ALLOW).cloned();
        let allowed = allow
            .as_ref()
            .and_then(|allow| allow.to_str().ok())
            .unwrap_or("nothing")
            .to_owned();
        let problem = Problem::new(Code::MethodNotAllowed, format!("this route allows {allowed}"));
        let mut response = ApiError::from(problem).into_response();
        if let Some(allow) = allow {
            response.headers_mut().insert(header::ALLOW, allow);
        }
        response
    } else {
        response
    };
    let headers = response.headers_mut();
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(POLICY);
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}
