//! The command line of the measurements.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Parser, ValueEnum};

use bench::{figures::Report, floor::Floor, history, idle, jobs, peers, streams};

/// What can be measured apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Section {
    /// Latency and throughput of jobs, beside the skeleton.
    Jobs,
    /// Start, memory, processor, sizes.
    Idle,
    /// A long log and a large artifact.
    Streams,
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
    let wanted = |section| arguments.section.is_empty() || arguments.section.contains(&section);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let mut report = Report::default();
    let floor = Floor::measure(&runtime)?;
    floor.tell(&mut report);
    if wanted(Section::Jobs) {
        jobs::measure(&runtime, &floor, &mut report)?;
    }
    if wanted(Section::Idle) {
        idle::measure(&mut report)?;
    }
    if wanted(Section::Streams) {
        streams::measure(&floor, &mut report)?;
    }
    if wanted(Section::History) {
        history::measure(arguments.history, &mut report)?;
    }
    if wanted(Section::Peers) {
        peers::measure(&mut report)?;
    }
    report.print();
    if let Some(path) = arguments.json {
        std::fs::write(&path, report.to_json())
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
