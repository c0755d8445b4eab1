//! Kills in the middle of `implement`: the job ends well, and nothing is applied twice.

use std::{fs, path::PathBuf};

use e2e::{
    Controller, Lab, eventually,
    model::{Gate, Reply, Role, ScriptedModel},
    repo::{SAMPLES, git},
};
use serde_json::Value;

use super::implement::good_answers;

/// Short deadlines, so that a lost worker is noticed soon.
const IMPATIENT: &str = "limits: {offer_s: 2, lease_s: 3, grace_command_s: 2, grace_agent_s: 2}\n";

/// The shell sample, whose test counts its runs and waits while a file is there.
struct Held {
    lab: Lab,
    repo: PathBuf,
    hold: PathBuf,
    runs: PathBuf,
}

impl Held {
    fn new() -> Self {
        let lab = Lab::without_sandbox();
        let (repo, hold, runs) = (lab.path("repo"), lab.path("hold"), lab.path("runs"));
        SAMPLES[0].create(&repo);
        let test = format!(
            "#!/bin/sh\nset -e\necho run >> {}\nwhile test -e {}; do sleep 0.05; done\n\
             test \"$(sh add.sh 2 3)\" = 5\n",
            runs.display(),
            hold.display()
        );
        fs::write(repo.join("test.sh"), test).expect("writable");
        git(&repo, &["commit", "-q", "-a", "-m", "wait in the test"]);
        Self {
            lab,
            repo,
            hold,
            runs,
        }
    }

    fn submit(&self, controller: &Controller) {
        let args = ["submit", "--repo", ".", "implement", "make the failing test pass"];
        let output = controller.ctl_in(&self.repo, &args);
        assert!(output.status.success(), "{output:?}");
    }

    /// How often the test was started.
    fn runs(&self) -> usize {
        fs::read_to_string(&self.runs).map_or(0, |text| text.lines().count())
    }

    fn ends_well(&self, controller: &Controller) -> Value {
        let ended = controller.ctl(&["wait", "1", "--timeout", "120s"]);
        let job = controller.job(1);
        assert_eq!(ended.status.code(), Some(0), "{job}");
        for step in job["steps"].as_array().expect("steps") {
            let attempts = step["attempts"].as_array().expect("attempts");
            let applied = attempts.iter().filter(|it| it["state"] == "succeeded").count();
            assert!(applied <= 1, "applied {applied} times: {step}");
        }
        let patch = controller.ctl(&["diff", "1"]).stdout;
        let file = self.lab.path("patch");
        fs::write(&file, patch).expect("writable");
        git(&self.repo, &["apply", file.to_str().expect("text")]);
        let mended = fs::read_to_string(self.repo.join("add.sh")).expect("text");
        assert_eq!(mended, SAMPLES[0].mended);
        job
    }
}

fn calls_of(model: &ScriptedModel, role: Role) -> usize {
    model.calls().iter().filter(|(asked, _)| *asked == role).count()
}

fn step<'a>(job: &'a Value, key: &str) -> &'a Value {
    let steps = job["steps"].as_array().expect("steps");
    steps
        .iter()
        .find(|step| step["key"] == key)
        .unwrap_or_else(|| panic!("no {key}: {job}"))
}

/// A model whose first edit never comes.
fn slow_editor() -> ScriptedModel {
    ScriptedModel::start(|role, before| match (role, before) {
        (Role::Codegen, 0) => Reply::Silence,
        _ => good_answers(&SAMPLES[0])(role, before),
    })
}

#[test]
fn the_edit_of_a_killed_worker_is_made_by_the_other_one() {
    let held = Held::new();
    let model = slow_editor();
    let config = format!("{IMPATIENT}{}", model.config("openai", "whole_file"));
    let controller = held.lab.controller(&config);
    let mut workers = ["one", "two"].map(|name| held.lab.worker(&controller, name));
    held.submit(&controller);
    eventually("the model to be asked for an edit", || {
        (calls_of(&model, Role::Codegen) == 1).then_some(())
    });
    let editor = step(&controller.job(1), "cycle#1/edit")["worker"].clone();
    let victim = workers
        .iter_mut()
        .find(|worker| editor == worker.name.as_str())
        .expect("one of the two");
    victim.kill();
    let job = held.ends_well(&controller);
    let edit = step(&job, "cycle#1/edit");
    assert_ne!(edit["worker"], editor, "{edit}");
    assert_eq!(edit["attempts"][0]["state"], "lost", "{edit}");
    let asked = [Role::Architect, Role::Codegen, Role::Review].map(|role| calls_of(&model, role));
    assert_eq!(asked, [1, 2, 1], "only the lost edit is asked for again");
}

#[test]
fn an_edit_is_made_again_after_worker_and_controller_were_killed_together() {
    let held = Held::new();
    let model = slow_editor();
    let config = format!("{IMPATIENT}{}", model.config("openai", "whole_file"));
    let mut controller = held.lab.controller(&config);
    let mut worker = held.lab.worker(&controller, "one");
    held.submit(&controller);
    eventually("the model to be asked for an edit", || {
        (calls_of(&model, Role::Codegen) == 1).then_some(())
    });
    controller.kill();
    worker.kill();
    controller.start();
    worker.start();
    held.ends_well(&controller);
    let asked = [Role::Architect, Role::Codegen, Role::Review].map(|role| calls_of(&model, role));
    assert_eq!(asked, [1, 2, 1], "only the lost edit is asked for again");
}

/// Kills the controller while this role is asked, gives the answer while nobody is
/// there to hear of it, and starts it again: the attempt goes on, and nothing is asked
/// or done twice.
fn outlives_a_kill_while_asking(held_role: Role) {
    let held = Held::new();
    let gate = Gate::default();
    let script_gate = gate.clone();
    let model = ScriptedModel::start(move |role, before| {
        let reply = good_answers(&SAMPLES[0])(role, before);
        match reply {
            Reply::Text(text) if role == held_role => Reply::Held(script_gate.clone(), text),
            other => other,
        }
    });
    let mut controller = held.lab.controller(&model.config("openai", "whole_file"));
    let _worker = held.lab.worker(&controller, "one");
    held.submit(&controller);
    eventually("the model to be asked", || {
        (calls_of(&model, held_role) == 1).then_some(())
    });
    controller.kill();
    gate.open();
    controller.start();
    nothing_was_done_twice(&held, &controller, &model);
}

fn nothing_was_done_twice(held: &Held, controller: &Controller, model: &ScriptedModel) {
    let job = held.ends_well(controller);
    for step in job["steps"].as_array().expect("steps") {
        let attempts = step["attempts"].as_array().map_or(0, Vec::len);
        assert!(attempts <= 1, "{attempts} attempts: {step}");
    }
    assert_eq!(model.calls().len(), 3, "plan, edit and review, each once");
    assert_eq!(job["usage"]["calls"], 3, "{job}");
    assert_eq!(held.runs(), 3, "baseline, check and verify, each once");
}

/// The same while the test of a step runs: it is the one after this role's answer.
fn outlives_a_kill_while_testing(after: Role, run: usize) {
    let held = Held::new();
    let hold = held.hold.clone();
    let model = ScriptedModel::start(move |role, before| {
        if role == after {
            fs::write(&hold, "").expect("writable");
        }
        good_answers(&SAMPLES[0])(role, before)
    });
    let mut controller = held.lab.controller(&model.config("openai", "whole_file"));
    let _worker = held.lab.worker(&controller, "one");
    held.submit(&controller);
    eventually("the test to run", || (held.runs() == run).then_some(()));
    controller.kill();
    fs::remove_file(&held.hold).expect("held");
    controller.start();
    nothing_was_done_twice(&held, &controller, &model);
}

#[test]
fn a_plan_outlives_a_killed_controller() {
    outlives_a_kill_while_asking(Role::Architect);
}

#[test]
fn an_edit_outlives_a_killed_controller() {
    outlives_a_kill_while_asking(Role::Codegen);
}

#[test]
fn a_check_outlives_a_killed_controller() {
    outlives_a_kill_while_testing(Role::Codegen, 2);
}

#[test]
fn a_verification_outlives_a_killed_controller() {
    outlives_a_kill_while_testing(Role::Review, 3);
}
