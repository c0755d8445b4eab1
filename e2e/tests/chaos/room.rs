//! Disks without room, on either side, and one that cannot be written at all.

use std::time::{Duration, Instant};

use e2e::{Lab, eventually, held::Held};

use crate::{
    disk::{Disk, SMALL},
    frozen::attempts,
    history::History,
    say,
    scene::Scene,
    size, start,
    storm::Target,
};

/// Room comes back, and new jobs are accepted again within this time.
const RECOVERY: Duration = Duration::from_secs(10);

/// Submits a job of its own, with so many bytes more; answers the status.
fn submit(target: &Target, history: &History, padding: usize) -> Option<u16> {
    let key = uuid::Uuid::new_v4().to_string();
    let mut job = history.job(&key, "0", "nothing");
    let command = job["inputs"]["command"].as_array_mut().expect("a list");
    command.push("x".repeat(padding).into());
    let answer = target.ask("POST", "/v1/jobs", "", job.to_string().as_bytes())?;
    if answer.status == 201 {
        history.accepted(&key, &answer.json());
    }
    Some(answer.status)
}

/// Asks for a job until it is accepted.
fn accepted_again(target: &Target, history: &History) -> Duration {
    let began = Instant::now();
    while submit(target, history, 0) != Some(201) {
        assert!(
            began.elapsed() < RECOVERY,
            "no job is accepted {RECOVERY:?} after there was room"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    began.elapsed()
}

/// Refuses what cannot be kept, and answers readers.
fn refuses_and_reads(target: &Target, history: &History) {
    eventually("a submit to be refused with 507", || {
        (submit(target, history, 90_000) == Some(507)).then_some(())
    });
    for path in ["/v1/status", "/v1/jobs", "/v1/events", "/readyz", "/metrics"] {
        let answer = target.ask("GET", path, "", b"").expect("an answer");
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
    }
}

#[test]
fn a_controller_without_room_recovers_and_loses_nothing() {
    let lab = Lab::without_sandbox();
    let disk = match Disk::new("ext4", 64, lab.path("disk")) {
        Ok(disk) => disk,
        Err(why) => return e2e::skip(&format!("a full disk of agentd was not tested: {why}")),
    };
    let mut scene = Scene::at(lab, &disk.folder.join("state"), SMALL);
    let storm = scene.storm(false);
    let target = Target::of(&scene.controller);
    let mut slowest = Duration::ZERO;
    let count = size(2, 30);
    for _ in 0..count {
        scene.dice.pause(100, 500);
        disk.fill();
        refuses_and_reads(&target, &scene.history);
        scene.dice.pause(0, 1000);
        disk.free();
        slowest = slowest.max(accepted_again(&target, &scene.history));
    }
    let verdict = scene.end(storm);
    say(&format!(
        "{count} times a full disk: {verdict}; accepting again after at most {} ms",
        slowest.as_millis()
    ));
}

#[test]
fn what_has_begun_ends_on_a_full_disk() {
    let lab = Lab::without_sandbox();
    let disk = match Disk::new("ext4", 64, lab.path("disk")) {
        Ok(disk) => disk,
        Err(why) => return e2e::skip(&format!("the last room of a full disk was not tested: {why}")),
    };
    let state = disk.folder.join("state");
    let controller = lab.controller_at(&state, "");
    let _one = lab.worker(&controller, "one");
    let (history, target) = (History::new(&lab), Target::of(&controller));
    let held = Held::new(&lab, 0);
    let job = held.submit(&controller);
    let ballast = state.join("ballast");
    assert!(ballast.exists());
    disk.fill();
    refuses_and_reads(&target, &history);
    assert!(!ballast.exists(), "the last room is given up");
    held.let_go();
    let ended = controller.ctl(&["wait", &job.to_string(), "--timeout", "60s"]);
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    assert_eq!(
        submit(&target, &history, 0),
        Some(507),
        "that room is not for new jobs"
    );
    disk.free();
    accepted_again(&target, &history);
    assert!(ballast.exists(), "it is kept again");
}

#[test]
fn a_read_only_disk_refuses_the_start_and_a_later_one_goes_on() {
    let lab = Lab::without_sandbox();
    let disk = match Disk::new("ext4", 64, lab.path("disk")) {
        Ok(disk) => disk,
        Err(why) => return e2e::skip(&format!("a read-only disk of agentd was not tested: {why}")),
    };
    let mut scene = Scene::at(lab, &disk.folder.join("state"), SMALL);
    let storm = scene.storm(false);
    scene.dice.pause(100, 500);
    scene.controller.kill();
    disk.remount("ro").expect("nobody writes");
    scene.controller.spawn();
    let ended = eventually("agentd to say that it cannot start", || {
        scene.controller.process().try_wait().expect("a child")
    });
    assert!(!ended.success());
    let log = scene.controller.log();
    assert!(log.contains("cannot write the state folder"), "{log}");
    disk.remount("rw").expect("it can be written again");
    start(&mut scene.controller);
    say(&format!("read-only disk: {}", scene.end(storm)));
}

#[test]
fn a_worker_without_room_lets_its_steps_run_elsewhere() {
    let lab = Lab::without_sandbox();
    let controller = lab.controller("");
    let disk = match Disk::new("ext4", 32, lab.path("one")) {
        Ok(disk) => disk,
        Err(why) => return e2e::skip(&format!("a full disk of a worker was not tested: {why}")),
    };
    let _one = lab.worker(&controller, "one");
    disk.fill();
    for _ in 0..4 {
        let submitted = controller.ctl(&["submit", "run", "--", "sh", "-c", "echo x > file; sleep 0.3"]);
        assert!(submitted.status.success(), "{submitted:?}");
    }
    eventually("a step to be refused or to fail for want of room", || {
        let refused = |job: u64| {
            let job = controller.job(job);
            attempts(&job)
                .iter()
                .any(|attempt| attempt["state"] == "rejected" || attempt["error"]["class"] == "infra")
        };
        (1..=4).any(refused).then_some(())
    });
    let _two = lab.worker(&controller, "two");
    for job in 1..=4u64 {
        let ended = controller.ctl(&["wait", &job.to_string(), "--timeout", "60s"]);
        let job = controller.job(job);
        assert_eq!(ended.status.code(), Some(0), "{job}");
        assert_eq!(job["steps"][0]["worker"], "two", "{job}");
    }
    disk.free();
}
