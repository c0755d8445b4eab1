//! The pure core: what happens to jobs, steps, attempts and workers.
//!
//! [`decide`] takes one event and moves the [`World`]; what it changed and what
//! must be said goes into the [`Draft`]. No I/O, no clock, no randomness of its
//! own: time and entropy come in as arguments, so that the same code runs under
//! a simulator. The engine owns the world, writes the changes down, and lets
//! the effects out only after the commit. Rule numbers are those of the design.

pub mod approval;
pub mod attempt;
pub mod budget;
pub mod checkpoint;
pub mod draft;
pub mod event;
pub mod hello;
pub mod job;
pub mod models;
pub mod place;
pub mod result;
pub mod salvage;
pub mod scope;
pub mod settle;
pub mod spec;
pub mod timers;
pub mod why;
pub mod workers;
pub mod world;

#[cfg(test)]
pub(crate) mod tests;

pub use draft::{Changes, Draft, Effect, Entropy, Now};
pub use event::{Event, Facts, Refusal};
pub use world::World;

use protocol::message::FromWorker;

/// Moves the world by one event. A refusal has changed nothing.
pub fn decide(draft: &mut Draft<'_>, event: Event) -> Result<(), Refusal> {
    match event {
        Event::Submit(job) => draft.submit(*job),
        Event::CancelJob(job) => draft.cancel_job(job),
        Event::RetryJob(job) => draft.retry_job(job),
        Event::ResumeJob(job) => draft.resume_job(job),
        Event::Salvage {
            job,
            step,
            attempt,
            facts,
        } => draft.salvage(job, &step, attempt, &facts),
        Event::DecideStep { job, step, decision } => draft.decide_step(job, &step, decision),
        Event::PauseDispatch(paused) => {
            draft.pause_dispatch(paused);
            Ok(())
        }
        Event::WorkerJoined(worker) => {
            draft.worker_joined(*worker);
            Ok(())
        }
        Event::WorkerWanted { worker, wanted } => draft.worker_wanted(worker, wanted),
        Event::WorkerDisconnected { worker, by_host } => draft.worker_disconnected(worker, by_host),
        Event::CommandAnswered(answer) => {
            draft.event(
                protocol::event::EventKind::CommandAnswer,
                None,
                None,
                None,
                answer,
            );
            Ok(())
        }
        Event::Timers => {
            draft.fire_timers();
            Ok(())
        }
        Event::FromWorker {
            worker,
            session,
            message,
            facts,
        } => match *message {
            FromWorker::Hello(hello) => draft.hello(worker, session, *hello, &facts),
            FromWorker::Accept(accept) => draft.alive(worker, session, accept.attempt, true),
            FromWorker::Reject(reject) => draft.rejected(worker, session, &reject),
            FromWorker::Renew(renew) => draft.renewed(worker, session, &renew),
            FromWorker::Progress(progress) => draft.progressed(worker, session, progress),
            FromWorker::Checkpoint(checkpoint) => draft.checkpoint(worker, checkpoint),
            FromWorker::Result(result) => draft.result(worker, *result, &facts),
            FromWorker::Bye(bye) => draft.bye(worker, session, &bye.why),
        },
    }
}
