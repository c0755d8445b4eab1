//! The installer of the tarball, and taking agentd away again.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use e2e::{Lab, lab::binary, skip};

const PROGRAMS: [&str; 3] = ["agentd", "agent-worker", "agentctl"];

/// The sources of what is packed.
fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy")
}

/// An unpacked tarball, with the programs that the tests use.
fn unpacked(lab: &Lab) -> PathBuf {
    let folder = lab.path("tarball");
    fs::create_dir_all(folder.join("systemd")).expect("made");
    for program in PROGRAMS {
        symlink(binary(program), folder.join(program)).expect("linked");
    }
    fs::copy(deploy().join("install.sh"), folder.join("install.sh")).expect("copied");
    for file in ["config.yaml", "worker.yaml"] {
        let from = deploy().join("../configs").join(file);
        fs::copy(from, folder.join(file)).expect("copied");
    }
    for unit in ["agentd.service", "agent-worker.service", "agent-worker@.service"] {
        let file = Path::new("systemd").join(unit);
        fs::copy(deploy().join(&file), folder.join(&file)).expect("copied");
    }
    // as scripts/packages.sh does it
    let sums = "find . ! -type d ! -name SHA256SUMS -print0 | sort -z | xargs -0 sha256sum >../sums; mv ../sums SHA256SUMS";
    let status = Command::new("sh")
        .args(["-c", sums])
        .current_dir(&folder)
        .status();
    assert!(status.is_ok_and(|status| status.success()));
    folder
}

fn install(folder: &Path, prefix: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(folder.join("install.sh"));
    command.arg("--prefix").arg(prefix).args(args);
    command.stdin(Stdio::null()).output().expect("sh starts")
}

fn said(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    format!("{}{}", String::from_utf8_lossy(out), String::from_utf8_lossy(err))
}

#[test]
fn a_tarball_is_installed_as_it_said_replaced_while_it_runs_and_taken_away() {
    let lab = Lab::new();
    let (folder, prefix) = (unpacked(&lab), lab.path("prefix"));
    let only = ["--only", "agentd", "--only", "agentctl"];
    let dry = install(&folder, &prefix, &[&["--dry-run"], &only[..]].concat());
    let would = said(&dry);
    assert!(
        dry.status.success() && would.contains("would run: install -m 0755 agentd"),
        "{would}"
    );
    assert!(!would.contains("agent-worker") && !prefix.exists(), "{would}");

    let done = install(&folder, &prefix, &only);
    assert!(done.status.success(), "{}", said(&done));
    let agentd = prefix.join("bin/agentd");
    assert!(!prefix.join("bin/agent-worker").exists());
    let version = Command::new(&agentd).arg("--version").output().expect("runs");
    assert!(version.stdout.starts_with(b"agentd "), "{version:?}");

    let state = lab.path("state");
    let mut running = Command::new(&agentd)
        .args([
            "--local",
            "--http",
            "127.0.0.1:0",
            "--mqtt",
            "127.0.0.1:0",
            "--state-dir",
        ])
        .arg(&state)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("starts");
    e2e::eventually("agentd to listen", || {
        state.join("endpoints.json").exists().then_some(())
    });
    let again = install(&folder, &prefix, &only);
    assert!(
        again.status.success(),
        "a program that runs is replaced: {}",
        said(&again)
    );
    let ask = |args: &[&str]| {
        let mut command = Command::new(&agentd);
        command.args(args).arg("--state-dir").arg(&state);
        let output = command.stdin(Stdio::null()).output().expect("runs");
        (output.status.success(), said(&output))
    };
    let (reset, text) = ask(&["reset", "--yes"]);
    assert!(!reset && text.contains("in use by process"), "{text}");
    e2e::lab::signal(running.id(), "TERM");
    assert!(running.wait().expect("ends").success());

    fs::write(state.join("notes.txt"), "mine").expect("written");
    let (shown, text) = ask(&["uninstall", "--dry-run"]);
    let lists = |path: &Path| text.contains(&format!("goes:  {} (", path.display()));
    assert!(
        shown && lists(&agentd) && lists(&state.join("agentd.db")),
        "{text}"
    );
    assert!(text.contains("notes.txt (agentd has not made it)"), "{text}");
    assert!(agentd.exists() && state.join("ca.key").exists() == lists(&state.join("ca.key")));
    let (reset, text) = ask(&["reset"]);
    assert!(!reset && text.contains("nobody to ask"), "{text}");
    assert!(state.join("agentd.db").exists());
    let (reset, text) = ask(&["reset", "--yes"]);
    assert!(reset, "{text}");
    let left: Vec<_> = fs::read_dir(&state).expect("it stays").collect();
    assert_eq!(left.len(), 1, "only what is not agentd's: {left:?}");
    let (reset, text) = ask(&["reset", "--yes"]);
    assert!(!reset && text.contains("holds no state of agentd"), "{text}");

    let gone = install(&folder, &prefix, &["--uninstall"]);
    assert!(gone.status.success(), "{}", said(&gone));
    assert_eq!(fs::read_dir(prefix.join("bin")).expect("a folder").count(), 0);
    assert!(state.join("notes.txt").exists());
}

#[test]
fn a_damaged_tarball_or_a_wrong_word_installs_nothing() {
    let lab = Lab::new();
    let (folder, prefix) = (unpacked(&lab), lab.path("prefix"));
    for args in [&["--only", "agent"][..], &["--verbose"], &["--only"]] {
        let refused = install(&folder, &prefix, args);
        assert_eq!(refused.status.code(), Some(2), "{args:?}: {}", said(&refused));
    }
    let config = folder.join("config.yaml");
    let text = fs::read_to_string(&config).expect("readable");
    fs::write(&config, text.replacen("state_dir", "state-dir", 1)).expect("written");
    let refused = install(&folder, &prefix, &[]);
    let why = said(&refused);
    assert_eq!(refused.status.code(), Some(1), "{why}");
    assert!(
        why.contains("config.yaml") && why.contains("this tarball is damaged"),
        "{why}"
    );
    fs::write(&config, text).expect("written");
    fs::remove_file(folder.join("agentctl")).expect("removed");
    let refused = install(&folder, &prefix, &[]);
    assert!(
        !refused.status.success() && said(&refused).contains("damaged"),
        "{refused:?}"
    );
    assert!(!prefix.exists());
}

/// Runs where users, units and state of this machine are copies that go with the process.
const APART: &str = r#"
set -eu
cp -a /etc "$1/etc"
mount --bind "$1/etc" /etc
mount -t tmpfs none /var/lib
mount -t tmpfs none /run
mkdir -p /etc/systemd/system
cd "$2"
./install.sh --prefix "$1/prefix" --units --only agentd --only agent-worker >&2
getent passwd agentd agent-worker | cut -d : -f 1
stat --format '%a %U %n' /var/lib/agentd /var/lib/agent-worker /etc/agentd/config.yaml
grep -h ^ExecStart= /etc/systemd/system/agentd.service /etc/systemd/system/agent-worker@.service
# what the owner has written stays through an upgrade and an uninstall
echo 'limits: {offer_s: 31}' >/etc/agentd/config.local.yaml
./install.sh --prefix "$1/prefix" --units --only agentd --only agent-worker >&2
./install.sh --prefix "$1/prefix" --uninstall >&2
cat /etc/agentd/config.local.yaml
ls -d /var/lib/agentd /etc/systemd/system/agent* "$1/prefix/bin/"* 2>/dev/null || true
"#;

#[test]
fn units_users_and_settings_come_and_only_units_go() {
    let lab = Lab::new();
    let namespace = Command::new("unshare").args(["--mount", "true"]).status();
    if !namespace.is_ok_and(|status| status.success()) {
        skip("the installer's --units: a mount namespace needs root");
        return;
    }
    let (folder, apart) = (unpacked(&lab), lab.path("apart"));
    fs::create_dir(&apart).expect("made");
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", APART, "sh"])
        .args([&apart, &folder])
        .stdin(Stdio::null())
        .output()
        .expect("unshare starts");
    assert!(output.status.success(), "{}", said(&output));
    let out = String::from_utf8_lossy(&output.stdout).replace(&apart.display().to_string(), "APART");
    let wanted = [
        "agentd",
        "agent-worker",
        "700 agentd /var/lib/agentd",
        "700 agent-worker /var/lib/agent-worker",
        "644 root /etc/agentd/config.yaml",
        "ExecStart=APART/prefix/bin/agentd --config /etc/agentd/config.yaml",
        "ExecStart=APART/prefix/bin/agent-worker --config /etc/agentd/worker.yaml",
        "limits: {offer_s: 31}",
        "/var/lib/agentd",
    ];
    assert_eq!(out.lines().collect::<Vec<_>>(), wanted, "{}", said(&output));
}
