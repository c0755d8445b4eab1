//! The HTTP client that all providers share: rustls with ring, no redirects to
//! other hosts, a limit for connecting.

use std::time::Duration;

use reqwest::{Client, ClientBuilder, redirect::Policy};

use super::LlmError;

/// Longest time for DNS, TCP and TLS together.
const CONNECT: Duration = Duration::from_secs(10);
/// Most redirects within one host.
const REDIRECTS: usize = 3;

/// Builds the client; one per process is enough.
///
/// A machine without any CA certificate gets a client that trusts nobody:
/// plain HTTP in the local network still works, HTTPS fails with the reason.
pub fn http_client() -> Result<Client, LlmError> {
    // Only the first call of a process installs it; that it is there is what counts.
    let _ = rustls::crypto::ring::default_provider().install_default();
    builder()
        .build()
        .or_else(|_| builder().tls_certs_only([]).build())
        .map_err(|error| LlmError::BadRequest(format!("the HTTP client cannot be built: {error}")))
}

fn builder() -> ClientBuilder {
    Client::builder()
        .user_agent(concat!("agentd/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT)
        .tcp_keepalive(Duration::from_secs(30))
        .redirect(Policy::custom(|attempt| {
            let same = attempt.previous().last().is_some_and(|from| {
                from.scheme() == attempt.url().scheme()
                    && from.host() == attempt.url().host()
                    && from.port_or_known_default() == attempt.url().port_or_known_default()
            });
            if same && attempt.previous().len() <= REDIRECTS {
                attempt.follow()
            } else {
                attempt.stop()
            }
        }))
}
