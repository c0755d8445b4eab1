//! The command line of the measurements.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Parser, ValueEnum};

use bench::{agents, cages, figures::Report, floor::Floor, history, idle, jobs, peers, streams, workers};

/// What can be measured apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Section {
    /// Latency and throughput of jobs, beside the skeleton.
    Jobs,
    /// Start, memory, processor, sizes.
    Idle,
    /// A thousand connected workers.
    Workers,
    /// A long log and a large artifact.
    Streams,
    /// Agents and work trees in a large repository.
    Agents,
    /// The cost of a command's sandbox.
    Sandbox,
    /// A database with many finished jobs.
    History,
    /// Other programs that are installed.
    Peers,
}

/// Measures agentd; build it with `--release`, as `make bench` does.
#[derive(Parser)]
struct Arguments {
    /// What to measure; everything if nothing is named.
    section: Vec<Section>,
    /// How many finished jobs the history has.
    #[arg(long, default_value_t = 1_000_000)]
    history: u64,
    /// Write the figures to this file as JSON too.
    #[arg(long)]
    json: Option<PathBuf>,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let mut report = Report::default();
    let floor = Floor::measure(&runtime)?;
    floor.tell(&mut report);
    for section in Section::value_variants() {
        if !arguments.section.is_empty() && !arguments.section.contains(section) {
            continue;
        }
        let measured = match section {
            Section::Jobs => jobs::measure(&runtime, &floor, &mut report),
            Section::Idle => idle::measure(&mut report),
            Section::Workers => workers::measure(&runtime, &mut report),
            Section::Streams => streams::measure(&floor, &mut report),
            Section::Agents => agents::measure(&runtime, &mut report),
            Section::Sandbox => cages::measure(&runtime, &mut report),
            Section::History => history::measure(arguments.history, &mut report),
            Section::Peers => peers::measure(&mut report),
        };
        // what was measured before is worth its minutes
        if let Err(error) = measured {
            report.skip(&format!("the rest of {section:?}"), &format!("{error:#}"));
        }
    }
    report.print();
    if let Some(path) = arguments.json {
        std::fs::write(&path, report.to_json())
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
