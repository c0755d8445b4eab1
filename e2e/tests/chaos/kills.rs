//! `kill -9` at random under load.

use std::time::{Duration, Instant};

use crate::{orphans::Orphans, say, scene::Scene, size, spread, start, strace};

/// A short lease and grace, and no step that parks because its worker was killed too often.
const KILLED_OFTEN: &str =
    "limits: {offer_s: 2, lease_s: 6, grace_command_s: 4, grace_agent_s: 4, infra_retries: 1000}\n";

/// Kills the controller; in every eighth case its next start too, before it is ready.
fn kill_controller(scene: &mut Scene, times: &mut Vec<Duration>) {
    scene.controller.kill();
    if scene.dice.one_in(8) {
        scene.controller.spawn();
        scene.dice.pause(0, 150);
        scene.controller.kill();
    }
    times.push(start(&mut scene.controller));
}

#[test]
fn a_controller_that_is_killed_again_and_again_loses_and_repeats_nothing() {
    let mut scene = Scene::new("");
    let storm = scene.storm(false);
    let mut times = vec![];
    for _ in 0..size(50, 1000) {
        scene.dice.pause(20, 300);
        kill_controller(&mut scene, &mut times);
    }
    let verdict = scene.end(storm);
    say(&format!(
        "{} kills of agentd: {verdict}; answering after {}",
        times.len(),
        spread(&mut times)
    ));
    assert_eq!(verdict.ran_again(), 0, "its workers lived: no command runs twice");
    assert!(
        times[times.len() / 2] < Duration::from_secs(2),
        "it answers within 2 s"
    );
}

#[test]
fn a_worker_that_is_killed_leaves_no_programs_and_its_steps_run_elsewhere() {
    let mut scene = Scene::new(KILLED_OFTEN);
    let storm = scene.storm(true);
    let mut orphans = Orphans::default();
    for _ in 0..size(30, 500) {
        scene.dice.pause(100, 700);
        let which = scene.dice.below(2) as usize;
        let worker = &mut scene.workers[which];
        worker.kill();
        orphans.died(&worker.state);
        scene.dice.pause(0, 200);
        worker.start();
        orphans.look();
    }
    let verdict = scene.end(storm);
    let (deaths, left) = orphans.end();
    say(&format!(
        "{deaths} kills of workers with {left} programs: {verdict}"
    ));
    assert!(left > 0, "no kill hit a step");
}

#[test]
fn both_sides_killed_at_once_come_back() {
    let mut scene = Scene::new(KILLED_OFTEN);
    let storm = scene.storm(true);
    let (mut orphans, mut times) = (Orphans::default(), vec![]);
    for _ in 0..size(10, 200) {
        scene.dice.pause(300, 900);
        let which = scene.dice.below(2) as usize;
        scene.workers[which].kill();
        orphans.died(&scene.workers[which].state);
        kill_controller(&mut scene, &mut times);
        scene.workers[which].start();
        orphans.look();
    }
    let verdict = scene.end(storm);
    let (deaths, left) = orphans.end();
    say(&format!(
        "{deaths} kills of both with {left} programs: {verdict}; answering after {}",
        spread(&mut times)
    ));
}

/// Calls of the system around which a kill is most likely to tear something apart: before a
/// sync of the database, a write to it, an answer or a message, a file's final name.
const POINTS: [&str; 5] = ["fdatasync", "pwrite64", "sendto", "fsync", "rename"];

#[test]
fn a_controller_killed_before_any_call_of_the_system_loses_nothing() {
    if !strace::is_here("kills at chosen calls of the system") {
        return;
    }
    let mut scene = Scene::new("");
    let storm = scene.storm(false);
    let mut hit = 0;
    for number in 0..size(8, 200) {
        let point = POINTS[number as usize % POINTS.len()];
        let fault = format!("signal=KILL:when={}", 1 + scene.dice.below(40));
        scene.controller.kill();
        strace::inject(&mut scene.controller, point, &fault);
        scene.controller.spawn();
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(4) {
            if scene.controller.process().try_wait().expect("a child").is_some() {
                hit += 1;
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    scene.controller.kill();
    scene.controller.run_through(&[]);
    start(&mut scene.controller);
    let verdict = scene.end(storm);
    say(&format!(
        "{hit} kills of agentd at a call of the system: {verdict}"
    ));
    assert!(hit > 0, "no kill came");
    assert_eq!(verdict.ran_again(), 0, "its workers lived: no command runs twice");
}
