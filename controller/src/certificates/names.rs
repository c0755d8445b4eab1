//! Under which names and addresses other machines reach the TLS listeners.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
};

/// Most hosts in a join token, beside this machine's own loopback: a longer line is no line to copy.
const IN_TOKEN: usize = 4;
/// Where the way to other networks is looked up; nothing is ever sent there.
const ELSEWHERE: &str = "192.0.2.1:9";

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
    /// Without loopback and link-local ones; first the one that reaches other networks: bridges of
    /// containers have addresses too.
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
        let main = address_towards(ELSEWHERE);
        addresses.sort_by_key(|address| (Some(*address) != main, address.is_ipv6(), *address));
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
        let mut hosts = self.configured.clone();
        let mut own = None;
        if listening.ip().is_unspecified() {
            // 0.0.0.0 takes IPv4 alone, [::] takes both
            let reached = |address: &&IpAddr| listening.is_ipv6() || address.is_ipv4();
            let addresses = machine.addresses.iter().filter(reached);
            let mut addresses = addresses.map(IpAddr::to_string);
            hosts.extend(addresses.next());
            hosts.extend(machine.name_in_network());
            hosts.extend(addresses);
            own = Some(Ipv4Addr::LOCALHOST.to_string());
        } else {
            hosts.push(listening.ip().to_string());
        }
        let mut seen = BTreeSet::new();
        hosts.retain(|host| seen.insert(host.clone()));
        hosts.truncate(IN_TOKEN);
        let url = |host: String| format!("https://{}:{}", host_in_url(&host), listening.port());
        hosts.into_iter().chain(own).map(url).collect()
    }
}

impl Machine {
    /// As others may look it up: by their name server, or by multicast.
    fn name_in_network(&self) -> Option<String> {
        let is_usable = is_host(&self.host) && self.host != "localhost";
        let ending = if self.host.contains('.') { "" } else { ".local" };
        is_usable.then(|| format!("{}{ending}", self.host))
    }
}

/// Our own address on the way to another one. A datagram socket that is connected has sent nothing.
fn address_towards(other: &str) -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect(other).ok()?;
    Some(socket.local_addr().ok()?.ip())
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
    fn a_token_names_what_other_machines_can_use_and_this_one_last() {
        let listening = |text: &str| text.parse().expect("an address");
        let everywhere = names("0.0.0.0").urls_of(listening("0.0.0.0:8485"), &machine());
        let expected = [
            "https://pi.lan:8485",
            "https://192.0.2.7:8485",
            "https://pi.home:8485",
            "https://127.0.0.1:8485",
        ];
        assert_eq!(everywhere, expected);
        let both = names("::").urls_of(listening("[::]:8485"), &machine());
        assert_eq!(
            both[3..],
            ["https://[2001:db8::7]:8485", "https://127.0.0.1:8485"]
        );
        let one = Names::new(vec![], vec![]).urls_of(listening("192.0.2.9:1"), &machine());
        assert_eq!(one, ["https://192.0.2.9:1"]);
        let mut alone = Machine {
            host: String::new(),
            addresses: vec![],
        };
        let urls = |machine: &Machine| Names::new(vec![], vec![]).urls_of(listening("0.0.0.0:1"), machine);
        assert_eq!(urls(&alone), ["https://127.0.0.1:1"]);
        alone.host = "pi".into();
        assert_eq!(urls(&alone), ["https://pi.local:1", "https://127.0.0.1:1"]);
    }

    #[test]
    fn many_bridges_leave_room_for_the_way_out() {
        let crowded = Machine {
            host: "pi".into(),
            addresses: (1..20).map(|n| IpAddr::from([172, 17, n, 1])).collect(),
        };
        let urls = Names::new(vec![], vec![]).urls_of("0.0.0.0:1".parse().expect("an address"), &crowded);
        assert_eq!(urls.len(), IN_TOKEN + 1);
        assert_eq!(urls[0], "https://172.17.1.1:1");
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
