//! Who may do what: one pure function, default deny, for MQTT and HTTP alike.
//!
//! An [`Identity`] comes from a credential that was checked, never from a
//! payload, a topic or a client id. This module knows no credential, no table
//! and no clock.

use std::fmt;

use protocol::{
    http::tokens::Scope,
    id::{TokenId, WorkerId},
    topic::{PUBLIC_FILTERS, Topic, covers, is_valid_filter, is_valid_topic},
};

/// Whose credential was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// A joined worker, by its own secret.
    Worker(WorkerId),
    /// A person or a program, by an API token.
    Client {
        /// The token, for audit and for closing what it opened.
        token: TokenId,
        /// The token's name, for people.
        name: String,
        /// What the token allows.
        scopes: Vec<Scope>,
    },
}

impl Identity {
    /// Whether one of the token's scopes reaches `needed`; a worker has none.
    pub fn reaches(&self, needed: Scope) -> bool {
        match self {
            Self::Worker(_) => false,
            Self::Client { scopes, .. } => scopes.iter().any(|held| held.reaches(needed)),
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Worker(id) => write!(f, "worker {id}"),
            Self::Client { name, .. } => write!(f, "token {name:?}"),
        }
    }
}

/// What an HTTP route asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Nothing: the route is open to everybody.
    Open,
    /// A token whose scope reaches this one.
    Scope(Scope),
    /// A worker, about its own things; which attempt it holds is checked against the tables.
    WorkerSelf,
    /// Either a token with this scope or a worker about its own things.
    ScopeOrWorker(Scope),
}

/// What somebody wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action<'a> {
    /// Publish to an MQTT topic.
    Publish(&'a str),
    /// Subscribe to an MQTT filter.
    Subscribe(&'a str),
    /// Call an HTTP route with this need.
    Call(Need),
}

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{who} may not {what}")]
pub struct Denied {
    who: String,
    what: String,
}

/// Whether `identity` may do `action`: everything that is not written here is denied.
pub fn authorize(identity: &Identity, action: Action<'_>) -> Result<(), Denied> {
    let allowed = match action {
        Action::Publish(topic) => may_publish(identity, topic),
        Action::Subscribe(filter) => may_subscribe(identity, filter),
        Action::Call(need) => may_call(identity, need),
    };
    if allowed {
        return Ok(());
    }
    Err(Denied {
        who: identity.to_string(),
        what: match action {
            Action::Publish(topic) => format!("publish to {:?}", clipped(topic)),
            Action::Subscribe(filter) => format!("subscribe to {:?}", clipped(filter)),
            Action::Call(Need::Open) => "call this route".to_owned(),
            Action::Call(Need::Scope(scope)) => format!("call a route that needs scope {scope}"),
            Action::Call(Need::WorkerSelf) => "call a route for workers".to_owned(),
            Action::Call(Need::ScopeOrWorker(scope)) => {
                format!("call a route that needs scope {scope} or a worker")
            }
        },
    })
}

/// Who but the controller may use a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Users {
    /// Nobody.
    None,
    /// This worker alone.
    Worker(WorkerId),
    /// A token that reaches one of these scopes.
    Scopes(&'static [Scope]),
}

impl Users {
    fn include(self, identity: &Identity) -> bool {
        match self {
            Self::None => false,
            Self::Worker(owner) => *identity == Identity::Worker(owner),
            Self::Scopes(scopes) => scopes.iter().any(|scope| identity.reaches(*scope)),
        }
    }
}

/// The table of topics: who may publish, and who may subscribe.
pub fn users_of(topic: &Topic) -> (Users, Users) {
    const READERS: Users = Users::Scopes(&[Scope::Read]);
    const COMMANDERS: Users = Users::Scopes(&[Scope::Run, Scope::Approve]);
    match topic {
        Topic::WorkerIn(id) => (Users::None, Users::Worker(*id)),
        Topic::WorkerOut(id) | Topic::WorkerLog(id) => (Users::Worker(*id), Users::None),
        Topic::Command | Topic::HomeAssistantStatus => (COMMANDERS, READERS),
        Topic::Status
        | Topic::Workers
        | Topic::Worker(_)
        | Topic::JobsOpen
        | Topic::Jobs
        | Topic::Log
        | Topic::Events
        | Topic::HomeAssistantDevice(_) => (Users::None, READERS),
    }
}

/// A topic of ours in its one spelling: ids have several.
fn known(text: &str) -> Option<Topic> {
    let topic: Topic = text.parse().ok()?;
    (is_valid_topic(text) && topic.to_string() == text).then_some(topic)
}

fn may_publish(identity: &Identity, topic: &str) -> bool {
    known(topic).is_some_and(|topic| users_of(&topic).0.include(identity))
}

/// A filter of its own for a worker; for people one that a rule covers as a whole.
fn may_subscribe(identity: &Identity, filter: &str) -> bool {
    if !is_valid_filter(filter) {
        return false;
    }
    match identity {
        Identity::Worker(_) => known(filter).is_some_and(|topic| users_of(&topic).1.include(identity)),
        Identity::Client { .. } => {
            identity.reaches(Scope::Read) && PUBLIC_FILTERS.iter().any(|rule| covers(rule, filter))
        }
    }
}

fn may_call(identity: &Identity, need: Need) -> bool {
    let is_worker = matches!(identity, Identity::Worker(_));
    match need {
        Need::Open => true,
        Need::Scope(scope) => identity.reaches(scope),
        Need::WorkerSelf => is_worker,
        Need::ScopeOrWorker(scope) => is_worker || identity.reaches(scope),
    }
}

/// Enough of a hostile text to recognise it in a log.
fn clipped(text: &str) -> String {
    text.chars().take(120).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(scopes: &[Scope]) -> Identity {
        Identity::Client {
            token: TokenId::new(),
            name: "laptop".into(),
            scopes: scopes.to_vec(),
        }
    }

    fn may(identity: &Identity, action: Action<'_>) -> bool {
        authorize(identity, action).is_ok()
    }

    #[test]
    fn filters_of_people_cover_exactly_the_topics_that_they_may_read() {
        for topic in Topic::samples() {
            let text = topic.to_string();
            let covered = PUBLIC_FILTERS.iter().any(|rule| covers(rule, &text));
            let for_readers = users_of(&topic).1 == Users::Scopes(&[Scope::Read]);
            assert_eq!(covered, for_readers, "{text}");
        }
    }

    #[test]
    fn every_topic_is_denied_to_publishers_but_for_the_named_ones() {
        let own = WorkerId::new();
        for topic in Topic::samples().into_iter().chain([
            Topic::WorkerIn(own),
            Topic::WorkerOut(own),
            Topic::WorkerLog(own),
        ]) {
            let text = topic.to_string();
            let publish = Action::Publish(&text);
            let is_own = matches!(topic, Topic::WorkerOut(id) | Topic::WorkerLog(id) if id == own);
            let is_command = matches!(topic, Topic::Command | Topic::HomeAssistantStatus);
            assert_eq!(may(&Identity::Worker(own), publish), is_own, "{text}");
            assert!(!may(&client(&[Scope::Read]), publish), "{text}");
            assert!(!may(&client(&[]), publish), "{text}");
            for scope in [Scope::Run, Scope::Approve, Scope::Admin] {
                assert_eq!(may(&client(&[scope]), publish), is_command, "{text} as {scope}");
            }
        }
    }

    #[test]
    fn a_worker_reads_its_own_topic_and_nothing_else() {
        let (own, other) = (WorkerId::new(), WorkerId::new());
        let worker = Identity::Worker(own);
        let inbox = Topic::WorkerIn(own).to_string();
        assert!(may(&worker, Action::Subscribe(&inbox)));
        for filter in [
            Topic::WorkerIn(other).to_string(),
            Topic::WorkerOut(own).to_string(),
            inbox.replace("/in", "/+"),
            inbox.replace("/in", "/#"),
            inbox.replace('-', "").replace("agentdworker", "agentd-worker"),
            "#".into(),
            "agentd/#".into(),
            "agentd/status".into(),
        ] {
            assert!(!may(&worker, Action::Subscribe(&filter)), "{filter}");
        }
    }

    #[test]
    fn a_reader_subscribes_only_where_the_rule_covers_the_whole_filter() {
        let reader = client(&[Scope::Read]);
        for good in [
            "agentd/#",
            "agentd/status",
            "agentd/+/open",
            "homeassistant/#",
            "agentd",
        ] {
            assert!(may(&reader, Action::Subscribe(good)), "{good}");
            assert!(!may(&client(&[]), Action::Subscribe(good)), "{good}");
        }
        for bad in [
            "#",
            "+/status",
            "+/#",
            "agentd-worker/v1/#",
            "agentd-worker/+/+/in",
            "$share/g/agentd/#",
            "$SYS/#",
            "agentd/ä",
            "agentd/a b",
            "agentd/#/x",
            "",
            "/agentd/#",
        ] {
            assert!(!may(&reader, Action::Subscribe(bad)), "{bad}");
        }
    }

    #[test]
    fn routes_ask_for_a_scope_or_a_worker() {
        let worker = Identity::Worker(WorkerId::new());
        let runner = client(&[Scope::Run]);
        let table = [
            (Need::Open, true, true),
            (Need::Scope(Scope::Read), false, true),
            (Need::Scope(Scope::Run), false, true),
            (Need::Scope(Scope::Approve), false, false),
            (Need::Scope(Scope::Admin), false, false),
            (Need::WorkerSelf, true, false),
            (Need::ScopeOrWorker(Scope::Run), true, true),
            (Need::ScopeOrWorker(Scope::Admin), true, false),
        ];
        for (need, as_worker, as_runner) in table {
            assert_eq!(may(&worker, Action::Call(need)), as_worker, "{need:?}");
            assert_eq!(may(&runner, Action::Call(need)), as_runner, "{need:?}");
        }
    }

    #[test]
    fn a_refusal_names_who_and_what() {
        let denied = authorize(&client(&[Scope::Read]), Action::Publish("agentd/command"));
        assert_eq!(
            denied.expect_err("denied").to_string(),
            "token \"laptop\" may not publish to \"agentd/command\""
        );
    }
}
