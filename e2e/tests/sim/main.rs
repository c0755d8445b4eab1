//! The simulator: the product's orchestrator, session machine, outbox and journal
//! in simulated time, against crashes of both sides, a network that loses,
//! repeats, delays and reorders, disks that fail, clocks that jump, and people.
//!
//! What a seed does is always the same: `AGENTD_SEED=… cargo test -p e2e --test sim`
//! replays the one that a failure names; `AGENTD_SCHEDULES=n` sets how many are run.

mod books;
mod chaos;
mod controller;
mod disk;
mod execution;
mod flows;
mod machine;
mod model;
mod random;
mod schedule;
mod tables;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use ::controller::workflow::model::Workflow;

use schedule::Schedule;

/// Schedules of a plain `cargo test`: without optimization, what a small machine does in half a minute.
const SCHEDULES: u64 = if cfg!(debug_assertions) { 1_000 } else { 20_000 };

/// A part that is left out, to see that its want is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    /// A result counts for its step, whichever attempt it belongs to.
    NoFence,
    /// A worker that crashes has forgotten everything.
    NoJournal,
    /// A controller that starts knows no deadlines.
    LeasesInMemory,
}

fn run(seed: u64, flows: &Arc<Vec<Arc<Workflow>>>, broken: Option<Broken>) {
    let mut schedule = Schedule::new(seed, flows, broken);
    schedule.suffer();
    schedule.end_well();
}

fn variable(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}

#[test]
fn whatever_happens_nothing_is_lost_or_done_twice_and_every_job_ends() {
    let flows = Arc::new(flows::all());
    if let Some(seed) = variable("AGENTD_SEED") {
        return run(seed, &flows, None);
    }
    let count = variable("AGENTD_SCHEDULES").unwrap_or(SCHEDULES);
    let began = Instant::now();
    let next = AtomicU64::new(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= count {
                        return;
                    }
                    let outcome = catch_unwind(AssertUnwindSafe(|| run(seed, &flows, None)));
                    assert!(
                        outcome.is_ok(),
                        "AGENTD_SEED={seed} breaks a rule: see the panic above"
                    );
                }
            });
        }
    });
    let took = began.elapsed().as_secs_f64();
    println!("{count} schedules in {took:.0} s: {:.0}/s", count as f64 / took);
}

/// Runs schedules with a part left out until a rule breaks; answers how it was put.
fn found(broken: Broken) -> Option<(u64, String)> {
    let flows = Arc::new(flows::all());
    (0..500).find_map(|seed| {
        let outcome = catch_unwind(AssertUnwindSafe(|| run(seed, &flows, Some(broken))));
        let panic = outcome.err()?;
        let text = panic.downcast_ref::<String>().cloned().unwrap_or_default();
        Some((seed, text))
    })
}

#[test]
fn results_without_a_fence_are_found() {
    let (seed, text) = found(Broken::NoFence).expect("it breaks a rule");
    assert!(text.contains("superseded attempt"), "seed {seed}: {text}");
}

#[test]
fn workers_without_a_journal_are_found() {
    let (seed, text) = found(Broken::NoJournal).expect("it breaks a rule");
    assert!(
        text.contains("was given up") || text.contains("executed twice"),
        "seed {seed}: {text}"
    );
}

#[test]
fn leases_in_memory_are_found() {
    let (seed, text) = found(Broken::LeasesInMemory).expect("it breaks a rule");
    assert!(text.contains("without a deadline"), "seed {seed}: {text}");
}
