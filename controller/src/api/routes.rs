//! Every route with what it needs. A route that is not in this table is denied.

use axum::{
    Router,
    extract::DefaultBodyLimit,
    http::Method,
    middleware,
    routing::{delete, get, patch, post, put},
};
use protocol::http::{artifacts::MAX_UPLOAD_CHUNK, backup::BACKUP_PATH, tokens::Scope};

use crate::{
    authorize::Need,
    dashboard::routes::{self as dashboard, PAGES},
};

use super::{
    Api, admission, approvals, artifacts, attempts, audit, auth, backup, events, jobs, joining, login_links,
    logs, openapi, secrets, server, status, submit, tokens, workers, workflows,
};

/// One call: method, route, what it needs, and what it does.
pub struct Route {
    /// The method.
    pub method: Method,
    /// The route with `{placeholders}`.
    pub path: &'static str,
    /// What the caller must have.
    pub need: Need,
    /// One line for the reference.
    pub summary: &'static str,
}

pub(crate) const fn route(method: Method, path: &'static str, need: Need, summary: &'static str) -> Route {
    Route {
        method,
        path,
        need,
        summary,
    }
}

const READ: Need = Need::Scope(Scope::Read);
const RUN: Need = Need::Scope(Scope::Run);
const APPROVE: Need = Need::Scope(Scope::Approve);
const ADMIN: Need = Need::Scope(Scope::Admin);

/// All of them.
pub const ROUTES: &[Route] = &[
    route(Method::GET, "/healthz", Need::Open, "Whether the process lives"),
    route(Method::GET, "/readyz", Need::Open, "Whether it can take work"),
    route(Method::GET, "/metrics", Need::Open, "Figures for Prometheus"),
    route(Method::GET, "/openapi.json", Need::Open, "This reference"),
    route(
        Method::GET,
        "/workflow.schema.json",
        Need::Open,
        "The JSON Schema of workflows",
    ),
    route(Method::GET, "/v1/status", READ, "The controller at a glance"),
    route(Method::POST, "/v1/jobs", RUN, "Submit a job"),
    route(Method::GET, "/v1/jobs", READ, "List jobs, newest first"),
    route(Method::POST, "/v1/jobs:batch", RUN, "Submit up to 1,000 jobs"),
    route(Method::GET, "/v1/jobs/{job}", READ, "Show a job"),
    route(Method::POST, "/v1/jobs/{job}/cancel", RUN, "Cancel a job"),
    route(
        Method::POST,
        "/v1/jobs/{job}/retry",
        RUN,
        "Run failed and later steps again",
    ),
    route(
        Method::POST,
        "/v1/jobs/{job}/resume",
        RUN,
        "Let a parked job go on",
    ),
    route(
        Method::POST,
        "/v1/jobs/{job}/salvage",
        RUN,
        "Apply a late outcome",
    ),
    route(
        Method::GET,
        "/v1/jobs/{job}/why",
        READ,
        "Explain what a job waits for",
    ),
    route(
        Method::GET,
        "/v1/jobs/{job}/events",
        READ,
        "Follow a job's events (SSE)",
    ),
    route(Method::GET, "/v1/events", READ, "List or follow all events"),
    route(
        Method::GET,
        "/v1/jobs/{job}/steps/{step}/log",
        READ,
        "Read or follow a step's log",
    ),
    route(
        Method::GET,
        "/v1/jobs/{job}/steps/{step}/approval",
        READ,
        "Show what a waiting step asks",
    ),
    route(
        Method::POST,
        "/v1/jobs/{job}/steps/{step}/approve",
        APPROVE,
        "Approve a waiting step",
    ),
    route(
        Method::POST,
        "/v1/jobs/{job}/steps/{step}/reject",
        APPROVE,
        "Reject a waiting step",
    ),
    route(
        Method::GET,
        "/v1/jobs/{job}/artifacts",
        READ,
        "List a job's artifacts",
    ),
    route(
        Method::GET,
        "/v1/jobs/{job}/artifacts/{*name}",
        READ,
        "Download an artifact",
    ),
    route(
        Method::HEAD,
        "/v1/blobs/{sha256}",
        Need::ScopeOrWorker(Scope::Run),
        "How far an upload is",
    ),
    route(
        Method::PATCH,
        "/v1/blobs/{sha256}",
        Need::ScopeOrWorker(Scope::Run),
        "Upload bytes",
    ),
    route(
        Method::GET,
        "/v1/blobs/{sha256}",
        Need::ScopeOrWorker(Scope::Run),
        "Download a blob",
    ),
    route(
        Method::GET,
        "/v1/attempts/{attempt}/spec",
        Need::WorkerSelf,
        "What an attempt has to do",
    ),
    route(
        Method::GET,
        "/v1/attempts/{attempt}/secrets",
        Need::WorkerSelf,
        "An attempt's secrets",
    ),
    route(
        Method::GET,
        "/v1/attempts/{attempt}/providers",
        Need::WorkerSelf,
        "An attempt's providers",
    ),
    route(
        Method::PATCH,
        "/v1/attempts/{attempt}/log",
        Need::WorkerSelf,
        "Upload an attempt's log",
    ),
    route(Method::GET, "/v1/workers", READ, "List workers"),
    route(Method::GET, "/v1/workers/{name}", READ, "Show a worker"),
    route(
        Method::POST,
        "/v1/workers/{name}/pause",
        ADMIN,
        "Let a worker take nothing new",
    ),
    route(
        Method::POST,
        "/v1/workers/{name}/drain",
        ADMIN,
        "The same, and finish what runs",
    ),
    route(
        Method::POST,
        "/v1/workers/{name}/resume",
        ADMIN,
        "Let a worker take steps again",
    ),
    route(Method::DELETE, "/v1/workers/{name}", ADMIN, "Forget a worker"),
    route(
        Method::POST,
        "/v1/workers/join-tokens",
        ADMIN,
        "Make a token for one worker to join",
    ),
    route(
        Method::POST,
        "/v1/workers/join",
        Need::Open,
        "Join with such a token",
    ),
    route(
        Method::POST,
        "/v1/workers/renew",
        Need::WorkerSelf,
        "Renew the certificate of the worker that asks",
    ),
    route(Method::GET, "/v1/workflows", READ, "List workflows"),
    route(Method::GET, "/v1/workflows/{name}", READ, "Show a workflow"),
    route(Method::PUT, "/v1/workflows/{name}", ADMIN, "Store a workflow"),
    route(Method::POST, "/v1/workflows/validate", RUN, "Check a workflow"),
    route(Method::GET, "/v1/tokens", ADMIN, "List API tokens"),
    route(Method::POST, "/v1/tokens", ADMIN, "Make an API token"),
    route(Method::DELETE, "/v1/tokens/{name}", ADMIN, "Remove an API token"),
    route(
        Method::POST,
        "/v1/login-links",
        RUN,
        "Make a link that logs a browser in once",
    ),
    route(
        Method::GET,
        "/v1/secrets",
        ADMIN,
        "List the secrets of steps, without values",
    ),
    route(Method::POST, "/v1/secrets", ADMIN, "Set a secret of steps"),
    route(
        Method::DELETE,
        "/v1/secrets/{name}",
        ADMIN,
        "Remove a secret of steps",
    ),
    route(Method::GET, "/v1/audit", ADMIN, "List who did what, newest first"),
    route(
        Method::GET,
        "/v1/audit/verify",
        ADMIN,
        "Follow the chain of the audit log",
    ),
    route(Method::POST, BACKUP_PATH, ADMIN, "Take a backup (tar)"),
];

/// Those of the API and the pages of the dashboard.
pub fn all() -> impl Iterator<Item = &'static Route> {
    ROUTES.iter().chain(PAGES)
}

/// Whether a route is a page of the dashboard.
pub fn is_page(path: &str) -> bool {
    PAGES.iter().any(|route| route.path == path)
}

/// What a call needs; `None` for one that is not in the table.
pub fn need_of(method: &Method, path: &str) -> Option<Need> {
    let exact = all().find(|route| route.method == *method && route.path == path);
    let found = exact.or_else(|| {
        // axum answers HEAD by GET
        let get = *method == Method::HEAD;
        all().find(|route| get && route.method == Method::GET && route.path == path)
    });
    found.map(|route| route.need)
}

/// The methods of a route, for the header `Allow`.
pub fn methods_of(path: &str) -> String {
    let methods: Vec<&str> = all()
        .filter(|route| route.path == path)
        .map(|route| route.method.as_str())
        .collect();
    methods.join(",")
}

/// The whole API.
pub fn router(api: Api) -> Router {
    // blobs stream to the disk; a piece of a log is read whole
    let log = Router::new()
        .route("/v1/attempts/{attempt}/log", patch(logs::upload))
        .route_layer(middleware::from_fn_with_state(api.clone(), admission::admit));
    let uploads = Router::new()
        .route(
            "/v1/blobs/{sha256}",
            get(artifacts::download_blob)
                .head(artifacts::blob_offset)
                .patch(artifacts::upload_blob),
        )
        .merge(log)
        .layer(DefaultBodyLimit::max(MAX_UPLOAD_CHUNK));
    let limit = api.body_limit;
    Router::new()
        .route("/healthz", get(status::healthz))
        .route("/readyz", get(status::readyz))
        .route("/metrics", get(status::metrics))
        .route("/openapi.json", get(openapi::document))
        .route("/workflow.schema.json", get(workflows::schema))
        .route("/v1/status", get(status::status))
        .route("/v1/jobs", get(jobs::list).post(submit::submit))
        .route("/v1/jobs:batch", post(submit::batch))
        .route("/v1/jobs/{job}", get(jobs::show))
        .route("/v1/jobs/{job}/cancel", post(jobs::cancel))
        .route("/v1/jobs/{job}/retry", post(jobs::retry))
        .route("/v1/jobs/{job}/resume", post(jobs::resume))
        .route("/v1/jobs/{job}/salvage", post(jobs::salvage))
        .route("/v1/jobs/{job}/why", get(jobs::why))
        .route("/v1/jobs/{job}/events", get(events::follow_job))
        .route("/v1/events", get(events::list_or_follow))
        .route("/v1/jobs/{job}/steps/{step}/log", get(logs::read))
        .route("/v1/jobs/{job}/steps/{step}/approval", get(approvals::show))
        .route("/v1/jobs/{job}/steps/{step}/approve", post(approvals::approve))
        .route("/v1/jobs/{job}/steps/{step}/reject", post(approvals::reject))
        .route("/v1/jobs/{job}/artifacts", get(artifacts::list))
        .route("/v1/jobs/{job}/artifacts/{*name}", get(artifacts::download))
        .route("/v1/attempts/{attempt}/spec", get(attempts::spec))
        .route("/v1/attempts/{attempt}/secrets", get(secrets::hand_out))
        .route("/v1/attempts/{attempt}/providers", get(attempts::providers))
        .route("/v1/workers", get(workers::list))
        .route("/v1/workers/join-tokens", post(joining::create_join_token))
        .route("/v1/workers/join", post(joining::join))
        .route("/v1/workers/renew", post(joining::renew))
        .route("/v1/workers/{name}", get(workers::show).delete(workers::remove))
        .route("/v1/workers/{name}/pause", post(workers::pause))
        .route("/v1/workers/{name}/drain", post(workers::drain))
        .route("/v1/workers/{name}/resume", post(workers::resume))
        .route("/v1/workflows", get(workflows::list))
        .route("/v1/workflows/validate", post(workflows::validate))
        .route("/v1/login-links", post(login_links::create))
        .route(
            "/v1/workflows/{name}",
            get(workflows::show).merge(put(workflows::store)),
        )
        .route("/v1/tokens", get(tokens::list).post(tokens::create))
        .route("/v1/tokens/{name}", delete(tokens::remove))
        .route("/v1/secrets", get(secrets::list).post(secrets::set))
        .route("/v1/secrets/{name}", delete(secrets::remove))
        .route("/v1/audit", get(audit::list))
        .route("/v1/audit/verify", get(audit::verify))
        .route(BACKUP_PATH, post(backup::make))
        .layer(DefaultBodyLimit::max(limit))
        .route_layer(middleware::from_fn_with_state(api.clone(), admission::admit))
        .merge(uploads)
        .route_layer(middleware::from_fn_with_state(api.clone(), auth::guard))
        .merge(dashboard::router(&api))
        .fallback(server::unknown_route)
        .layer(middleware::map_response(server::finish))
        .with_state(api)
}
