//! Jobs that run a command; workers that come and go.

use e2e::{Lab, eventually};

#[test]
fn a_command_runs_on_a_worker_and_its_exit_code_reaches_the_shell() {
    let lab = Lab::new();
    let controller = lab.controller("");
    let _worker = lab.worker(&controller, "one");

    let good = controller.ctl(&["run", "run", "--", "/bin/sh", "-c", "echo printed by the step"]);
    assert_eq!(good.status.code(), Some(0), "{good:?}");
    let log = controller.ctl(&["logs", "@last"]);
    assert!(
        String::from_utf8_lossy(&log.stdout).contains("printed by the step"),
        "{log:?}"
    );

    let bad = controller.ctl(&["run", "run", "--", "/bin/sh", "-c", "exit 7"]);
    assert_eq!(bad.status.code(), Some(3), "{bad:?}");
    let job = controller.job(2);
    assert_eq!(job["state"], "failed", "{job}");
    assert_eq!(job["steps"][0]["attempts"][0]["exit"], 7, "{job}");
}

#[test]
fn bad_input_is_refused_by_name_and_nothing_is_started() {
    let lab = Lab::new();
    let controller = lab.controller("");
    let cases: [(&[&str], i32, &str); 4] = [
        (&["submit", "--repo", "/", "implemnt", "x"], 2, ""),
        (&["submit", "run"], 2, ""),
        (&["show", "99"], 5, "99"),
        (&["submit", "implement", " "], 2, ""),
    ];
    for (args, code, text) in cases {
        let output = controller.ctl(args);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
        assert!(said.contains(text), "{args:?}: {said}");
        assert!(!said.contains("panicked"), "{args:?}: {said}");
    }
    assert_eq!(
        controller.json(&["ps", "-o", "json"])["items"],
        serde_json::json!([])
    );
}

#[test]
fn a_removed_worker_is_gone_and_its_work_goes_elsewhere() {
    let lab = Lab::new();
    let controller = lab.controller("");
    let _one = lab.worker(&controller, "one");
    let submitted = controller.ctl(&["submit", "run", "--", "/bin/sleep", "600"]);
    assert!(submitted.status.success(), "{submitted:?}");
    eventually("the step to run on one", || {
        let job = controller.job(1);
        (job["steps"][0]["state"] == "running").then_some(())
    });
    assert!(controller.ctl(&["workers", "remove", "one"]).status.success());
    let workers = controller.json(&["workers", "-o", "json"]);
    assert_eq!(workers["items"], serde_json::json!([]));
    let job = controller.job(1);
    assert_eq!(job["steps"][0]["attempts"][0]["state"], "lost", "{job}");

    let _two = lab.worker(&controller, "two");
    eventually("the step to run on two", || {
        let job = controller.job(1);
        let step = &job["steps"][0];
        (step["state"] == "running" && step["worker"] == "two").then_some(())
    });
    assert!(controller.ctl(&["cancel", "1"]).status.success());
    eventually("the job to be cancelled", || {
        (controller.job(1)["state"] == "cancelled").then_some(())
    });
}
