//! Every MQTT topic, built and parsed in one place, with the matching of filters.

use std::{fmt, str::FromStr};

use crate::id::WorkerId;

/// A topic that agentd publishes or reads.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Topic {
    /// Controller → worker.
    WorkerIn(WorkerId),
    /// Worker → controller.
    WorkerOut(WorkerId),
    /// Worker → controller: live log, lossy.
    WorkerLog(WorkerId),
    /// The controller at a glance (retained).
    Status,
    /// The roster (retained).
    Workers,
    /// One worker by name (retained).
    Worker(String),
    /// Open jobs (retained).
    JobsOpen,
    /// A job's summary at each change.
    Jobs,
    /// Live log lines.
    Log,
    /// Every committed event.
    Events,
    /// What programs may say to the controller.
    Command,
    /// Home Assistant discovery of one device (retained).
    HomeAssistantDevice(String),
    /// Home Assistant's birth and will.
    HomeAssistantStatus,
}

/// Root of the private topics.
const PRIVATE: &str = "agentd-worker/v1";
/// Root of the topics for people.
const PUBLIC: &str = "agentd";

/// Filters of the topics for people that a broker should know from its start, as
/// clients use them most.
pub const WELL_KNOWN_FILTERS: [&str; 12] = [
    "agentd/#",
    "agentd/status",
    "agentd/workers",
    "agentd/workers/+",
    "agentd/workers/#",
    "agentd/jobs",
    "agentd/jobs/open",
    "agentd/jobs/#",
    "agentd/events",
    "agentd/log",
    "homeassistant/#",
    "homeassistant/status",
];

/// Every topic for people lies below these.
pub const PUBLIC_FILTERS: [&str; 2] = ["agentd/#", "homeassistant/#"];

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WorkerIn(id) => write!(f, "{PRIVATE}/{id}/in"),
            Self::WorkerOut(id) => write!(f, "{PRIVATE}/{id}/out"),
            Self::WorkerLog(id) => write!(f, "{PRIVATE}/{id}/log"),
            Self::Status => write!(f, "{PUBLIC}/status"),
            Self::Workers => write!(f, "{PUBLIC}/workers"),
            Self::Worker(name) => write!(f, "{PUBLIC}/workers/{name}"),
            Self::JobsOpen => write!(f, "{PUBLIC}/jobs/open"),
            Self::Jobs => write!(f, "{PUBLIC}/jobs"),
            Self::Log => write!(f, "{PUBLIC}/log"),
            Self::Events => write!(f, "{PUBLIC}/events"),
            Self::Command => write!(f, "{PUBLIC}/command"),
            Self::HomeAssistantDevice(id) => write!(f, "homeassistant/device/{id}/config"),
            Self::HomeAssistantStatus => f.write_str("homeassistant/status"),
        }
    }
}

/// A topic that is none of ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a topic of agentd")]
pub struct UnknownTopic(String);

impl FromStr for Topic {
    type Err = UnknownTopic;

    fn from_str(text: &str) -> Result<Self, UnknownTopic> {
        let unknown = || UnknownTopic(text.chars().take(120).collect());
        let levels: Vec<&str> = text.split('/').collect();
        Ok(match levels.as_slice() {
            ["agentd-worker", "v1", id, leaf] => {
                let worker: WorkerId = id.parse().map_err(|_| unknown())?;
                match *leaf {
                    "in" => Self::WorkerIn(worker),
                    "out" => Self::WorkerOut(worker),
                    "log" => Self::WorkerLog(worker),
                    _ => return Err(unknown()),
                }
            }
            ["agentd", "status"] => Self::Status,
            ["agentd", "workers"] => Self::Workers,
            ["agentd", "workers", name] if !name.is_empty() => Self::Worker((*name).to_owned()),
            ["agentd", "jobs", "open"] => Self::JobsOpen,
            ["agentd", "jobs"] => Self::Jobs,
            ["agentd", "log"] => Self::Log,
            ["agentd", "events"] => Self::Events,
            ["agentd", "command"] => Self::Command,
            ["homeassistant", "device", id, "config"] if !id.is_empty() => {
                Self::HomeAssistantDevice((*id).to_owned())
            }
            ["homeassistant", "status"] => Self::HomeAssistantStatus,
            _ => return Err(unknown()),
        })
    }
}

impl Topic {
    /// One of each, for tests and generated tables.
    pub fn samples() -> Vec<Self> {
        let id = WorkerId::from_uuid(uuid::Uuid::from_u128(7));
        vec![
            Self::WorkerIn(id),
            Self::WorkerOut(id),
            Self::WorkerLog(id),
            Self::Status,
            Self::Workers,
            Self::Worker("tower".into()),
            Self::JobsOpen,
            Self::Jobs,
            Self::Log,
            Self::Events,
            Self::Command,
            Self::HomeAssistantDevice("agentd".into()),
            Self::HomeAssistantStatus,
        ]
    }
}

/// Levels of a topic or filter, at most.
const MAX_LEVELS: usize = 8;

/// Whether a topic name uses only `[A-Za-z0-9._/-]` in at most eight levels.
pub fn is_valid_topic(topic: &str) -> bool {
    !topic.is_empty()
        && topic.split('/').count() <= MAX_LEVELS
        && topic
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._/-".contains(&b))
}

/// Whether a filter is a valid topic with `+` and a closing `#` as whole levels.
pub fn is_valid_filter(filter: &str) -> bool {
    let count = filter.split('/').count();
    !filter.is_empty()
        && count <= MAX_LEVELS
        && filter.split('/').enumerate().all(|(index, level)| match level {
            "#" => index + 1 == count,
            "+" => true,
            level => level.is_empty() || is_valid_topic(level),
        })
}

/// Whether every topic that `inner` (a topic or a filter) matches is matched by `outer`.
pub fn covers(outer: &str, inner: &str) -> bool {
    let (mut outer, mut inner) = (outer.split('/'), inner.split('/'));
    loop {
        match (outer.next(), inner.next()) {
            (Some("#"), _) => return true,
            (Some("+"), Some(level)) if level != "#" => {}
            (Some(a), Some(b)) if a == b => {}
            (None, None) => return true,
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_topic_round_trips_and_passes_the_front_door() {
        for topic in Topic::samples() {
            let text = topic.to_string();
            assert_eq!(text.parse(), Ok(topic));
            assert!(is_valid_topic(&text), "{text}");
        }
        for wrong in [
            "agentd",
            "agentd/x",
            "agentd-worker/v2/7/in",
            "agentd-worker/v1/7/in",
            "",
        ] {
            assert!(wrong.parse::<Topic>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn there_is_a_sample_of_every_topic() {
        // a new topic does not compile here before it has its number, and then misses its sample
        let number = |topic: &Topic| match topic {
            Topic::WorkerIn(_) => 0,
            Topic::WorkerOut(_) => 1,
            Topic::WorkerLog(_) => 2,
            Topic::Status => 3,
            Topic::Workers => 4,
            Topic::Worker(_) => 5,
            Topic::JobsOpen => 6,
            Topic::Jobs => 7,
            Topic::Log => 8,
            Topic::Events => 9,
            Topic::Command => 10,
            Topic::HomeAssistantDevice(_) => 11,
            Topic::HomeAssistantStatus => 12,
        };
        let mut found: Vec<u32> = Topic::samples().iter().map(number).collect();
        found.sort_unstable();
        assert!(found.into_iter().eq(0..13));
    }

    #[test]
    fn a_rule_covers_a_filter_only_as_a_whole() {
        assert!(covers("agentd/#", "agentd/+/x"));
        assert!(covers("agentd/#", "agentd"));
        assert!(!covers("agentd/#", "#"));
        assert!(!covers("agentd/+", "agentd/#"));
        assert!(!covers("agentd/+", "agentd/a/b"));
        assert!(!covers("agentd/a", "agentd/+"));
    }

    #[test]
    fn filters_are_strict() {
        for known in WELL_KNOWN_FILTERS {
            assert!(is_valid_filter(known), "{known}");
            assert!(PUBLIC_FILTERS.iter().any(|all| covers(all, known)), "{known}");
        }
        for good in ["#", "+/a/#", "agentd/jobs"] {
            assert!(is_valid_filter(good), "{good}");
        }
        for bad in ["", "#/a", "a+", "$share/g/a", "a/b/c/d/e/f/g/h/i", "a b", "ä"] {
            assert!(!is_valid_filter(bad), "{bad}");
        }
    }
}
