//! Messages of workers: they bypass the router, which has one writer and one
//! reader for each of these topics anyway.

use std::sync::Arc;

use bytes::Bytes;
use protocol::{
    codec::{CodecError, Envelope, encode},
    id::WorkerId,
    message::ToWorker,
};

use super::registry::{NotSent, Registry};

/// The way to the workers. MQTT is a doorbell: `Ok` means that the message waits
/// in the queue of a live connection, and no more.
#[derive(Clone, Debug)]
pub struct WorkerLink {
    registry: Arc<Registry>,
}

/// Why a message cannot go out.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// It cannot be encoded, or is too large.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// It has nowhere to go now.
    #[error(transparent)]
    NotSent(#[from] NotSent),
}

impl WorkerLink {
    pub(super) const fn new(registry: Arc<Registry>) -> Self {
        Self { registry }
    }

    /// Says something to a worker; never waits.
    pub fn send(&self, worker: WorkerId, envelope: &Envelope<ToWorker>) -> Result<(), LinkError> {
        let message = Bytes::from(encode(envelope)?);
        Ok(self.registry.send(worker, message)?)
    }

    /// Whether a worker is connected at this moment.
    pub fn is_connected(&self, worker: WorkerId) -> bool {
        self.registry.is_connected(worker)
    }
}
