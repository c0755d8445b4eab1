//! Every page and form with what it needs; the guard of the API denies what is not in here.

use axum::{
    Router,
    http::Method,
    middleware,
    routing::{get, post},
};
use protocol::http::tokens::Scope;
use tower_http::compression::CompressionLayer;

use crate::{
    api::{
        Api, admission, auth,
        routes::{Route, route},
    },
    authorize::Need,
};

use super::{assets, door, job, jobs, live, log, login, settings, usage, workers, workflow};

const READ: Need = Need::Scope(Scope::Read);
const RUN: Need = Need::Scope(Scope::Run);
const APPROVE: Need = Need::Scope(Scope::Approve);
const ADMIN: Need = Need::Scope(Scope::Admin);

/// All of them.
pub const PAGES: &[Route] = &[
    route(Method::GET, "/", Need::Open, "The jobs, or the way to the login"),
    route(Method::GET, "/login", Need::Open, "The login"),
    route(
        Method::POST,
        "/login",
        Need::Open,
        "Log in with a token or a link",
    ),
    route(Method::POST, "/logout", Need::Open, "End the session"),
    route(Method::GET, "/static/{file}", Need::Open, "Style and script"),
    route(
        Method::GET,
        "/live",
        READ,
        "What happens, for the pages of one browser (SSE)",
    ),
    route(Method::GET, "/jobs/{job}", READ, "A job"),
    route(Method::GET, "/jobs/{job}/diff", READ, "A job's patch"),
    route(Method::GET, "/jobs/{job}/lines", READ, "Lines of a step's log"),
    route(Method::GET, "/jobs/{job}/search", READ, "Search a step's log"),
    route(Method::POST, "/jobs/{job}/cancel", RUN, "Cancel a job"),
    route(
        Method::POST,
        "/jobs/{job}/retry",
        RUN,
        "Run failed and later steps again",
    ),
    route(Method::POST, "/jobs/{job}/resume", RUN, "Let a parked job go on"),
    route(
        Method::POST,
        "/jobs/{job}/approve",
        APPROVE,
        "Approve a waiting step",
    ),
    route(
        Method::POST,
        "/jobs/{job}/reject",
        APPROVE,
        "Reject a waiting step",
    ),
    route(Method::GET, "/workers", READ, "The workers"),
    route(
        Method::POST,
        "/workers/{name}/pause",
        ADMIN,
        "Give a worker nothing new",
    ),
    route(
        Method::POST,
        "/workers/{name}/drain",
        ADMIN,
        "The same, and finish what runs",
    ),
    route(
        Method::POST,
        "/workers/{name}/resume",
        ADMIN,
        "Give a worker steps again",
    ),
    route(
        Method::POST,
        "/workers/join-line",
        ADMIN,
        "Make the line that joins a worker",
    ),
    route(Method::GET, "/usage", READ, "Tokens, cost and waits"),
    route(Method::GET, "/settings", READ, "Tokens, secrets and workflows"),
    route(Method::GET, "/workflows/{name}", READ, "A workflow and its graph"),
];

/// The dashboard behind the same guard as the API.
pub(crate) fn router(api: &Api) -> Router<Api> {
    let with = |api: &Api| api.clone();
    Router::new()
        .route("/", get(jobs::page))
        .route("/login", get(login::page).post(login::login))
        .route("/logout", post(login::logout))
        .route("/static/{file}", get(assets::file))
        .route("/live", get(live::stream))
        .route("/jobs/{job}", get(job::page))
        .route("/jobs/{job}/diff", get(job::patch))
        .route("/jobs/{job}/lines", get(log::lines))
        .route("/jobs/{job}/search", get(log::search))
        .route("/jobs/{job}/cancel", post(job::cancel))
        .route("/jobs/{job}/retry", post(job::retry))
        .route("/jobs/{job}/resume", post(job::resume))
        .route("/jobs/{job}/approve", post(job::approve))
        .route("/jobs/{job}/reject", post(job::reject))
        .route("/workers", get(workers::page))
        .route("/workers/{name}/pause", post(workers::pause))
        .route("/workers/{name}/drain", post(workers::drain))
        .route("/workers/{name}/resume", post(workers::resume))
        .route("/workers/join-line", post(workers::join_line))
        .route("/usage", get(usage::page))
        .route("/settings", get(settings::page))
        .route("/workflows/{name}", get(workflow::page))
        .route_layer(middleware::from_fn_with_state(with(api), admission::admit))
        .route_layer(middleware::from_fn_with_state(with(api), auth::guard))
        .route_layer(middleware::from_fn_with_state(with(api), door::door))
        // around all, since the door writes pages anew; event streams are left alone by it
        .route_layer(CompressionLayer::new())
}
