//! What a worker is asked to do in one attempt: the evaluated step, without
//! any expression left in it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    artifact::BlobRef, documents::EditProtocol, duration::Millis, model::Candidate, sandbox::SandboxLevel,
    secret::SecretUse,
};

/// One step, ready to be executed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StepSpec {
    /// The job's title, for commit messages and logs.
    pub title: String,
    /// What to do.
    pub work: Work,
    /// The evaluated `with` of the step.
    #[serde(default)]
    pub with: Map<String, Value>,
    /// Environment of a command.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// What the step promises to put out.
    #[serde(default)]
    pub outputs: BTreeMap<String, OutputType>,
    /// Whether what a command changes is committed.
    #[serde(default)]
    pub writes: bool,
    /// The files that it works on; `None` for a job without a repository.
    #[serde(default)]
    pub workspace: Option<WorkspaceRef>,
    /// The least sandbox level at which its tools may run; `None` is what the worker's owner allows.
    #[serde(default)]
    pub sandbox: Option<SandboxLevel>,
    /// Hosts that it asks for; `packages` stands for the worker's package sources.
    #[serde(default)]
    pub network: Vec<String>,
    /// Secrets that a command gets: their names, never their values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<SecretUse>,
    /// Time limit of one check command (`limits.check_s`).
    #[serde(default = "default_check_limit")]
    pub check_limit: Millis,
}

/// 120 s: long enough for most test suites, short enough to notice a hang.
const fn default_check_limit() -> Millis {
    Millis::from_secs(120)
}

/// What a step does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Work {
    /// An agent plays a role.
    Agent(AgentWork),
    /// A command runs.
    Run(Command),
    /// One of the tool steps.
    Use(ToolStep),
}

/// An agent's part of a [`StepSpec`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AgentWork {
    /// Such as `architect`; its contract decides how the answer is read.
    pub role: String,
    /// The text of the role's prompt file, pinned by the job.
    pub prompt: String,
    /// The models that may answer, best first.
    pub candidates: Vec<Candidate>,
    /// Most model calls of this attempt.
    #[serde(default = "default_calls")]
    pub max_calls: u32,
}

/// 40 model calls: the job-wide stop rule of the built-in workflow.
const fn default_calls() -> u32 {
    40
}

/// What a `run` step executes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// An argument vector; empty means: nothing to do, succeed at once.
    Argv(Vec<String>),
    /// A constant script for a named shell; data reaches it by environment only.
    Script {
        /// Such as `bash`.
        shell: String,
        /// The text, free of templates.
        text: String,
    },
}

/// The tool steps of `use:`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ToolStep {
    /// Gets the repository, fetches dependencies, measures the baseline.
    Prepare,
    /// Runs the repository's own checks.
    Check,
    /// Runs them again on a fresh clone with the patch applied.
    Verify,
    /// Makes patch, bundle and report.
    Deliver,
}

/// The type of a declared output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OutputType {
    /// Anything.
    Any,
    /// Text.
    String,
    /// A number.
    Number,
    /// `true` or `false`.
    Boolean,
    /// A JSON object.
    Object,
    /// A list of this type.
    List(Box<OutputType>),
    /// One of these texts.
    Enum(Vec<String>),
    /// One of the documents of [`crate::documents`], by name.
    Document(String),
    /// A JUnit report at this path in the workspace, read into a list of failures.
    Junit(String),
}

/// The files that a step works on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WorkspaceRef {
    /// Where the repository comes from.
    pub source: RepoSource,
    /// The job's base commit; `None` only before `prepare` has named it.
    #[serde(default)]
    pub base: Option<String>,
    /// The commit to start from; `None` means the base.
    #[serde(default)]
    pub commit: Option<String>,
    /// A git bundle of `base..commit`, for workers that lack the commit.
    #[serde(default)]
    pub bundle: Option<BlobRef>,
    /// The job's branch, `agentd/<number>`.
    pub branch: String,
}

/// Where a repository comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum RepoSource {
    /// Workers clone it.
    Url {
        /// `https`, `ssh`, or `file` where the configuration allows it.
        url: String,
        /// Branch, tag or commit; `None` is the remote's default branch.
        #[serde(default, rename = "ref")]
        reference: Option<String>,
    },
    /// The caller sent a git bundle of its HEAD.
    Bundle {
        /// The bundle in the blob store.
        #[serde(flatten)]
        blob: BlobRef,
        /// The commit that was HEAD.
        head: String,
        /// The branch it was on, if any.
        #[serde(default)]
        branch: Option<String>,
        /// The repository's name, for people.
        name: String,
    },
}

impl RepoSource {
    /// A short name for people.
    pub fn name(&self) -> &str {
        match self {
            Self::Url { url, .. } => {
                let tail = url.trim_end_matches('/').rsplit(['/', ':']).next().unwrap_or(url);
                tail.strip_suffix(".git").unwrap_or(tail)
            }
            Self::Bundle { name, .. } => name,
        }
    }
}

/// What a writing step leaves behind for the next one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WorkspaceResult {
    /// The job's base commit.
    pub base: String,
    /// Where the branch is now.
    pub commit: String,
    /// A git bundle of `base..commit`; `None` while they are equal.
    #[serde(default)]
    pub bundle: Option<BlobRef>,
}

/// The model that answered, as it is shown with the attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ModelUsed {
    /// Provider name.
    pub provider: String,
    /// The provider's own name of the model.
    pub model: String,
    /// The edit protocol that was in force at the end.
    #[serde(default)]
    pub protocol: Option<EditProtocol>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_is_told_apart_by_its_fields() {
        let url: RepoSource =
            serde_json::from_str(r#"{"url":"https://example.org/team/tool.git"}"#).expect("a url");
        assert_eq!(url.name(), "tool");
        let sha = "ab".repeat(32);
        let bundle =
            format!(r#"{{"sha256":"{sha}","size":7,"head":"c0ffee","branch":"main","name":"tool"}}"#);
        let bundle: RepoSource = serde_json::from_str(&bundle).expect("a bundle");
        assert!(matches!(bundle, RepoSource::Bundle { ref head, .. } if head == "c0ffee"));
    }
}
