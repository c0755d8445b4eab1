//! How much a step's tools are kept from the machine that runs them.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::label::Labels;

/// The label under which a worker says its level.
pub const LABEL: &str = "sandbox";

/// The label under which a worker says what the kernel limits for all processes of a command
/// together: `pids`, `memory`, `cpu`.
pub const COUNTED: &str = "cgroup";

/// What the label says instead of a level where no allowed one is to be had.
pub const UNAVAILABLE: &str = "unavailable";

/// The word in `network` that stands for the package sources of a worker's machine.
pub const PACKAGES: &str = "packages";

/// A level of protection, least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SandboxLevel {
    /// Own process group, scrubbed environment, private HOME, limits.
    None,
    /// Landlock or a part of the namespaces, a filter of system calls, limits.
    Basic,
    /// Namespaces of its own of every kind, a filter of system calls, limits.
    Strong,
}

impl SandboxLevel {
    /// Every level, least first.
    pub const ALL: [Self; 3] = [Self::None, Self::Basic, Self::Strong];

    /// The word that configurations, workflows and labels use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Basic => "basic",
            Self::Strong => "strong",
        }
    }

    /// The level that a worker's labels name, the least if they name none; `None` if it runs no
    /// tools, because its machine offers no level that its owner allows.
    pub fn of(labels: &Labels) -> Option<Self> {
        if labels.has(LABEL, UNAVAILABLE) {
            return None;
        }
        let named = |level: &Self| labels.has(LABEL, level.as_str());
        Some(Self::ALL.into_iter().rev().find(named).unwrap_or(Self::None))
    }
}

impl fmt::Display for SandboxLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a text is no entry of `network`; `None` if it is one: `packages`, the name of a host,
/// an address, each perhaps with a port.
pub fn network_mistake(entry: &str) -> Option<&'static str> {
    if entry.contains('/') {
        return Some("a host is named without scheme and path, such as crates.example.org");
    }
    let host = match entry.rsplit_once(':') {
        Some((host, port)) if !host.ends_with(':') && !host.contains(':') || entry.starts_with('[') => {
            if port.parse::<u16>().is_ok_and(|port| port > 0) {
                host
            } else if entry.ends_with(']') {
                entry
            } else {
                return Some("the port is no number from 1 to 65535");
            }
        }
        _ => entry,
    };
    let host = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    if host.parse::<core::net::IpAddr>().is_ok() {
        return None;
    }
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    if host.contains('*') {
        return Some("each host is named by itself, without wildcards");
    }
    (host.len() > 253 || !host.split('.').all(is_label))
        .then_some("expected a host such as crates.example.org")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_has_the_best_level_of_its_labels() {
        let mut labels = Labels::default();
        assert_eq!(SandboxLevel::of(&labels), Some(SandboxLevel::None));
        labels.insert(LABEL, UNAVAILABLE);
        assert_eq!(SandboxLevel::of(&labels), None);
        labels.set(LABEL, "none");
        assert_eq!(SandboxLevel::of(&labels), Some(SandboxLevel::None));
        labels.set(LABEL, "strong");
        assert_eq!(SandboxLevel::of(&labels), Some(SandboxLevel::Strong));
        assert!(SandboxLevel::Strong > SandboxLevel::Basic && SandboxLevel::Basic > SandboxLevel::None);
    }

    #[test]
    fn hosts_are_told_from_other_texts() {
        for good in [
            PACKAGES,
            "crates.io",
            "a-b.example.org:8443",
            "192.168.1.5",
            "[fe80::1]:443",
            "fe80::1",
        ] {
            assert_eq!(network_mistake(good), None, "{good}");
        }
        for bad in [
            "",
            "https://crates.io",
            "crates.io/x",
            "*.crates.io",
            "a b",
            "x:0",
            "x:http",
            "-x.org",
            "x..y",
        ] {
            assert!(network_mistake(bad).is_some(), "{bad}");
        }
    }
}
