//! What a browser says about where a request comes from. Pages of strangers can make a browser
//! send requests here, also by a name of theirs that leads to this machine's address.
//!
//! Whoever shows a credential in a header or a certificate is no such page.

use std::{collections::BTreeSet, net::IpAddr};

use axum::http::{HeaderMap, Method, header};
use protocol::http::problem::{Code, Problem};

/// Endings that nobody can register.
const PRIVATE: &[&str] = &["local", "lan", "home", "internal", "localhost", "arpa", "test"];

/// Whether the `Host` is a name of this machine, and the `Origin` of a change is that host. `known` are
/// the names of the certificate.
pub(super) fn check(method: &Method, headers: &HeaderMap, known: &BTreeSet<String>) -> Result<(), Problem> {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let host = text(header::HOST);
    let shows_credential = headers.contains_key(header::AUTHORIZATION);
    if let Some(host) = host.filter(|_| !shows_credential)
        && !is_ours(host, known)
    {
        return Err(foreign_host(host));
    }
    let is_change = !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
    let Some(origin) = text(header::ORIGIN).filter(|_| is_change) else {
        return Ok(());
    };
    let own = origin.split_once("://").map(|(_, authority)| authority);
    if own.is_some() && own == host {
        return Ok(());
    }
    let said: String = origin.chars().take(120).collect();
    Err(Problem::new(
        Code::Forbidden,
        format!("a page of {said:?} may change nothing here"),
    ))
}

fn is_ours(authority: &str, known: &BTreeSet<String>) -> bool {
    let host = host_of(authority).trim_end_matches('.').to_lowercase();
    let last = host.rsplit('.').next().unwrap_or_default();
    // a name of one level leads nowhere outside either
    host.parse::<IpAddr>().is_ok() || last == host || PRIVATE.contains(&last) || known.contains(&host)
}

/// Without the port, and an IPv6 address without its brackets.
fn host_of(authority: &str) -> &str {
    if let Some(rest) = authority.strip_prefix('[') {
        return rest.split(']').next().unwrap_or_default();
    }
    authority.split(':').next().unwrap_or_default()
}

fn foreign_host(host: &str) -> Problem {
    let said: String = host.chars().take(120).collect();
    Problem::new(
        Code::Forbidden,
        format!("{said:?} is not known as a name of this controller"),
    )
    .hint("if it is one, add it to http.tls.names in the controller's configuration")
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn checked(method: Method, headers: &[(header::HeaderName, &str)]) -> bool {
        let known = BTreeSet::from(["agentd.example.org".to_owned()]);
        let headers = headers
            .iter()
            .map(|(name, value)| (name.clone(), HeaderValue::from_str(value).expect("a value")))
            .collect();
        check(&method, &headers, &known).is_ok()
    }

    #[test]
    fn names_that_a_stranger_can_own_are_refused() {
        let host = |name| checked(Method::GET, &[(header::HOST, name)]);
        for ours in [
            "127.0.0.1:8484",
            "[::1]:8484",
            "192.168.1.5",
            "localhost:8484",
            "pi",
            "pi.local:8485",
            "pi.lan.",
            "Agentd.Example.org:8485",
        ] {
            assert!(host(ours), "{ours}");
        }
        for foreign in [
            "evil.example",
            "127.0.0.1.evil.example:8484",
            "local.evil.com",
            "[::1].evil.com",
        ] {
            // brackets hold an address, whatever follows
            assert_eq!(host(foreign), foreign.starts_with('['), "{foreign}");
        }
        let with_token = [
            (header::HOST, "alias.example.net"),
            (header::AUTHORIZATION, "Bearer agt_1"),
        ];
        assert!(checked(Method::GET, &with_token));
        assert!(checked(Method::GET, &[]), "no browser");
    }

    #[test]
    fn pages_of_others_change_nothing() {
        let host = (header::HOST, "pi.local:8485");
        for (origin, ours) in [
            ("https://pi.local:8485", true),
            ("https://pi.local", false),
            ("https://evil.example", false),
            ("null", false),
        ] {
            let headers = [host.clone(), (header::ORIGIN, origin)];
            assert_eq!(checked(Method::POST, &headers), ours, "{origin}");
            assert!(checked(Method::GET, &headers), "{origin} may look");
        }
    }
}
