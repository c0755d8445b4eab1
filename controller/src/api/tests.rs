//! Rights, generated from the table of routes.

use axum::http::Method;
use protocol::{
    http::{problem::Code, tokens::Scope},
    id::{TokenId, WorkerId},
};

use super::{auth::Caller, routes};
use crate::{
    authorize::{Action, Identity, Need, authorize},
    transport::Peer,
};

/// Open to everybody, by the design.
const OPEN: &[&str] = &[
    "/healthz",
    "/readyz",
    "/openapi.json",
    "/asyncapi.json",
    "/workflow.schema.json",
    "/metrics",
    "/v1/workers/join",
    "/",
    "/login",
    "/logout",
    "/static/{file}",
];

/// What the design says about a call, without a look at the table.
fn documented(method: &Method, path: &str) -> Need {
    let changes = *method != Method::GET && *method != Method::HEAD;
    let admin = path.starts_with("/v1/tokens")
        || path.starts_with("/v1/secrets")
        || path.starts_with("/v1/audit")
        || ["/v1/backup", "/v1/workers/join-tokens"].contains(&path)
        || changes && (path.starts_with("/v1/workers") || path.starts_with("/workers"))
        || *method == Method::PUT && path.starts_with("/v1/workflows");
    if OPEN.contains(&path) {
        Need::Open
    } else if path.starts_with("/v1/attempts/") || path == "/v1/workers/renew" {
        Need::WorkerSelf
    } else if path.starts_with("/v1/blobs/") {
        Need::ScopeOrWorker(Scope::Run)
    } else if admin {
        Need::Scope(Scope::Admin)
    } else if path.ends_with("/approve") || path.ends_with("/reject") {
        Need::Scope(Scope::Approve)
    } else if changes {
        Need::Scope(Scope::Run)
    } else {
        Need::Scope(Scope::Read)
    }
}

fn token(scope: Scope) -> Identity {
    Identity::Client {
        token: TokenId::new(),
        name: "t".to_owned(),
        scopes: vec![scope],
    }
}

#[test]
fn every_route_asks_for_what_the_design_says() {
    for route in routes::all() {
        let what = format!("{} {}", route.method, route.path);
        assert_eq!(route.need, documented(&route.method, route.path), "{what}");
        let twice = routes::all().filter(|other| other.method == route.method && other.path == route.path);
        assert_eq!(twice.count(), 1, "{what}");
    }
}

#[test]
fn every_route_lets_in_whom_its_need_reaches_and_nobody_else() {
    use Scope::{Admin, Approve, Read, Run};
    for route in routes::all() {
        let reaching: &[Scope] = match route.need {
            Need::Open => &[Read, Run, Approve, Admin],
            Need::Scope(Read) => &[Read, Run, Approve, Admin],
            Need::Scope(Run) | Need::ScopeOrWorker(Run) => &[Run, Admin],
            Need::Scope(Approve) | Need::ScopeOrWorker(Approve) => &[Approve, Admin],
            Need::Scope(Admin) | Need::ScopeOrWorker(Admin) => &[Admin],
            Need::ScopeOrWorker(Read) => &[Read, Run, Approve, Admin],
            Need::WorkerSelf => &[],
        };
        let what = format!("{} {}", route.method, route.path);
        for scope in [Read, Run, Approve, Admin] {
            let allowed = authorize(&token(scope), Action::Call(route.need)).is_ok();
            assert_eq!(allowed, reaching.contains(&scope), "{what} with scope {scope}");
        }
        let worker = Identity::Worker(WorkerId::new());
        let allowed = authorize(&worker, Action::Call(route.need)).is_ok();
        let for_workers = matches!(route.need, Need::Open | Need::WorkerSelf | Need::ScopeOrWorker(_));
        assert_eq!(allowed, for_workers, "{what} with a worker's credential");
    }
}

#[test]
fn keys_and_secrets_do_not_leave_over_a_plain_connection() {
    let from = |ip: &str| Caller {
        identity: Some(Identity::Worker(WorkerId::new())),
        peer: Peer::plain(ip.parse().expect("an address")),
        csrf: None,
    };
    for own in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
        assert!(from(own).confidential().is_ok(), "{own}");
    }
    for other in ["192.168.1.5", "::ffff:10.0.0.1", "fe80::1"] {
        let refused = from(other).confidential().expect_err(other);
        assert_eq!(refused.problem().code, Code::Forbidden);
    }
}
