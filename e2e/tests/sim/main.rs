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
mod made;
mod model;
mod random;
mod schedule;
mod sqlite;
mod tables;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use flows::Flows;
use schedule::Schedule;

/// Schedules without optimization, for a quick look, and with it.
const SCHEDULES: u64 = if cfg!(debug_assertions) { 200 } else { 20_000 };
/// One in so many is also run on SQLite, which takes much longer.
const ON_SQLITE: u64 = 100;
/// Seeds that are tried until a part that was left out is missed.
const TRIES: u64 = 500;

/// What a schedule is run with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Variant {
    /// Everything as it is, over rows that are kept in memory.
    Whole,
    /// The same over SQLite.
    OnSqlite,
    /// A part is left out.
    Without(Part),
}

/// A part that is left out, to see that its want is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// A result counts for its step, whichever attempt it belongs to.
    Fence,
    /// A worker that crashes has forgotten everything.
    Journal,
    /// A controller that starts knows no deadlines.
    LeasesOnDisk,
}

fn run(seed: u64, flows: &Arc<Flows>, variant: Variant) {
    let mut schedule = Schedule::new(seed, flows, variant);
    schedule.suffer();
    schedule.end_well();
}

fn variable(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}

/// Runs the seeds from 0 on, on all cores, until one breaks a rule.
#[expect(clippy::print_stdout, reason = "the figures of a long run")]
fn run_all(count: u64, variant: Variant) {
    let flows = Flows::all();
    if let Some(seed) = variable("AGENTD_SEED") {
        return run(seed, &flows, variant);
    }
    let began = Instant::now();
    let next = AtomicU64::new(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let one_after_another = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= count {
                return;
            }
            if catch_unwind(AssertUnwindSafe(|| run(seed, &flows, variant))).is_err() {
                next.store(count, Ordering::Relaxed);
                panic!("AGENTD_SEED={seed} breaks a rule: see the panic above");
            }
        }
    };
    std::thread::scope(|scope| {
        (0..threads).for_each(|_| drop(scope.spawn(one_after_another)));
    });
    let took = began.elapsed().as_secs_f64();
    println!(
        "{variant:?}: seeds 0 to {}, {took:.0} s on {threads} cores, {:.0}/s",
        count - 1,
        count as f64 / took
    );
}

#[test]
fn schedules_lose_nothing_do_nothing_twice_and_end_every_job() {
    run_all(variable("AGENTD_SCHEDULES").unwrap_or(SCHEDULES), Variant::Whole);
}

#[test]
fn schedules_over_sqlite_find_the_world_of_memory_on_disk() {
    let count = variable("AGENTD_SCHEDULES").unwrap_or(SCHEDULES) / ON_SQLITE;
    run_all(count.max(1), Variant::OnSqlite);
}

/// Runs schedules with a part left out until a rule breaks; answers how it was put.
fn found(part: Part) -> Option<(u64, String)> {
    let flows = Flows::all();
    (0..TRIES).find_map(|seed| {
        let outcome = catch_unwind(AssertUnwindSafe(|| run(seed, &flows, Variant::Without(part))));
        let panic = outcome.err()?;
        let text = panic.downcast_ref::<String>().cloned().unwrap_or_default();
        Some((seed, text))
    })
}

#[test]
fn results_without_a_fence_are_found() {
    let (seed, text) = found(Part::Fence).expect("it breaks a rule");
    assert!(text.contains("superseded attempt"), "seed {seed}: {text}");
}

#[test]
fn workers_without_a_journal_are_found() {
    let (seed, text) = found(Part::Journal).expect("it breaks a rule");
    assert!(
        text.contains("was given up") || text.contains("executed twice"),
        "seed {seed}: {text}"
    );
}

#[test]
fn leases_in_memory_are_found() {
    let (seed, text) = found(Part::LeasesOnDisk).expect("it breaks a rule");
    assert!(text.contains("without a deadline"), "seed {seed}: {text}");
}
