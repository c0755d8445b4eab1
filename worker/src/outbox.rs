//! What this worker still has to say. A result stays until the controller's own
//! Ack; of everything else only the latest counts. The queue is pure; the
//! outbox puts its head on the wire and never blocks.

use std::collections::{BTreeMap, VecDeque};

use protocol::{
    codec::{self, CodecError, Envelope},
    id::{AttemptId, MessageId, WorkerId},
    message::{FromWorker, LogTail, PROTOCOL_VERSION, Session},
    topic::Topic,
};
use rumqttc::{AsyncClient, ClientError, QoS};

/// Results that were said and not acknowledged, at most.
pub const MAX_UNACKNOWLEDGED: usize = 32;
/// A result without an Ack is said again after this long, then twice as long, up to a minute.
const FIRST_REPEAT_MS: u64 = 10_000;
const LAST_REPEAT_MS: u64 = 60_000;
/// Other messages that wait for the wire, at most; the oldest makes room.
const MAX_WAITING: usize = 1_024;
/// An Accept waits so long for a result that implies it: a step that takes less costs the
/// controller one transaction fewer. Nobody sees a step begin that much later.
const ACCEPT_WAIT_MS: u64 = 5;

/// Messages with the same key replace each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    Hello,
    Renew,
    Accept(AttemptId),
    Reject(AttemptId),
    Progress(AttemptId),
    Checkpoint(AttemptId),
    Bye,
}

/// A message that waits for the wire.
#[derive(Clone, Debug)]
struct Waiting {
    key: Key,
    message: FromWorker,
    /// It is not said before.
    from_ms: u64,
}

/// A result that waits for its Ack.
#[derive(Clone, Debug)]
struct Unsettled {
    message: FromWorker,
    /// When it was said last and after how long it is said again; `None`: not on this connection.
    said: Option<(u64, u64)>,
}

/// The pure part: what to say next.
#[derive(Debug, Default)]
pub struct Queue {
    waiting: VecDeque<Waiting>,
    results: BTreeMap<AttemptId, Unsettled>,
}

impl Queue {
    /// Takes a message at `now_ms`; one with the same meaning that still waits is replaced.
    pub fn push(&mut self, message: FromWorker, now_ms: u64) {
        let key = match &message {
            FromWorker::Hello(_) => Key::Hello,
            FromWorker::Renew(_) => Key::Renew,
            FromWorker::Accept(accept) => Key::Accept(accept.attempt),
            FromWorker::Reject(reject) => Key::Reject(reject.attempt),
            FromWorker::Progress(progress) => Key::Progress(progress.attempt),
            FromWorker::Checkpoint(checkpoint) => Key::Checkpoint(checkpoint.attempt),
            FromWorker::Bye(_) => Key::Bye,
            FromWorker::Result(result) => {
                let attempt = result.attempt;
                self.waiting.retain(|waiting| waiting.key != Key::Accept(attempt));
                self.results.insert(attempt, Unsettled { message, said: None });
                return;
            }
        };
        if let Some(waiting) = self.waiting.iter_mut().find(|waiting| waiting.key == key) {
            waiting.message = message;
            return;
        }
        if self.waiting.len() == MAX_WAITING {
            self.waiting.pop_front();
        }
        let wait = if matches!(key, Key::Accept(_)) {
            ACCEPT_WAIT_MS
        } else {
            0
        };
        self.waiting.push_back(Waiting {
            key,
            message,
            from_ms: now_ms + wait,
        });
    }

    /// The controller has this result.
    pub fn settle(&mut self, attempt: AttemptId) {
        self.results.remove(&attempt);
    }

    /// A new connection: words of the old session are void (the Hello says it
    /// all), results are said again.
    pub fn rewind(&mut self) {
        self.waiting.clear();
        for result in self.results.values_mut() {
            result.said = None;
        }
    }

    /// Whether everything was said, and every result acknowledged.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.results.is_empty()
    }

    /// The next message for the wire at `now_ms`; [`Queue::sent`] says that it went out.
    pub fn next(&self, now_ms: u64) -> Option<&FromWorker> {
        self.ready(now_ms)
            .map(|index| &self.waiting[index].message)
            .or_else(|| self.due(now_ms).map(|(_, result)| &result.message))
    }

    /// What [`Queue::next`] gave is on the wire.
    pub fn sent(&mut self, now_ms: u64) {
        if let Some(index) = self.ready(now_ms) {
            self.waiting.remove(index);
            return;
        }
        let due = self.due(now_ms).map(|(&attempt, _)| attempt);
        if let Some(result) = due.and_then(|attempt| self.results.get_mut(&attempt)) {
            let wait = result
                .said
                .map_or(FIRST_REPEAT_MS, |(_, wait)| (2 * wait).min(LAST_REPEAT_MS));
            result.said = Some((now_ms, wait));
        }
    }

    /// What [`Queue::next`] gave can never be sent.
    fn drop_next(&mut self, now_ms: u64) {
        if let Some(index) = self.ready(now_ms) {
            self.waiting.remove(index);
        } else if let Some(attempt) = self.due(now_ms).map(|(&attempt, _)| attempt) {
            self.results.remove(&attempt);
        }
    }

    /// When the next thing is to be said, if nothing happens before: an Accept that waits, or a
    /// result without an Ack.
    pub fn due_at_ms(&self) -> Option<u64> {
        let repeats = self.results.values().filter_map(|result| result.said);
        self.waiting
            .iter()
            .map(|waiting| waiting.from_ms)
            .chain(repeats.map(|(at, wait)| at + wait))
            .min()
    }

    /// The first waiting message that may be said.
    fn ready(&self, now_ms: u64) -> Option<usize> {
        self.waiting.iter().position(|waiting| waiting.from_ms <= now_ms)
    }

    fn due(&self, now_ms: u64) -> Option<(&AttemptId, &Unsettled)> {
        let room = self
            .results
            .values()
            .filter(|result| result.said.is_some())
            .count()
            < MAX_UNACKNOWLEDGED;
        self.results.iter().find(|(_, result)| match result.said {
            None => room,
            Some((at, wait)) => at + wait <= now_ms,
        })
    }
}

/// Owner of the client: everything that this worker says goes through here.
pub struct Outbox {
    queue: Queue,
    client: AsyncClient,
    out_topic: String,
    log_topic: String,
    session: Session,
    epoch: u64,
    in_topic: String,
    connected: bool,
    subscribed: bool,
}

impl Outbox {
    /// An outbox without a connection.
    pub fn new(client: AsyncClient, worker: WorkerId, session: Session, epoch: u64) -> Self {
        Self {
            queue: Queue::default(),
            client,
            out_topic: Topic::WorkerOut(worker).to_string(),
            log_topic: Topic::WorkerLog(worker).to_string(),
            session,
            epoch,
            in_topic: Topic::WorkerIn(worker).to_string(),
            connected: false,
            subscribed: false,
        }
    }

    /// The queue, to look at.
    pub const fn queue(&self) -> &Queue {
        &self.queue
    }

    /// A new connection begins.
    pub fn begin(&mut self, session: Session) {
        self.session = session;
        self.connected = true;
        self.subscribed = false;
        self.queue.rewind();
    }

    /// The connection is gone.
    pub fn disconnected(&mut self) {
        self.connected = false;
    }

    /// A higher epoch was seen.
    pub fn set_epoch(&mut self, epoch: u64) {
        self.epoch = epoch;
    }

    /// Takes a message at `now_ms`; [`Outbox::flush`] sends it.
    pub fn push(&mut self, message: FromWorker, now_ms: u64) {
        self.queue.push(message, now_ms);
    }

    /// The controller has this result.
    pub fn settle(&mut self, attempt: AttemptId) {
        self.queue.settle(attempt);
    }

    /// Sends what can be sent now. What does not fit goes out when the link
    /// has room again.
    pub fn flush(&mut self, now_ms: u64) {
        if self.connected && !self.subscribed {
            let asked = self
                .client
                .try_subscribe(self.in_topic.as_str(), QoS::AtLeastOnce);
            self.subscribed = asked.is_ok();
        }
        while self.connected && self.subscribed {
            let Some(message) = self.queue.next(now_ms) else {
                return;
            };
            let bytes = match self.encode(message) {
                Ok(bytes) => bytes,
                Err(error) => {
                    // a result is checked when it is made, so this is a defect of this program
                    tracing::error!(%error, "a message could not be encoded and was dropped");
                    self.queue.drop_next(now_ms);
                    continue;
                }
            };
            match self
                .client
                .try_publish(self.out_topic.as_str(), QoS::AtLeastOnce, false, bytes)
            {
                Ok(()) => self.queue.sent(now_ms),
                Err(ClientError::Request(_) | ClientError::TryRequest(_)) => return,
            }
        }
    }

    /// Sends a piece of a live log, or drops it when there is no room.
    pub fn tail(&self, tail: &LogTail) {
        if !self.connected {
            return;
        }
        let sent = self.encode(tail).map(|bytes| {
            self.client
                .try_publish(self.log_topic.as_str(), QoS::AtMostOnce, false, bytes)
        });
        if !matches!(sent, Ok(Ok(()))) {
            tracing::debug!(attempt = %tail.attempt, "a piece of a live log was dropped");
        }
    }

    /// Ends the connection in an orderly way, after what was sent.
    pub fn disconnect(&mut self) {
        self.connected = false;
        if self.client.try_disconnect().is_err() {
            tracing::debug!("the connection ends without a farewell");
        }
    }

    fn encode<M: serde::Serialize>(&self, message: M) -> Result<Vec<u8>, CodecError> {
        codec::encode(&Envelope {
            v: PROTOCOL_VERSION,
            id: MessageId::new(),
            epoch: self.epoch,
            session: self.session,
            message,
        })
    }
}

#[cfg(test)]
mod tests;
