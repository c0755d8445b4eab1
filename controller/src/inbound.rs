//! What workers say goes from the broker's channel to the engine, in order, within
//! bounds and without secrets.

use std::collections::HashMap;

use protocol::id::WorkerId;
use service::mask::Mask;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{broker::BrokerEvent, engine::Engine, hidden, orchestrator::Event, plausible};

/// Runs until the process stops or the broker is gone.
pub async fn pump(
    mut events: mpsc::Receiver<BrokerEvent>,
    engine: Engine,
    mask: Mask,
    stop: CancellationToken,
) {
    // a replaced connection may end after the one that replaced it began, and says nothing about it
    let mut connections: HashMap<WorkerId, u64> = HashMap::new();
    loop {
        let event = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            event = events.recv() => event,
        };
        match event {
            None => return,
            // a connection says nothing: the worker's Hello does
            Some(BrokerEvent::WorkerConnected { worker, connection }) => {
                connections.insert(worker, connection);
            }
            Some(BrokerEvent::WorkerDisconnected {
                worker,
                connection,
                end,
            }) => {
                if connections.get(&worker).is_some_and(|last| *last > connection) {
                    continue;
                }
                connections.remove(&worker);
                let by_host = end.by_host();
                engine.tell(Event::WorkerDisconnected { worker, by_host }).await;
            }
            Some(BrokerEvent::Message {
                worker, mut envelope, ..
            }) => {
                plausible::bound(&mut envelope.message);
                hidden::hide(&mut envelope.message, &mask);
                engine
                    .from_worker(worker, envelope.session, envelope.message)
                    .await;
            }
        }
    }
}
