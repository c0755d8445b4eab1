//! What agentd costs while nothing happens, and how it starts.

use std::{fs, thread, time::Duration};

use crate::{
    figures::{Figure, Goal, Report, Samples},
    house::{House, binary},
};

/// How long the processor time of doing nothing is watched.
const WATCHED: Duration = Duration::from_secs(30);
const MIB: f64 = 1024.0 * 1024.0;

/// All of it.
pub fn measure(report: &mut Report) -> anyhow::Result<()> {
    report.group("start, memory, processor, sizes");
    let mut starts = vec![];
    for _ in 0..5 {
        starts.push(House::open()?.ready_after);
    }
    let start = Samples::new(starts).p50_ms();
    report.add(Figure::new("start to /readyz, new database, p50", start, "ms").goal(Goal::AtMost(60.0)));

    let house = House::with_worker()?;
    let worker = house.worker.as_ref().expect("it has joined");
    let before = house.controller.processor()? + worker.processor()?;
    thread::sleep(WATCHED);
    let after = house.controller.processor()? + worker.processor()?;
    let used = after.saturating_sub(before);
    let share = used.as_secs_f64() / WATCHED.as_secs_f64() * 100.0;
    report.add(
        Figure::new("idle processor, controller + worker, 30 s", share, "% of a core")
            .goal(Goal::AtMost(0.1)),
    );
    for (what, process, most) in [
        ("agentd", &house.controller, 20.0),
        ("agent-worker", worker, 12.0),
    ] {
        let resident = process.resident()? / MIB;
        report.add(Figure::new(format!("idle RSS of {what}"), resident, "MiB").goal(Goal::AtMost(most)));
    }
    let mut all = 0.0;
    for name in ["agentd", "agent-worker", "agentctl"] {
        let size = fs::metadata(binary(name)?)?.len() as f64 / 1e6;
        all += size;
        report.add(Figure::new(format!("size of {name}"), size, "MB").goal(Goal::AtMost(20.0)));
    }
    report.add(Figure::new("size of the three", all, "MB").goal(Goal::AtMost(30.0)));
    Ok(())
}
