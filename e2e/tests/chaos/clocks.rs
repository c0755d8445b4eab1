//! A wall clock that jumps, and one that starts in 1970.

use std::{fs, path::Path};

use e2e::{Lab, eventually, held::Held};

use crate::{
    frozen::{IMPATIENT, attempts, succeeds},
    say, start,
};

/// Where Debian has it.
pub(crate) const LIBRARY: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";

#[test]
fn a_wall_clock_that_jumps_costs_no_lease_and_no_job() {
    let library = LIBRARY.replace("x86_64", std::env::consts::ARCH);
    if !Path::new(&library).exists() {
        e2e::skip("faketime is not installed: a clock that jumps was not tested");
        return;
    }
    let lab = Lab::without_sandbox();
    let mut controller = lab.controller(IMPATIENT);
    let _worker = lab.worker(&controller, "one");
    let held = Held::new(&lab, 0);
    let number = held.submit(&controller);
    let clock = lab.path("clock");
    fs::write(&clock, "+0").expect("writable");
    let environment = [
        ("LD_PRELOAD", library.as_str()),
        ("FAKETIME_TIMESTAMP_FILE", clock.to_str().expect("text")),
        ("FAKETIME_NO_CACHE", "1"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ("NO_FAKE_STAT", "1"),
    ];
    let accepts = |controller: &e2e::Controller| {
        let done = controller.ctl(&["run", "run", "--", "true"]);
        assert!(done.status.success(), "{done:?}");
        let job = controller.job(number);
        assert_eq!(attempts(&job).len(), 1, "{job}");
        job["steps"][0]["state"].clone()
    };
    for time in ["+0", "+1h", "-1h", "@1970-01-01 00:02:00", "+0"] {
        // at its start …
        controller.kill();
        fs::write(&clock, time).expect("writable");
        controller.set_environment(&environment);
        start(&mut controller);
        eventually(
            &format!("the step to run on at {time}: {}", controller.job(number)),
            || (accepts(&controller) == "running").then_some(()),
        );
        // … and while it runs
        for jump in ["+1h", "-1h", time] {
            fs::write(&clock, jump).expect("writable");
            assert_ne!(accepts(&controller), "lost");
        }
    }
    held.let_go();
    let job = succeeds(&controller, number);
    assert_eq!(attempts(&job).len(), 1, "{job}");
    say("wall clock: 5 starts, one of them in 1970, and 15 jumps while it ran: the same attempt finished");
}
