//! What goes out to one client: from where, at which quality, and how much of it
//! may wait for acknowledgement.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use futures::FutureExt;
use protocol::{
    id::WorkerId,
    topic::{Topic, covers},
};
use tokio::sync::mpsc;

use super::{
    acl::Principal,
    event::ConnectionEnd,
    packet::{Delivery, PacketId, Publish, Qos},
    router::{Forwarded, RouterGone, RouterLink},
};
use crate::authorize::Identity;

/// QoS 1 messages without acknowledgement, at most; more wait.
const WINDOW: usize = 100;

/// A message for this client.
#[derive(Debug)]
pub(super) enum Outgoing {
    /// From the worker's own queue.
    Inbox(Bytes),
    /// From the router.
    Public(Forwarded),
    /// The router has ended.
    RouterGone,
}

/// The sources of messages, and what the client subscribed to.
#[derive(Debug)]
pub(super) struct Deliveries {
    inbox: Option<mpsc::Receiver<Bytes>>,
    inbox_topic: String,
    /// The quality of the worker's subscription, if it has one.
    inbox_qos: Option<Qos>,
    link: Option<RouterLink>,
    filters: HashMap<String, Qos>,
    window: Window,
}

impl Deliveries {
    pub(super) fn new(principal: &Principal, inbox: Option<mpsc::Receiver<Bytes>>) -> Self {
        let inbox_topic = match principal {
            Principal::Known(Identity::Worker(id)) => inbox_topic(*id),
            Principal::Known(Identity::Client { .. }) | Principal::Probe => String::new(),
        };
        Self {
            inbox,
            inbox_topic,
            inbox_qos: None,
            link: None,
            filters: HashMap::new(),
            window: Window::default(),
        }
    }

    /// Waits for the next message; may be dropped while it waits, without losing one.
    pub(super) async fn next(&mut self) -> Outgoing {
        if let Some(inbox) = &mut self.inbox {
            if let Some(message) = inbox.recv().await {
                return Outgoing::Inbox(message);
            }
            // The queue has gone to a successor, and this connection is about to be told.
            self.inbox = None;
        }
        match &mut self.link {
            Some(link) => match link.next().await {
                Ok(message) => Outgoing::Public(message),
                Err(RouterGone) => Outgoing::RouterGone,
            },
            None => std::future::pending().await,
        }
    }

    /// A message that is there already.
    pub(super) fn ready(&mut self) -> Option<Outgoing> {
        self.next().now_or_never()
    }

    /// Whether one more message may wait for its acknowledgement.
    pub(super) fn has_window(&self) -> bool {
        self.window.open.len() < WINDOW
    }

    /// The packet for a message; `None` when the client has not subscribed to it (any more).
    pub(super) fn publish(&mut self, message: Outgoing) -> Result<Option<Publish>, ConnectionEnd> {
        let (topic, payload, retain, qos) = match message {
            Outgoing::Inbox(payload) => (self.inbox_topic.clone(), payload, false, self.inbox_qos),
            Outgoing::Public(Forwarded {
                topic,
                payload,
                retained,
            }) => {
                let qos = self.quality(&topic);
                (topic, payload, retained, qos)
            }
            Outgoing::RouterGone => return Err(ConnectionEnd::Stopping),
        };
        let delivery = match qos {
            None => return Ok(None),
            Some(Qos::Zero) => Delivery::Zero,
            Some(Qos::One | Qos::Two) => Delivery::One(self.window.take()),
        };
        Ok(Some(Publish {
            topic,
            payload,
            delivery,
            retain,
            dup: false,
        }))
    }

    /// The best quality of the filters that match `topic`.
    fn quality(&self, topic: &str) -> Option<Qos> {
        let matching = self.filters.iter().filter(|(filter, _)| covers(filter, topic));
        matching.map(|(_, qos)| *qos).max()
    }

    /// Whether this message waits for its acknowledgement.
    pub(super) fn awaits(&self, id: PacketId) -> bool {
        self.window.open.contains(&id)
    }

    /// The client has the message.
    pub(super) fn acknowledged(&mut self, id: PacketId) {
        self.window.open.remove(&id);
    }

    pub(super) fn set_inbox(&mut self, qos: Option<Qos>) {
        self.inbox_qos = qos;
    }

    pub(super) fn is_inbox(&self, filter: &str) -> bool {
        !filter.is_empty() && filter == self.inbox_topic
    }

    pub(super) fn filters(&self) -> impl Iterator<Item = &str> {
        self.filters.keys().map(String::as_str)
    }

    pub(super) fn filter_count(&self) -> usize {
        self.filters.len()
    }

    pub(super) fn has_filter(&self, filter: &str) -> bool {
        self.filters.contains_key(filter)
    }

    /// Adds or changes a filter; whether it is new.
    pub(super) fn add_filter(&mut self, filter: &str, qos: Qos) -> bool {
        self.filters.insert(filter.to_owned(), qos).is_none()
    }

    /// Whether there was one.
    pub(super) fn remove_filter(&mut self, filter: &str) -> bool {
        self.filters.remove(filter).is_some()
    }

    pub(super) const fn link(&self) -> Option<&RouterLink> {
        self.link.as_ref()
    }

    pub(super) fn set_link(&mut self, link: RouterLink) {
        self.link = Some(link);
    }

    pub(super) fn take_link(&mut self) -> Option<RouterLink> {
        self.link.take()
    }
}

fn inbox_topic(worker: WorkerId) -> String {
    Topic::WorkerIn(worker).to_string()
}

/// Packet identifiers that are in use.
#[derive(Debug, Default)]
struct Window {
    last: u16,
    open: HashSet<PacketId>,
}

impl Window {
    /// A free identifier: there is one, as far fewer than all are ever open.
    fn take(&mut self) -> PacketId {
        loop {
            self.last = self.last.wrapping_add(1);
            if let Some(id) = PacketId::new(self.last)
                && self.open.insert(id)
            {
                return id;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deliveries() -> Deliveries {
        Deliveries::new(&Principal::Probe, None)
    }

    fn message(topic: &str) -> Outgoing {
        Outgoing::Public(Forwarded {
            topic: topic.into(),
            payload: Bytes::new(),
            retained: false,
        })
    }

    #[test]
    fn a_message_has_the_best_quality_of_its_filters_or_is_not_sent() {
        let mut deliveries = deliveries();
        deliveries.add_filter("agentd/#", Qos::Zero);
        deliveries.add_filter("agentd/jobs", Qos::One);
        let mut delivery = |topic: &str| {
            let publish = deliveries.publish(message(topic)).expect("router lives");
            publish.map(|publish| publish.delivery)
        };
        assert_eq!(delivery("agentd/events"), Some(Delivery::Zero));
        assert_eq!(delivery("agentd/jobs"), Some(Delivery::One(PacketId::MIN)));
        assert_eq!(delivery("homeassistant/status"), None);
    }

    #[test]
    fn the_window_closes_and_opens_and_identifiers_wrap_around_zero() {
        let mut deliveries = deliveries();
        deliveries.add_filter("a", Qos::One);
        deliveries.window.last = u16::MAX - 1;
        for n in 0..WINDOW {
            assert!(deliveries.has_window(), "{n}");
            assert!(deliveries.publish(message("a")).expect("router lives").is_some());
        }
        assert!(!deliveries.has_window());
        deliveries.acknowledged(PacketId::MAX);
        deliveries.acknowledged(PacketId::MAX);
        assert!(deliveries.has_window());
        deliveries.window.last = 0;
        assert_eq!(
            deliveries.window.take().get(),
            WINDOW as u16,
            "the lower ones are in use"
        );
    }
}
