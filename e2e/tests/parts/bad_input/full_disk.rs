//! A state folder on a full disk: nothing is accepted that cannot be kept, and what was
//! accepted goes on when there is room again.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

use e2e::{Lab, eventually};
use serde_json::json;

use super::{UnderWay, refused};

/// A small disk of its own; unmounted with the test.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None` where nobody may mount.
    fn mount(folder: PathBuf) -> Option<Self> {
        fs::create_dir(&folder).expect("writable");
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", "size=40m", "tmpfs"])
            .arg(&folder);
        let mounted = mount.output().is_ok_and(|output| output.status.success());
        mounted.then_some(Self(folder))
    }

    /// Takes what is left of it.
    fn fill(&self) {
        let mut ballast = File::create(self.ballast()).expect("writable");
        for size in [64 * 1024, 512] {
            while ballast.write_all(&vec![0; size]).is_ok() {}
        }
    }

    fn free(&self) {
        fs::remove_file(self.ballast()).expect("the ballast");
    }

    fn ballast(&self) -> PathBuf {
        self.0.join("ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // lazily, should a process still have a file open
        let unmounted = Command::new("umount").arg("-l").arg(&self.0).status();
        assert!(std::thread::panicking() || unmounted.is_ok_and(|status| status.success()));
    }
}

#[test]
fn a_full_disk_refuses_new_jobs_answers_readers_and_loses_nothing() {
    let lab = Lab::without_sandbox();
    let Some(disk) = SmallDisk::mount(lab.path("disk")) else {
        e2e::skip("only root can mount a small disk: a full state folder was not tested");
        return;
    };
    let controller = lab.controller_at(Path::new(&disk.0.join("state")), "");
    let _worker = lab.worker(&controller, "one");
    let job = UnderWay::begin(&lab, &controller);
    disk.fill();

    // what still fits into the files that are there is accepted, and then has to end well
    let body = json!({"workflow": "run", "inputs": {"command": ["true", "x".repeat(90_000)]}});
    let body = body.to_string().into_bytes();
    let mut accepted = vec![];
    let answer = loop {
        let answer = controller.request("POST", "/v1/jobs", &body);
        if answer.status != 201 {
            break answer;
        }
        accepted.push(answer.json()["number"].as_u64().expect("a number"));
        assert!(accepted.len() < 200, "a full disk takes no 200 jobs of 90 kB");
    };
    let problem = answer.json();
    assert_eq!(
        (answer.status, &problem["code"]),
        (507, &json!("storage")),
        "{problem}"
    );
    assert!(
        problem["detail"]
            .to_string()
            .contains("disk of the state folder is full"),
        "{problem}"
    );
    assert!(problem["hint"].is_string(), "{problem}");
    let large = "x".repeat(90_000);
    let output = controller.ctl(&["submit", "run", "--", "true", &large]);
    refused(
        &output,
        1,
        &["error[storage]", "disk of the state folder is full"],
    );

    for args in [
        &["ps"][..],
        &["status"],
        &["workers"],
        &["show", "1"],
        &["why", "1"],
        &["logs", "1"],
    ] {
        let output = controller.ctl(args);
        assert_eq!(output.status.code(), Some(0), "{args:?}: {output:?}");
    }
    // its command ends while nothing can be written down
    job.held.let_go();
    disk.free();
    job.ended_well(&controller);
    for number in accepted {
        let ended = controller.ctl(&["wait", &number.to_string()]);
        assert_eq!(ended.status.code(), Some(0), "{}", controller.job(number));
    }
    let last = eventually("a new job to be accepted", || {
        let output = controller.ctl(&["run", "run", "--", "true"]);
        output.status.success().then_some(output)
    });
    assert_eq!(last.status.code(), Some(0));
}
