//! `/v1/jobs`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Empty, Endpoint, Method, Page, approvals::ApprovalView, encode, query};
use crate::{
    artifact::ArtifactRef,
    guard::Guard,
    id::{AttemptId, JobId, JobNumber, JobRef},
    job::{JobState, StepKey},
    label::Requires,
    spec::{ModelUsed, RepoSource},
    step::{AttemptState, Outcome, StepError, StepState},
    usage::Usage,
};

/// `POST /v1/jobs`: submit. Send an `Idempotency-Key` to make a repeat harmless.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SubmitJob {
    /// Name of the workflow.
    pub workflow: String,
    /// Its inputs.
    #[serde(default)]
    pub inputs: Map<String, Value>,
    /// The repository, for workflows that work on one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repo: Option<RepoSource>,
    /// Branch, tag or commit of `repo.url`.
    #[serde(default, rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// For people; made from the task if missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Higher goes first; overrides the workflow's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
    /// For people and filters.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Caps; overrides the workflow's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
}

/// Caps on what a job may use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// US dollars.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usd: Option<f64>,
    /// Tokens of all kinds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
}

impl Budget {
    /// Which of its caps this usage has reached, if any.
    pub fn spent(&self, usage: &Usage) -> Option<&'static str> {
        let tokens = self.tokens.is_some_and(|cap| usage.tokens() >= cap);
        let money = self
            .usd
            .is_some_and(|cap| usage.cost_microusd as f64 >= cap * 1e6);
        match (tokens, money) {
            (true, _) => Some("token"),
            (false, true) => Some("money"),
            (false, false) => None,
        }
    }
}

impl Endpoint for SubmitJob {
    const METHOD: Method = Method::Post;
    const ROUTE: &'static str = "/v1/jobs";
    const HAS_BODY: bool = true;
    type Response = JobView;
    fn path(&self) -> String {
        Self::ROUTE.to_owned()
    }
}

/// A job as the API shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct JobView {
    /// The short number.
    pub number: JobNumber,
    /// The UUID.
    pub id: JobId,
    /// How far it is.
    pub state: JobState,
    /// Name of its workflow.
    pub workflow: String,
    /// SHA-256 of the workflow and its prompts, pinned at submit.
    pub workflow_sha256: String,
    /// For people.
    pub title: String,
    /// Higher goes first.
    pub priority: i32,
    /// When it was accepted.
    #[schemars(with = "crate::schema::Time")]
    pub created_at: Timestamp,
    /// When its first step was dispatched.
    #[schemars(with = "Option<crate::schema::Time>")]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[schemars(with = "Option<crate::schema::Time>")]
    pub ended_at: Option<Timestamp>,
    /// Why it failed, is parked or was cancelled.
    pub reason: Option<String>,
    /// Whether it is parked or failed with its token or money budget spent.
    #[serde(default)]
    pub budget_spent: bool,
    /// What was asked for.
    #[serde(default)]
    pub inputs: Map<String, Value>,
    /// The repository's name and base, if it has one.
    #[serde(default)]
    pub repo: Option<RepoView>,
    /// For people and filters.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Sum over all attempts.
    pub usage: Usage,
    /// Its steps, in the order of the workflow; empty in lists.
    #[serde(default)]
    pub steps: Vec<StepView>,
    /// Steps that ended well or were skipped.
    #[serde(default)]
    pub steps_done: u32,
    /// Steps known so far.
    #[serde(default)]
    pub steps_total: u32,
}

/// A job's repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RepoView {
    /// Short name.
    pub name: String,
    /// URL, if workers clone it.
    #[serde(default)]
    pub url: Option<String>,
    /// Base commit, once known.
    #[serde(default)]
    pub base: Option<String>,
}

/// A step as the API shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StepView {
    /// Its key in the job.
    pub key: StepKey,
    /// `agent`, `run`, `use`, `approval`, `steps`.
    pub kind: String,
    /// How far it is.
    pub state: StepState,
    /// The current attempt's number; 0 before the first.
    pub attempt: u32,
    /// The worker of the current attempt.
    pub worker: Option<String>,
    /// The model that answers.
    pub model: Option<ModelUsed>,
    /// Sum over its attempts.
    pub usage: Usage,
    /// When its first attempt started.
    #[schemars(with = "Option<crate::schema::Time>")]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[schemars(with = "Option<crate::schema::Time>")]
    pub ended_at: Option<Timestamp>,
    /// The last error.
    pub error: Option<StepError>,
    /// The last thing that the worker said about it.
    #[serde(default)]
    pub note: Option<String>,
    /// What later steps may read.
    #[serde(default)]
    pub outputs: Map<String, Value>,
    /// All attempts, oldest first.
    #[serde(default)]
    pub attempts: Vec<AttemptView>,
    /// Steps that must end before this one.
    #[serde(default)]
    pub needs: Vec<StepKey>,
    /// For an approval: the wait for a person, once one was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<ApprovalView>,
}

/// An attempt as the API shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AttemptView {
    /// The UUID.
    pub id: AttemptId,
    /// Counts up within the step.
    pub number: u32,
    /// How far it is.
    pub state: AttemptState,
    /// On which worker.
    pub worker: String,
    /// When it was offered.
    #[schemars(with = "crate::schema::Time")]
    pub offered_at: Timestamp,
    /// When it was accepted.
    #[schemars(with = "Option<crate::schema::Time>")]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[schemars(with = "Option<crate::schema::Time>")]
    pub ended_at: Option<Timestamp>,
    /// Why not well.
    pub error: Option<StepError>,
    /// What it used.
    pub usage: Usage,
    /// The model that answered.
    pub model: Option<ModelUsed>,
    /// Exit code of a command.
    pub exit: Option<i32>,
    /// The result that came after it was superseded.
    #[serde(default)]
    pub late_outcome: Option<Outcome>,
    /// Things worth knowing.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// `GET /v1/jobs`: a page of jobs, newest first.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ListJobs {
    /// Only these states.
    pub state: Vec<JobState>,
    /// Only these workflows.
    pub workflow: Vec<String>,
    /// Only titles with this text; upper and lower case of ASCII letters are the same.
    pub search: Option<String>,
    /// From the last page.
    pub cursor: Option<String>,
    /// Rows, at most 200; 50 if missing.
    pub limit: Option<u32>,
}

impl Endpoint for ListJobs {
    const METHOD: Method = Method::Get;
    const ROUTE: &'static str = "/v1/jobs";
    type Response = Page<JobView>;
    fn path(&self) -> String {
        let join = |values: Vec<String>| (!values.is_empty()).then(|| values.join(","));
        let states = self.state.iter().map(ToString::to_string).collect();
        let pairs = [
            ("state", join(states)),
            ("workflow", join(self.workflow.clone())),
            ("search", self.search.clone()),
            ("cursor", self.cursor.clone()),
            ("limit", self.limit.map(|limit| limit.to_string())),
        ];
        format!("{}{}", Self::ROUTE, query(&pairs))
    }
}

macro_rules! job_calls {
    ($($(#[$doc:meta])* $name:ident $method:ident $route:literal -> $response:ty;)+) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, Serialize)]
        pub struct $name {
            /// Which job.
            #[serde(skip)]
            pub job: JobRef,
        }

        impl Endpoint for $name {
            const METHOD: Method = Method::$method;
            const ROUTE: &'static str = $route;
            type Response = $response;
            fn path(&self) -> String {
                Self::ROUTE.replace("{job}", &self.job.to_string())
            }
        }
    )+};
}

job_calls! {
    /// One job with its steps and attempts.
    GetJob Get "/v1/jobs/{job}" -> JobView;
    /// Stop it.
    CancelJob Post "/v1/jobs/{job}/cancel" -> JobView;
    /// Make failed, cancelled and later steps ready again in the same job.
    RetryJob Post "/v1/jobs/{job}/retry" -> JobView;
    /// Go on after it was parked.
    ResumeJob Post "/v1/jobs/{job}/resume" -> JobView;
    /// What it waits for.
    ExplainJob Get "/v1/jobs/{job}/why" -> Why;
    /// Its artifacts.
    ListArtifacts Get "/v1/jobs/{job}/artifacts" -> Page<ArtifactView>;
}

/// `POST /v1/jobs/{job}/salvage`: apply a late outcome as the step's result.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SalvageAttempt {
    /// The step.
    pub step: StepKey,
    /// The superseded attempt.
    pub attempt: AttemptId,
}

/// The same with the job that is meant.
#[derive(Clone, Debug, Serialize)]
pub struct SalvageJob {
    /// Which job.
    #[serde(skip)]
    pub job: JobRef,
    /// The body.
    #[serde(flatten)]
    pub wanted: SalvageAttempt,
}

impl Endpoint for SalvageJob {
    const METHOD: Method = Method::Post;
    const ROUTE: &'static str = "/v1/jobs/{job}/salvage";
    const HAS_BODY: bool = true;
    type Response = JobView;
    fn path(&self) -> String {
        Self::ROUTE.replace("{job}", &self.job.to_string())
    }
}

/// An artifact as the API shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ArtifactView {
    /// `<step key>/<name>`, or the short name of one of deliver's.
    pub name: String,
    /// Its bytes.
    #[serde(flatten)]
    pub file: ArtifactFile,
    /// The step that made it.
    pub step: StepKey,
    /// When.
    #[schemars(with = "crate::schema::Time")]
    pub created_at: Timestamp,
}

/// The bytes of an artifact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ArtifactFile {
    /// Hash.
    pub sha256: crate::artifact::Sha256,
    /// Size in bytes.
    pub size: u64,
}

impl From<&ArtifactRef> for ArtifactFile {
    fn from(artifact: &ArtifactRef) -> Self {
        Self {
            sha256: artifact.sha256,
            size: artifact.size,
        }
    }
}

/// The route of one artifact.
pub fn artifact_path(job: JobRef, name: &str) -> String {
    let name: Vec<String> = name.split('/').map(encode).collect();
    format!("/v1/jobs/{job}/artifacts/{}", name.join("/"))
}

/// The route of a step's log.
pub fn log_path(job: JobRef, step: &StepKey, attempt: Option<u32>, offset: u64, follow: bool) -> String {
    let pairs = [
        ("attempt", attempt.map(|attempt| attempt.to_string())),
        ("offset", (offset > 0).then(|| offset.to_string())),
        ("follow", follow.then(|| "true".to_owned())),
    ];
    format!(
        "/v1/jobs/{job}/steps/{}/log{}",
        encode(step.as_str()),
        query(&pairs)
    )
}

/// Why a job does not go on, or what it does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Why {
    /// Its state.
    pub state: JobState,
    /// One sentence for the whole job.
    pub summary: String,
    /// What keeps the job as a whole.
    #[serde(default)]
    pub guard: Option<Guard>,
    /// What would change that.
    #[serde(default)]
    pub hint: Option<String>,
    /// Each step that has not ended and what it waits for.
    pub steps: Vec<WhyStep>,
}

/// What one step waits for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WhyStep {
    /// Which step.
    pub step: StepKey,
    /// Its state.
    pub state: StepState,
    /// One sentence.
    pub reason: String,
    /// The condition that is not met; with several workers, the one that comes nearest.
    #[serde(default)]
    pub guard: Option<Guard>,
    /// What it requires of a worker.
    #[serde(default)]
    pub requires: Requires,
    /// What each worker lacks for it.
    #[serde(default)]
    pub workers: Vec<WhyWorker>,
    /// Whether it can ever run as things are.
    pub can_ever_run: bool,
    /// What would change it.
    #[serde(default)]
    pub hint: Option<String>,
}

/// What one worker lacks for a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WhyWorker {
    /// Its name.
    pub worker: String,
    /// Such as `lacks tool=cargo`, `offline`, `no free slot (2 of 2 in use)`.
    pub lacks: String,
    /// The condition that is not met.
    #[serde(default)]
    pub guard: Option<Guard>,
    /// What would change it.
    #[serde(default)]
    pub hint: Option<String>,
}

/// The answer of a call that only confirms.
pub type Confirmed = Empty;
