//! The engine's thread: waits for commands and deadlines, runs groups.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use protocol::{event::Event as CommittedEvent, id::AttemptId};
use service::{ballast::Ballast, clock::SharedClock};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::{
    denials::Denials,
    orchestrator::{Entropy, Now, World, timers::Timer, workers::CLOSED_MS},
    state::{StateError, Store, load},
    telemetry::Telemetry,
};

use super::{Command, CommittedEvents, Inbox, Outlet, group::Group};

/// Commands in one transaction, at most: bounds how long the first one waits for its answer.
const GROUP: usize = 512;
/// Events that are told together, at most: bounds what is kept for slow subscribers.
const EVENTS_TOGETHER: usize = 32;
/// How long to wait after a write that failed, so that a full disk does not make a busy loop.
const AFTER_FAILURE: Duration = Duration::from_millis(200);
/// How long to wait until the last room is asked for again: taking it may write all of it.
const ASK_FOR_ROOM_MS: u64 = 1000;

/// What the engine is built from.
pub struct CoreParts {
    /// The writer.
    pub store: Store,
    /// Room beside it, for when the disk is full.
    pub ballast: Ballast,
    /// A world with limits and models, to be filled from the tables.
    pub world: World,
    /// This start of the controller.
    pub epoch: u64,
    /// Time.
    pub clock: SharedClock,
    /// Where messages for workers go.
    pub outlet: Box<dyn Outlet>,
    /// Metrics.
    pub telemetry: Telemetry,
    /// What workers may not do, for the audit log.
    pub denials: Denials,
}

/// The engine itself, to be run on a thread of its own.
pub struct Core {
    pub(super) store: Store,
    ballast: Ballast,
    /// When the last room may be asked for again, on the monotonic clock.
    ask_for_room_ms: u64,
    pub(super) world: World,
    pub(super) epoch: u64,
    pub(super) clock: SharedClock,
    pub(super) outlet: Box<dyn Outlet>,
    pub(super) telemetry: Telemetry,
    pub(super) denials: Denials,
    pub(super) entropy: SystemEntropy,
    inbox: Inbox,
}

impl Core {
    /// Fills the world from the tables.
    pub fn new(parts: CoreParts, inbox: Inbox) -> Result<Self, StateError> {
        let mut core = Self {
            store: parts.store,
            ballast: parts.ballast,
            ask_for_room_ms: 0,
            world: parts.world,
            epoch: parts.epoch,
            clock: parts.clock,
            outlet: parts.outlet,
            telemetry: parts.telemetry,
            denials: parts.denials,
            entropy: SystemEntropy,
            inbox,
        };
        let now = core.now();
        load::world(core.store.connection(), &mut core.world, now)?;
        core.has_room();
        Ok(core)
    }

    /// Wall time is cut to milliseconds, so that what is told now equals what is read later.
    pub(super) fn now(&self) -> Now {
        let wall = self.clock.wall();
        Now {
            wall: Timestamp::from_millisecond(wall.as_millisecond()).unwrap_or(wall),
            mono: self.clock.mono_ms(),
        }
    }

    /// Whether there is room for new work. Once the last room has been given up, only what has begun may
    /// end, until that room can be kept again.
    pub(super) fn has_room(&mut self) -> bool {
        let now = self.clock.mono_ms();
        if self.ballast.is_held() {
            return true;
        }
        if now < self.ask_for_room_ms {
            return false;
        }
        match self.ballast.hold() {
            Ok(()) => info!("there is room on the disk: new jobs are accepted"),
            Err(error) => {
                self.ask_for_room_ms = now + ASK_FOR_ROOM_MS;
                warn!(%error, "there is no room on the disk: new jobs are refused");
            }
        }
        self.ballast.is_held()
    }

    /// Runs until `stop`; what was accepted before is committed.
    pub fn run(mut self, stop: &CancellationToken) -> Result<(), StateError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build();
        let runtime = runtime.map_err(|source| StateError::Io {
            what: "cannot start the engine's timer for",
            path: "agentd.db".into(),
            source,
        })?;
        // what the last stop left unfinished is settled before anybody asks
        self.run_group(None)?;
        loop {
            let first = match runtime.block_on(self.next(stop)) {
                Next::Command(command) => Some(command),
                Next::Deadline => None,
                Next::Stop => break,
            };
            self.run_group(first)?;
        }
        while let Ok(command) = self.inbox.commands.try_recv() {
            self.run_group(Some(command))?;
        }
        Ok(())
    }

    async fn next(&mut self, stop: &CancellationToken) -> Next {
        let now = self.clock.mono_ms();
        let due = self.world.next_due();
        let wait = due.map_or(Duration::MAX, |due| {
            Duration::from_millis(due.saturating_sub(now))
        });
        let deadline = async {
            match due {
                Some(_) => tokio::time::sleep(wait).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => Next::Stop,
            command = self.inbox.commands.recv() => command.map_or(Next::Stop, Next::Command),
            () = deadline => Next::Deadline,
        }
    }

    /// One group: everything that waits goes into one transaction.
    fn run_group(&mut self, first: Option<Command>) -> Result<(), StateError> {
        let mut group = Group::new(self.now());
        let mut next = first;
        let mut count = 0;
        loop {
            if let Some(command) = next.take() {
                group.take(self, command);
                count += 1;
            }
            if count >= GROUP || group.has_failed() {
                break;
            }
            match self.inbox.commands.try_recv() {
                Ok(command) => next = Some(command),
                Err(_) => break,
            }
        }
        group.pass_time(self);
        match group.commit(self) {
            Ok(events) => {
                self.tell(events);
                Ok(())
            }
            Err(error) => self.recover(error),
        }
    }

    fn tell(&self, events: Vec<CommittedEvent>) {
        let mut events = events.into_iter().peekable();
        while events.peek().is_some() {
            let together: CommittedEvents = events.by_ref().take(EVENTS_TOGETHER).collect();
            // nobody listening is fine
            let _ = self.inbox.events.send(together);
        }
    }

    /// The group is on no disk: the world must be what the tables say.
    fn recover(&mut self, error: Arc<StateError>) -> Result<(), StateError> {
        error!(%error, "a transaction failed: nothing of it was applied");
        self.store.roll_back()?;
        if error.is_full() && self.ballast.release() {
            warn!("the disk is full: its last room is given up, so that what has begun can end");
        }
        let live: Vec<_> = self
            .world
            .workers
            .values()
            .map(|worker| {
                (
                    worker.id,
                    worker.live,
                    worker.state,
                    worker.session,
                    worker.closed,
                )
            })
            .collect();
        let mut world = World {
            limits: self.world.limits,
            models: std::mem::take(&mut self.world.models),
            ..World::default()
        };
        let now = self.now();
        load::world(self.store.connection(), &mut world, now)?;
        for (id, live, state, session, closed) in live {
            if let Some(worker) = world
                .workers
                .get_mut(&id)
                .filter(|worker| worker.session == session)
            {
                worker.live = live;
                worker.state = state;
                worker.closed = closed;
                if let Some(closed) = closed {
                    world.timers.insert((closed.at + CLOSED_MS, Timer::Worker(id)));
                }
            }
        }
        self.world = world;
        warn!("the world was rebuilt from the tables");
        std::thread::sleep(AFTER_FAILURE);
        Ok(())
    }
}

enum Next {
    Command(Command),
    Deadline,
    Stop,
}

/// Ids and jitter of a real process.
pub(super) struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn attempt_id(&mut self) -> AttemptId {
        AttemptId::new()
    }

    fn unit(&mut self) -> f64 {
        rand::random()
    }
}
