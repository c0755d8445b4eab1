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

use std::{fmt, sync::Arc, time::Duration};

use controller::workflow::model::Workflow;
use stateright::{Checker, HasDiscoveries, Model, Property};

use crate::{Broken, flows};
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
    pub(crate) broken: Option<Broken>,
    /// Most attempts of the step.
    pub(crate) attempts: usize,
    pub(crate) workflow: Arc<Workflow>,
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
                |m: &Self, s: &State| !s.is_sample() || m.recovers(s),
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
    states: usize,
    depth: usize,
    exhausted: bool,
    broken: Vec<String>,
    missed: Vec<&'static str>,
}

fn explore(model: Lease, states: usize, within: Duration) -> Seen {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let checker = model
        .checker()
        .threads(threads)
        .target_state_count(states)
        .timeout(within)
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
        depth: checker.max_depth(),
        exhausted: broken.is_empty() && checker.state_count() < states && checker.is_done(),
        broken,
        missed,
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = if self.exhausted { "all of them" } else { "cut off" };
        write!(f, "{} states, depth {}, {whole}", self.states, self.depth)
    }
}

fn lease(faults: Faults, broken: Option<Broken>) -> Lease {
    Lease {
        faults,
        broken,
        attempts: 2,
        workflow: flows::all()[0].clone(),
    }
}

const NONE: Faults = Faults {
    reconnects: 0,
    worker_crashes: 0,
    controller_crashes: 0,
    cancels: 0,
    removals: 0,
};

/// The runs: a name and what may go wrong.
const RUNS: [(&str, Faults); 7] = [
    ("plain", NONE),
    ("cancel", Faults { cancels: 1, ..NONE }),
    (
        "reconnect",
        Faults {
            reconnects: 1,
            ..NONE
        },
    ),
    (
        "worker crash",
        Faults {
            worker_crashes: 1,
            ..NONE
        },
    ),
    (
        "controller crash",
        Faults {
            controller_crashes: 1,
            ..NONE
        },
    ),
    ("removal", Faults { removals: 1, ..NONE }),
    (
        "crashes of both and a cancel",
        Faults {
            worker_crashes: 1,
            controller_crashes: 1,
            cancels: 1,
            ..NONE
        },
    ),
];

/// States of one run without optimization, and in `make sim`.
const STATES: usize = if cfg!(debug_assertions) { 30_000 } else { 6_000_000 };
/// Time of one run.
const WITHIN: Duration = Duration::from_secs(if cfg!(debug_assertions) { 8 } else { 300 });

#[test]
fn within_bounds_nothing_is_lost_or_done_twice() {
    let mut adopted = false;
    for (name, faults) in RUNS {
        let seen = explore(lease(faults, None), STATES, WITHIN);
        println!("{name}: {seen}");
        assert!(seen.broken.is_empty(), "{name}: {:#?}", seen.broken);
        assert!(
            !seen.missed.contains(&"a step succeeds"),
            "{name} shows nothing: {:?}",
            seen.missed
        );
        adopted |= seen.missed.is_empty();
    }
    assert!(
        adopted,
        "some run sees a late result kept and a lost attempt's adopted"
    );
}

fn breaks(broken: Broken, faults: Faults) -> Vec<String> {
    explore(lease(faults, Some(broken)), STATES, WITHIN).broken
}

#[test]
fn the_model_finds_results_without_a_fence() {
    let broken = breaks(Broken::NoFence, NONE);
    assert!(
        broken
            .iter()
            .any(|text| text.starts_with("nothing superseded counts")),
        "{broken:#?}"
    );
}

#[test]
fn the_model_finds_workers_without_a_journal() {
    let faults = Faults {
        worker_crashes: 1,
        ..NONE
    };
    let broken = breaks(Broken::NoJournal, faults);
    assert!(
        broken
            .iter()
            .any(|text| text.starts_with("no finished result is given up")),
        "{broken:#?}"
    );
}

#[test]
fn the_model_finds_leases_in_memory() {
    let faults = Faults {
        controller_crashes: 1,
        ..NONE
    };
    let broken = breaks(Broken::LeasesInMemory, faults);
    assert!(
        broken
            .iter()
            .any(|text| text.starts_with("what is open has a deadline")),
        "{broken:#?}"
    );
}
