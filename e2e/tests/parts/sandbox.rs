//! Levels of the sandbox as operators meet them.

use std::{fs, os::unix::fs::symlink, path::Path, process::Command};

use e2e::{Lab, eventually, repo::git};
use serde_json::{Value, json};

const STRICT: &str = "api: agentd/v1\nname: strict\nsteps:\n  a: {run: [echo, hello], sandbox: basic}\n";

/// The one sentence of `agentctl why`.
fn why(controller: &e2e::Controller, job: &str) -> String {
    let said = controller.json(&["why", job, "-o", "json"]);
    said.to_string()
}

#[test]
fn a_step_waits_for_the_level_that_it_asks_for_and_says_what_to_do() {
    let lab = Lab::new();
    let controller = lab.controller("");
    let file = lab.path("strict.yaml");
    fs::write(&file, STRICT).expect("written");
    let put = controller.ctl(&["workflows", "put", &file.to_string_lossy()]);
    assert!(put.status.success(), "{put:?}");

    let _weak = lab.worker_with(&controller, "weak", &[("AGENT_WORKER_SANDBOX__ALLOW", "none")]);
    // bubblewrap is not on this path, and Landlock is not allowed
    let bare = lab.path("bin");
    fs::create_dir(&bare).expect("made");
    symlink("/bin/sh", bare.join("sh")).expect("a link");
    let path = bare.to_string_lossy().into_owned();
    let nothing = [("AGENT_WORKER_SANDBOX__ALLOW", "strong"), ("PATH", path.as_str())];
    let nothing = lab.worker_with(&controller, "nothing", &nothing);
    assert!(
        nothing.log().contains("apt install bubblewrap"),
        "{}",
        nothing.log()
    );

    assert!(controller.ctl(&["submit", "strict"]).status.success());
    let said = eventually("a reason", || {
        let said = why(&controller, "1");
        said.contains("sandbox level").then_some(said)
    });
    for part in [
        "waits for a worker with sandbox level basic",
        "runs tools at sandbox level none, the step asks for basic",
        "runs no tools: it has no sandbox level that its owner allows",
        "sudo apt install bubblewrap",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    // a step that asks for nothing goes where its owner allows none, and nowhere else
    let plain = controller.ctl(&["run", "run", "--", "echo", "plain"]);
    assert_eq!(plain.status.code(), Some(0), "{plain:?}");
    assert_eq!(controller.job(2)["steps"][0]["worker"], "weak");

    if !e2e::machine_has_a_sandbox() {
        return;
    }
    let _good = lab.worker(&controller, "good");
    eventually("the job to succeed", || {
        (controller.job(1)["state"] == "succeeded").then_some(())
    });
    assert_eq!(controller.job(1)["steps"][0]["worker"], "good");
}

/// What a worker's Hello said of its sandbox, as `agentctl workers` has it.
fn level_of(controller: &e2e::Controller, worker: &str) -> Value {
    controller.json(&["workers", "show", worker, "-o", "json"])["labels"]["sandbox"].clone()
}

/// Becomes another program on a kernel that has no Landlock: its three calls (of the same numbers
/// everywhere) are answered as a kernel without it answers.
const WITHOUT_LANDLOCK: &str = "
import ctypes, os, struct, sys
instructions = [(0x20, 0, 0, 0), (0x35, 0, 2, 444), (0x25, 1, 0, 446), (0x06, 0, 0, 0x00050000 | 38), (0x06, 0, 0, 0x7fff0000)]
code = b''.join(struct.pack('HBBI', *instruction) for instruction in instructions)
memory = ctypes.create_string_buffer(code)
class Program(ctypes.Structure): _fields_ = [('length', ctypes.c_ushort), ('code', ctypes.c_void_p)]
program = Program(len(instructions), ctypes.addressof(memory))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, ctypes.byref(program)) == 0, os.strerror(ctypes.get_errno())
assert libc.syscall(444, 0, 0, 1) == -1 and ctypes.get_errno() == 38
os.execv(sys.argv[1], sys.argv[1:])
";

/// A search path with a shell and git, and without bubblewrap.
fn bare_path(lab: &Lab) -> String {
    let bare = lab.path("bare");
    fs::create_dir_all(&bare).expect("made");
    for program in ["sh", "git", "true", "echo", "touch"] {
        let found = ["/usr/bin", "/bin", "/usr/local/bin"].map(|folder| Path::new(folder).join(program));
        if let Some(file) = found.iter().find(|file| file.exists()) {
            symlink(file, bare.join(program)).expect("a link");
        }
    }
    bare.to_string_lossy().into_owned()
}

#[test]
fn a_machine_without_bubblewrap_and_landlock_says_so_and_runs_nothing_unprotected() {
    if !e2e::repo::has("python3") {
        return e2e::skip("python3 is not here to hide Landlock");
    }
    let lab = Lab::new();
    let controller = lab.controller("");
    let file = lab.path("strict.yaml");
    fs::write(&file, STRICT).expect("written");
    assert!(
        controller
            .ctl(&["workflows", "put", &file.to_string_lossy()])
            .status
            .success()
    );
    let path = bare_path(&lab);
    // the program itself: the worker's search path lacks it, and what starts it by that path
    let asked = Command::new("python3")
        .args(["-c", "import sys; print(sys.executable)"])
        .output();
    let python = String::from_utf8(asked.expect("python3 is here").stdout).expect("text");
    let python = python.trim();
    let wrapper = [python, "-c", WITHOUT_LANDLOCK];

    // as the product is, with nothing configured
    let bare = [
        ("PATH", path.as_str()),
        ("AGENT_WORKER_SANDBOX__ALLOW", "strong,basic"),
    ];
    let bare = lab.worker_through(&controller, "bare", &bare, &wrapper);
    let log = bare.log();
    for said in [
        "sandbox level unavailable",
        "apt install bubblewrap",
        "Landlock is not to be had",
    ] {
        assert!(log.contains(said), "{said}: {log}");
    }
    assert_eq!(level_of(&controller, "bare"), json!(["unavailable"]));
    let doctor = controller.ctl(&["doctor"]).stdout;
    let doctor = String::from_utf8_lossy(&doctor);
    assert!(doctor.contains("bare runs no tools"), "{doctor}");
    let canary = lab.path("canary");
    let touch = format!("touch {}", canary.display());
    assert!(
        controller
            .ctl(&["submit", "run", "--", "sh", "-c", &touch])
            .status
            .success()
    );
    assert!(controller.ctl(&["submit", "strict"]).status.success());
    for job in ["1", "2"] {
        let said = eventually("a reason", || {
            let said = why(&controller, job);
            said.contains("runs no tools").then_some(said)
        });
        assert!(said.contains("sudo apt install bubblewrap"), "{said}");
    }
    assert!(!canary.exists(), "something ran unprotected");

    // its owner allows it: said just as loudly, and what demands more still waits
    let allowed = [
        ("PATH", path.as_str()),
        ("AGENT_WORKER_SANDBOX__ALLOW", "strong,basic,none"),
    ];
    let allowed = lab.worker_through(&controller, "allowed", &allowed, &wrapper);
    assert!(allowed.log().contains("sandbox level none"), "{}", allowed.log());
    assert_eq!(level_of(&controller, "allowed"), json!(["none"]));
    let doctor = controller.ctl(&["doctor"]).stdout;
    let doctor = String::from_utf8_lossy(&doctor);
    assert!(
        doctor.contains("allowed runs tools without a sandbox"),
        "{doctor}"
    );
    eventually("the job that demands nothing", || {
        (controller.job(1)["state"] == "succeeded").then_some(())
    });
    assert!(canary.exists());
    assert_eq!(controller.job(1)["steps"][0]["worker"], "allowed");
    let said = why(&controller, "2");
    assert!(
        said.contains("runs tools at sandbox level none, the step asks for basic"),
        "{said}"
    );
}

#[test]
fn a_repository_on_the_disk_is_cloned_only_where_both_sides_allow_it() {
    let lab = Lab::new();
    let repo = lab.path("repo");
    e2e::repo::SAMPLES[0].create(&repo);
    git(&repo, &["gc", "-q"]);
    let url = format!("file://{}", repo.display());
    let submit = |controller: &e2e::Controller| {
        controller.ctl(&[
            "run",
            "run",
            "--repo",
            &url,
            "--timeout",
            "2m",
            "--",
            "cat",
            "add.sh",
        ])
    };

    let controller = lab.controller("");
    let refused = submit(&controller);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success());
    assert!(
        said.contains("file:// URLs are not allowed here") && said.contains("allow_file_urls: true"),
        "{said}"
    );

    let controller = lab.controller_at(&lab.path("second"), "allow_file_urls: true\n");
    let mut worker = lab.worker(&controller, "careful");
    let refused = submit(&controller);
    assert!(!refused.status.success());
    let job = controller.job(1).to_string();
    assert!(
        job.contains("does not clone from its own disk") && job.contains("allow_file_urls: true"),
        "{job}"
    );

    worker.stop();
    worker.set_environment(&[("AGENT_WORKER_ALLOW_FILE_URLS", "true")]);
    worker.start();
    let cloned = submit(&controller);
    let said = String::from_utf8_lossy(&cloned.stderr);
    assert!(cloned.status.success(), "{said}{}", controller.job(2));
    let log = controller.ctl(&["logs", "2"]).stdout;
    assert!(String::from_utf8_lossy(&log).contains("echo $(("));
}

/// Asks for the page of a host through the way out, as a program does that knows proxies.
const FETCH: &str = "import http.client, os, sys\nhost = os.environ['HTTP_PROXY'].removeprefix('http://')\nfor target in sys.argv[1:]:\n  c = http.client.HTTPConnection(host, timeout=10); c.request('GET', 'http://' + target + '/')\n  r = c.getresponse(); print(r.status, r.read().decode())\n";

#[test]
fn a_step_reaches_the_hosts_that_it_and_the_worker_name_and_its_log_says_so() {
    if !e2e::machine_has_a_sandbox() || !e2e::repo::has("python3") {
        return e2e::skip("it takes bubblewrap and python3");
    }
    let lab = Lab::new();
    let controller = lab.controller("");
    // the controller itself is what a step must never reach, unless somebody wrote it down
    let (open, closed) = (controller.http().to_owned(), controller.mqtt().to_owned());
    let script = serde_json::to_string(FETCH).expect("text");
    let text = format!(
        "api: agentd/v1\nname: reach\nsteps:\n  a: {{run: [python3, -c, {script}, \"{open}\", \"{closed}\"], network: [\"{open}\", other.example.org]}}\n"
    );
    let file = lab.path("reach.yaml");
    fs::write(&file, text).expect("written");
    let put = controller.ctl(&["workflows", "put", &file.to_string_lossy()]);
    assert!(put.status.success(), "{put:?}");
    let _worker = lab.worker_with(
        &controller,
        "w",
        &[("AGENT_WORKER_SANDBOX__NETWORK", open.as_str())],
    );
    let run = controller.ctl(&["run", "reach"]);
    let log = controller.ctl(&["logs", "1"]).stdout;
    let log = String::from_utf8_lossy(&log);
    assert!(run.status.success(), "{log}");
    for line in [
        format!("network: {open}: "),
        format!("network: {closed} was not reached: neither step nor worker name it"),
        "network: other.example.org is not allowed by the owner of this worker".to_owned(),
        "403 sandbox: ".to_owned(),
    ] {
        assert!(log.contains(&line), "{line}: {log}");
    }
}
