//! One logged-in connection, from its welcome to its end.
//!
//! A single task reads, writes and delivers; whichever of the three cannot go on
//! waits without holding up the others, and nothing here ever waits for another
//! session. What comes in is in `incoming.rs`, what goes out in `outgoing.rs`.

use std::{io, net::IpAddr, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::FutureExt;
use protocol::id::WorkerId;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{mpsc, oneshot},
    time::{Instant, Sleep, sleep_until, timeout},
};
use tracing::{debug, info};

use super::{
    acl::{Principal, Route},
    config::MAX_PACKET,
    event::{BrokerEvent, ConnectionEnd},
    front::Shared,
    incoming::Received,
    outgoing::{Deliveries, Outgoing},
    packet::{Connect, ConnectCode, Packet},
    rate::Bucket,
    registry::{Admitted, Membership},
    wire::Wire,
};
use crate::authorize::Identity;

/// While more bytes than this wait to be written, nothing is delivered.
const DELIVER_BELOW: usize = 64 * 1024;
/// While more bytes than this wait to be written, nothing is read either.
const READ_BELOW: usize = 256 * 1024;
/// How long a client may take its last messages when the broker stops.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// A logged-in connection.
pub(super) struct Session<S> {
    pub(super) shared: Arc<Shared>,
    pub(super) wire: Wire<S>,
    pub(super) peer: IpAddr,
    pub(super) principal: Principal,
    pub(super) membership: Membership,
    pub(super) evicted: oneshot::Receiver<ConnectionEnd>,
    pub(super) deliveries: Deliveries,
    pub(super) received: Received,
    will: Option<(Route, Bytes)>,
    pub(super) bucket: Bucket,
    clock: Clock,
}

/// When what must have happened.
struct Clock {
    timer: Pin<Box<Sleep>>,
    keep_alive: Option<Duration>,
    last_heard: Instant,
    /// Since when what waits to be written has not moved.
    stuck_since: Option<Instant>,
    /// The sender has used up its rate.
    read_after: Option<Instant>,
}

/// What a turn of the loop was woken by.
enum Turn {
    Evicted(ConnectionEnd),
    Read(io::Result<usize>),
    Written(io::Result<()>),
    Outgoing(Outgoing),
    Timer,
}

impl<S: AsyncRead + AsyncWrite> Session<S> {
    pub(super) fn new(
        shared: Arc<Shared>,
        wire: Wire<S>,
        peer: IpAddr,
        connect: Connect,
        principal: Principal,
        admitted: Admitted,
    ) -> Self {
        let will = connect.will.and_then(|will| {
            let route = principal.route(&will.topic);
            if route.is_none() {
                shared.counters.dropped_wills.add();
                info!(%peer, "dropped the will of {principal:?} for {:?}", will.topic);
                let denials = &shared.outlets.denials;
                denials.note(&principal.name(), peer, "mqtt.will", &will.topic, "dropped");
            }
            route.map(|route| (route, will.payload))
        });
        let rate = match &principal {
            Principal::Known(Identity::Client { .. }) => shared.config.client_rate,
            Principal::Known(Identity::Worker(_)) | Principal::Probe => shared.config.worker_rate,
        };
        let now = Instant::now();
        // One and a half times the keep-alive, as the specification says; 0 means never.
        let keep_alive = Duration::from_millis(u64::from(connect.keep_alive_s) * 1500);
        Self {
            bucket: Bucket::new(rate, now.into_std()),
            deliveries: Deliveries::new(&principal, admitted.inbox),
            received: Received::default(),
            shared,
            wire,
            peer,
            principal,
            membership: admitted.membership,
            evicted: admitted.evicted,
            will,
            clock: Clock {
                timer: Box::pin(sleep_until(now)),
                keep_alive: (!keep_alive.is_zero()).then_some(keep_alive),
                last_heard: now,
                stuck_since: None,
                read_after: None,
            },
        }
    }

    /// Serves the connection until it ends, and tells whoever must know.
    pub(super) async fn run(mut self) {
        if self.welcome().await.is_err() {
            // Shown out before it was let in: nobody has heard of it yet.
            return;
        }
        let end = self.serve().await;
        debug!(peer = %self.peer, connection = self.membership.connection(), "MQTT session ended: {end:?}");
        if end == ConnectionEnd::ProtocolError {
            self.shared.counters.protocol_errors.add();
        }
        if end == ConnectionEnd::Stopping {
            // Above all `agentd/status`, which says that we go.
            let _ = timeout(LAST_WORDS, self.last_words()).await;
        }
        self.finish(end).await;
    }

    /// Tells the engine before the client, so that it knows whom the first message comes from.
    async fn welcome(&mut self) -> Result<(), ConnectionEnd> {
        if let Some(worker) = self.worker() {
            let connection = self.membership.connection();
            self.tell(BrokerEvent::WorkerConnected { worker, connection })
                .await?;
        }
        self.wire.output.push(&Packet::ConnAck(ConnectCode::Accepted));
        Ok(())
    }

    async fn serve(&mut self) -> ConnectionEnd {
        // a client need not wait for its welcome: what it sent behind the CONNECT may be here already
        if let Err(end) = self.take_packets().await {
            return end;
        }
        loop {
            let end = match self.turn().await {
                Turn::Evicted(end) => Err(end),
                Turn::Read(read) => self.after_read(read).await,
                Turn::Written(Ok(())) => {
                    self.clock.stuck_since = None;
                    Ok(())
                }
                Turn::Written(Err(reason)) => Err(end_of(&reason)),
                Turn::Outgoing(message) => self.deliver_all(message),
                Turn::Timer => self.check_deadlines().await,
            };
            if let Err(end) = end {
                return end;
            }
        }
    }

    /// Waits for the next thing that can be done.
    async fn turn(&mut self) -> Turn {
        let waiting = self.wire.output.len();
        let may_read = waiting < READ_BELOW && self.clock.may_read();
        let may_deliver = waiting < DELIVER_BELOW && self.deliveries.has_window();
        self.clock.arm(waiting > 0, self.shared.config.stall_timeout);
        tokio::select! {
            end = &mut self.evicted => Turn::Evicted(end.unwrap_or(ConnectionEnd::Stopping)),
            read = self.wire.input.fill(), if may_read => Turn::Read(read),
            written = self.wire.output.drain(), if waiting > 0 => Turn::Written(written),
            message = self.deliveries.next(), if may_deliver => Turn::Outgoing(message),
            () = self.clock.timer.as_mut() => Turn::Timer,
        }
    }

    async fn check_deadlines(&mut self) -> Result<(), ConnectionEnd> {
        let stall = self.shared.config.stall_timeout;
        if self
            .clock
            .stuck_since
            .is_some_and(|since| since.elapsed() >= stall)
        {
            return Err(ConnectionEnd::Stalled);
        }
        // While we ourselves do not read, silence says nothing about the client.
        let limit = self.clock.keep_alive.filter(|_| self.clock.read_after.is_none());
        if limit.is_none_or(|limit| self.clock.last_heard.elapsed() < limit) {
            return Ok(());
        }
        // We may just have been too busy to listen.
        match self.wire.input.fill().now_or_never() {
            Some(read) => self.after_read(read).await,
            None => Err(ConnectionEnd::Silent),
        }
    }

    async fn after_read(&mut self, read: io::Result<usize>) -> Result<(), ConnectionEnd> {
        match read {
            Ok(0) => Err(ConnectionEnd::ClosedByHost),
            Ok(_) => {
                self.clock.last_heard = Instant::now();
                self.take_packets().await
            }
            Err(reason) => Err(end_of(&reason)),
        }
    }

    /// Handles every packet that is here as a whole.
    async fn take_packets(&mut self) -> Result<(), ConnectionEnd> {
        loop {
            let packet = self.wire.input.packet(MAX_PACKET).map_err(|reason| {
                info!(peer = %self.peer, "MQTT connection closed: {reason}");
                ConnectionEnd::ProtocolError
            })?;
            let Some(packet) = packet else {
                return Ok(());
            };
            let now = Instant::now();
            // An answer to what we sent is paid for: a reader may be as fast as we are.
            let is_answer = matches!(packet, Packet::PubAck(id) if self.deliveries.awaits(id));
            if !is_answer && let Some(pause) = self.bucket.take(now.into_std()) {
                self.clock.read_after = Some(now + pause);
            }
            self.take_packet(packet).await?;
        }
    }

    /// Writes one message and whatever is ready behind it.
    fn deliver_all(&mut self, message: Outgoing) -> Result<(), ConnectionEnd> {
        let mut next = Some(message);
        while let Some(message) = next {
            let Some(publish) = self.deliveries.publish(message)? else {
                next = self.deliveries.ready();
                continue;
            };
            self.shared.counters.messages_out.add();
            self.wire.output.push(&Packet::Publish(publish));
            let has_room = self.wire.output.len() < DELIVER_BELOW && self.deliveries.has_window();
            next = if has_room { self.deliveries.ready() } else { None };
        }
        Ok(())
    }

    async fn last_words(&mut self) -> io::Result<()> {
        while let Some(message) = self.deliveries.ready() {
            if self.deliver_all(message).is_err() {
                break;
            }
        }
        self.wire.output.close().await
    }

    async fn finish(mut self, end: ConnectionEnd) {
        // Whoever is gone takes nothing any more, and must not hold up its own will.
        self.wire.output.discard();
        // a word of farewell, where the stream has one and the network takes it at once
        let _ = self.wire.output.close().now_or_never();
        if end.is_death()
            && let Some((route, payload)) = self.will.take()
        {
            // Lost when the client is back, or the broker stops, before there was room for it.
            let _ = self.hand_on(route, payload).await;
        }
        // From here on a message to this worker is told that nobody is there.
        self.membership.leave();
        for filter in self.deliveries.filters() {
            self.shared.interest.leave(filter);
        }
        let worker = self.worker();
        if let Some(link) = self.deliveries.take_link() {
            // When the router is gone, so is the link.
            let _ = link.close().await;
        }
        if let Some(worker) = worker {
            let connection = self.membership.connection();
            let event = BrokerEvent::WorkerDisconnected {
                worker,
                connection,
                end,
            };
            // An engine that has ended needs no news.
            let _ = self.shared.outlets.events.send(event).await;
        }
    }

    /// Tells the engine; see [`Self::put`].
    pub(super) async fn tell(&mut self, event: BrokerEvent) -> Result<(), ConnectionEnd> {
        let events = self.shared.outlets.events.clone();
        self.put(events, event).await
    }

    /// Puts something into a channel. While it is full, nothing more is read from this
    /// client; what waits for it is written all the same, and it can be evicted.
    pub(super) async fn put<T>(&mut self, channel: mpsc::Sender<T>, value: T) -> Result<(), ConnectionEnd> {
        let mut putting = std::pin::pin!(channel.send(value));
        loop {
            tokio::select! {
                biased;
                end = &mut self.evicted => return Err(end.unwrap_or(ConnectionEnd::Stopping)),
                put = &mut putting => return put.map_err(|_| ConnectionEnd::Stopping),
                written = self.wire.output.drain(), if !self.wire.output.is_empty() => {
                    written.map_err(|reason| end_of(&reason))?;
                }
            }
        }
    }

    fn worker(&self) -> Option<WorkerId> {
        match &self.principal {
            Principal::Known(Identity::Worker(id)) => Some(*id),
            Principal::Known(Identity::Client { .. }) | Principal::Probe => None,
        }
    }
}

impl Clock {
    /// Whether the sender's rate allows to read, as of now.
    fn may_read(&mut self) -> bool {
        if self.read_after.is_some_and(|when| when <= Instant::now()) {
            self.read_after = None;
        }
        self.read_after.is_none()
    }

    /// Sets the timer to the next deadline.
    fn arm(&mut self, has_output: bool, stall: Duration) {
        if has_output {
            self.stuck_since.get_or_insert_with(Instant::now);
        } else {
            self.stuck_since = None;
        }
        let deadlines = [
            self.read_after,
            self.keep_alive.map(|limit| self.last_heard + limit),
            self.stuck_since.map(|since| since + stall),
        ];
        // Far enough away to cost nothing.
        let idle = Instant::now() + Duration::from_secs(3600);
        let next = deadlines.into_iter().flatten().min().unwrap_or(idle);
        // A timer that fires early is only armed again: that is cheaper than moving it at every packet.
        if self.timer.is_elapsed() || next < self.timer.deadline() {
            self.timer.as_mut().reset(next);
        }
    }
}

/// Whether the other host or the network ended it.
fn end_of(reason: &io::Error) -> ConnectionEnd {
    match reason.kind() {
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::UnexpectedEof => ConnectionEnd::ClosedByHost,
        _ => ConnectionEnd::Silent,
    }
}
