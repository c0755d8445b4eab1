//! The power goes: what was not synced is lost, and what was acknowledged must be there.

use std::fs;

use e2e::{Lab, eventually, lab::signal};

use crate::{
    disk::{Disk, SMALL},
    say,
    scene::Scene,
    size, spread, start,
};

/// Enough for thousands of small jobs; xfs takes no less than 300 MB.
const MEGABYTES: u32 = 320;

fn cuts(kind: &str, count: u64) {
    let lab = Lab::without_sandbox();
    let disk = match Disk::new(kind, MEGABYTES, lab.path("disk")) {
        Ok(disk) => disk,
        Err(why) => {
            e2e::skip(&format!("power cuts of {kind} were not tested: {why}"));
            return;
        }
    };
    let mut scene = Scene::at(lab, &disk.folder.join("state"), SMALL);
    let storm = scene.storm(false);
    let mut times = vec![];
    for number in 0..count {
        scene.dice.pause(50, 500);
        let pid = scene.controller.process().id();
        stand_still(pid);
        if let Err(why) = disk.cut_power() {
            assert_eq!(number, 0, "the disk cannot be cut off any more: {why}");
            e2e::skip(&format!("power cuts of {kind} were not tested: {why}"));
            break;
        }
        // a disk may be gone for a while before the machine is
        if scene.dice.one_in(2) {
            signal(pid, "CONT");
            scene.dice.pause(0, 100);
        }
        scene.controller.kill();
        disk.restore_power();
        times.push(start(&mut scene.controller));
    }
    if times.is_empty() {
        return;
    }
    let verdict = scene.end(storm);
    say(&format!(
        "{} power cuts of {kind}: {verdict}; answering after {}",
        times.len(),
        spread(&mut times)
    ));
    assert_eq!(verdict.ran_again(), 0, "its workers lived: no command runs twice");
}

/// Stops a process between two calls of the system: a file system that is shut down while a sync
/// waits may let that sync succeed and lose what it was for, which no power cut does.
fn stand_still(pid: u32) {
    signal(pid, "STOP");
    let stopped = |thread: fs::DirEntry| {
        let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        stat.rsplit_once(") ")
            .is_some_and(|(_, rest)| rest.starts_with('T'))
    };
    eventually("all threads to stand still", || {
        let mut threads = fs::read_dir(format!("/proc/{pid}/task"))
            .expect("a process")
            .flatten();
        threads.all(stopped).then_some(())
    });
}

#[test]
fn what_was_acknowledged_survives_power_cuts_of_ext4() {
    cuts("ext4", size(4, 120));
}

#[test]
fn what_was_acknowledged_survives_power_cuts_of_xfs() {
    cuts("xfs", size(2, 80));
}
