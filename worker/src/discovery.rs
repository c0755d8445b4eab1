//! Looks for controllers that are announced in the local network, for a join without an address.
//!
//! Whatever is found may be anybody and gets nothing: it is only a further place to look for the
//! controller that the join token names by its fingerprint. Owned by `app`.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use mdns_sd::{ResolvedService, ServiceDaemon, ServiceEvent};
use protocol::http::join::ANNOUNCED_AS;

/// How long nobody may answer.
const PATIENCE: Duration = Duration::from_secs(4);
/// How long others may answer after the first one.
const OTHERS: Duration = Duration::from_secs(1);
/// Most addresses that are kept: anybody can say any number of them.
const MOST: usize = 8;

/// Base URLs at which something says that it is a controller; blocks for up to `PATIENCE`.
pub fn controllers() -> Vec<String> {
    match look() {
        Ok(found) => found,
        Err(error) => {
            tracing::warn!(%error, "no controller can be looked for in this network: {error}");
            vec![]
        }
    }
}

fn look() -> Result<Vec<String>, mdns_sd::Error> {
    let daemon = ServiceDaemon::new()?;
    let events = daemon.browse(ANNOUNCED_AS)?;
    let mut found = BTreeSet::new();
    let mut until = Instant::now() + PATIENCE;
    // whatever is wrong with the channel, nothing more comes
    while let Ok(event) = events.recv_deadline(until) {
        if let ServiceEvent::ServiceResolved(service) = event {
            found.extend(urls(&service));
            until = until.min(Instant::now() + OTHERS);
        }
        if found.len() >= MOST {
            break;
        }
    }
    if let Ok(ended) = daemon.shutdown() {
        let _ = ended.recv_timeout(OTHERS);
    }
    Ok(found.into_iter().take(MOST).collect())
}

fn urls(service: &ResolvedService) -> impl Iterator<Item = String> {
    let addresses = service.addresses.iter().map(mdns_sd::ScopedIp::to_ip_addr);
    addresses.filter_map(|address| url(address, service.port))
}

/// `None` for an address that leads to nobody else.
fn url(address: IpAddr, port: u16) -> Option<String> {
    let is_usable = match address {
        IpAddr::V4(address) => !address.is_link_local(),
        IpAddr::V6(address) => !address.is_unicast_link_local(),
    };
    (is_usable && !address.is_unspecified() && !address.is_multicast())
        .then(|| format!("https://{}", SocketAddr::new(address, port)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_becomes_a_url_if_it_leads_somewhere() {
        let url = |text: &str| url(text.parse().expect("an address"), 8485);
        assert_eq!(url("192.168.1.2").as_deref(), Some("https://192.168.1.2:8485"));
        assert_eq!(url("fd00::2").as_deref(), Some("https://[fd00::2]:8485"));
        for text in ["169.254.1.1", "fe80::1", "0.0.0.0", "224.0.0.251"] {
            assert_eq!(url(text), None, "{text}");
        }
    }
}
