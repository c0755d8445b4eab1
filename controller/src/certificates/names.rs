//! Under which names and addresses other machines reach the TLS listeners.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

/// Most addresses in a join token: a longer line is no line to copy.
const IN_TOKEN: usize = 4;

/// What the configuration says, to be joined with what the machine says.
#[derive(Clone, Debug)]
pub struct Names {
    configured: Vec<String>,
    listening: Vec<IpAddr>,
}

/// What the machine says of itself.
#[derive(Debug)]
struct Machine {
    host: String,
    /// Without loopback and link-local ones.
    addresses: Vec<IpAddr>,
}

impl Machine {
    fn look() -> Self {
        let interfaces = if_addrs::get_if_addrs().unwrap_or_else(|error| {
            tracing::warn!(%error, "the addresses of this machine cannot be listed");
            vec![]
        });
        let usable =
            |interface: &&if_addrs::Interface| !interface.is_loopback() && !interface.is_link_local();
        let mut addresses: Vec<IpAddr> = interfaces
            .iter()
            .filter(usable)
            .map(if_addrs::Interface::ip)
            .collect();
        addresses.sort_by_key(|address| (address.is_ipv6(), *address));
        let host = rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .to_lowercase();
        Self { host, addresses }
    }
}

impl Names {
    /// Names from the configuration, and the addresses that its TLS listeners have.
    pub fn new(configured: Vec<String>, listening: Vec<IpAddr>) -> Self {
        Self {
            configured,
            listening,
        }
    }

    /// All of them, for the certificate: also those by which this machine reaches itself.
    pub fn all(&self) -> BTreeSet<String> {
        self.all_of(&Machine::look())
    }

    fn all_of(&self, machine: &Machine) -> BTreeSet<String> {
        let mut names: BTreeSet<String> = self.configured.iter().cloned().collect();
        names.insert("localhost".to_owned());
        if is_host(&machine.host) {
            names.insert(machine.host.clone());
            names.insert(format!(
                "{}.local",
                machine.host.split('.').next().unwrap_or_default()
            ));
        }
        let own = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
        let fixed = self.listening.iter().filter(|address| !address.is_unspecified());
        let mut addresses: Vec<&IpAddr> = own.iter().chain(fixed).collect();
        if self.listening.iter().any(IpAddr::is_unspecified) {
            addresses.extend(&machine.addresses);
        }
        names.extend(addresses.into_iter().map(IpAddr::to_string));
        names
    }

    /// Base URLs of an API that listens there, for other machines, best first.
    pub fn urls(&self, listening: SocketAddr) -> Vec<String> {
        self.urls_of(listening, &Machine::look())
    }

    fn urls_of(&self, listening: SocketAddr, machine: &Machine) -> Vec<String> {
        let named = self.configured.iter().map(|name| host_in_url(name));
        let mut hosts: Vec<String> = named.collect();
        let mut addresses = vec![listening.ip()];
        if listening.ip().is_unspecified() {
            addresses.clone_from(&machine.addresses);
        }
        // a machine without a network has itself
        if addresses.is_empty() {
            addresses.push(IpAddr::V4(Ipv4Addr::LOCALHOST));
        }
        hosts.extend(addresses.iter().map(|address| host_in_url(&address.to_string())));
        let mut seen = BTreeSet::new();
        hosts.retain(|host| seen.insert(host.clone()));
        hosts.truncate(IN_TOKEN);
        let url = |host: String| format!("https://{host}:{}", listening.port());
        hosts.into_iter().map(url).collect()
    }
}

/// Whether a text is a host name or an IP address.
pub fn is_name(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok() || is_host(text)
}

fn is_host(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= 253 && text.split('.').all(label)
}

fn host_in_url(host: &str) -> String {
    if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> Machine {
        let address = |text: &str| text.parse().expect("an address");
        Machine {
            host: "pi.home".into(),
            addresses: ["192.0.2.7", "2001:db8::7"].map(address).to_vec(),
        }
    }

    fn names(listening: &str) -> Names {
        Names::new(
            vec!["pi.lan".into()],
            vec![listening.parse().expect("an address")],
        )
    }

    #[test]
    fn a_certificate_names_what_a_listener_is_reached_by() {
        let everywhere = names("0.0.0.0").all_of(&machine());
        let expected = [
            "127.0.0.1",
            "192.0.2.7",
            "2001:db8::7",
            "::1",
            "localhost",
            "pi.home",
            "pi.lan",
            "pi.local",
        ];
        assert_eq!(everywhere, expected.map(str::to_owned).into());
        let here = names("192.0.2.9").all_of(&machine());
        assert!(
            here.contains("192.0.2.9") && !here.contains("192.0.2.7"),
            "{here:?}"
        );
    }

    #[test]
    fn a_token_names_what_other_machines_can_use() {
        let listening = |text: &str| text.parse().expect("an address");
        let everywhere = names("0.0.0.0").urls_of(listening("0.0.0.0:8485"), &machine());
        let expected = [
            "https://pi.lan:8485",
            "https://192.0.2.7:8485",
            "https://[2001:db8::7]:8485",
        ];
        assert_eq!(everywhere, expected);
        let one = Names::new(vec![], vec![]).urls_of(listening("192.0.2.9:1"), &machine());
        assert_eq!(one, ["https://192.0.2.9:1"]);
        let alone = Machine {
            host: String::new(),
            addresses: vec![],
        };
        let alone = Names::new(vec![], vec![]).urls_of(listening("0.0.0.0:1"), &alone);
        assert_eq!(alone, ["https://127.0.0.1:1"]);
    }

    #[test]
    fn names_are_hosts_or_addresses() {
        for good in ["pi", "pi.lan", "192.0.2.7", "::1", "a-b.c"] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "pi:8485", "https://pi", "a..b", "-a", "a_b", "*.lan", "é"] {
            assert!(!is_name(bad), "{bad}");
        }
    }
}
