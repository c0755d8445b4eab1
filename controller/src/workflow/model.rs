//! A checked workflow, in the form that a job pins: names resolved, one kind
//! per step, expressions still as text.

use std::collections::{BTreeMap, BTreeSet};

use indexmap::IndexMap;
use protocol::{
    approval::Answer,
    duration::Millis,
    http::jobs::Budget,
    job::StepKey,
    label::Requires,
    sandbox::{PACKAGES, SandboxLevel},
    secret::SecretUse,
    spec::{OutputType, ToolStep},
    step::ErrorClass,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The role that always changes files.
pub const CODER: &str = "codegen";

/// Roles that never change files.
pub const READERS: [&str; 2] = ["architect", "review"];

/// A checked workflow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Workflow {
    /// Its name.
    pub name: String,
    /// For people.
    #[serde(default)]
    pub description: String,
    /// What a submit must or may give.
    pub inputs: IndexMap<String, Input>,
    /// The whole job's limit.
    pub timeout: Option<Millis>,
    /// Higher goes first.
    #[serde(default)]
    pub priority: i32,
    /// Caps on tokens and money.
    #[serde(default)]
    pub budget: Option<BudgetRule>,
    /// How many jobs of a group may run at a time.
    #[serde(default)]
    pub concurrency: Option<Concurrency>,
    /// The steps, in the order of the file.
    pub steps: IndexMap<String, StepDef>,
    /// Steps that run once when all others are terminal.
    #[serde(default)]
    pub finally: IndexMap<String, StepDef>,
    /// SHA-256 of the text and of the prompts that it uses, as hex.
    #[serde(default)]
    pub sha256: String,
    /// The prompts of its agents, by role, pinned with it.
    #[serde(default)]
    pub prompts: BTreeMap<String, String>,
}

impl Workflow {
    /// The keys of all its steps in the order of the file, blocks before their own steps, without rounds.
    pub fn step_keys(&self) -> Vec<StepKey> {
        let mut keys = Vec::new();
        for (name, step) in self.steps.iter().chain(&self.finally) {
            step.collect_keys(StepKey::top(name), &mut keys);
        }
        keys
    }

    /// What each of its steps requires of a worker.
    pub fn requirements(&self) -> Vec<(StepKey, &Requires)> {
        let mut found = Vec::new();
        for (name, step) in self.steps.iter().chain(&self.finally) {
            step.collect_requirements(StepKey::top(name), &mut found);
        }
        found
    }

    /// The names of secrets, by the step that gets them.
    pub fn secrets(&self) -> BTreeMap<StepKey, Vec<String>> {
        let mut found = BTreeMap::new();
        self.visit(&mut |key, step| {
            if !step.secrets.is_empty() {
                let names = step.secrets.iter().map(|secret| secret.name.clone());
                found.insert(key.clone(), names.collect());
            }
        });
        found
    }

    /// Looks at every step, blocks before their own.
    pub fn visit(&self, look: &mut dyn FnMut(&StepKey, &StepDef)) {
        for (name, step) in self.steps.iter().chain(&self.finally) {
            step.visit(&StepKey::top(name), look);
        }
    }

    /// Whether it works on a repository: it has an agent, a tool step or a command whose changes are kept.
    pub fn needs_repo(&self) -> bool {
        self.steps
            .values()
            .chain(self.finally.values())
            .any(StepDef::needs_repo)
    }

    /// The roles of its agents.
    pub fn roles(&self) -> BTreeSet<&str> {
        let mut roles = BTreeSet::new();
        let mut todo: Vec<&StepDef> = self.steps.values().chain(self.finally.values()).collect();
        while let Some(step) = todo.pop() {
            match &step.kind {
                StepKind::Agent { role, .. } => {
                    roles.insert(role.as_str());
                }
                StepKind::Block { steps, .. } => todo.extend(steps.values()),
                StepKind::Run { .. } | StepKind::Use(_) | StepKind::Approval(_) => {}
            }
        }
        roles
    }
}

/// An input of a workflow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Input {
    /// Its type and bounds.
    #[serde(rename = "type")]
    pub kind: InputType,
    /// Whether it must be given.
    #[serde(default)]
    pub required: bool,
    /// What it is if not given.
    #[serde(default)]
    pub default: Option<Value>,
    /// For people.
    #[serde(default)]
    pub description: String,
}

/// The type of an input.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InputType {
    /// Text of at most so many bytes.
    Text {
        /// Bytes.
        max: u64,
    },
    /// A whole number between bounds.
    Int {
        /// Smallest.
        min: i64,
        /// Largest.
        max: i64,
    },
    /// Any number.
    Number,
    /// `true` or `false`.
    Bool,
    /// A list of texts, such as a command.
    List,
    /// One of these texts.
    Enum(Vec<String>),
}

/// What happens when a budget is spent.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct BudgetRule {
    /// The caps.
    pub caps: Budget,
    /// Whether the job fails (or else is parked).
    pub fail: bool,
}

/// How many jobs of a group may run at a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Concurrency {
    /// A template that names the group.
    pub group: String,
    /// How many.
    pub max: u32,
    /// What a job does that finds the group full.
    pub on_conflict: OnConflict,
}

/// What a job does that finds its concurrency group full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnConflict {
    /// Wait.
    Queue,
    /// Cancel the oldest.
    CancelOld,
    /// Be refused at submit.
    Reject,
}

/// A checked step, defaults merged in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepDef {
    /// Names of steps in the same block that come first.
    pub needs: Vec<String>,
    /// When it runs.
    pub condition: Condition,
    /// What it does.
    pub kind: StepKind,
    /// Templates of what it is given.
    #[serde(default)]
    pub with: Map<String, Value>,
    /// Templates of a command's environment.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// What it promises to put out.
    #[serde(default)]
    pub outputs: BTreeMap<String, OutputType>,
    /// What it requires of a worker.
    #[serde(default)]
    pub requires: Requires,
    /// Keys of steps (dotted paths such as `cycle.edit`) whose worker it avoids while another capable one is online.
    #[serde(default)]
    pub not_with: Vec<String>,
    /// Hard limit of one attempt.
    pub timeout: Millis,
    /// How often and when failed work is tried again.
    pub retry: RetryPolicy,
    /// Whether a failure lets the job go on.
    #[serde(default)]
    pub allow_failure: bool,
    /// Whether what a command or an agent of a custom role changes is committed.
    #[serde(default)]
    pub writes: bool,
    /// Whether a loss parks it, since it acts on the outside world.
    #[serde(default)]
    pub external: bool,
    /// What becomes of it when its worker is lost.
    #[serde(default)]
    pub on_lost: OnLost,
    /// The least sandbox level that it accepts; `None` is whatever a worker's owner allows.
    #[serde(default)]
    pub sandbox: Option<SandboxLevel>,
    /// Hosts that it asks for; `None` is what its kind usually needs.
    #[serde(default)]
    pub network: Option<Vec<String>>,
    /// Secrets that its command gets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<SecretUse>,
    /// Why it may have untrusted input, secrets and open network together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trifecta: Option<String>,
}

impl StepDef {
    /// Whether what it changes becomes the start of later steps.
    pub fn changes_files(&self) -> bool {
        match &self.kind {
            StepKind::Agent { role, .. } if role == CODER => true,
            StepKind::Agent { .. } | StepKind::Run { .. } => self.writes,
            StepKind::Use(tool) => *tool == ToolStep::Prepare,
            StepKind::Approval(_) => false,
            StepKind::Block { steps, .. } => steps.values().any(Self::changes_files),
        }
    }

    /// Hosts that it asks for; `packages` stands for a worker's package sources. Tool steps that
    /// run checks fetch dependencies first, while nothing of the repository runs.
    pub fn network(&self) -> Vec<String> {
        let checks = matches!(&self.kind, StepKind::Use(tool) if *tool != ToolStep::Deliver);
        let usual = || if checks { vec![PACKAGES.to_owned()] } else { vec![] };
        self.network.clone().unwrap_or_else(usual)
    }

    /// Whether programs run in it that did not come with the worker: only these need a sandbox.
    pub const fn runs_tools(&self) -> bool {
        match &self.kind {
            StepKind::Run { .. } => true,
            StepKind::Use(tool) => !matches!(tool, ToolStep::Deliver),
            StepKind::Agent { .. } | StepKind::Approval(_) | StepKind::Block { .. } => false,
        }
    }

    fn visit(&self, key: &StepKey, look: &mut dyn FnMut(&StepKey, &Self)) {
        look(key, self);
        if let StepKind::Block { steps, .. } = &self.kind {
            for (name, step) in steps {
                step.visit(&key.child(name), look);
            }
        }
    }

    fn needs_repo(&self) -> bool {
        match &self.kind {
            StepKind::Agent { .. } | StepKind::Use(_) => true,
            StepKind::Run { .. } => self.writes,
            StepKind::Approval(_) => false,
            StepKind::Block { steps, .. } => steps.values().any(Self::needs_repo),
        }
    }

    fn collect_requirements<'a>(&'a self, key: StepKey, found: &mut Vec<(StepKey, &'a Requires)>) {
        match &self.kind {
            // only what is in a block goes to a worker
            StepKind::Block { steps, .. } => {
                for (name, step) in steps {
                    step.collect_requirements(key.child(name), found);
                }
            }
            StepKind::Approval(_) => {}
            StepKind::Agent { .. } | StepKind::Run { .. } | StepKind::Use(_) => {
                found.push((key, &self.requires));
            }
        }
    }

    fn collect_keys(&self, key: StepKey, keys: &mut Vec<StepKey>) {
        keys.push(key.clone());
        if let StepKind::Block { steps, .. } = &self.kind {
            for (name, step) in steps {
                step.collect_keys(key.child(name), keys);
            }
        }
    }
}

/// What becomes of a step whose worker is lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnLost {
    /// Another attempt goes on after the last finished turn; what has no turns begins anew.
    #[default]
    Resume,
    /// Every attempt begins anew.
    Retry,
    /// It waits for a person; a resumed job goes on after the last finished turn.
    Park,
}

/// When a step runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// When all needs ended well (a need skipped by its own condition counts).
    #[default]
    NeedsOk,
    /// When all needs ended, however.
    Always,
    /// When all needs ended well and this expression is true.
    If(String),
}

/// What a step does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepKind {
    /// An agent plays a role.
    Agent {
        /// The role.
        role: String,
        /// Alias of the model; `None` leaves it to the configuration.
        model: Option<String>,
    },
    /// A command runs.
    Run {
        /// Which.
        command: CommandDef,
    },
    /// A tool step.
    Use(ToolStep),
    /// A person is asked.
    Approval(Approval),
    /// Steps of its own, perhaps in rounds.
    Block {
        /// Rounds; `None` runs the steps once.
        rounds: Option<Loop>,
        /// The steps, in the order of the file.
        steps: IndexMap<String, StepDef>,
    },
}

impl StepKind {
    /// The word for people: `agent`, `run`, `use`, `approval`, `steps`.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Agent { .. } => "agent",
            Self::Run { .. } => "run",
            Self::Use(_) => "use",
            Self::Approval(_) => "approval",
            Self::Block { .. } => "steps",
        }
    }
}

/// What a person is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// How long a person has.
    pub timeout: Millis,
    /// What silence means.
    pub on_timeout: Answer,
    /// Names of earlier steps whose results the decision is about.
    #[serde(default)]
    pub show: Vec<String>,
}

/// A command, with its templates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommandDef {
    /// Templates; each is exactly one argument.
    Argv(Vec<String>),
    /// One expression that gives the whole list.
    ArgvFrom(String),
    /// A constant script.
    Script {
        /// Such as `bash`.
        shell: String,
        /// The text.
        text: String,
    },
}

/// The rounds of a block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loop {
    /// The name under which a round's steps see `n` and `prev`.
    pub name: String,
    /// A number or a template that gives one, from 1 to 50.
    pub max: String,
    /// An expression; when it is true after a round, the block has succeeded.
    pub until: String,
    /// What becomes of the block when no round is left.
    pub on_exhausted: OnExhausted,
}

/// What becomes of a loop when no round is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnExhausted {
    /// It has failed.
    Fail,
    /// It waits for a person.
    Park,
    /// It has succeeded all the same.
    Succeed,
}

/// How often and when failed work is tried again; losing a worker has its own budget.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetryPolicy {
    /// How many further attempts.
    pub max: u32,
    /// After which errors.
    pub on: Vec<ErrorClass>,
    /// First wait before jitter.
    pub backoff_min: Millis,
    /// Longest wait before jitter.
    pub backoff_max: Millis,
}

impl Default for RetryPolicy {
    /// Two more, after what may pass by itself; 2 s to 5 min.
    fn default() -> Self {
        Self {
            max: 2,
            on: vec![
                ErrorClass::ModelOutput,
                ErrorClass::RateLimited,
                ErrorClass::Quota,
                ErrorClass::Provider,
            ],
            backoff_min: Millis::from_secs(2),
            backoff_max: Millis::from_secs(300),
        }
    }
}
