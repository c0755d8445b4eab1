//! `/v1/workers`: the roster, and what is wanted of each; how one joins is in [`super::join`].

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Empty, Endpoint, Method, Page, encode};
use crate::{
    id::WorkerId,
    job::{JobLink, StepKey},
    label::Labels,
    model::ReachableModel,
    worker::{Load, Wanted, WorkerState},
};

/// A worker as the API shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WorkerView {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: WorkerId,
    /// What is seen of it.
    pub state: WorkerState,
    /// What is wanted of it.
    pub wanted: Wanted,
    /// What it has.
    pub labels: Labels,
    /// How many attempts it takes at a time.
    pub slots: u32,
    /// How many it has.
    pub slots_used: u32,
    /// Models that it reaches by itself.
    pub models: Vec<ReachableModel>,
    /// Version of its program.
    pub version: String,
    /// How busy its machine is.
    pub load: Load,
    /// When it joined.
    #[schemars(with = "crate::schema::Time")]
    pub joined_at: Timestamp,
    /// When it was last heard.
    #[schemars(with = "Option<crate::schema::Time>")]
    pub last_seen_at: Option<Timestamp>,
    /// What it does now.
    pub current: Vec<CurrentStep>,
}

/// A step on a worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CurrentStep {
    /// Of which job.
    pub job: JobLink,
    /// Which.
    pub step: StepKey,
}

/// `GET /v1/workers`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ListWorkers {}

impl Endpoint for ListWorkers {
    const METHOD: Method = Method::Get;
    const ROUTE: &'static str = "/v1/workers";
    type Response = Page<WorkerView>;
    fn path(&self) -> String {
        Self::ROUTE.to_owned()
    }
}

macro_rules! worker_calls {
    ($($(#[$doc:meta])* $name:ident $method:ident $route:literal -> $response:ty;)+) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, Serialize)]
        pub struct $name {
            /// Which worker.
            #[serde(skip)]
            pub name: String,
        }

        impl Endpoint for $name {
            const METHOD: Method = Method::$method;
            const ROUTE: &'static str = $route;
            type Response = $response;
            fn path(&self) -> String {
                Self::ROUTE.replace("{name}", &encode(&self.name))
            }
        }
    )+};
}

worker_calls! {
    /// One worker.
    GetWorker Get "/v1/workers/{name}" -> WorkerView;
    /// Take nothing new.
    PauseWorker Post "/v1/workers/{name}/pause" -> WorkerView;
    /// Take nothing new and finish what runs.
    DrainWorker Post "/v1/workers/{name}/drain" -> WorkerView;
    /// Take steps again.
    ResumeWorker Post "/v1/workers/{name}/resume" -> WorkerView;
    /// Forget it.
    RemoveWorker Delete "/v1/workers/{name}" -> Empty;
}

/// `POST /v1/workers/join-tokens`: a token that lets one worker join within 15 minutes.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateJoinToken {}

impl Endpoint for CreateJoinToken {
    const METHOD: Method = Method::Post;
    const ROUTE: &'static str = "/v1/workers/join-tokens";
    const HAS_BODY: bool = true;
    type Response = JoinTokenCreated;
    fn path(&self) -> String {
        Self::ROUTE.to_owned()
    }
}

/// The only time that the token is shown.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct JoinTokenCreated {
    /// What `agent-worker join` takes.
    pub token: String,
    /// Until when.
    #[schemars(with = "crate::schema::Time")]
    pub expires_at: Timestamp,
}
