//! Killed processes are normal weather.

use e2e::{Lab, eventually};

/// Short deadlines, so that a lost worker is noticed soon.
const IMPATIENT: &str = "limits: {offer_s: 2, lease_s: 3, grace_command_s: 2, grace_agent_s: 2}\n";

#[test]
fn the_step_of_a_killed_worker_runs_again_elsewhere() {
    let lab = Lab::without_sandbox();
    let controller = lab.controller(IMPATIENT);
    let mut one = lab.worker(&controller, "one");
    let marker = lab.path("second-time");
    let script = format!("test -e {0} || {{ touch {0}; sleep 600; }}", marker.display());
    assert!(
        controller
            .ctl(&["submit", "run", "--", "/bin/sh", "-c", &script])
            .status
            .success()
    );
    eventually("the step to be busy on one", || marker.exists().then_some(()));
    one.kill();
    let _two = lab.worker(&controller, "two");
    let ended = controller.ctl(&["wait", "1"]);
    assert_eq!(ended.status.code(), Some(0), "{}", controller.job(1));
    let job = controller.job(1);
    assert_eq!(job["steps"][0]["worker"], "two", "{job}");
    assert_eq!(job["steps"][0]["attempts"][0]["state"], "lost", "{job}");
}

#[test]
fn a_killed_controller_goes_on_where_it_was() {
    let lab = Lab::without_sandbox();
    let mut controller = lab.controller("");
    let _one = lab.worker(&controller, "one");
    let go = lab.path("go");
    let count = lab.path("count");
    let script = format!(
        "echo once >> {}; while ! test -e {}; do sleep 0.05; done",
        count.display(),
        go.display()
    );
    assert!(
        controller
            .ctl(&["submit", "run", "--", "/bin/sh", "-c", &script])
            .status
            .success()
    );
    eventually("the step to run", || count.exists().then_some(()));
    controller.kill();
    std::fs::write(&go, "").expect("writable");
    controller.start();
    let ended = controller.ctl(&["wait", "1"]);
    assert_eq!(ended.status.code(), Some(0), "{}", controller.job(1));
    let ran = std::fs::read_to_string(&count).expect("counted");
    assert_eq!(ran.lines().count(), 1, "the step ran more than once");
    let job = controller.job(1);
    assert_eq!(
        job["steps"][0]["attempts"].as_array().map(Vec::len),
        Some(1),
        "{job}"
    );
}
