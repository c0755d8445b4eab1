//! How a state of the model begins, and whether it can still come to a good end.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use controller::orchestrator::{
    Event,
    world::{Job, Worker},
};
use jiff::Timestamp;
use protocol::{
    id::JobId,
    job::JobState,
    label::Labels,
    step::Outcome,
    usage::Usage,
    worker::{Load, Wanted, WorkerState},
};
use serde_json::Map;
use uuid::Uuid;
use worker::session::Held;

use super::{
    Lease,
    state::{State, copy, worker_id},
};

/// Rounds of saying everything again after which it must be over.
const ROUNDS: u32 = 24;

impl Lease {
    /// Both workers are connected, and the job is there.
    pub(super) fn begin(&self) -> State {
        let mut state = State::new(self.faults);
        let mut world = copy(&state.world);
        world.limits.infra_retries = 1;
        state.world = Arc::new(world);
        for w in 0..2 {
            self.decide(&mut state, Event::WorkerJoined(Box::new(row(w))));
            self.connect(&mut state, w);
        }
        self.deliver_all(&mut state);
        self.decide(&mut state, Event::Submit(Box::new(self.job())));
        state.seal();
        state
    }

    fn job(&self) -> Job {
        Job {
            id: JobId::from_uuid(Uuid::from_u64_pair(2, 1)),
            number: 1,
            state: JobState::Queued,
            workflow: self.workflow.clone(),
            inputs: Map::new(),
            title: String::new(),
            priority: 0,
            labels: BTreeMap::new(),
            repo: None,
            base: None,
            budget: None,
            group: None,
            created_at: Timestamp::UNIX_EPOCH,
            started_at: None,
            revived_at: None,
            ended_at: None,
            reason: None,
            cancel_requested: false,
            overdue: false,
            usage: Usage::default(),
            steps: vec![],
        }
    }

    /// Everything on the way arrives once, and what that leads to.
    fn deliver_all(&self, state: &mut State) {
        for _ in 0..100 {
            let Some((_, packet)) = Arc::make_mut(&mut state.net).pop_first() else {
                return;
            };
            self.deliver(state, packet);
        }
    }

    /// Whether it comes to a good end when all messages are lost now, and everything goes well from here
    /// on. What both sides know decides that, so that it is tried once for all that may be on its way.
    pub(super) fn recovers(&self, from: &State) -> bool {
        let known = from.sides_print();
        let healed = || self.healed.lock().expect("nobody panics while it is held");
        if healed().contains(&known) {
            return true;
        }
        let recovers = self.comes_to_an_end(from);
        if recovers {
            healed().insert(known);
        }
        recovers
    }

    fn comes_to_an_end(&self, from: &State) -> bool {
        let mut state = from.clone();
        state.net = Arc::default();
        for _ in 0..ROUNDS {
            for w in 0..2 {
                self.connect(&mut state, w);
            }
            self.deliver_all(&mut state);
            for w in 0..2 {
                let executing: Vec<_> = state.sides[w].executing.iter().copied().collect();
                for attempt in executing {
                    self.end(&mut state, w, attempt, Outcome::Ok);
                }
            }
            self.deliver_all(&mut state);
            if is_over(&state) {
                return !state.is_bad();
            }
            let job = state.job();
            self.decide(&mut state, Event::ResumeJob(job));
            self.fire(&mut state, false);
            self.deliver_all(&mut state);
        }
        false
    }
}

/// The job has ended, and nobody has anything left to say.
fn is_over(state: &State) -> bool {
    let ended = state.world.jobs.values().all(|job| job.state.is_terminal());
    let quiet = (0..2).filter(|w| *w == 0 || !state.removed).all(|w| {
        let machine = &state.sides[w].machine;
        let steps = state.world.jobs.values().flat_map(|job| &job.steps);
        let mut attempts = steps.flat_map(|step| &step.attempts);
        attempts.all(|attempt| {
            !matches!(
                machine.held(attempt.id),
                Some(Held::Unsent { .. } | Held::Running { .. } | Held::Ending { .. })
            )
        })
    });
    ended && quiet
}

fn row(w: usize) -> Worker {
    Worker {
        id: worker_id(w),
        name: format!("w{w}"),
        state: WorkerState::Offline,
        wanted: Wanted::Active,
        labels: Labels::default(),
        slots: 1,
        used: 0,
        models: vec![],
        version: String::new(),
        load: Load::default(),
        joined_at: Timestamp::UNIX_EPOCH,
        last_seen_at: None,
        session: None,
        live: false,
        boot: None,
        closed: None,
        warm: VecDeque::new(),
    }
}
