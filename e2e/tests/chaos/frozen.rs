//! Processes that stand still for longer than their leases, and go on as if nothing had been.

use std::time::{Duration, Instant};

use e2e::{Controller, Lab, Worker, eventually, held::Held, lab::signal};
use serde_json::Value;

use crate::say;

/// A lease of 3 s and a grace of 2 s.
pub(crate) const IMPATIENT: &str = "limits: {offer_s: 2, lease_s: 3, grace_command_s: 2, grace_agent_s: 2}\n";

/// The attempts of a job's only step.
pub(crate) fn attempts(job: &Value) -> &[Value] {
    job["steps"][0]["attempts"].as_array().map_or(&[], Vec::as_slice)
}

/// Waits for a job to succeed.
pub(crate) fn succeeds(controller: &Controller, job: u64) -> Value {
    let ended = controller.ctl(&["wait", &job.to_string(), "--timeout", "60s"]);
    assert_eq!(ended.status.code(), Some(0), "{}", controller.job(job));
    controller.job(job)
}

/// Stops a process by a signal, and lets it go on however the test ends.
struct Frozen(u32);

impl Frozen {
    fn new(pid: u32) -> Self {
        signal(pid, "STOP");
        Self(pid)
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        signal(self.0, "CONT");
    }
}

#[test]
fn a_worker_frozen_for_too_long_is_superseded_and_its_result_kept() {
    let lab = Lab::without_sandbox();
    let controller = lab.controller(IMPATIENT);
    let mut workers: [Worker; 2] = ["one", "two"].map(|name| lab.worker(&controller, name));
    let held = Held::new(&lab, 0);
    let number = held.submit(&controller);
    let holder = controller.job(number)["steps"][0]["worker"]
        .as_str()
        .expect("a worker")
        .to_owned();
    let frozen = workers
        .iter_mut()
        .find(|worker| worker.name == holder)
        .expect("one of them");
    let frozen = Frozen::new(frozen.process().id());
    let began = Instant::now();
    eventually("the step to run elsewhere", || {
        let job = controller.job(number);
        (job["steps"][0]["worker"] != holder.as_str() && job["steps"][0]["state"] == "running").then_some(())
    });
    say(&format!(
        "frozen worker: its step ran elsewhere after {:.1} s (lease + grace: 5 s)",
        began.elapsed().as_secs_f64()
    ));
    assert!(
        began.elapsed() < Duration::from_secs(12),
        "dispatched again too late"
    );
    held.let_go();
    let job = succeeds(&controller, number);
    drop(frozen);
    let late = eventually("the late result to be kept", || {
        let job = controller.job(number);
        (!attempts(&job)[0]["late_outcome"].is_null()).then_some(job)
    });
    assert_eq!(attempts(&late).len(), 2, "{late}");
    assert_eq!(attempts(&late)[0]["state"], "lost", "{late}");
    assert_eq!(attempts(&late)[1]["state"], "succeeded", "{late}");
    assert_eq!(job["ended_at"], late["ended_at"], "a late result changes nothing");
}

#[test]
fn the_late_result_of_the_only_worker_is_adopted() {
    let lab = Lab::without_sandbox();
    let controller = lab.controller(IMPATIENT);
    let mut worker = lab.worker(&controller, "one");
    let held = Held::new(&lab, 0);
    let number = held.submit(&controller);
    let frozen = Frozen::new(worker.process().id());
    eventually("the attempt to be lost", || {
        (attempts(&controller.job(number))[0]["state"] == "lost").then_some(())
    });
    held.let_go();
    drop(frozen);
    let job = succeeds(&controller, number);
    assert_eq!(attempts(&job).len(), 1, "{job}");
}

#[test]
fn a_frozen_controller_takes_no_step_from_its_workers() {
    let lab = Lab::without_sandbox();
    let mut controller = lab.controller("limits: {lease_s: 3, grace_command_s: 30}\n");
    let _worker = lab.worker(&controller, "one");
    let held = Held::new(&lab, 0);
    let number = held.submit(&controller);
    let frozen = Frozen::new(controller.process().id());
    // more than the lease: the time itself is what is tested
    std::thread::sleep(Duration::from_secs(5));
    drop(frozen);
    held.let_go();
    let job = succeeds(&controller, number);
    assert_eq!(attempts(&job).len(), 1, "{job}");
}
