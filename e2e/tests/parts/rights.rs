//! Every route for everybody, generated from the product's own table, asked at the real listener.
//!
//! The same for topics is with the front door: `controller/src/broker/tests/rights.rs`.

use std::fmt::Write as _;

use controller::{
    api::routes::{ROUTES, Route},
    authorize::Need,
};
use e2e::{Controller, Lab, http};
use protocol::http::tokens::Scope;
use serde_json::json;

use crate::by_hand::{self, ByHand};

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Nobody,
    Token(Scope),
    /// The worker that holds the attempt in the path.
    Worker,
    OtherWorker,
    /// A token that was removed.
    Revoked,
}

/// How the caller fares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// 401, or 429 for one that shows too many wrong credentials.
    Unknown,
    /// 403.
    Denied,
    /// 404: for this caller there is no such thing.
    Hidden,
    /// The call was looked at, whatever came of it.
    LetIn,
}

impl Answer {
    fn of(route: &Route, status: u16) -> Self {
        match status {
            401 | 429 => Self::Unknown,
            403 => Self::Denied,
            404 if route.path.contains("{attempt}") => Self::Hidden,
            405 => panic!("{} {} is not in the table", route.method, route.path),
            _ => Self::LetIn,
        }
    }

    /// What the table says.
    fn expected(route: &Route, who: Who) -> Self {
        let allowed = match (who, route.need) {
            // a credential that is none is refused even where none is needed
            (Who::Revoked, _) => return Self::Unknown,
            (_, Need::Open) => true,
            (Who::Nobody, _) => return Self::Unknown,
            (Who::Token(held), Need::Scope(needed) | Need::ScopeOrWorker(needed)) => held.reaches(needed),
            (Who::Token(_), Need::WorkerSelf) => false,
            (Who::Worker | Who::OtherWorker, Need::Scope(_)) => false,
            (Who::OtherWorker, Need::WorkerSelf) if route.path.contains("{attempt}") => return Self::Hidden,
            (Who::Worker | Who::OtherWorker, Need::WorkerSelf | Need::ScopeOrWorker(_)) => true,
        };
        if allowed { Self::LetIn } else { Self::Denied }
    }

    const fn shown(self) -> &'static str {
        match self {
            Self::Unknown => "401",
            Self::Denied => "403",
            Self::Hidden => "404",
            Self::LetIn => "in",
        }
    }
}

/// What exists nowhere but for the attempt, so that nothing is changed by those who are let in.
fn filled(path: &str, attempt: &str) -> String {
    path.replace("{attempt}", attempt)
        .replace("{job}", "999")
        .replace("{step}", "nothing")
        .replace("{sha256}", &"a".repeat(64))
        .replace("{*name}", "nothing")
        .replace("{name}", "nothing")
}

fn token(controller: &Controller, name: &str, scope: Scope) -> String {
    let body = json!({"name": name, "scopes": [scope]}).to_string();
    let answer = controller.request("POST", "/v1/tokens", body.as_bytes());
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.json()["token"].as_str().expect("a token").to_owned()
}

#[test]
fn every_route_answers_everybody_as_the_table_says() {
    let lab = Lab::new();
    let controller = lab.controller("limits: {offer_s: 3600}\n");
    let mut holder = ByHand::start(&controller, "holder");
    let submitted = controller.ctl(&["submit", "run", "--", "true"]);
    assert!(submitted.status.success(), "{submitted:?}");
    let attempt = holder.assigned().attempt.to_string();
    let other = by_hand::join(&controller, "other");

    let of_scope = |scope: Scope| {
        let name = format!("for-{scope}");
        (Who::Token(scope), Some(token(&controller, &name, scope)))
    };
    let revoked = token(&controller, "gone", Scope::Admin);
    assert_eq!(controller.request("DELETE", "/v1/tokens/gone", b"").status, 204);
    let everybody = [
        (Who::Nobody, None),
        of_scope(Scope::Read),
        of_scope(Scope::Run),
        of_scope(Scope::Approve),
        of_scope(Scope::Admin),
        (Who::Worker, Some(holder.secret().to_owned())),
        (Who::OtherWorker, other.secret),
        (Who::Revoked, Some(revoked)),
    ];

    let mut table = String::from("route | nobody read run approve admin worker other revoked\n");
    let mut wrong = vec![];
    for route in ROUTES {
        let (method, path) = (route.method.as_str(), filled(route.path, &attempt));
        write!(table, "{method:<6} {:<44} |", route.path).expect("a string");
        for (who, credential) in &everybody {
            let answer = http::request(controller.http(), method, &path, credential.as_deref(), b"{}");
            let found = Answer::of(route, answer.status);
            let expected = Answer::expected(route, *who);
            if found != expected {
                wrong.push(format!(
                    "{method} {} for {who:?}: {answer:?}, not {expected:?}",
                    route.path
                ));
            }
            write!(table, " {:<3}", found.shown()).expect("a string");
        }
        table.push('\n');
    }
    eprintln!("{table}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_page_of_a_stranger_changes_nothing_and_every_answer_is_safe_in_a_browser() {
    let lab = Lab::new();
    let controller = lab.controller("");
    let token = controller.token();
    let from = |method, path, origin: &str| {
        let headers = [("Origin", origin)];
        http::request_with(controller.http(), method, path, Some(&token), &headers, b"{}")
    };
    let own = format!("http://{}", controller.http());
    assert_eq!(from("POST", "/v1/workers/join-tokens", &own).status, 201);
    for stranger in ["https://evil.example", "null"] {
        let answer = from("POST", "/v1/workers/join-tokens", stranger);
        assert_eq!(answer.status, 403, "{answer:?}");
    }
    for path in [
        "/v1/jobs",
        "/v1/jobs/999",
        "/healthz",
        "/nothing",
        "/openapi.json",
    ] {
        let answer = from("GET", path, "https://evil.example");
        assert_eq!(
            answer.header("x-content-type-options"),
            Some("nosniff"),
            "{answer:?}"
        );
        assert_eq!(answer.header("access-control-allow-origin"), None, "{answer:?}");
        let policy = answer.header("content-security-policy").unwrap_or_default();
        assert!(policy.contains("default-src 'none'"), "{path}: {answer:?}");
    }
}

#[test]
fn a_path_that_is_in_no_table_is_closed() {
    let lab = Lab::new();
    let controller = lab.controller("");
    let reader = token(&controller, "reader", Scope::Read);
    for (method, path) in [
        ("GET", "/v1/everything"),
        ("PUT", "/v1/jobs"),
        ("DELETE", "/v1/jobs/1"),
    ] {
        let ask = |token: Option<&str>| http::request(controller.http(), method, path, token, b"{}").status;
        assert_eq!(ask(None), 401, "{method} {path}");
        let known = ask(Some(&reader));
        assert!([404, 405].contains(&known), "{method} {path}: {known}");
    }
}
