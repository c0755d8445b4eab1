//! The one owner of the world: takes commands, decides, commits a whole group
//! with one fsync, and only then lets the effects out.
//!
//! It runs on a thread of its own, which is also the database's only writer.
//! Everybody else holds an [`Engine`], a handle with verbs.

mod core;
mod foreign;
mod group;
mod observe;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use protocol::{
    event::Event as CommittedEvent,
    http::jobs::JobView,
    id::{JobId, JobNumber, TokenId, WorkerId},
    message::{FromWorker, Session, ToWorker},
};
use tokio::sync::{broadcast, mpsc, oneshot};

use crate::{
    orchestrator::{Event, Facts, Now, Refusal, World, world::Job, world::Worker},
    state::{Connection, StateError},
};

pub use self::core::{Core, CoreParts};

/// Commands that wait for the engine; who finds it full waits.
const QUEUE: usize = 4096;
/// Groups of committed events that a slow subscriber may be behind before it must read them from the tables.
const EVENTS: usize = 256;

/// Events that were committed together, in order: whoever follows them is woken once for all.
pub type CommittedEvents = Arc<[CommittedEvent]>;

/// Where messages for workers go after the commit. Must not block: what it cannot take is said again.
pub trait Outlet: Send {
    /// Says something to a worker in a session.
    fn say(&self, worker: WorkerId, session: Session, epoch: u64, message: ToWorker);
    /// Closes a worker's connection.
    fn kick(&self, worker: WorkerId);
}

/// Why a command was not carried out.
#[derive(Clone, Debug, thiserror::Error)]
pub enum EngineError {
    /// The rules do not allow it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It could not be written down; nothing has changed.
    #[error("it could not be written down: {0}")]
    State(Arc<StateError>),
    /// There is no room for new work, only for the end of what has begun.
    #[error("the disk of the state folder is full")]
    Full,
    /// The idempotency key was used with another body.
    #[error("the idempotency key was used before with another request")]
    IdempotencyMismatch,
    /// The join token is unknown, used or too old.
    #[error("the join token is unknown, used or too old")]
    JoinToken,
    /// The engine has stopped.
    #[error("agentd is stopping")]
    Gone,
}

/// The result of a submit.
#[derive(Clone, Debug, PartialEq)]
pub struct Submitted {
    /// The job.
    pub id: JobId,
    /// Its short number.
    pub number: JobNumber,
    /// Whether an earlier submit with the same key had made it.
    pub existed: bool,
    /// A new job as it was committed.
    pub view: Option<Box<JobView>>,
}

/// An idempotency key with what it belongs to.
#[derive(Clone, Debug)]
pub struct SubmitKey {
    /// The token that used it.
    pub token: TokenId,
    /// The key.
    pub key: String,
    /// SHA-256 of the request's body.
    pub body_sha256: [u8; 32],
}

/// What a new worker brings.
pub struct NewWorker {
    /// SHA-256 of the join token's secret.
    pub join_sha256: [u8; 32],
    /// SHA-256 of the worker's own new secret.
    pub secret_sha256: [u8; 32],
    /// The worker; its name is made unique.
    pub worker: Worker,
}

type Look = Box<dyn FnOnce(&World, Now) + Send>;
type Reply<T> = oneshot::Sender<Result<T, EngineError>>;
type Write = Box<dyn FnOnce(&Connection, &World) -> (Settled, Result<(), StateError>) + Send>;
/// What is to be told to the caller of a write, once it is on disk or was given up.
type Settled = Box<dyn FnOnce(&World, Option<&Arc<StateError>>) + Send>;

/// What the engine is asked to do.
enum Command {
    Decide(Event, Option<Reply<()>>),
    Submit(Box<Job>, Option<SubmitKey>, Reply<Submitted>),
    Join(Box<NewWorker>, Reply<String>),
    Write(Write),
    Inspect(Look),
}

/// A handle to the engine; cheap to clone.
#[derive(Clone)]
pub struct Engine {
    commands: mpsc::Sender<Command>,
    events: broadcast::Sender<CommittedEvents>,
}

/// The other end of the handles, for the engine's thread.
pub struct Inbox {
    commands: mpsc::Receiver<Command>,
    events: broadcast::Sender<CommittedEvents>,
}

/// A handle and its other end.
pub fn channel() -> (Engine, Inbox) {
    let (sender, commands) = mpsc::channel(QUEUE);
    let (events, _) = broadcast::channel(EVENTS);
    let engine = Engine {
        commands: sender,
        events: events.clone(),
    };
    (engine, Inbox { commands, events })
}

impl Engine {
    /// Accepts a checked job; when this returns it is on disk.
    pub async fn submit(&self, job: Job, key: Option<SubmitKey>) -> Result<Submitted, EngineError> {
        self.ask(|reply| Command::Submit(Box::new(job), key, reply)).await
    }

    /// Lets something happen; when this returns its consequences are on disk.
    pub async fn decide(&self, event: Event) -> Result<(), EngineError> {
        self.ask(|reply| Command::Decide(event, Some(reply))).await
    }

    /// Hands a worker's message on, without waiting for what it leads to.
    pub async fn from_worker(&self, worker: WorkerId, session: Session, message: FromWorker) {
        let event = Event::FromWorker {
            worker,
            session,
            message: Box::new(message),
            facts: Facts::default(),
        };
        self.tell(event).await;
    }

    /// Lets something happen that nobody waits for.
    pub async fn tell(&self, event: Event) {
        // the engine is gone only when the process stops: then nothing is listened to any more
        let _ = self.commands.send(Command::Decide(event, None)).await;
    }

    /// Uses a join token for a new worker, in one transaction; returns its name.
    pub async fn join(&self, worker: NewWorker) -> Result<String, EngineError> {
        self.ask(|reply| Command::Join(Box::new(worker), reply)).await
    }

    /// Writes something that is no decision, in the next group's transaction.
    pub async fn write<T, F>(&self, write: F) -> Result<T, EngineError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StateError> + Send + 'static,
    {
        self.write_beside(move |connection, _| write(connection)).await
    }

    /// The same for a write that depends on what is open.
    pub async fn write_beside<T, F>(&self, write: F) -> Result<T, EngineError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection, &World) -> Result<T, StateError> + Send + 'static,
    {
        self.ask(|reply: Reply<T>| {
            Command::Write(Box::new(move |connection, world| {
                let (value, outcome) = match write(connection, world) {
                    Ok(value) => (Some(value), Ok(())),
                    Err(error) => (None, Err(error)),
                };
                let settled: Settled = Box::new(move |_, failure| {
                    let answer = match failure {
                        Some(error) => Err(EngineError::State(error.clone())),
                        None => value.ok_or(EngineError::Gone),
                    };
                    // a caller that gave up does not want the answer
                    let _ = reply.send(answer);
                });
                (settled, outcome)
            }))
        })
        .await
    }

    /// Looks at the world between two groups.
    pub async fn inspect<T, F>(&self, look: F) -> Result<T, EngineError>
    where
        T: Send + 'static,
        F: FnOnce(&World, Now) -> T + Send + 'static,
    {
        self.ask(|reply: Reply<T>| {
            Command::Inspect(Box::new(move |world, now| {
                // a caller that gave up does not want the answer
                let _ = reply.send(Ok(look(world, now)));
            }))
        })
        .await
    }

    /// Committed events from now on; a subscriber that lags reads the rest from the tables.
    pub fn subscribe(&self) -> broadcast::Receiver<CommittedEvents> {
        self.events.subscribe()
    }

    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, EngineError> {
        let (reply, answer) = oneshot::channel();
        self.commands
            .send(command(reply))
            .await
            .map_err(|_| EngineError::Gone)?;
        answer.await.map_err(|_| EngineError::Gone)?
    }
}
