//! Which hosts a tool may reach through the worker: a list of names, and never an address of
//! this machine or its neighbours, unless the machine's owner named that very place. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use protocol::sandbox::PACKAGES;

/// Where crates, npm packages, Python packages and Go modules come from if nobody says otherwise.
const USUAL_SOURCES: [&str; 7] = [
    "index.crates.io",
    "static.crates.io",
    "registry.npmjs.org",
    "pypi.org",
    "files.pythonhosted.org",
    "proxy.golang.org",
    "sum.golang.org",
];

/// Ports of a host that is named without one.
const USUAL_PORTS: [u16; 2] = [443, 80];

/// Most bytes that one command may send and get together: 8 GiB, several times what the
/// dependencies of a large project weigh.
const MAX_BYTES: u64 = 8 << 30;

/// What a tool may reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Egress {
    hosts: Vec<Allowed>,
    /// Asked for, and not allowed by the machine's owner.
    denied: Vec<String>,
    /// Most bytes in and out together.
    pub(super) bytes: u64,
}

/// One host.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Allowed {
    host: String,
    port: Option<u16>,
    /// The machine's own settings name it: it may be a neighbour.
    own: bool,
}

/// Why an address is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    /// The host is not on the list.
    #[error("neither step nor worker name it (`network` of the step, `sandbox.network` of the worker)")]
    Host,
    /// The host leads to this machine, a neighbour or no machine at all.
    #[error(
        "it has no public address; a neighbour is reached only by an address that `sandbox.network` of the worker names"
    )]
    Private,
}

impl Egress {
    /// What a step asks for (`asked`), as far as the owner allows it (`allowed`); `own_sources`
    /// are the hosts that the machine's settings of package managers name.
    pub(super) fn of(asked: &[String], allowed: &[String], own_sources: &[String]) -> Self {
        let mut egress = Self {
            hosts: vec![],
            denied: vec![],
            bytes: MAX_BYTES,
        };
        for entry in asked {
            if entry == PACKAGES && allowed.contains(entry) {
                egress
                    .hosts
                    .extend(USUAL_SOURCES.map(|host| Allowed::read(host, false)));
                egress
                    .hosts
                    .extend(own_sources.iter().map(|host| Allowed::read(host, true)));
            } else if entry != PACKAGES && allowed.iter().any(|rule| covers(rule, entry)) {
                // an address is what its owner wrote down; a name is whatever answers for it
                let own = Allowed::read(entry, false).host.parse::<IpAddr>().is_ok();
                egress.hosts.push(Allowed::read(entry, own));
            } else {
                egress.denied.push(entry.clone());
            }
        }
        egress
    }

    /// Whether there is nothing to reach.
    pub(super) const fn is_empty(&self) -> bool {
        self.hosts.is_empty()
    }

    /// What was asked for and is not allowed here.
    pub(super) fn denied(&self) -> &[String] {
        &self.denied
    }

    /// Whether a host may be asked for at all; says which of its addresses may be used.
    pub(super) fn judge(&self, host: &str, port: u16) -> Result<Judgement, Refused> {
        let host = host.trim_end_matches('.');
        let fits = |allowed: &&Allowed| {
            allowed.host.eq_ignore_ascii_case(host)
                && allowed
                    .port
                    .map_or(USUAL_PORTS.contains(&port), |own| own == port)
        };
        let mut found = self.hosts.iter().filter(fits).peekable();
        found.peek().ok_or(Refused::Host)?;
        Ok(Judgement {
            neighbours: found.any(|allowed| allowed.own),
        })
    }
}

/// Which addresses of a host may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Judgement {
    neighbours: bool,
}

impl Judgement {
    pub(super) fn allows(self, address: IpAddr) -> bool {
        self.neighbours || is_public(address)
    }
}

impl Allowed {
    fn read(entry: &str, own: bool) -> Self {
        let whole = || (entry.trim_matches(['[', ']']).to_owned(), None);
        let (host, port) = match entry.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => port.parse().map_or_else(
                |_| whole(),
                |port| (host.trim_matches(['[', ']']).to_owned(), Some(port)),
            ),
            _ => whole(),
        };
        Self { host, port, own }
    }
}

/// Whether what the owner allows covers what a step asks for: the same host, and every port or the same.
fn covers(rule: &str, entry: &str) -> bool {
    let (rule, entry) = (Allowed::read(rule, false), Allowed::read(entry, false));
    rule.host.eq_ignore_ascii_case(&entry.host) && (rule.port.is_none() || rule.port == entry.port)
}

/// Whether an address belongs to a machine of the Internet.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = a == 0
        || a >= 240
        || a == 100 && (64..128).contains(&b)
        || (a, b, c) == (192, 0, 0)
        || (a, b, c) == (192, 88, 99)
        // a cloud's own server behind a public address
        || address == Ipv4Addr::new(168, 63, 129, 16)
        || a == 198 && (b == 18 || b == 19);
    !(special
        || address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_documentation())
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let parts = address.segments();
    let embedded = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match parts {
        // the unspecified address, loopback, and IPv4 in its old and its new form
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] => parts[5] == 0xffff && is_public_v4(embedded(high, low)),
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => is_public_v4(embedded(high, low)),
        [0x2002, high, low, ..] => is_public_v4(embedded(high, low)),
        // Teredo, documentation
        [0x2001, 0 | 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => false,
        // of what is global, only this is given out
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(list: &[&str]) -> Vec<String> {
        list.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn a_step_reaches_what_it_asks_for_and_the_owner_allows() {
        let asked = texts(&[
            "packages",
            "a.example.org",
            "b.example.org:8443",
            "evil.example.org",
        ]);
        let allowed = texts(&["packages", "A.example.org", "b.example.org", "c.example.org"]);
        let egress = Egress::of(&asked, &allowed, &texts(&["mirror.lan:3141"]));
        for (host, port, fits) in [
            ("static.crates.io", 443, true),
            ("static.crates.io.", 443, true),
            ("static.crates.io", 22, false),
            ("mirror.lan", 3141, true),
            ("mirror.lan", 443, false),
            ("a.example.org", 443, true),
            ("x.a.example.org", 443, false),
            ("b.example.org", 8443, true),
            ("b.example.org", 443, false),
            ("c.example.org", 443, false),
            ("evil.example.org", 443, false),
        ] {
            assert_eq!(egress.judge(host, port).is_ok(), fits, "{host}:{port}");
        }
        assert_eq!(egress.denied(), ["evil.example.org"]);
        assert!(Egress::of(&asked, &[], &[]).is_empty());
    }

    #[test]
    fn only_hosts_of_the_owners_own_settings_may_be_neighbours() {
        let asked = texts(&["packages", "a.example.org", "192.168.1.9:80"]);
        let allowed = texts(&["packages", "a.example.org", "192.168.1.9"]);
        let egress = Egress::of(&asked, &allowed, &texts(&["mirror.lan"]));
        let neighbour: IpAddr = "192.168.1.9".parse().unwrap();
        assert!(egress.judge("mirror.lan", 443).unwrap().allows(neighbour));
        assert!(egress.judge("192.168.1.9", 80).unwrap().allows(neighbour));
        assert!(!egress.judge("a.example.org", 443).unwrap().allows(neighbour));
        assert!(!egress.judge("pypi.org", 443).unwrap().allows(neighbour));
    }

    #[test]
    fn addresses_of_machines_of_the_internet_are_told_from_all_others() {
        for public in [
            "1.1.1.1",
            "8.8.8.8",
            "151.101.1.63",
            "100.128.0.1",
            "2606:4700::1",
            "::ffff:1.1.1.1",
        ] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
        for other in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "127.0.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "192.168.0.1",
            "100.64.0.1",
            "100.127.255.255",
            "192.0.0.170",
            "198.18.0.1",
            "203.0.113.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "2001::1",
            "2001:db8::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "168.63.129.16",
            "100.100.100.200",
            "::ffff:10.0.0.1",
            "::ffff:0:127.0.0.1",
            "64:ff9b:1::1",
            "64:ff9b::a9fe:a9fe",
            "2002:a9fe:a9fe::1",
            "2001:0:7f00:1::",
            "3fff::1",
            "::10.0.0.1",
        ] {
            assert!(!is_public(other.parse().unwrap()), "{other}");
        }
    }
}
