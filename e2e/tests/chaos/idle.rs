//! Idle days in minutes: real processes on a clock that runs faster.
//!
//! libfaketime gives each process a clock, wall and monotonic, and timers that run many times as fast
//! as the machine's. What the programs do by time they do as often as in that many hours; what
//! they do as fast as they can (network, disk) is not sped up.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use e2e::{Controller, Lab, Worker};

use crate::{clocks::LIBRARY, say, size};

/// How much faster their clocks run: a keep-alive of 20 s still leaves the machine 0.4 s.
const FASTER: u32 = 48;
/// With that many workers a day may cost [`MOST_A_DAY`].
const WORKERS: u64 = 10;
/// Bytes written in an idle day, by the controller and all workers.
const MOST_A_DAY: f64 = 50e6;
/// Growth of the controller's resident memory in an idle day, in kB.
const MOST_GROWTH_KB: f64 = 8.0 * 1024.0;

/// What the kernel has counted for some processes.
#[derive(Clone, Copy, Debug, Default)]
struct Counted {
    /// Bytes that went, or will go, to a disk.
    written: f64,
    resident_kb: f64,
    /// How often a thread slept and was woken.
    woken: f64,
}

impl Counted {
    fn of(pids: &[u32]) -> Self {
        pids.iter().fold(Self::default(), |sum, pid| {
            let folder = Path::new("/proc").join(pid.to_string());
            let threads = fs::read_dir(folder.join("task")).expect("the process lives");
            let woken = threads.map(|thread| {
                let status = thread.expect("a thread").path().join("status");
                // a thread may have ended meanwhile
                fs::read_to_string(status).map_or(0.0, |text| number(&text, "voluntary_ctxt_switches:"))
            });
            let read = |name: &str| fs::read_to_string(folder.join(name)).expect("the process lives");
            Self {
                written: sum.written + number(&read("io"), "write_bytes:"),
                resident_kb: sum.resident_kb + number(&read("status"), "VmRSS:"),
                woken: sum.woken + woken.sum::<f64>(),
            }
        })
    }
}

/// The number behind a name.
fn number(text: &str, name: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let word = line.and_then(|line| line.split_whitespace().next());
    word.and_then(|word| word.parse().ok()).expect("a number")
}

/// One figure for the terminal: what these processes did in so many of their seconds.
fn figure(who: &str, before: Counted, after: Counted, seconds: f64) -> String {
    let a_day = 86_400.0 / seconds;
    format!(
        "{who}: {:.2} MB written a day, {:.2} wake-ups a second, resident {:.1} MiB, {:+.0} kB meanwhile",
        (after.written - before.written) * a_day / 1e6,
        (after.woken - before.woken) / seconds,
        after.resident_kb / 1024.0,
        after.resident_kb - before.resident_kb,
    )
}

fn all_online(controller: &Controller, count: u64) -> bool {
    let workers = controller.json(&["workers", "-o", "json"]);
    let items = workers["items"].as_array().expect("a list");
    let online = items.iter().filter(|worker| worker["state"] == "online");
    online.count() as u64 == count
}

#[test]
fn an_idle_house_writes_little_sleeps_well_and_does_not_grow() {
    let library = LIBRARY.replace("x86_64", std::env::consts::ARCH);
    if !Path::new(&library).exists() {
        e2e::skip("faketime is not installed: idle hours were not simulated");
        return;
    }
    let lab = Lab::without_sandbox();
    let mut controller = lab.controller("");
    controller.kill();
    let rate = format!("+0 x{FASTER}");
    let environment = [
        ("LD_PRELOAD", library.as_str()),
        ("FAKETIME", rate.as_str()),
        ("NO_FAKE_STAT", "1"),
        // under a service manager the watchdog is fed, which is written down too
        ("NOTIFY_SOCKET", "/nonexistent/notify"),
        ("WATCHDOG_USEC", "300000000"),
    ];
    controller.set_environment(&environment);
    controller.start();
    let count = size(2, WORKERS);
    let join = |number: u64| lab.worker_with(&controller, &format!("w{number}"), &environment);
    let mut workers: Vec<Worker> = (0..count).map(join).collect();
    let pids: Vec<u32> = workers.iter_mut().map(|worker| worker.process().id()).collect();
    let own = [controller.process().id()];

    // simulated: ten minutes to settle, then ten minutes, or a day and a night
    let ten_minutes = Duration::from_secs(600) / FASTER;
    std::thread::sleep(ten_minutes);
    let (began, before) = (Instant::now(), (Counted::of(&own), Counted::of(&pids)));
    std::thread::sleep(ten_minutes * size(1, 144) as u32);
    let after = (Counted::of(&own), Counted::of(&pids));
    let seconds = began.elapsed().as_secs_f64() * f64::from(FASTER);

    say(&format!(
        "{:.1} simulated idle hours, {count} workers",
        seconds / 3600.0
    ));
    say(&figure("agentd", before.0, after.0, seconds));
    say(&figure("all workers", before.1, after.1, seconds));
    assert!(all_online(&controller, count), "{}", controller.log());
    let written = after.0.written - before.0.written + after.1.written - before.1.written;
    let a_day = written * 86_400.0 / seconds;
    assert!(a_day <= MOST_A_DAY, "{a_day:.0} bytes a day");
    // a short look has no slope that could be told from noise
    if size(0, 1) > 0 {
        let growth = (after.0.resident_kb - before.0.resident_kb) * 86_400.0 / seconds;
        assert!(growth <= MOST_GROWTH_KB, "agentd grows by {growth:.0} kB a day");
    }
}
