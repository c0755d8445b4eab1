//! What is kept, what goes, and what comes back: backups, retention, an orderly stop.

use std::{
    fs,
    path::Path,
    process::{Command, Output, Stdio},
    sync::atomic::{AtomicBool, Ordering},
};

use e2e::{Controller, Lab, eventually, lab::binary};

/// A job that ends at once and prints a line.
fn submit(controller: &Controller) -> bool {
    let job = ["submit", "run", "--", "/bin/sh", "-c", "echo hello"];
    controller.ctl(&job).status.success()
}

fn restore(file: &Path, folder: &Path) -> Output {
    Command::new(binary("agentd"))
        .arg("restore")
        .arg(file)
        .arg("--state-dir")
        .arg(folder)
        .stdin(Stdio::null())
        .output()
        .expect("agentd starts")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_backup_under_load_goes_on_elsewhere_and_the_workers_come_back_by_themselves() {
    let lab = Lab::new();
    let mut controller = lab.controller("");
    let _one = lab.worker(&controller, "one");
    assert!(submit(&controller));
    assert!(controller.ctl(&["wait", "1"]).status.success());
    let file = lab.path("backup.tar");
    let done = AtomicBool::new(false);
    let ended = std::thread::scope(|scope| {
        let load = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                assert!(submit(&controller), "a submit beside a backup");
            }
        });
        let ended = eventually("the load to be there", || {
            let jobs = controller.json(&["ps", "-o", "json", "--limit", "200"]);
            let ended: Vec<u64> = jobs["items"]
                .as_array()?
                .iter()
                .filter(|job| job["state"] == "succeeded")
                .filter_map(|job| job["number"].as_u64())
                .collect();
            (ended.len() > 2).then_some(ended)
        });
        let backed_up = controller.ctl(&["backup", "--to", &file.display().to_string()]);
        done.store(true, Ordering::Relaxed);
        assert!(backed_up.status.success(), "{}", said(&backed_up));
        load.join().expect("the load");
        ended
    });
    // the future that the backup does not know
    assert!(submit(&controller));
    let lost = controller.json(&["ps", "-o", "json"])["items"][0]["number"].as_u64();
    let lost = lost.expect("a number");
    assert!(controller.ctl(&["wait", &lost.to_string()]).status.success());
    controller.kill();
    let before = controller.state.clone();
    controller.state = lab.path("elsewhere");
    let restored = restore(&file, &controller.state);
    assert!(restored.status.success(), "{}", said(&restored));
    controller.start();

    eventually("the worker to come back", || {
        (controller.json(&["workers", "-o", "json"])["items"][0]["state"] == "online").then_some(())
    });
    let jobs = controller.json(&["ps", "-o", "json", "--limit", "200"]);
    let jobs = jobs["items"].as_array().expect("a list");
    let numbers: Vec<u64> = jobs.iter().filter_map(|job| job["number"].as_u64()).collect();
    let expected: Vec<u64> = (1..=numbers.len() as u64).rev().collect();
    assert_eq!(numbers, expected, "a prefix of history");
    assert!(
        numbers.len() > 2 && (numbers.len() as u64) < lost,
        "{numbers:?} of {lost}"
    );
    for number in &numbers {
        assert!(
            controller.ctl(&["wait", &number.to_string()]).status.success(),
            "{number}"
        );
    }
    // one that was under way has its result from the worker, and its log went to the controller that is lost
    for number in ended {
        let logged = controller.ctl(&["logs", &number.to_string()]);
        assert!(
            String::from_utf8_lossy(&logged.stdout).contains("hello"),
            "the log of {number}"
        );
    }
    // the old token still opens the door
    let token = fs::read_to_string(before.join("admin.token")).expect("the old token");
    let answer = e2e::http::request(
        controller.url().trim_start_matches("http://"),
        "GET",
        "/v1/status",
        Some(token.trim()),
        b"",
    );
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(submit(&controller), "and it goes on");
}

#[test]
fn a_damaged_backup_and_a_used_folder_are_refused() {
    let lab = Lab::new();
    let controller = lab.controller("");
    let file = lab.path("backup.tar");
    let name = file.display().to_string();
    assert!(controller.ctl(&["backup", "--to", &name]).status.success());
    let again = controller.ctl(&["backup", "--to", &name]);
    assert!(
        !again.status.success() && said(&again).contains("--to"),
        "{}",
        said(&again)
    );
    let whole = fs::read(&file).expect("the backup");
    let cut = lab.path("cut.tar");
    fs::write(&cut, &whole[..whole.len() / 2]).expect("writable");
    let refused = restore(&cut, &lab.path("new"));
    assert_eq!(refused.status.code(), Some(1));
    assert!(said(&refused).contains("the backup is cut"), "{}", said(&refused));
    let mut changed = whole;
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    fs::write(&cut, &changed).expect("writable");
    let refused = restore(&cut, &lab.path("new"));
    assert!(
        said(&refused).contains("the backup is damaged"),
        "{}",
        said(&refused)
    );
    fs::create_dir(lab.path("used")).expect("made");
    fs::write(lab.path("used").join("something"), "").expect("writable");
    let refused = restore(&file, &lab.path("used"));
    assert!(said(&refused).contains("is not empty"), "{}", said(&refused));
    assert!(restore(&file, &lab.path("new")).status.success());
}

#[test]
fn a_stopped_controller_is_one_whole_database_and_an_old_job_is_gone_after_the_next_start() {
    let lab = Lab::new();
    let mut controller = lab.controller("");
    let one = lab.worker(&controller, "one");
    assert!(submit(&controller));
    assert!(controller.ctl(&["wait", "1"]).status.success());
    let used = controller.json(&["status", "-o", "json"])["disk_used"]["logs"].as_u64();
    assert!(used > Some(0), "{used:?}");
    drop(one);
    controller.stop();
    let wal = controller.state.join("agentd.db-wal");
    let left = fs::metadata(&wal).map_or(0, |file| file.len());
    assert_eq!(left, 0, "the write-ahead log is in the database");

    fs::write(lab.path("agentd.yaml"), "retention: {jobs_days: 0}\n").expect("writable");
    controller.start();
    eventually("the job to go", || {
        let jobs = controller.json(&["ps", "-o", "json"]);
        jobs["items"].as_array()?.is_empty().then_some(())
    });
    eventually("its log to go", || {
        let mut logs = fs::read_dir(controller.state.join("logs")).ok()?;
        logs.next().is_none().then_some(())
    });
    assert!(submit(&controller));
    let next = controller.json(&["ps", "-o", "json"])["items"][0]["number"].as_u64();
    assert_eq!(next, Some(2), "numbers are not given out again");
}
