//! The way to the readers of the public topics.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use protocol::topic::{PUBLIC_FILTERS, Topic, covers};
use tokio::sync::watch;

use super::{
    config::MAX_PACKET,
    interest::Interest,
    router::{RouterGone, RouterHandle},
    stats::Counters,
};

/// Largest payload of a public topic, in bytes: what fits into a packet with its topic.
pub const MAX_PUBLIC_PAYLOAD: usize = MAX_PACKET - 1024;

/// A retained message as it should be right now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// A public topic.
    pub topic: Topic,
    /// Its payload; an empty one deletes what is retained.
    pub payload: Bytes,
}

/// Builds what a new reader should find.
pub trait Summaries: Send + Sync + 'static {
    /// A client is about to be subscribed to `filters`: the retained messages that
    /// they match, as of now. The client waits for this, at most one second;
    /// after that it is subscribed to what was there before.
    fn build<'a>(&'a self, filters: &'a [String]) -> BoxFuture<'a, Vec<Summary>>;
}

/// For a broker without public topics.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoSummaries;

impl Summaries for NoSummaries {
    fn build<'a>(&'a self, _filters: &'a [String]) -> BoxFuture<'a, Vec<Summary>> {
        Box::pin(std::future::ready(Vec::new()))
    }
}

/// Why something cannot be published.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The topic belongs to a worker.
    #[error("{0} is not a public topic")]
    Private(Topic),
    /// Over [`MAX_PUBLIC_PAYLOAD`].
    #[error("payload of {0} bytes exceeds the limit of {MAX_PUBLIC_PAYLOAD}")]
    TooLarge(usize),
    /// The router is gone; the broker's failure says so too.
    #[error(transparent)]
    Gone(#[from] RouterGone),
}

/// Publishes to people and programs.
#[derive(Clone, Debug)]
pub struct Publisher {
    pub(super) router: RouterHandle,
    pub(super) interest: Arc<Interest>,
    pub(super) counters: Arc<Counters>,
}

impl Publisher {
    /// Publishes to everybody who reads `topic`, in the order of the calls. What is
    /// not retained and has no reader is not even encoded for anybody.
    pub async fn publish(&self, topic: &Topic, payload: Bytes, retain: bool) -> Result<(), PublishError> {
        let text = checked(topic, &payload)?;
        if retain || self.interest.reaches(&text) {
            self.router.publish(text, payload, retain).await?;
        }
        Ok(())
    }

    /// Publishes something that may be lost, without waiting; what is dropped is counted.
    pub fn publish_lossy(&self, topic: &Topic, payload: Bytes) -> Result<(), PublishError> {
        let text = checked(topic, &payload)?;
        if self.interest.reaches(&text) && !self.router.try_publish(text, payload) {
            self.counters.dropped_messages.add();
        }
        Ok(())
    }

    /// Whether somebody reads `topic` at this moment.
    pub fn has_readers(&self, topic: &Topic) -> bool {
        self.interest.reaches(&topic.to_string())
    }

    /// Ticks whenever a subscription comes or goes.
    pub fn reader_changes(&self) -> watch::Receiver<u64> {
        self.interest.changes()
    }
}

fn checked(topic: &Topic, payload: &Bytes) -> Result<String, PublishError> {
    let text = topic.to_string();
    if !PUBLIC_FILTERS.iter().any(|rule| covers(rule, &text)) {
        return Err(PublishError::Private(topic.clone()));
    }
    if payload.len() > MAX_PUBLIC_PAYLOAD {
        return Err(PublishError::TooLarge(payload.len()));
    }
    Ok(text)
}
