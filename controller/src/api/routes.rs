//! Every route with what it needs and what it does: there is no way to add one without a rule.

use axum::{Router, extract::DefaultBodyLimit, http::Method, middleware, routing::MethodRouter};
use protocol::http::{artifacts::MAX_UPLOAD_CHUNK, backup::BACKUP_PATH, tokens::Scope};

use crate::{
    authorize::Need,
    dashboard::routes::{self as dashboard, PAGES},
};

use super::{
    Api, admission, approvals, artifacts, asyncapi, attempts, audit, auth, backup, events, jobs, joining,
    login_links, logs, openapi, secrets, server, status, submit, tokens, workers, workflows,
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
    pub(crate) body: BodyKind,
    pub(crate) handler: fn() -> MethodRouter<Api>,
}

/// What a request brings.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyKind {
    /// Something to be read whole.
    Json,
    /// A piece of a file that is read whole.
    Piece,
    /// A piece of a file that streams to the disk.
    Stream,
}

/// One route a line: method, path, need, body, handler, summary.
macro_rules! routes {
    ($($method:ident $path:tt $need:ident $body:ident $handler:path, $summary:literal;)*) => {
        &[$($crate::api::routes::Route {
            method: ::axum::http::Method::$method,
            path: $path,
            need: $need,
            summary: $summary,
            body: $crate::api::routes::BodyKind::$body,
            handler: || ::axum::routing::on(::axum::routing::MethodFilter::$method, $handler),
        }),*]
    };
}
pub(crate) use routes;

pub(crate) const OPEN: Need = Need::Open;
pub(crate) const READ: Need = Need::Scope(Scope::Read);
pub(crate) const RUN: Need = Need::Scope(Scope::Run);
pub(crate) const APPROVE: Need = Need::Scope(Scope::Approve);
pub(crate) const ADMIN: Need = Need::Scope(Scope::Admin);
const WORKER: Need = Need::WorkerSelf;
const RUN_OR_WORKER: Need = Need::ScopeOrWorker(Scope::Run);

/// All of them: [`router`] has no others, so that none is without a rule.
#[rustfmt::skip]
pub const ROUTES: &[Route] = routes! {
    GET    "/healthz"                             OPEN          Json status::healthz, "Whether the process lives";
    GET    "/readyz"                              OPEN          Json status::readyz, "Whether it can take work";
    GET    "/metrics"                             OPEN          Json status::metrics, "Figures for Prometheus";
    GET    "/openapi.json"                        OPEN          Json openapi::document, "This reference";
    GET    "/asyncapi.json"                       OPEN          Json asyncapi::document, "The reference of the MQTT topics";
    GET    "/workflow.schema.json"                OPEN          Json workflows::schema, "The JSON Schema of workflows";
    GET    "/v1/status"                           READ          Json status::status, "The controller at a glance";
    POST   "/v1/jobs"                             RUN           Json submit::submit, "Submit a job";
    GET    "/v1/jobs"                             READ          Json jobs::list, "List jobs, newest first";
    POST   "/v1/jobs:batch"                       RUN           Json submit::batch, "Submit up to 1,000 jobs";
    GET    "/v1/jobs/{job}"                       READ          Json jobs::show, "Show a job";
    POST   "/v1/jobs/{job}/cancel"                RUN           Json jobs::cancel, "Cancel a job";
    POST   "/v1/jobs/{job}/retry"                 RUN           Json jobs::retry, "Run failed and later steps again";
    POST   "/v1/jobs/{job}/resume"                RUN           Json jobs::resume, "Let a parked job go on";
    POST   "/v1/jobs/{job}/salvage"               RUN           Json jobs::salvage, "Apply a late outcome";
    GET    "/v1/jobs/{job}/why"                   READ          Json jobs::why, "Explain what a job waits for";
    GET    "/v1/jobs/{job}/events"                READ          Json events::follow_job, "Follow a job's events (SSE)";
    GET    "/v1/events"                           READ          Json events::list_or_follow, "List or follow all events";
    GET    "/v1/jobs/{job}/steps/{step}/log"      READ          Json logs::read, "Read or follow a step's log";
    GET    "/v1/jobs/{job}/steps/{step}/approval" READ          Json approvals::show, "Show what a waiting step asks";
    POST   "/v1/jobs/{job}/steps/{step}/approve"  APPROVE       Json approvals::approve, "Approve a waiting step";
    POST   "/v1/jobs/{job}/steps/{step}/reject"   APPROVE       Json approvals::reject, "Reject a waiting step";
    GET    "/v1/jobs/{job}/artifacts"             READ          Json artifacts::list, "List a job's artifacts";
    GET    "/v1/jobs/{job}/artifacts/{*name}"     READ          Json artifacts::download, "Download an artifact";
    HEAD   "/v1/blobs/{sha256}"                   RUN_OR_WORKER Stream artifacts::blob_offset, "How far an upload is";
    PATCH  "/v1/blobs/{sha256}"                   RUN_OR_WORKER Stream artifacts::upload_blob, "Upload bytes";
    GET    "/v1/blobs/{sha256}"                   RUN_OR_WORKER Stream artifacts::download_blob, "Download a blob";
    GET    "/v1/attempts/{attempt}/spec"          WORKER        Json attempts::spec, "What an attempt has to do";
    GET    "/v1/attempts/{attempt}/secrets"       WORKER        Json secrets::hand_out, "An attempt's secrets";
    GET    "/v1/attempts/{attempt}/providers"     WORKER        Json attempts::providers, "An attempt's providers";
    PATCH  "/v1/attempts/{attempt}/log"           WORKER        Piece logs::upload, "Upload an attempt's log";
    GET    "/v1/workers"                          READ          Json workers::list, "List workers";
    GET    "/v1/workers/{name}"                   READ          Json workers::show, "Show a worker";
    POST   "/v1/workers/{name}/pause"             ADMIN         Json workers::pause, "Let a worker take nothing new";
    POST   "/v1/workers/{name}/drain"             ADMIN         Json workers::drain, "The same, and finish what runs";
    POST   "/v1/workers/{name}/resume"            ADMIN         Json workers::resume, "Let a worker take steps again";
    DELETE "/v1/workers/{name}"                   ADMIN         Json workers::remove, "Forget a worker";
    POST   "/v1/workers/join-tokens"              ADMIN         Json joining::create_join_token, "Make a token for one worker to join";
    POST   "/v1/workers/join"                     OPEN          Json joining::join, "Join with such a token";
    POST   "/v1/workers/renew"                    WORKER        Json joining::renew, "Renew the certificate of the worker that asks";
    GET    "/v1/workflows"                        READ          Json workflows::list, "List workflows";
    GET    "/v1/workflows/{name}"                 READ          Json workflows::show, "Show a workflow";
    PUT    "/v1/workflows/{name}"                 ADMIN         Json workflows::store, "Store a workflow";
    POST   "/v1/workflows/validate"               RUN           Json workflows::validate, "Check a workflow";
    GET    "/v1/tokens"                           ADMIN         Json tokens::list, "List API tokens";
    POST   "/v1/tokens"                           ADMIN         Json tokens::create, "Make an API token";
    DELETE "/v1/tokens/{name}"                    ADMIN         Json tokens::remove, "Remove an API token";
    POST   "/v1/login-links"                      RUN           Json login_links::create, "Make a link that logs a browser in once";
    GET    "/v1/secrets"                          ADMIN         Json secrets::list, "List the secrets of steps, without values";
    POST   "/v1/secrets"                          ADMIN         Json secrets::set, "Set a secret of steps";
    DELETE "/v1/secrets/{name}"                   ADMIN         Json secrets::remove, "Remove a secret of steps";
    GET    "/v1/audit"                            ADMIN         Json audit::list, "List who did what, newest first";
    GET    "/v1/audit/verify"                     ADMIN         Json audit::verify, "Follow the chain of the audit log";
    POST   BACKUP_PATH                            ADMIN         Json backup::make, "Take a backup (tar)";
};

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
    let mut methods: Vec<&str> = all()
        .filter(|route| route.path == path)
        .map(|route| route.method.as_str())
        .collect();
    // axum answers HEAD by GET
    if methods.contains(&"GET") && !methods.contains(&"HEAD") {
        methods.push("HEAD");
    }
    methods.join(",")
}

/// The whole API, and `beside` it what has a guard of its own.
pub fn router(api: Api, beside: Router) -> Router {
    let limit = api.body_limit;
    routes_with(ROUTES, BodyKind::Json)
        .layer(DefaultBodyLimit::max(limit))
        .merge(routes_with(ROUTES, BodyKind::Piece).layer(DefaultBodyLimit::max(MAX_UPLOAD_CHUNK)))
        .route_layer(middleware::from_fn_with_state(api.clone(), admission::admit))
        .merge(routes_with(ROUTES, BodyKind::Stream).layer(DefaultBodyLimit::max(MAX_UPLOAD_CHUNK)))
        .route_layer(middleware::from_fn_with_state(api.clone(), auth::guard))
        .merge(dashboard::router(&api))
        .merge(beside.with_state(()))
        .fallback(server::unknown_route)
        .layer(middleware::map_response(server::finish))
        .with_state(api)
}

/// The routes of a table that bring such a body.
pub(crate) fn routes_with(table: &[Route], body: BodyKind) -> Router<Api> {
    let mine = table.iter().filter(|route| route.body == body);
    mine.fold(Router::new(), |router, route| {
        router.route(route.path, (route.handler)())
    })
}
