//! Networks that stall, cut, reset and are slow, between controller and workers.

use std::{
    fs,
    time::{Duration, Instant},
};

use e2e::{Controller, Lab, Worker, eventually, held::Held};
use serde_json::Value;

use crate::{
    frozen::{attempts, succeeds},
    proxy::{Link, Proxy},
    say,
    scene::Scene,
    size,
};

/// The two connections of a worker.
struct Cable {
    mqtt: Proxy,
    http: Proxy,
}

impl Cable {
    /// Leads a worker that has joined through it.
    fn lay(controller: &Controller, worker: &mut Worker) -> Self {
        let cable = Self {
            mqtt: Proxy::before(controller.mqtt()),
            http: Proxy::before(controller.http()),
        };
        worker.stop();
        let file = worker.state.join("credential.json");
        let text = fs::read_to_string(&file).expect("a credential");
        let mut credential: Value = serde_json::from_str(&text).expect("JSON");
        credential["mqtt_address"] = cable.mqtt.address.to_string().into();
        credential["http_url"] = format!("http://{}", cable.http.address).into();
        fs::write(&file, credential.to_string()).expect("writable");
        worker.start();
        online(controller, &worker.name, true);
        cable
    }

    fn set(&self, link: Link) {
        self.mqtt.set(link);
        self.http.set(link);
    }
}

fn online(controller: &Controller, name: &str, wanted: bool) {
    eventually(&format!("{name} to be online: {wanted}"), || {
        let workers = controller.json(&["workers", "-o", "json"]);
        let found = workers["items"]
            .as_array()?
            .iter()
            .find(|worker| worker["name"] == name)?;
        ((found["state"] == "online") == wanted).then_some(())
    });
}

/// Whether the whole form runs: with the leases that people have.
fn whole() -> bool {
    size(0, 1) > 0
}

/// Lease and grace: a partition of seconds stands for one of minutes.
fn limits(lease_s: u64, grace_s: u64) -> String {
    let (lease_s, grace_s) = if whole() { (45, 120) } else { (lease_s, grace_s) };
    format!("limits: {{offer_s: 2, lease_s: {lease_s}, grace_command_s: {grace_s}}}\n")
}

#[test]
fn a_partition_within_the_grace_changes_nothing() {
    let lab = Lab::without_sandbox();
    let controller = lab.controller(&limits(2, 30));
    let names: Vec<String> = (0..size(2, 10)).map(|number| format!("w{number}")).collect();
    let mut workers: Vec<Worker> = names.iter().map(|name| lab.worker(&controller, name)).collect();
    let cables: Vec<Cable> = workers
        .iter_mut()
        .map(|worker| Cable::lay(&controller, worker))
        .collect();
    let (seconds, mut partitions) = (if whole() { 30 } else { 5 }, 0);
    for _ in 0..size(1, 10) {
        let held = Held::new(&lab, 0);
        let jobs: Vec<u64> = names.iter().map(|_| held.submit(&controller)).collect();
        for (number, cable) in cables.iter().enumerate() {
            // both ways, or one
            cable.set([Link::Silent, Link::DeafController, Link::DeafWorker][number % 3]);
        }
        // the partition's length itself is what is tested
        std::thread::sleep(Duration::from_secs(seconds));
        partitions += cables.len();
        for cable in &cables {
            cable.set(Link::Open);
        }
        held.let_go();
        for job in jobs {
            let job = succeeds(&controller, job);
            assert_eq!(attempts(&job).len(), 1, "{job}");
        }
        fs::remove_file(lab.path("gate")).expect("the gate");
    }
    say(&format!(
        "{partitions} partitions of {seconds} s within the grace: the same attempts finished"
    ));
}

#[test]
fn a_partition_beyond_the_grace_moves_the_step_or_waits_for_its_result() {
    let lab = Lab::without_sandbox();
    let controller = lab.controller(&limits(3, 3));
    let mut one = lab.worker(&controller, "one");
    let cable = Cable::lay(&controller, &mut one);
    let held = Held::new(&lab, 0);
    let (most, seconds) = if whole() { (165, 300) } else { (6, 10) };

    // with nobody else, the late result is adopted
    let alone = held.submit(&controller);
    cable.set(Link::Silent);
    let began = Instant::now();
    eventually_within(Duration::from_secs(most + 60), "the attempt to be lost", || {
        attempts(&controller.job(alone))[0]["state"] == "lost"
    });
    held.let_go();
    std::thread::sleep(Duration::from_secs(seconds).saturating_sub(began.elapsed()));
    cable.set(Link::Open);
    let job = succeeds(&controller, alone);
    assert_eq!(attempts(&job).len(), 1, "the late result is adopted: {job}");
    fs::remove_file(lab.path("gate")).expect("the gate");

    // with another worker, the step moves in time
    online(&controller, "one", true);
    let moved = held.submit(&controller);
    let _two = lab.worker(&controller, "two");
    cable.set(Link::Silent);
    let began = Instant::now();
    eventually_within(Duration::from_secs(most + 60), "the step to move", || {
        let job = controller.job(moved);
        job["steps"][0]["worker"] == "two" && job["steps"][0]["state"] == "running"
    });
    let took = began.elapsed();
    say(&format!(
        "partition: dispatched again after {:.1} s (lease + grace: {most} s)",
        took.as_secs_f64()
    ));
    assert!(
        took < Duration::from_secs(most + 6),
        "dispatched again after {took:?}"
    );
    held.let_go();
    succeeds(&controller, moved);
    std::thread::sleep(Duration::from_secs(seconds).saturating_sub(began.elapsed()));
    cable.set(Link::Open);
    let job = eventually("the late result to be kept for salvage", || {
        let job = controller.job(moved);
        (attempts(&job)[0]["late_outcome"] == "ok").then_some(job)
    });
    let states: Vec<&Value> = attempts(&job).iter().map(|attempt| &attempt["state"]).collect();
    assert_eq!(states, ["lost", "succeeded"], "{job}");
}

/// As [`eventually`], for what takes longer.
fn eventually_within(patience: Duration, what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < patience, "waited {patience:?} for {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_bad_network_loses_and_repeats_nothing() {
    let mut scene = Scene::new("");
    let mut cables = vec![];
    for worker in &mut scene.workers {
        cables.push(Cable::lay(&scene.controller, worker));
    }
    let storm = scene.storm(false);
    let faults = size(40, 1500);
    for _ in 0..faults {
        let link = match scene.dice.below(8) {
            0 => Link::Silent,
            1 => Link::DeafController,
            2 => Link::DeafWorker,
            3 => Link::Reset,
            4 => Link::CutAfter(scene.dice.below(4000) as i64),
            5 => Link::Slow(1 + scene.dice.below(200)),
            _ => Link::Open,
        };
        let cable = scene.dice.below(2) as usize;
        // together, or only one of the two connections
        match scene.dice.below(3) {
            0 => cables[cable].mqtt.set(link),
            1 => cables[cable].http.set(link),
            _ => cables[cable].set(link),
        }
        scene.dice.pause(20, 300);
    }
    for cable in &cables {
        cable.set(Link::Open);
    }
    let verdict = scene.end(storm);
    say(&format!("{faults} changes of a bad network: {verdict}"));
}
