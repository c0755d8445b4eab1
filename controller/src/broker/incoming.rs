//! What one client says.

use std::{collections::HashSet, time::Duration};

use bytes::Bytes;
use protocol::{codec::decode, message::FromWorker, topic::Topic};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};
use tracing::{debug, info, warn};

use super::{
    acl::{Principal, Route, Source},
    event::{BrokerEvent, CommandIn, CommandTopic, ConnectionEnd, LogIn},
    packet::{Delivery, Packet, PacketId, Publish, Qos},
    router::RouterGone,
    session::Session,
    topics::Summary,
    watchdog::PROBE_TOPIC,
};

/// Filters of one connection, at most; more get 0x80.
const MAX_FILTERS: usize = 64;
/// QoS 2 messages that a client may leave half acknowledged.
const MAX_UNRELEASED: usize = 100;
/// How long a subscription waits for fresh summaries.
const SUMMARY_PATIENCE: Duration = Duration::from_secs(1);

/// QoS 2 messages that were taken and not released yet.
#[derive(Debug, Default)]
pub(super) struct Received {
    unreleased: HashSet<PacketId>,
}

impl From<RouterGone> for ConnectionEnd {
    fn from(_: RouterGone) -> Self {
        Self::Stopping
    }
}

impl<S: AsyncRead + AsyncWrite> Session<S> {
    pub(super) async fn take_packet(&mut self, packet: Packet) -> Result<(), ConnectionEnd> {
        match packet {
            Packet::Publish(publish) => self.take_publish(publish).await?,
            Packet::Subscribe { id, filters } => self.subscribe(id, filters).await?,
            Packet::Unsubscribe { id, filters } => self.unsubscribe(id, filters).await?,
            Packet::PubAck(id) => self.deliveries.acknowledged(id),
            Packet::PubRel(id) => {
                self.received.unreleased.remove(&id);
                self.wire.output.push(&Packet::PubComp(id));
            }
            Packet::PingReq => self.wire.output.push(&Packet::PingResp),
            Packet::Disconnect => return Err(ConnectionEnd::Goodbye),
            // A second CONNECT, answers to what we never send, and what only a server says.
            Packet::Connect(_)
            | Packet::ConnAck(_)
            | Packet::PubRec(_)
            | Packet::PubComp(_)
            | Packet::SubAck { .. }
            | Packet::UnsubAck(_)
            | Packet::PingResp => {
                info!(peer = %self.peer, "MQTT connection closed: a packet that has no place here");
                return Err(ConnectionEnd::ProtocolError);
            }
        }
        Ok(())
    }

    /// Takes or drops a message, and acknowledges it either way.
    async fn take_publish(&mut self, publish: Publish) -> Result<(), ConnectionEnd> {
        let Publish {
            topic,
            payload,
            delivery,
            ..
        } = publish;
        if let Delivery::Two(id) = delivery {
            if self.received.unreleased.contains(&id) {
                self.wire.output.push(&Packet::PubRec(id));
                return Ok(());
            }
            if self.received.unreleased.len() >= MAX_UNRELEASED {
                info!(peer = %self.peer, "MQTT connection closed: too many QoS 2 messages without PUBREL");
                return Err(ConnectionEnd::ProtocolError);
            }
            self.received.unreleased.insert(id);
        }
        match self.principal.route(&topic) {
            Some(route) => {
                self.shared.counters.messages_in.add();
                self.hand_on(route, payload).await?;
            }
            None => {
                self.shared.counters.denied_publishes.add();
                debug!(peer = %self.peer, "denied {:?} to publish to {topic:?}", self.principal);
                self.note_denied("mqtt.publish", &topic);
            }
        }
        match delivery {
            Delivery::Zero => {}
            Delivery::One(id) => self.wire.output.push(&Packet::PubAck(id)),
            Delivery::Two(id) => self.wire.output.push(&Packet::PubRec(id)),
        }
        Ok(())
    }

    /// Brings an allowed message where it belongs. Whether it was to be retained is
    /// not asked: only the controller keeps anything for later readers.
    pub(super) async fn hand_on(&mut self, route: Route, payload: Bytes) -> Result<(), ConnectionEnd> {
        match route {
            Route::FromWorker(worker) => match decode::<FromWorker>(&payload) {
                Ok(envelope) => {
                    let connection = self.membership.connection();
                    let envelope = Box::new(envelope);
                    self.tell(BrokerEvent::Message {
                        worker,
                        connection,
                        envelope,
                    })
                    .await?;
                }
                Err(reason) => {
                    self.shared.counters.unreadable_messages.add();
                    warn!(worker.id = %worker, "worker {worker} says what cannot be read: {reason}");
                }
            },
            Route::WorkerLog(worker) => match decode(&payload) {
                Ok(envelope) => {
                    if self
                        .shared
                        .outlets
                        .logs
                        .try_send(LogIn { worker, envelope })
                        .is_err()
                    {
                        self.shared.counters.dropped_messages.add();
                    }
                }
                Err(reason) => {
                    self.shared.counters.unreadable_messages.add();
                    debug!(worker.id = %worker, "live log of {worker} cannot be read: {reason}");
                }
            },
            Route::Command => self.command(CommandTopic::Command, payload).await?,
            Route::HomeAssistantStatus => {
                let topic = Topic::HomeAssistantStatus.to_string();
                self.shared
                    .router
                    .publish(topic, Bytes::copy_from_slice(&payload), false)
                    .await?;
                self.command(CommandTopic::HomeAssistantStatus, payload).await?;
            }
            Route::Probe => {
                self.shared
                    .router
                    .publish(PROBE_TOPIC.to_owned(), Bytes::copy_from_slice(&payload), false)
                    .await?;
            }
        }
        Ok(())
    }

    async fn command(&mut self, topic: CommandTopic, payload: Bytes) -> Result<(), ConnectionEnd> {
        let Principal::Known(identity) = &self.principal else {
            return Ok(());
        };
        let command = CommandIn {
            identity: identity.clone(),
            peer: self.peer,
            topic,
            payload,
        };
        let commands = self.shared.outlets.commands.clone();
        self.put(commands, command).await
    }

    async fn subscribe(&mut self, id: PacketId, wanted: Vec<(String, Qos)>) -> Result<(), ConnectionEnd> {
        let (mut granted, mut fresh, mut again) = (Vec::new(), Vec::new(), Vec::new());
        for (filter, qos) in wanted {
            let qos = qos.min(Qos::One);
            let source = self.grant(&filter);
            granted.push(source.map(|_| qos));
            match source {
                Some(Source::Inbox) => self.deliveries.set_inbox(Some(qos)),
                Some(Source::Router) if self.deliveries.add_filter(&filter, qos) => {
                    self.shared.interest.join(&filter);
                    fresh.push(filter);
                }
                Some(Source::Router) if !fresh.contains(&filter) => again.push(filter),
                Some(Source::Router) => {}
                None => {
                    self.shared.counters.denied_subscriptions.add();
                    debug!(peer = %self.peer, "denied {:?} to subscribe to {filter:?}", self.principal);
                    self.note_denied("mqtt.subscribe", &filter);
                }
            }
        }
        self.join_router(fresh, again).await?;
        self.wire.output.push(&Packet::SubAck { id, granted });
        Ok(())
    }

    fn note_denied(&self, action: &str, topic: &str) {
        let who = self.principal.name();
        let denials = &self.shared.outlets.denials;
        denials.note(&who, self.peer, action, topic, "denied");
    }

    /// Where the messages for `filter` come from, if the client may have it.
    fn grant(&self, filter: &str) -> Option<Source> {
        let source = self.principal.source(filter)?;
        let fits = source == Source::Inbox
            || self.deliveries.has_filter(filter)
            || (self.deliveries.filter_count() < MAX_FILTERS && self.shared.interest.admit(filter));
        fits.then_some(source)
    }

    /// Makes the summaries fresh, then subscribes: the reader finds them there.
    async fn join_router(&mut self, fresh: Vec<String>, again: Vec<String>) -> Result<(), ConnectionEnd> {
        if fresh.is_empty() && again.is_empty() {
            return Ok(());
        }
        if self.deliveries.link().is_none() {
            let link = self.shared.router.open().await?;
            self.deliveries.set_link(link);
        }
        let Some(link) = self.deliveries.link() else {
            return Ok(());
        };
        for filter in &again {
            // The router sends what is retained only to a subscription that is new to it.
            link.unsubscribe(filter.clone()).await?;
        }
        let filters = [fresh, again].concat();
        if matches!(self.principal, Principal::Known(_)) {
            self.refresh_summaries(&filters).await?;
        }
        for filter in filters {
            link.subscribe(filter).await?;
        }
        Ok(())
    }

    async fn refresh_summaries(&self, filters: &[String]) -> Result<(), RouterGone> {
        let built = timeout(SUMMARY_PATIENCE, self.shared.summaries.build(filters)).await;
        let Ok(summaries) = built else {
            warn!("summaries for {filters:?} took over {SUMMARY_PATIENCE:?}: a reader gets older ones");
            return Ok(());
        };
        for Summary { topic, payload } in summaries {
            self.shared
                .router
                .publish(topic.to_string(), payload, true)
                .await?;
        }
        Ok(())
    }

    async fn unsubscribe(&mut self, id: PacketId, filters: Vec<String>) -> Result<(), ConnectionEnd> {
        for filter in filters {
            if self.deliveries.is_inbox(&filter) {
                self.deliveries.set_inbox(None);
            } else if self.deliveries.remove_filter(&filter) {
                self.shared.interest.leave(&filter);
                if let Some(link) = self.deliveries.link() {
                    link.unsubscribe(filter).await?;
                }
            }
        }
        self.wire.output.push(&Packet::UnsubAck(id));
        Ok(())
    }
}
