//! What a shell completes with live values, and what `doctor --fix` mends.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command};

use e2e::{Controller, Lab, lab::binary};

use super::{stderr, stdout};

/// What bash completes the last of these words with.
fn completed(controller: &Controller, words: &[&str]) -> Vec<String> {
    let script = r#"
        . <(agentctl completion bash)
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_TYPE=9
        _clap_complete_agentctl agentctl "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let folder = binary("agentctl").parent().map(Path::to_owned).expect("a folder");
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new("bash");
    controller
        .known_to(&mut command)
        .args(["--norc", "-c", script, "bash"])
        .args(words)
        .env("PATH", format!("{}:{path}", folder.display()));
    let output = command.output().expect("bash starts");
    assert!(output.status.success(), "{output:?}");
    stdout(&output).lines().map(str::to_owned).collect()
}

#[test]
fn a_shell_completes_jobs_workers_and_workflows_that_are_there() {
    let lab = Lab::without_sandbox();
    let controller = lab.controller("");
    let _worker = lab.worker(&controller, "tower");
    for _ in 0..2 {
        let run = controller.ctl(&["run", "run", "--", "true"]);
        assert_eq!(run.status.code(), Some(0), "{run:?}");
    }
    let has = |words: &[&str], wanted: &[&str]| {
        let found = completed(&controller, words);
        for word in wanted {
            assert!(found.iter().any(|found| found == word), "{words:?}: {found:?}");
        }
    };
    has(&["agentctl", "show", ""], &["1", "2", "@last", "@failed"]);
    has(&["agentctl", "logs", "-f", ""], &["2"]);
    has(&["agentctl", "workers", "drain", ""], &["tower"]);
    has(&["agentctl", "workflows", "show", "im"], &["implement"]);
    has(&["agentctl", "run", "r"], &["review", "run"]);
    has(&["agentctl", "wor"], &["workers", "workflows"]);
}

#[test]
fn doctor_mends_what_is_harmless_and_says_so() {
    let lab = Lab::without_sandbox();
    let controller = lab.controller("");
    let _worker = lab.worker(&controller, "one");
    let contexts = lab.path("config/agentctl/contexts.yaml");
    fs::create_dir_all(contexts.parent().expect("a folder")).expect("writable");
    fs::write(&contexts, "contexts: []\n").expect("writable");
    fs::set_permissions(&contexts, fs::Permissions::from_mode(0o644)).expect("ours");
    assert!(controller.ctl(&["workers", "pause", "one"]).status.success());
    let doctor = |args: &[&str]| {
        let mut command = Command::new(binary("agentctl"));
        controller
            .known_to(&mut command)
            .env("XDG_CONFIG_HOME", lab.path("config"));
        command.arg("doctor").args(args).output().expect("runs")
    };

    let before = doctor(&[]);
    assert_eq!(before.status.code(), Some(1), "{before:?}");
    assert_eq!(
        stdout(&before).lines().last(),
        Some("agentctl workers resume one")
    );

    let fixed = doctor(&["--fix"]);
    assert_eq!(fixed.status.code(), Some(0), "{fixed:?}");
    let said = stderr(&fixed);
    assert!(
        said.contains("mended: chmod 600 ") && said.contains("mended: agentctl workers resume one"),
        "{said}"
    );
    let mode = fs::metadata(&contexts).expect("there").permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    assert_eq!(
        controller.json(&["workers", "-o", "json"])["items"][0]["wanted"],
        "active"
    );
    let again = doctor(&["--fix"]);
    assert!(
        stderr(&again).contains("nothing here can be mended without a person"),
        "{again:?}"
    );
}
