//! Orderly stops under load: quick, and nothing is lost.

use std::time::{Duration, Instant};

use e2e::{Lab, eventually, lab::signal};

use crate::{say, scene::Scene, size, spread, start};

/// What service managers and people expect.
const STOP: Duration = Duration::from_secs(5);

#[test]
fn both_sides_stop_within_five_seconds_and_lose_nothing() {
    let mut scene = Scene::new("limits: {infra_retries: 1000}\n");
    let storm = scene.storm(true);
    let (mut controllers, mut workers) = (vec![], vec![]);
    for _ in 0..size(3, 100) {
        scene.dice.pause(200, 600);
        let began = Instant::now();
        scene.controller.stop();
        controllers.push(began.elapsed());
        start(&mut scene.controller);
        scene.dice.pause(100, 400);
        let which = scene.dice.below(2) as usize;
        let began = Instant::now();
        scene.workers[which].stop();
        workers.push(began.elapsed());
        scene.workers[which].start();
    }
    let verdict = scene.end(storm);
    say(&format!(
        "{} orderly stops of each: agentd {}, agent-worker {}: {verdict}",
        controllers.len(),
        spread(&mut controllers),
        spread(&mut workers)
    ));
    let slowest = controllers.iter().chain(&workers).max().expect("some");
    assert!(*slowest < STOP, "{slowest:?}");
}

#[test]
fn a_second_signal_ends_a_process_at_once() {
    let lab = Lab::without_sandbox();
    let controller = lab.controller("");
    let mut worker = lab.worker(&controller, "one");
    let mark = lab.path("mark");
    let stubborn = format!(
        "trap '' TERM; : > '{}'; while :; do sleep 1; done",
        mark.display()
    );
    let submitted = controller.ctl(&["submit", "run", "--", "sh", "-c", &stubborn]);
    assert!(submitted.status.success(), "{submitted:?}");
    eventually("the step to run", || mark.exists().then_some(()));
    let pid = worker.process().id();
    signal(pid, "TERM");
    eventually("the first signal to be heard", || {
        worker.log().contains("SIGTERM").then_some(())
    });
    let began = Instant::now();
    signal(pid, "TERM");
    let ended = eventually("the worker to end", || {
        worker.process().try_wait().expect("a child")
    });
    let took = began.elapsed();
    say(&format!("second signal: ended after {} ms", took.as_millis()));
    assert_eq!(ended.code(), Some(130));
    assert!(took < Duration::from_secs(1), "{took:?}");
}

#[test]
fn workers_that_rest_or_go_under_load_lose_nothing() {
    let mut scene = Scene::new("limits: {infra_retries: 1000}\n");
    let storm = scene.storm(false);
    let idle = |scene: &Scene, name: &str| {
        eventually(&format!("{name} to have nothing to do"), || {
            let open = scene
                .controller
                .json(&["ps", "--state", "queued,running,waiting", "-o", "json"]);
            let busy = open["items"].as_array()?.iter().any(|job| {
                let job = scene.controller.job(job["number"].as_u64().expect("a number"));
                job["steps"][0]["worker"] == name
                    && ["offered", "running"].contains(&job["steps"][0]["state"].as_str().unwrap_or(""))
            });
            (!busy).then_some(())
        });
    };
    for verb in ["drain", "pause"] {
        scene.dice.pause(200, 500);
        assert!(scene.controller.ctl(&["workers", verb, "one"]).status.success());
        idle(&scene, "one");
        assert!(
            scene
                .controller
                .ctl(&["workers", "resume", "one"])
                .status
                .success()
        );
    }
    scene.dice.pause(200, 500);
    let removed = scene.controller.ctl(&["workers", "remove", "one"]);
    assert!(removed.status.success(), "{removed:?}");
    scene.dice.pause(200, 500);
    say(&format!(
        "drain, pause and remove under load: {}",
        scene.end(storm)
    ));
}
