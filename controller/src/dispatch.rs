//! Committed effects go out: into envelopes, onto the workers' sessions. What
//! cannot be sent now is said again by the rules, so that nothing is kept here.

use protocol::{
    codec::{CodecError, Envelope},
    id::{MessageId, WorkerId},
    message::{MAX_MESSAGE_BYTES, PROTOCOL_VERSION, Session, ToWorker},
};
use tracing::{debug, warn};

use crate::{
    broker::{BrokerControl, LinkError, WorkerLink},
    credentials::Credentials,
    engine::Outlet,
    transport::Connections,
};

/// Sends through the broker.
pub struct Dispatch {
    link: WorkerLink,
    control: BrokerControl,
    credentials: Credentials,
    connections: Connections,
}

impl Dispatch {
    /// Over these ends of the broker; who is kicked is forgotten and cut off everywhere.
    pub const fn new(
        link: WorkerLink,
        control: BrokerControl,
        credentials: Credentials,
        connections: Connections,
    ) -> Self {
        Self {
            link,
            control,
            credentials,
            connections,
        }
    }
}

impl Outlet for Dispatch {
    fn say(&self, worker: WorkerId, session: Session, epoch: u64, message: ToWorker) {
        let mut envelope = Envelope {
            v: PROTOCOL_VERSION,
            id: MessageId::new(),
            epoch,
            session,
            message,
        };
        if let ToWorker::Refused(refused) = &envelope.message {
            warn!(worker.id = %worker, "refused a worker: {}", refused.why);
        }
        let mut sent = self.link.send(worker, &envelope);
        if let (Err(LinkError::Codec(CodecError::TooLarge(_))), ToWorker::Assign(assign)) =
            (&sent, &mut envelope.message)
        {
            // larger things travel by HTTP: the worker fetches the spec
            assign.spec = None;
            sent = self.link.send(worker, &envelope);
        }
        match sent {
            Ok(()) => {}
            Err(LinkError::NotSent(reason)) => {
                debug!(worker.id = %worker, %reason, "not sent: it will be said again");
            }
            Err(LinkError::Codec(error)) => {
                warn!(worker.id = %worker, %error, limit = MAX_MESSAGE_BYTES, "a message cannot be encoded");
            }
        }
    }

    fn kick(&self, worker: WorkerId) {
        // in this order: who logs in after the kick must be looked up anew
        self.credentials.forget();
        self.control.kick_worker(worker);
        self.connections.cut(worker);
    }
}
