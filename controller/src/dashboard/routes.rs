//! Every page and form with what it needs; the guard of the API denies what is not in here.

use axum::{Router, middleware};
use tower_http::compression::CompressionLayer;

use crate::api::{
    Api, admission, auth,
    routes::{ADMIN, APPROVE, BodyKind, OPEN, READ, RUN, Route, routes, routes_with},
};

use super::{assets, door, job, jobs, live, log, login, settings, usage, workers, workflow};

/// All of them.
#[rustfmt::skip]
pub const PAGES: &[Route] = routes! {
    GET  "/"                        OPEN    Json jobs::page, "The jobs, or the way to the login";
    GET  "/login"                   OPEN    Json login::page, "The login";
    POST "/login"                   OPEN    Json login::login, "Log in with a token or a link";
    POST "/logout"                  OPEN    Json login::logout, "End the session";
    GET  "/static/{file}"           OPEN    Json assets::file, "Style and script";
    GET  "/live"                    READ    Json live::stream, "What happens, for the pages of one browser (SSE)";
    GET  "/jobs/{job}"              READ    Json job::page, "A job";
    GET  "/jobs/{job}/diff"         READ    Json job::patch, "A job's patch";
    GET  "/jobs/{job}/lines"        READ    Json log::lines, "Lines of a step's log";
    GET  "/jobs/{job}/search"       READ    Json log::search, "Search a step's log";
    POST "/jobs/{job}/cancel"       RUN     Json job::cancel, "Cancel a job";
    POST "/jobs/{job}/retry"        RUN     Json job::retry, "Run failed and later steps again";
    POST "/jobs/{job}/resume"       RUN     Json job::resume, "Let a parked job go on";
    POST "/jobs/{job}/approve"      APPROVE Json job::approve, "Approve a waiting step";
    POST "/jobs/{job}/reject"       APPROVE Json job::reject, "Reject a waiting step";
    GET  "/workers"                 READ    Json workers::page, "The workers";
    POST "/workers/{name}/pause"    ADMIN   Json workers::pause, "Give a worker nothing new";
    POST "/workers/{name}/drain"    ADMIN   Json workers::drain, "The same, and finish what runs";
    POST "/workers/{name}/resume"   ADMIN   Json workers::resume, "Give a worker steps again";
    POST "/workers/join-line"       ADMIN   Json workers::join_line, "Make the line that joins a worker";
    GET  "/usage"                   READ    Json usage::page, "Tokens, cost and waits";
    GET  "/settings"                READ    Json settings::page, "Tokens, secrets and workflows";
    GET  "/workflows/{name}"        READ    Json workflow::page, "A workflow and its graph";
};

/// The dashboard behind the same guard as the API.
pub(crate) fn router(api: &Api) -> Router<Api> {
    let with = |api: &Api| api.clone();
    routes_with(PAGES, BodyKind::Json)
        .route_layer(middleware::from_fn_with_state(with(api), admission::admit))
        .route_layer(middleware::from_fn_with_state(with(api), auth::guard))
        .route_layer(middleware::from_fn_with_state(with(api), door::door))
        // around all, since the door writes pages anew; event streams are left alone by it
        .route_layer(CompressionLayer::new())
}
