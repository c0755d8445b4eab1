//! Agents that lose their worker in the middle of a conversation: the next attempt goes on
//! after the last finished turn, and every turn is paid once.

use std::{fs, path::Path};

use e2e::{
    Controller, Lab, Worker, eventually,
    model::{Gate, Reply, Role, ScriptedModel},
    repo::SAMPLES,
};
use serde_json::{Value, json};

use super::implement::good_answers;

/// Short deadlines, so that a lost worker is noticed soon.
const IMPATIENT: &str = "limits: {offer_s: 2, lease_s: 3, grace_command_s: 2, grace_agent_s: 2}\n";

/// How many turns every role needs.
const TURNS: usize = 3;

/// What the model says in a role's turn; turns count from 0.
fn answer(role: Role, turn: usize) -> Reply {
    let unfinished = match (role, turn) {
        (Role::Architect, 0) => json!({"need_files": ["add.sh"]}).to_string(),
        (Role::Architect, 1) => json!({"need_files": ["test.sh"]}).to_string(),
        (Role::Codegen | Role::Review, 0) => "It looks wrong to me.".to_owned(),
        (Role::Codegen, 1) => "It still does.".to_owned(),
        (Role::Review, 1) => json!({"decision": "perhaps"}).to_string(),
        _ => return good_answers(&SAMPLES[0])(role, turn),
    };
    Reply::Text(unfinished)
}

/// A model that never answers call `k + 1` of a role and takes what follows for the turns from `then` on.
fn silent_after(held: Role, k: usize, then: usize) -> ScriptedModel {
    ScriptedModel::start(move |role, before| {
        if role != held || before < k {
            return answer(role, before);
        }
        if before == k {
            return Reply::Silence;
        }
        answer(role, then + before - k - 1)
    })
}

fn calls_of(model: &ScriptedModel, role: Role) -> usize {
    model.calls().iter().filter(|(asked, _)| *asked == role).count()
}

fn wait_for_call(model: &ScriptedModel, role: Role, number: usize) {
    eventually(&format!("call {number} of {role:?}"), || {
        (calls_of(model, role) == number).then_some(())
    });
}

fn key_of(role: Role) -> &'static str {
    match role {
        Role::Architect => "plan",
        Role::Codegen => "cycle#1/edit",
        Role::Review => "cycle#1/review",
    }
}

fn step(job: &Value, role: Role) -> &Value {
    let steps = job["steps"].as_array().expect("steps");
    steps
        .iter()
        .find(|step| step["key"] == key_of(role))
        .unwrap_or_else(|| panic!("no {}: {job}", key_of(role)))
}

/// `implement` with what becomes of a lost edit.
fn workflow(lab: &Lab, on_lost: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/workflows/implement.yaml");
    let text = fs::read_to_string(file).expect("the built-in workflow");
    let agent = "        agent: codegen\n";
    assert!(text.contains(agent), "{text}");
    let text = text.replacen("name: implement\n", "name: lossy\n", 1).replacen(
        agent,
        &format!("{agent}        on_lost: {on_lost}\n"),
        1,
    );
    let folder = lab.path("workflows");
    fs::create_dir(&folder).expect("writable");
    fs::write(folder.join("lossy.yaml"), text).expect("writable");
    format!("workflows: [\"{}\"]\n", folder.display())
}

fn submit(lab: &Lab, controller: &Controller, workflow: &str) {
    let repo = lab.path("repo");
    SAMPLES[0].create(&repo);
    let args = ["submit", "--repo", ".", workflow, "make the failing test pass"];
    let output = controller.ctl_in(&repo, &args);
    assert!(output.status.success(), "{output:?}");
}

/// The job ends well, with this many calls of `held` and as many answers paid as were given.
fn ends_well(controller: &Controller, model: &ScriptedModel, held: Role, calls: usize, paid: usize) -> Value {
    let ended = controller.ctl(&["wait", "1", "--timeout", "120s"]);
    let job = controller.job(1);
    assert_eq!(ended.status.code(), Some(0), "{job}");
    for role in [Role::Architect, Role::Codegen, Role::Review] {
        let expected = if role == held { calls } else { TURNS };
        assert_eq!(calls_of(model, role), expected, "{role:?}: {job}");
    }
    assert_eq!(job["usage"]["calls"], paid, "every answer is paid once: {job}");
    job
}

/// Kills the worker that holds call `k + 1` of this role while another one is there.
fn ends_on_another_worker(held: Role, k: usize) {
    let lab = Lab::new();
    let model = silent_after(held, k, k);
    let controller = lab.controller(&format!("{IMPATIENT}{}", model.config("openai", "whole_file")));
    let mut workers = ["one", "two"].map(|name| lab.worker(&controller, name));
    submit(&lab, &controller, "implement");
    wait_for_call(&model, held, k + 1);
    let owner = step(&controller.job(1), held)["worker"].clone();
    let owns = |worker: &&mut Worker| owner == worker.name.as_str();
    workers.iter_mut().find(owns).expect("one of the two").kill();
    let further = TURNS - k;
    let job = ends_well(&controller, &model, held, k + 1 + further, 3 * TURNS);
    let lost = step(&job, held);
    assert_ne!(lost["worker"], owner, "{lost}");
    assert_eq!(lost["attempts"][0]["state"], "lost", "{lost}");
    assert_eq!(lost["attempts"][0]["usage"]["calls"], k, "{lost}");
    assert_eq!(lost["attempts"][1]["usage"]["calls"], further, "{lost}");
}

#[test]
fn a_plan_goes_on_elsewhere_after_its_first_turn() {
    ends_on_another_worker(Role::Architect, 1);
}

#[test]
fn an_edit_goes_on_elsewhere_after_its_second_turn() {
    ends_on_another_worker(Role::Codegen, 2);
}

#[test]
fn a_review_goes_on_elsewhere_after_its_first_turn() {
    ends_on_another_worker(Role::Review, 1);
}

/// One worker, which holds call `k + 1` of codegen.
fn held_edit(k: usize, then: usize, on_lost: &str) -> (Lab, ScriptedModel, Controller, Worker) {
    let lab = Lab::new();
    let model = silent_after(Role::Codegen, k, then);
    let config = format!(
        "{IMPATIENT}{}{}",
        workflow(&lab, on_lost),
        model.config("openai", "whole_file")
    );
    let controller = lab.controller(&config);
    let worker = lab.worker(&controller, "one");
    submit(&lab, &controller, "lossy");
    wait_for_call(&model, Role::Codegen, k + 1);
    (lab, model, controller, worker)
}

#[test]
fn a_worker_goes_on_after_its_own_restart() {
    let (_lab, model, controller, mut worker) = held_edit(2, 2, "resume");
    worker.kill();
    worker.start();
    ends_well(&controller, &model, Role::Codegen, 4, 3 * TURNS);
}

#[test]
fn an_edit_goes_on_after_controller_and_worker_were_killed() {
    let (_lab, model, mut controller, mut worker) = held_edit(1, 1, "resume");
    controller.kill();
    worker.kill();
    controller.start();
    worker.start();
    ends_well(&controller, &model, Role::Codegen, 4, 3 * TURNS);
}

#[test]
fn a_turn_that_only_the_killed_worker_knew_is_not_paid_again() {
    let gate = Gate::default();
    let script_gate = gate.clone();
    let model = ScriptedModel::start(move |role, before| match (role, before) {
        (Role::Codegen, 1) => match answer(role, 1) {
            Reply::Text(text) => Reply::Held(script_gate.clone(), text),
            other => other,
        },
        (Role::Codegen, 2) => Reply::Silence,
        (Role::Codegen, 3..) => answer(role, before - 1),
        _ => answer(role, before),
    });
    let lab = Lab::new();
    let mut controller = lab.controller(&format!("{IMPATIENT}{}", model.config("openai", "whole_file")));
    let mut worker = lab.worker(&controller, "one");
    submit(&lab, &controller, "implement");
    wait_for_call(&model, Role::Codegen, 2);
    controller.kill();
    gate.open();
    wait_for_call(&model, Role::Codegen, 3);
    worker.kill();
    controller.start();
    worker.start();
    ends_well(&controller, &model, Role::Codegen, 4, 3 * TURNS);
}

#[test]
fn with_retry_a_lost_edit_begins_anew() {
    let (_lab, model, controller, mut worker) = held_edit(2, 0, "retry");
    worker.kill();
    worker.start();
    ends_well(&controller, &model, Role::Codegen, 3 + TURNS, 2 + 3 * TURNS);
}

#[test]
fn with_park_a_person_lets_a_lost_edit_go_on() {
    let (_lab, model, controller, mut worker) = held_edit(2, 2, "park");
    worker.kill();
    worker.start();
    eventually("the job to be parked", || {
        (controller.job(1)["state"] == "parked").then_some(())
    });
    assert_eq!(calls_of(&model, Role::Codegen), 3, "nothing was asked meanwhile");
    let resumed = controller.ctl(&["resume", "1"]);
    assert!(resumed.status.success(), "{resumed:?}");
    ends_well(&controller, &model, Role::Codegen, 4, 3 * TURNS);
}

/// Changes a byte of every transcript that the controller has stored.
fn damage_transcripts(folder: &Path) -> usize {
    let mut damaged = 0;
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            damaged += damage_transcripts(&path);
            continue;
        }
        let mut bytes = fs::read(&path).unwrap_or_default();
        if bytes.starts_with(b"{\"form\":") {
            let last = bytes.len() - 1;
            bytes[last] = b' ';
            fs::write(&path, bytes).expect("writable");
            damaged += 1;
        }
    }
    damaged
}

#[test]
fn a_damaged_checkpoint_costs_its_turns_and_nothing_else() {
    let (lab, model, controller, mut worker) = held_edit(2, 0, "resume");
    worker.kill();
    assert!(damage_transcripts(&controller.state) >= 2);
    let _two = lab.worker(&controller, "two");
    let job = ends_well(&controller, &model, Role::Codegen, 3 + TURNS, 2 + 3 * TURNS);
    let notes = step(&job, Role::Codegen)["attempts"][1]["notes"].to_string();
    assert!(notes.contains("begins anew"), "{notes}");
}
