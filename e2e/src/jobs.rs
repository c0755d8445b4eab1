//! Many jobs of the workflow `implement` on one controller and two workers, with one
//! scripted model that speaks every dialect and knows whose turn it is.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    sync::Mutex,
    time::Instant,
};

use protocol::documents::EditProtocol;
use serde_json::Value;

use crate::{
    Lab,
    answers::PROTOCOLS,
    model::{Call, Reply, Role, ScriptedModel},
};

/// The dialects of the scripted model.
pub const DIALECTS: [&str; 3] = ["openai", "ollama", "anthropic"];

/// What the model says to a role that was asked so often before.
pub type Answers = Box<dyn Fn(Role, usize) -> Reply + Send + Sync>;

/// A job to run.
pub struct Case {
    /// For messages.
    pub name: String,
    /// The repository.
    pub repo: PathBuf,
    /// How the model is spoken to.
    pub dialect: &'static str,
    /// How it is told to write edits.
    pub protocol: EditProtocol,
    /// What it says.
    pub answers: Answers,
}

/// A job that is over.
pub struct Ended {
    /// The case's name.
    pub name: String,
    /// As `agentctl show` has it.
    pub job: Value,
    /// Who was asked what.
    pub calls: Vec<(Role, String)>,
    /// What `agentctl diff` prints, if there is a patch.
    pub patch: Option<Vec<u8>>,
    /// What `agentctl logs` prints of the step that looks at the repository first.
    pub log: String,
    /// Seconds from the first submission to its end.
    pub seconds: f64,
}

impl Ended {
    /// Whether it succeeded.
    pub fn succeeded(&self) -> bool {
        self.job["state"] == "succeeded"
    }

    /// How often a role was asked.
    pub fn asked(&self, role: Role) -> usize {
        self.calls.iter().filter(|(asked, _)| *asked == role).count()
    }
}

/// Runs them all, as many at a time as two workers take.
pub fn run(lab: &Lab, cases: Vec<Case>) -> Vec<Ended> {
    let (answers, places): (Vec<Answers>, Vec<_>) = cases
        .into_iter()
        .map(|case| (case.answers, (case.name, case.repo, case.dialect, case.protocol)))
        .unzip();
    let asked: Mutex<HashMap<(usize, Role), usize>> = Mutex::default();
    let model = ScriptedModel::listening(move |call: &Call<'_>| {
        let Some(case) = case_of(call.text) else {
            return Reply::Status(400, None);
        };
        let before = {
            let mut asked = asked.lock().expect("no call panics");
            let count = asked.entry((case, call.role)).or_default();
            *count += 1;
            *count - 1
        };
        answers[case](call.role, before)
    });
    let controller = lab.controller(&config(lab, &model));
    let _workers = [lab.worker(&controller, "one"), lab.worker(&controller, "two")];
    let began = Instant::now();
    for (number, (name, repo, dialect, protocol)) in places.iter().enumerate() {
        let workflow = workflow_name(dialect, *protocol);
        let task = format!("Make the failing tests pass. {}", mark(number));
        let submitted = controller.ctl_in(repo, &["submit", "--repo", ".", &workflow, &task]);
        let said = String::from_utf8_lossy(&submitted.stderr);
        assert!(submitted.status.success(), "{name}: {said}");
    }
    let mut ended = Vec::new();
    for (number, (name, ..)) in places.into_iter().enumerate() {
        let job = (number + 1).to_string();
        // whatever becomes of it is the test's to judge
        controller.ctl(&["wait", &job, "--timeout", "5m"]);
        let seconds = began.elapsed().as_secs_f64();
        let diff = controller.ctl(&["diff", &job]);
        let log = controller.ctl(&["logs", &job, "prepare"]).stdout;
        let calls = model.calls().into_iter();
        ended.push(Ended {
            name,
            job: controller.job(number as u64 + 1),
            calls: calls.filter(|(_, text)| case_of(text) == Some(number)).collect(),
            patch: diff.status.success().then_some(diff.stdout),
            log: String::from_utf8_lossy(&log).into_owned(),
            seconds,
        });
    }
    ended
}

/// The words by which the model knows a job.
fn mark(case: usize) -> String {
    format!("(case {case})")
}

fn case_of(prompt: &str) -> Option<usize> {
    let (_, rest) = prompt.split_once("(case ")?;
    rest.split_once(')')?.0.parse().ok()
}

fn workflow_name(dialect: &str, protocol: EditProtocol) -> String {
    format!("{dialect}-{}", protocol.name().replace('_', "-"))
}

/// A provider per dialect, a model per dialect and protocol, a workflow per model.
fn config(lab: &Lab, model: &ScriptedModel) -> String {
    let folder = lab.path("workflows");
    fs::create_dir_all(&folder).expect("writable");
    let (mut providers, mut models) = (String::new(), String::new());
    for dialect in DIALECTS {
        providers.push_str(&format!("  {dialect}: {}\n", model.provider(dialect)));
        for protocol in PROTOCOLS {
            let name = workflow_name(dialect, protocol);
            let protocol = protocol.name();
            models.push_str(&format!(
                "  {name}: [{{provider: {dialect}, model: scripted, window: 65536, protocol: {protocol}}}]\n"
            ));
            fs::write(folder.join(format!("{name}.yaml")), workflow(&name)).expect("writable");
        }
    }
    let folder = folder.display();
    format!("providers:\n{providers}models:\n{models}workflows: [\"{folder}\"]\n")
}

/// `implement` under another name, with this model, and without new attempts of a step
/// whose model failed, so that calls can be counted.
fn workflow(name: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/workflows/implement.yaml");
    let text = fs::read_to_string(file).expect("the built-in workflow");
    let renamed = text.replacen("name: implement\n", &format!("name: {name}\n"), 1);
    format!("{renamed}\ndefaults: {{model: {name}, retry: {{max: 0}}}}\n")
}
