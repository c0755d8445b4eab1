//! Announces the controller in the local network by multicast DNS, where its owner wishes so.
//!
//! Says where the API listens with TLS, and nothing else: who finds it must still have a join token,
//! whose fingerprint proves the controller. Owned by `app`. Must not say anything before it is asked
//! to, nor anything secret.

use std::time::Duration;

use mdns_sd::{ServiceDaemon, ServiceInfo};
use protocol::http::join::ANNOUNCED_AS;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// How long the last word, that it is gone, may take.
const GOODBYE: Duration = Duration::from_secs(1);
/// The longest label of a name.
const LABEL: usize = 63;

/// Announces the port on all addresses of this machine until `stop`.
pub async fn run(port: u16, stop: CancellationToken) {
    let announced = match announce(port) {
        Ok(announced) => announced,
        Err(error) => {
            warn!(%error, "agentd is not announced in the network: {error}");
            return;
        }
    };
    info!(port, "announced in the network as {}", announced.name);
    stop.cancelled().await;
    let parting = tokio::task::spawn_blocking(move || announced.end());
    // it waits for at most [`GOODBYE`], twice
    let _ = parting.await;
}

struct Announced {
    daemon: ServiceDaemon,
    name: String,
}

impl Announced {
    fn end(self) {
        if let Ok(gone) = self.daemon.unregister(&self.name) {
            let _ = gone.recv_timeout(GOODBYE);
        }
        if let Ok(ended) = self.daemon.shutdown() {
            let _ = ended.recv_timeout(GOODBYE);
        }
    }
}

fn announce(port: u16) -> Result<Announced, mdns_sd::Error> {
    let machine = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let (name, host) = names(&machine);
    let nothing: &[(&str, &str)] = &[];
    let service = ServiceInfo::new(ANNOUNCED_AS, &name, &host, "", port, nothing)?.enable_addr_auto();
    let daemon = ServiceDaemon::new()?;
    let name = service.get_fullname().to_owned();
    daemon.register(service)?;
    Ok(Announced { daemon, name })
}

/// How it is listed, and a host name of its own: the machine's may be announced by others already.
fn names(machine: &str) -> (String, String) {
    let short = machine.split('.').next().unwrap_or_default().to_lowercase();
    let allowed = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let short: String = short.chars().map(allowed).take(LABEL - "-agentd".len()).collect();
    let name = format!("agentd on {short}").chars().take(LABEL).collect();
    (name, format!("{short}-agentd.local."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_machine_can_be_announced() {
        let (name, host) = names("Pi.lan");
        assert_eq!(
            (name.as_str(), host.as_str()),
            ("agentd on pi", "pi-agentd.local.")
        );
        for machine in ["", "a b", &"x".repeat(200)] {
            let (name, host) = names(machine);
            let label = host.split('.').next().expect("a label");
            assert!(name.len() <= LABEL && label.len() <= LABEL, "{name} {host}");
            assert!(
                label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'),
                "{host}"
            );
        }
    }
}
