//! The lease protocol, exhaustively within bounds: one step, two workers, and
//! every order of deliveries, timers and the faults that a bound allows.
//!
//! The transition table is the product's own: its orchestrator and two of its
//! session machines are the actors. A message that was said stays for ever, so
//! that it may come late, repeatedly, in any order or never; a timer may fire at
//! any moment. What the journal leaves after a crash follows its ledger's rules.

mod heal;
mod state;
mod turn;

use std::{
    collections::HashSet,
    fmt,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use controller::workflow::model::Workflow;
use stateright::{Checker, HasDiscoveries, Model, Property};

use crate::{Part, flows};
use state::{Action, Flag, State};

/// Which faults a run may have, each at most so often.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Faults {
    pub(crate) reconnects: u8,
    pub(crate) worker_crashes: u8,
    pub(crate) controller_crashes: u8,
    pub(crate) cancels: u8,
    pub(crate) removals: u8,
}

/// One run of the checker.
#[derive(Clone)]
pub(crate) struct Lease {
    pub(crate) faults: Faults,
    pub(crate) without: Option<Part>,
    /// Most attempts of the step.
    pub(crate) attempts: usize,
    pub(crate) workflow: Arc<Workflow>,
    /// Prints of the sides from which there is a way to the end, whatever was on its way.
    healed: Arc<Mutex<HashSet<u64>>>,
}

impl Model for Lease {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![self.begin()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        state.actions(actions);
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut next = last.clone();
        self.apply(&mut next, action);
        next.seal();
        Some(next)
    }

    fn within_boundary(&self, state: &State) -> bool {
        state.attempts() <= self.attempts
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("a step has one result", |_, s: &State| !s.has(Flag::TwoResults)),
            Property::always("nothing superseded counts", |_, s: &State| {
                !s.has(Flag::Superseded)
            }),
            Property::always("nothing is executed twice", |_, s: &State| {
                !s.has(Flag::ExecutedTwice)
            }),
            Property::always("nothing begins after its Cancel", |_, s: &State| {
                !s.has(Flag::BeganFenced)
            }),
            Property::always("no finished result is given up", |_, s: &State| {
                !s.has(Flag::GivenUp)
            }),
            Property::always("what is open has a deadline", |_, s: &State| {
                !s.has(Flag::NoDeadline)
            }),
            Property::always(
                "from everywhere there is a way to the end",
                |m: &Self, s: &State| m.recovers(s),
            ),
            Property::sometimes("a step succeeds", |_, s: &State| s.has(Flag::Succeeded)),
            Property::sometimes("a lost attempt's result is adopted", |_, s: &State| {
                s.has(Flag::Adopted)
            }),
            Property::sometimes("a late result is kept", |_, s: &State| s.has(Flag::Late)),
        ]
    }
}

/// What a run has seen.
struct Seen {
    /// Different states.
    states: usize,
    /// Moves between them.
    moves: usize,
    depth: usize,
    /// Whether every state was reached and every move made: nothing was cut off.
    exhausted: bool,
    broken: Vec<String>,
    missed: Vec<&'static str>,
    took: Duration,
}

/// Goes everywhere; ends early only where a rule breaks, or beyond the last state that one has memory for.
fn explore(model: Lease) -> Seen {
    let began = Instant::now();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let checker = model
        .checker()
        .threads(threads)
        .target_state_count(MOST_MOVES)
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    let mut broken = vec![];
    let mut missed = vec![];
    for property in checker.model().properties() {
        let found = checker.discovery(property.name);
        match property.expectation {
            stateright::Expectation::Always => {
                broken.extend(found.map(|path| {
                    let actions: Vec<String> = path.into_actions().iter().map(|a| format!("{a:?}")).collect();
                    format!("{}: {}", property.name, actions.join(" > "))
                }));
            }
            _ if found.is_none() => missed.push(property.name),
            _ => {}
        }
    }
    Seen {
        states: checker.unique_state_count(),
        moves: checker.state_count(),
        depth: checker.max_depth(),
        exhausted: broken.is_empty() && checker.is_done() && checker.state_count() < MOST_MOVES,
        broken,
        missed,
        took: began.elapsed(),
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = if self.exhausted { "all of them" } else { "cut off" };
        write!(
            f,
            "{} states, {} moves, depth {}, {whole}, in {:.1} s",
            self.states,
            self.moves,
            self.depth,
            self.took.as_secs_f64()
        )
    }
}

/// A run: what it is called, most attempts of the step, what may go wrong and how often.
struct Run(&'static str, usize, Faults);

impl Run {
    fn model(&self, without: Option<Part>) -> Lease {
        Lease {
            faults: self.2,
            without,
            attempts: self.1,
            workflow: flows::least(),
            healed: Arc::default(),
        }
    }
}

const NONE: Faults = Faults {
    reconnects: 0,
    worker_crashes: 0,
    controller_crashes: 0,
    cancels: 0,
    removals: 0,
};

const RECONNECT: Faults = Faults {
    reconnects: 1,
    ..NONE
};

const WORKER_CRASH: Faults = Faults {
    worker_crashes: 1,
    ..NONE
};

const CONTROLLER_CRASH: Faults = Faults {
    controller_crashes: 1,
    ..NONE
};

const CANCEL: Faults = Faults { cancels: 1, ..NONE };

const REMOVAL: Faults = Faults { removals: 1, ..NONE };

/// What every test of the workspace goes through: little without optimization.
const RUNS: &[Run] = if cfg!(debug_assertions) {
    &[Run("lost, repeated and late messages", 1, NONE)]
} else {
    &[
        Run("lost, repeated and late messages", 2, NONE),
        Run("and a cancel", 2, CANCEL),
        Run("and a new connection", 1, RECONNECT),
        Run("and a crash of a worker", 1, WORKER_CRASH),
        Run("and a crash of the controller", 1, CONTROLLER_CRASH),
        Run("and the removal of a worker", 1, REMOVAL),
    ]
};

/// Most moves of one run, for the sake of memory; none comes near.
const MOST_MOVES: usize = 200_000_000;

/// Goes through runs to the last state of each.
#[expect(clippy::print_stdout, reason = "the figures of a long run")]
fn exhaust(runs: &[Run]) {
    let mut adopted = false;
    for run in runs {
        let seen = explore(run.model(None));
        println!("{}, {} attempts: {seen}", run.0, run.1);
        assert!(seen.broken.is_empty(), "{}: {:#?}", run.0, seen.broken);
        assert!(seen.exhausted, "{}: {seen}", run.0);
        assert!(
            !seen.missed.contains(&"a step succeeds"),
            "{} shows nothing: {:?}",
            run.0,
            seen.missed
        );
        adopted |= seen.missed.is_empty();
    }
    assert!(
        adopted || cfg!(debug_assertions),
        "some run sees a late result kept and a lost attempt's adopted"
    );
}

#[test]
fn within_bounds_nothing_is_lost_or_done_twice() {
    exhaust(RUNS);
}

fn breaks(part: Part, faults: Faults) -> Vec<String> {
    explore(Run("a part is left out", 2, faults).model(Some(part))).broken
}

#[test]
fn the_model_finds_results_without_a_fence() {
    let broken = breaks(Part::Fence, NONE);
    let found = |text: &String| text.starts_with("nothing superseded counts");
    assert!(broken.iter().any(found), "{broken:#?}");
}

#[test]
fn the_model_finds_workers_without_a_journal() {
    let broken = breaks(Part::Journal, WORKER_CRASH);
    let found = |text: &String| text.starts_with("no finished result is given up");
    assert!(broken.iter().any(found), "{broken:#?}");
}

#[test]
fn the_model_finds_leases_in_memory() {
    let broken = breaks(Part::LeasesOnDisk, CONTROLLER_CRASH);
    let found = |text: &String| text.starts_with("what is open has a deadline");
    assert!(broken.iter().any(found), "{broken:#?}");
}
