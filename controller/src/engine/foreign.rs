//! A worker that speaks of an attempt which another one holds: no worker of ours does.
//!
//! The decisions leave the world as it is; here it is only noticed.

use protocol::{
    id::{AttemptId, WorkerId},
    message::FromWorker,
};

use crate::{
    authorize::Identity,
    orchestrator::{Event, World},
    state::{StateError, attempts},
};

use super::core::Core;

/// Puts it on its way to the audit log.
pub(super) fn note(core: &Core, event: &Event) -> Result<(), StateError> {
    let Event::FromWorker { worker, message, .. } = event else {
        return Ok(());
    };
    for attempt in named(message) {
        let holder = match holder_in(&core.world, attempt) {
            Some(holder) => Some(holder),
            None => attempts::owner(core.store.connection(), attempt)?.map(|owner| owner.worker),
        };
        if holder.is_some_and(|holder| holder != *worker) {
            let who = Identity::Worker(*worker).to_string();
            let action = format!("attempt.{}", message.kind());
            let why = "another worker holds it";
            core.denials
                .note(&who, "mqtt", &action, &attempt.to_string(), why);
        }
    }
    Ok(())
}

fn holder_in(world: &World, attempt: AttemptId) -> Option<WorkerId> {
    let (job, key) = world.place_of(attempt)?;
    let known = &world.step(job, &key)?.attempts;
    known
        .iter()
        .find(|known| known.id == attempt)
        .map(|known| known.worker)
}

/// Every attempt that a message is about.
fn named(message: &FromWorker) -> Vec<AttemptId> {
    match message {
        FromWorker::Hello(hello) => {
            let running = hello.running.iter().map(|running| running.attempt);
            let unsent = hello.unsent.iter().map(|(attempt, _)| *attempt);
            running.chain(unsent).collect()
        }
        FromWorker::Accept(accept) => vec![accept.attempt],
        FromWorker::Reject(reject) => vec![reject.attempt],
        FromWorker::Renew(renew) => renew.attempts.clone(),
        FromWorker::Progress(progress) => vec![progress.attempt],
        FromWorker::Checkpoint(checkpoint) => vec![checkpoint.attempt],
        FromWorker::Result(result) => vec![result.attempt],
        FromWorker::Bye(_) => vec![],
    }
}
