//! The exit codes that scripts rely on, with a real controller and worker.

use std::{
    fs,
    process::{Command, Output, Stdio},
};

use e2e::{Controller, Lab, eventually, held::Held, lab::binary, model::ScriptedModel, repo::SAMPLES};
use serde_json::json;

use super::{super::implement::good_answers, reaches, stderr};

#[track_caller]
fn ends(output: &Output, code: i32) {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
}

/// `run`, and then `watch` and `wait` on the ended job: one and the same code.
#[track_caller]
fn all_say(controller: &Controller, run: &[&str], code: i32) {
    ends(&controller.ctl(run), code);
    for verb in ["watch", "wait"] {
        ends(&controller.ctl(&[verb, "@last"]), code);
    }
}

#[test]
fn a_job_that_ended_gives_its_code_to_run_watch_and_wait() {
    let lab = Lab::without_sandbox();
    let folder = lab.path("workflows");
    fs::create_dir(&folder).expect("writable");
    let parks = "api: agentd/v1\nname: parks\nsteps:\n  again:\n    \
        loop: {as: round, max: 1, until: steps.look.ok, on_exhausted: park}\n    \
        steps:\n      look: {run: [\"false\"], allow_failure: true}\n";
    fs::write(folder.join("parks.yaml"), parks).expect("writable");
    let controller = lab.controller(&format!("workflows: [\"{}\"]\n", folder.display()));
    let _worker = lab.worker(&controller, "one");

    all_say(&controller, &["run", "run", "--", "true"], 0);
    all_say(&controller, &["run", "run", "--", "/bin/sh", "-c", "exit 7"], 3);
    all_say(&controller, &["run", "parks"], 8);

    let held = Held::new(&lab, 0);
    ends(&controller.ctl(&held.args("submit")), 0);
    reaches(&controller, 4, "running");
    let late = controller.ctl(&["wait", "4", "--timeout", "100ms"]);
    ends(&late, 7);
    assert!(stderr(&late).contains("error[timeout_passed]"), "{late:?}");
    let mut watch = Command::new(binary("agentctl"));
    let watch = controller.known_to(&mut watch).args(["watch", "4"]);
    let watch = watch.stdin(Stdio::null()).stdout(Stdio::null());
    let watch = watch.stderr(Stdio::piped()).spawn().expect("agentctl starts");
    ends(&controller.ctl(&["cancel", "4"]), 0);
    ends(&watch.wait_with_output().expect("it ends"), 9);
    all_say(&controller, &["watch", "4"], 9);
}

#[test]
fn what_a_command_cannot_do_has_its_own_code() {
    let lab = Lab::without_sandbox();
    let mut controller = lab.controller("");
    // 2: usage; nothing was asked of the controller
    ends(&controller.ctl(&["ps", "--nonsense"]), 2);
    ends(&controller.ctl(&["show", "one"]), 2);
    // 5: nothing has that name
    for args in [
        &["show", "7"][..],
        &["artifacts", "get", "7", "patch"],
        &["wait", "@failed"],
        &["workers", "show", "nobody"],
        &["workflows", "show", "nothing"],
        &["tokens", "remove", "nothing"],
    ] {
        ends(&controller.ctl(args), 5);
    }
    // 4: a token that is wrong, and one that does not reach
    ends(&controller.ctl(&["--token", "agt_wrong", "ps"]), 4);
    let reader = controller.ctl(&["tokens", "create", "reader", "--scope", "read"]);
    let reader = String::from_utf8(reader.stdout).expect("text");
    let refused = controller.ctl(&["--token", reader.trim(), "run", "run", "--", "true"]);
    ends(&refused, 4);
    assert!(stderr(&refused).contains("run"), "names the scope: {refused:?}");
    // 1: the command itself failed
    ends(&controller.ctl(&["workflows", "validate", "/proc/no/file"]), 1);
    // 6: nobody listens
    controller.stop();
    let lost = eventually("the port to be closed", || {
        let output = controller.ctl(&["ps"]);
        (output.status.code() != Some(0)).then_some(output)
    });
    ends(&lost, 6);
    assert!(stderr(&lost).contains(&controller.url()), "{lost:?}");
}

#[test]
fn a_spent_budget_has_its_own_code() {
    let sample = &SAMPLES[0];
    let lab = Lab::without_sandbox();
    let repo = lab.path("repo");
    sample.create(&repo);
    let model = ScriptedModel::start(good_answers(sample));
    let controller = lab.controller(&model.config("openai", "whole_file"));
    let _worker = lab.worker(&controller, "one");
    // the plan alone takes more than that
    let task = ["run", "--repo", ".", "--max-tokens", "50", "mend it"];
    ends(&controller.ctl_in(&repo, &task), 10);
    let job = controller.job(1);
    assert_eq!(
        (&job["state"], &job["budget_spent"]),
        (&json!("parked"), &json!(true)),
        "{job}"
    );
    for verb in ["watch", "wait"] {
        ends(&controller.ctl(&[verb, "1"]), 10);
    }
}
