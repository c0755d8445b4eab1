//! rumqttd's router, the fan-out and retained store of the public topics, and
//! the one thread of ours that speaks to it.
//!
//! Everything said to the router goes through that thread, because its queue
//! blocks when it is full, and because one order of things then holds for all:
//! a summary that was published before a subscription is there when the
//! subscription is served. The router only ever sees our own slot names, QoS 0
//! and filters that were admitted; packet identifiers, acknowledgements and
//! SUBACKs are the sessions' own. Four of its habits matter here: it panics on
//! a wake-up of a connection that is gone, so a link is closed only after its
//! last wake-up; it keeps a little of every client id for ever, so names are
//! used again; it takes all that waits on a link at once, so that a publish may
//! overtake what other links said between it and an older one; and its own
//! thread cannot be ended, so after a stop it sleeps until the process ends. And a retained message that arrives just behind a
//! subscription may reach that reader twice: as found, and as new.

use std::{collections::HashMap, thread};

use bytes::Bytes;
use futures::FutureExt;
use protocol::topic::{Topic, WELL_KNOWN_FILTERS};
use rumqttd::{
    Notification, Router, RouterConfig, SegmentConfig,
    local::{LinkBuilder, LinkRx, LinkTx},
    protocol::{
        Disconnect, DisconnectReasonCode, Filter, Packet, Publish, QoS, RetainForwardRule, Subscribe,
        Unsubscribe,
    },
};
use tokio::sync::{mpsc, oneshot};

use super::watchdog::PROBE_TOPIC;

/// Whether the router knows this filter from its start; clients may use such ones without limit.
pub(super) fn is_fixed(filter: &str) -> bool {
    filter == PROBE_TOPIC || WELL_KNOWN_FILTERS.contains(&filter)
}

/// Backlog of one filter: this many segments of this many bytes. A reader that is further behind skips;
/// several filters hold the same messages, so that 2 MiB each is a tenth of what `agentd` may use.
const SEGMENT: SegmentConfig = SegmentConfig {
    max_segment_size: 512 << 10,
    max_segment_count: 4,
};
/// The same for live logs, which are lossy anyway.
const LOG_SEGMENT: SegmentConfig = SegmentConfig {
    max_segment_size: 256 << 10,
    max_segment_count: 4,
};
/// The watchdog reads its probe at once, and the router counts little of what a small message costs it:
/// with segments as large as the others' a week of probes would be kept.
const PROBE_SEGMENT: SegmentConfig = SegmentConfig {
    max_segment_size: 1 << 10,
    max_segment_count: 2,
};
/// Messages that the router hands to one reader at a time; also its retained messages per filter.
const BATCH: u64 = 100;
/// Requests that wait for our thread, at most.
const REQUESTS: usize = 1024;
/// Links beyond the clients': our own publisher, the watchdog, and replaced sessions that are ending.
const SPARE_LINKS: usize = 64;

/// The router has ended, or never answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the message router has ended")]
pub struct RouterGone;

/// What our thread is asked to do.
enum Request {
    Open(oneshot::Sender<(Slot, LinkRx)>),
    Subscribe(Slot, String),
    Unsubscribe(Slot, String),
    Close(Slot),
    Publish {
        topic: String,
        payload: Bytes,
        retain: bool,
    },
    Stop,
}

/// A link's place, and its name towards the router.
type Slot = usize;

/// The way to our thread.
#[derive(Clone, Debug)]
pub(super) struct RouterHandle {
    requests: mpsc::Sender<Request>,
}

/// Starts the router, and our thread that speaks to it. The thread ends with
/// [`RouterHandle::stop`], or with an error when the router is gone.
pub(super) fn start(
    connections: usize,
) -> Result<(RouterHandle, thread::JoinHandle<Result<(), RouterGone>>), std::io::Error> {
    let links = connections + SPARE_LINKS;
    let events = Router::new(0, router_config(links)).spawn();
    let connect = move |name: &str| {
        let link = LinkBuilder::new(name, events.clone()).build();
        link.map(|(tx, rx, _)| (tx, rx)).map_err(|_| RouterGone)
    };
    let (requests, inbox) = mpsc::channel(REQUESTS);
    let thread = thread::Builder::new()
        .name("broker-links".into())
        .spawn(move || Links::open(connect)?.run(inbox))?;
    Ok((RouterHandle { requests }, thread))
}

fn router_config(links: usize) -> RouterConfig {
    RouterConfig {
        max_connections: links,
        max_outgoing_packet_count: BATCH,
        max_segment_size: SEGMENT.max_segment_size,
        max_segment_count: SEGMENT.max_segment_count,
        custom_segment: Some(HashMap::from([
            (Topic::Log.to_string(), LOG_SEGMENT),
            (PROBE_TOPIC.to_owned(), PROBE_SEGMENT),
        ])),
        initialized_filters: Some(
            WELL_KNOWN_FILTERS
                .into_iter()
                .chain([PROBE_TOPIC])
                .map(str::to_owned)
                .collect(),
        ),
        ..RouterConfig::default()
    }
}

impl RouterHandle {
    /// Opens a link for one session.
    pub(super) async fn open(&self) -> Result<RouterLink, RouterGone> {
        let (answer, opened) = oneshot::channel();
        self.ask(Request::Open(answer)).await?;
        let (slot, rx) = opened.await.map_err(|_| RouterGone)?;
        Ok(RouterLink {
            slot,
            rx,
            must_wake: false,
            router: self.clone(),
        })
    }

    /// Publishes to everybody who reads `topic`; waits while our thread is behind. The payload is kept for
    /// slow readers: it must not be a piece of a larger buffer, which would be kept with it.
    pub(super) async fn publish(
        &self,
        topic: String,
        payload: Bytes,
        retain: bool,
    ) -> Result<(), RouterGone> {
        self.ask(Request::Publish {
            topic,
            payload,
            retain,
        })
        .await
    }

    /// Publishes if there is room: `false` when the message was dropped.
    pub(super) fn try_publish(&self, topic: String, payload: Bytes) -> bool {
        let request = Request::Publish {
            topic,
            payload,
            retain: false,
        };
        self.requests.try_send(request).is_ok()
    }

    /// Returns when what was published before has reached the sessions' links.
    pub(super) async fn settle(&self) -> Result<(), RouterGone> {
        self.open().await?.close().await
    }

    /// Ends our thread, after what it was asked before.
    pub(super) async fn stop(&self) {
        // It may have ended by itself.
        let _ = self.requests.send(Request::Stop).await;
    }

    async fn ask(&self, request: Request) -> Result<(), RouterGone> {
        self.requests.send(request).await.map_err(|_| RouterGone)
    }
}

/// A message for a reader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Forwarded {
    pub(super) topic: String,
    pub(super) payload: Bytes,
    /// Whether it is a retained one that the reader's subscription found there.
    pub(super) retained: bool,
}

/// One session's link. It must be ended with [`Self::close`]: a dropped one keeps its slot.
#[derive(Debug)]
pub(super) struct RouterLink {
    slot: Slot,
    rx: LinkRx,
    /// The router has stopped sending until it hears that we want more.
    must_wake: bool,
    router: RouterHandle,
}

impl RouterLink {
    /// The next message; may be dropped while it waits, without losing one.
    pub(super) async fn next(&mut self) -> Result<Forwarded, RouterGone> {
        loop {
            if self.must_wake {
                self.rx.wake().await.map_err(|_| RouterGone)?;
                self.must_wake = false;
            }
            match self.rx.next().await.map_err(|_| RouterGone)? {
                Some(Notification::Forward(forward)) => {
                    return Ok(Forwarded {
                        topic: String::from_utf8_lossy(&forward.publish.topic).into_owned(),
                        payload: forward.publish.payload,
                        retained: forward.publish.retain,
                    });
                }
                Some(Notification::Unschedule) => self.must_wake = true,
                Some(Notification::Disconnect(..)) => return Err(RouterGone),
                // Acknowledgements of our own requests: the sessions answer for themselves.
                _ => {}
            }
        }
    }

    /// Reads `filter` from now on, beginning with what is retained.
    pub(super) async fn subscribe(&self, filter: String) -> Result<(), RouterGone> {
        self.router.ask(Request::Subscribe(self.slot, filter)).await
    }

    /// Reads `filter` no more.
    pub(super) async fn unsubscribe(&self, filter: String) -> Result<(), RouterGone> {
        self.router.ask(Request::Unsubscribe(self.slot, filter)).await
    }

    /// Gives the link back.
    pub(super) async fn close(self) -> Result<(), RouterGone> {
        self.router.ask(Request::Close(self.slot)).await
    }
}

/// All sending ends of links, on our thread.
struct Links<C> {
    connect: C,
    publisher: LinkTx,
    /// Where the router puts what it has to say to the publisher: nothing that we need.
    _publisher_rx: LinkRx,
    /// Whether the router may still have to serve a subscription that the next publish must not overtake.
    subscribed: bool,
    open: Vec<Option<LinkTx>>,
}

impl<C> Links<C>
where
    C: Fn(&str) -> Result<(LinkTx, LinkRx), RouterGone>,
{
    fn open(connect: C) -> Result<Self, RouterGone> {
        let (publisher, publisher_rx) = connect("publisher")?;
        Ok(Self {
            connect,
            publisher,
            _publisher_rx: publisher_rx,
            subscribed: false,
            open: Vec::new(),
        })
    }

    fn run(mut self, mut requests: mpsc::Receiver<Request>) -> Result<(), RouterGone> {
        while let Some(request) = requests.blocking_recv() {
            match request {
                Request::Open(answer) => self.open_link(answer)?,
                Request::Subscribe(slot, filter) => {
                    self.send(slot, subscribe(filter))?;
                    self.subscribed = true;
                }
                Request::Unsubscribe(slot, filter) => self.send(slot, unsubscribe(filter))?,
                Request::Close(slot) => self.close(slot)?,
                Request::Publish {
                    topic,
                    payload,
                    retain,
                } => self.publish(Publish::new(Bytes::from(topic), payload, retain))?,
                Request::Stop => break,
            }
        }
        Ok(())
    }

    fn open_link(&mut self, answer: oneshot::Sender<(Slot, LinkRx)>) -> Result<(), RouterGone> {
        let free = self.open.iter().position(Option::is_none);
        let slot = free.unwrap_or(self.open.len());
        let (tx, rx) = (self.connect)(&format!("slot-{slot}"))?;
        if free.is_none() {
            self.open.push(None);
        }
        self.open[slot] = Some(tx);
        if answer.send((slot, rx)).is_err() {
            self.close(slot)?;
        }
        Ok(())
    }

    fn close(&mut self, slot: Slot) -> Result<(), RouterGone> {
        self.send(slot, disconnect())?;
        self.open[slot] = None;
        Ok(())
    }

    /// Whoever subscribed before this is told of it.
    fn publish(&mut self, publish: Publish) -> Result<(), RouterGone> {
        if self.subscribed {
            self.catch_up()?;
            self.subscribed = false;
        }
        send(&mut self.publisher, Packet::Publish(publish, None))
    }

    /// Returns when the router has done all that it was told: it answers a new link last.
    fn catch_up(&self) -> Result<(), RouterGone> {
        let (mut tx, _rx) = (self.connect)("catch-up")?;
        send(&mut tx, disconnect())
    }

    fn send(&mut self, slot: Slot, packet: Packet) -> Result<(), RouterGone> {
        match self.open.get_mut(slot).and_then(Option::as_mut) {
            Some(link) => send(link, packet),
            None => Ok(()),
        }
    }
}

/// Says something to the router, and blocks this thread while its queue is full.
fn send(link: &mut LinkTx, packet: Packet) -> Result<(), RouterGone> {
    // The future blocks instead of waiting, so that one poll runs it to its end.
    let sent = link.send(packet).now_or_never();
    sent.and_then(Result::ok).map(|_| ()).ok_or(RouterGone)
}

fn disconnect() -> Packet {
    let disconnect = Disconnect {
        reason_code: DisconnectReasonCode::NormalDisconnection,
    };
    Packet::Disconnect(disconnect, None)
}

fn subscribe(filter: String) -> Packet {
    let filter = Filter {
        path: filter,
        qos: QoS::AtMostOnce,
        nolocal: false,
        preserve_retain: false,
        retain_forward_rule: RetainForwardRule::OnEverySubscribe,
    };
    let subscribe = Subscribe {
        pkid: 1,
        filters: vec![filter],
    };
    Packet::Subscribe(subscribe, None)
}

fn unsubscribe(filter: String) -> Packet {
    let unsubscribe = Unsubscribe {
        pkid: 1,
        filters: vec![filter],
    };
    Packet::Unsubscribe(unsubscribe, None)
}
