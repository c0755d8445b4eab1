//! Steps that wait for a person: what is asked, and the answer.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Endpoint, Method, encode, jobs::JobView};
use crate::{
    approval::{Answer, Wait},
    id::JobRef,
    job::{JobLink, StepKey},
    step::StepState,
};

/// Longest reason of a decision, in characters.
pub const MAX_REASON: usize = 2_000;

/// The wait of a step for a person, as a job shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ApprovalView {
    /// Since when, until when, and how it ended.
    #[serde(flatten)]
    pub wait: Wait,
    /// What silence means.
    pub on_timeout: Answer,
    /// The steps whose results the decision is about.
    #[serde(default)]
    pub show: Vec<StepKey>,
}

/// Everything that a person needs for a decision. Its ETag is [`Self::etag`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ApprovalDetail {
    /// Of which job.
    pub job: JobLink,
    /// Of which step.
    pub step: StepKey,
    /// How far that is.
    pub state: StepState,
    /// The wait.
    pub approval: ApprovalView,
    /// What the steps of `show` have put out.
    pub shown: Vec<ShownStep>,
    /// The commit that later steps start from, if the job has a repository and a step has changed it.
    #[serde(default)]
    pub commit: Option<String>,
    /// Changes when what is shown does; sent back as `If-Match`, quotes included.
    pub etag: String,
}

/// A step that is shown for a decision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ShownStep {
    /// Which.
    pub step: StepKey,
    /// How it ended.
    pub state: StepState,
    /// What it has put out.
    pub outputs: Map<String, Value>,
}

/// `POST /v1/jobs/{job}/steps/{step}/approve` and `/reject`. With an `If-Match` of what was looked at, a
/// decision about something else is refused (412). A repeat is harmless.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DecideStep {
    /// For the record, at most [`MAX_REASON`] characters.
    #[serde(default)]
    pub reason: Option<String>,
}

fn path(route: &str, job: JobRef, step: &StepKey) -> String {
    route
        .replace("{job}", &job.to_string())
        .replace("{step}", &encode(step.as_str()))
}

/// What a step that waits for a person asks.
#[derive(Clone, Debug, Serialize)]
pub struct GetApproval {
    /// Which job.
    #[serde(skip)]
    pub job: JobRef,
    /// Which of its steps.
    #[serde(skip)]
    pub step: StepKey,
}

impl Endpoint for GetApproval {
    const METHOD: Method = Method::Get;
    const ROUTE: &'static str = "/v1/jobs/{job}/steps/{step}/approval";
    type Response = ApprovalDetail;
    fn path(&self) -> String {
        path(Self::ROUTE, self.job, &self.step)
    }
}

macro_rules! step_decisions {
    ($($(#[$doc:meta])* $name:ident $route:literal;)+) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, Serialize)]
        pub struct $name {
            /// Which job.
            #[serde(skip)]
            pub job: JobRef,
            /// Which of its steps.
            #[serde(skip)]
            pub step: StepKey,
            /// The body.
            #[serde(flatten)]
            pub decision: DecideStep,
        }

        impl Endpoint for $name {
            const METHOD: Method = Method::Post;
            const ROUTE: &'static str = $route;
            const HAS_BODY: bool = true;
            type Response = JobView;
            fn path(&self) -> String {
                path(Self::ROUTE, self.job, &self.step)
            }
        }
    )+};
}

step_decisions! {
    /// A person lets the step go on; the body is a [`DecideStep`].
    ApproveStep "/v1/jobs/{job}/steps/{step}/approve";
    /// A person refuses the step; the body is a [`DecideStep`].
    RejectStep "/v1/jobs/{job}/steps/{step}/reject";
}
