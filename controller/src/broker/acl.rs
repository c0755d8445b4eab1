//! What a connection may publish and read, and where that leads.

use protocol::{
    id::{TokenId, WorkerId},
    topic::Topic,
};

use super::watchdog::PROBE_TOPIC;
use crate::authorize::{Action, Identity, authorize};

/// Who is behind a logged-in connection.
#[derive(Clone, Debug)]
pub(super) enum Principal {
    /// Somebody whose credential was checked.
    Known(Identity),
    /// Our own watchdog.
    Probe,
}

/// What a connection logged in with; takeover and kick look at this alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Credential {
    /// A worker's secret.
    Worker(WorkerId),
    /// An API token.
    Token(TokenId),
    /// The secret of the watchdog.
    Probe,
}

/// Where an allowed message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// To the engine, past the router.
    FromWorker(WorkerId),
    /// To whoever follows logs, past the router.
    WorkerLog(WorkerId),
    /// To the engine, past the router.
    Command,
    /// To the engine, and to readers.
    HomeAssistantStatus,
    /// Through the router and back.
    Probe,
}

/// Where the messages of an allowed filter come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// The worker's own queue.
    Inbox,
    /// The router.
    Router,
}

impl Principal {
    /// Its name in the audit log.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Known(identity) => identity.to_string(),
            Self::Probe => "watchdog".to_owned(),
        }
    }

    pub(super) fn credential(&self) -> Credential {
        match self {
            Self::Known(Identity::Worker(id)) => Credential::Worker(*id),
            Self::Known(Identity::Client { token, .. }) => Credential::Token(*token),
            Self::Probe => Credential::Probe,
        }
    }

    /// Where a message on `topic` goes, if it may be said at all.
    pub(super) fn route(&self, topic: &str) -> Option<Route> {
        let Self::Known(identity) = self else {
            return (topic == PROBE_TOPIC).then_some(Route::Probe);
        };
        authorize(identity, Action::Publish(topic)).ok()?;
        match topic.parse().ok()? {
            Topic::WorkerOut(id) => Some(Route::FromWorker(id)),
            Topic::WorkerLog(id) => Some(Route::WorkerLog(id)),
            Topic::Command => Some(Route::Command),
            Topic::HomeAssistantStatus => Some(Route::HomeAssistantStatus),
            _ => None,
        }
    }

    /// Where the messages for `filter` come from, if it may be read at all.
    pub(super) fn source(&self, filter: &str) -> Option<Source> {
        let Self::Known(identity) = self else {
            return (filter == PROBE_TOPIC).then_some(Source::Router);
        };
        authorize(identity, Action::Subscribe(filter)).ok()?;
        match identity {
            Identity::Worker(_) => Some(Source::Inbox),
            Identity::Client { .. } => Some(Source::Router),
        }
    }
}

#[cfg(test)]
mod tests {
    use protocol::http::tokens::Scope;

    use super::*;

    #[test]
    fn what_is_allowed_has_a_way_and_what_is_denied_has_none() {
        let id = WorkerId::new();
        let worker = Principal::Known(Identity::Worker(id));
        let person = Principal::Known(Identity::Client {
            token: TokenId::new(),
            name: "laptop".into(),
            scopes: vec![Scope::Run],
        });
        let out = Topic::WorkerOut(id).to_string();
        assert_eq!(worker.route(&out), Some(Route::FromWorker(id)));
        assert_eq!(person.route(&out), None);
        assert_eq!(Principal::Probe.route(&out), None);
        assert_eq!(person.route("agentd/command"), Some(Route::Command));
        assert_eq!(worker.route("agentd/command"), None);
        let inbox = Topic::WorkerIn(id).to_string();
        assert_eq!(worker.source(&inbox), Some(Source::Inbox));
        assert_eq!(person.source(&inbox), None);
        assert_eq!(person.source("agentd/#"), Some(Source::Router));
        for principal in [&worker, &person] {
            assert_eq!(principal.route(PROBE_TOPIC), None);
            assert_eq!(principal.source(PROBE_TOPIC), None);
        }
        assert_eq!(Principal::Probe.route(PROBE_TOPIC), Some(Route::Probe));
    }
}
