//! What every route takes and answers, beside what the table of routes says: a test holds the two together.

use std::collections::BTreeMap;

use protocol::{
    event::Event,
    http::{
        Page,
        approvals::{ApprovalDetail, DecideStep},
        audit::{AuditCheck, AuditRow},
        jobs::{ArtifactView, JobView, SalvageAttempt, SubmitJob, Why},
        join::{IssuedCertificate, JoinWorker, RenewWorker, WorkerCredential},
        login_links::LoginLinkCreated,
        problem::Code::{
            self, Conflict, IdempotencyMismatch, Internal, InvalidField, InvalidJoinToken, InvalidWorkflow,
            MissingBlob, MissingInput, NoModel, PreconditionFailed, RangeNotSatisfiable, UnknownModel,
            UnknownSecret, UnknownWorkflow, WrongHash, WrongOffset,
        },
        secrets::{SecretView, SetSecret},
        status::Status,
        tokens::{CreateToken, TokenCreated, TokenView},
        workers::{CreateJoinToken, JoinTokenCreated, WorkerView},
        workflows::{ValidateWorkflow, WorkflowReport, WorkflowView},
    },
    model::ProviderDefinition,
    spec::StepSpec,
};
use schemars::JsonSchema;
use serde_json::Value;

use super::{
    super::{
        status::{Alive, Ready},
        submit::BatchAnswer,
    },
    parameters::{self as p, Header, Parameter},
    shape::{Content, Shape},
};

/// What one call takes and answers.
pub(super) struct Call {
    /// Method and route.
    pub(super) at: &'static str,
    /// Parameters in the query and in headers.
    pub(super) parameters: &'static [&'static [Parameter]],
    /// The body, with one that works.
    pub(super) body: Option<(Content, &'static str)>,
    /// What comes back when all is well: status, content, headers.
    pub(super) answers: &'static [(u16, Content, &'static [Header])],
    /// What may be wrong, beyond what every call has.
    pub(super) problems: &'static [Code],
}

impl Call {
    const fn at(at: &'static str) -> Self {
        Self {
            at,
            parameters: &[],
            body: None,
            answers: &[],
            problems: &[],
        }
    }

    const fn with(mut self, parameters: &'static [&'static [Parameter]]) -> Self {
        self.parameters = parameters;
        self
    }

    const fn body<T: JsonSchema>(mut self, example: &'static str) -> Self {
        self.body = Some((json::<T>(), example));
        self
    }

    const fn bytes(mut self) -> Self {
        self.body = Some((Content::Other("application/octet-stream"), ""));
        self
    }

    const fn answers(mut self, answers: &'static [(u16, Content, &'static [Header])]) -> Self {
        self.answers = answers;
        self
    }

    const fn or(mut self, problems: &'static [Code]) -> Self {
        self.problems = problems;
        self
    }
}

const fn json<T: JsonSchema>() -> Content {
    Content::Json(Shape::of::<T>())
}

const TAR: Content = Content::Other("application/x-tar");
const FILE: Content = Content::Other("application/octet-stream");
const TEXT: Content = Content::Other("text/plain; charset=utf-8");
const METRICS: Content = Content::Other(service::obs::metrics::CONTENT_TYPE);
const PROMETHEUS: Content = Content::Other(service::obs::metrics::PLAIN_CONTENT_TYPE);
const STREAM: Content = Content::Events(Shape::of::<Event>());
const NOTHING: Content = Content::Nothing;

/// A job after something was done to it.
const JOB: &[(u16, Content, &[Header])] = &[(200, json::<JobView>(), &[])];
const WORKER: &[(u16, Content, &[Header])] = &[(200, json::<WorkerView>(), &[])];
const DONE: &[(u16, Content, &[Header])] = &[(204, NOTHING, &[])];
const DOWNLOAD: &[(u16, Content, &[Header])] = &[
    (200, FILE, &[p::ETAG, p::ACCEPT_RANGES]),
    (206, FILE, &[p::ETAG, p::CONTENT_RANGE]),
    (304, NOTHING, &[p::ETAG]),
];
const UPLOADED: &[(u16, Content, &[Header])] = &[(204, NOTHING, &[p::UPLOAD_OFFSET_NOW])];
const MISTAKES: &[Code] = &[
    UnknownWorkflow,
    InvalidWorkflow,
    MissingInput,
    UnknownSecret,
    UnknownModel,
    NoModel,
    MissingBlob,
    IdempotencyMismatch,
    Conflict,
];

/// One entry for every route.
#[rustfmt::skip]
pub(super) const CALLS: &[Call] = &[
    Call::at("GET /healthz").answers(&[(200, json::<Alive>(), &[])]),
    Call::at("GET /readyz").answers(&[(200, json::<Ready>(), &[])]),
    Call::at("GET /metrics").answers(&[(200, METRICS, &[]), (200, PROMETHEUS, &[])]),
    Call::at("GET /openapi.json").answers(&[(200, json::<BTreeMap<String, Value>>(), &[])]),
    Call::at("GET /asyncapi.json").answers(&[(200, json::<BTreeMap<String, Value>>(), &[])]),
    Call::at("GET /workflow.schema.json").answers(&[(200, json::<BTreeMap<String, Value>>(), &[])]),
    Call::at("GET /v1/status").answers(&[(200, json::<Status>(), &[])]),
    Call::at("POST /v1/jobs").with(&[p::IDEMPOTENCY])
        .body::<SubmitJob>(r#"{"workflow": "run", "inputs": {"command": ["cargo", "test"]}, "title": "tests of tool"}"#)
        .answers(&[(201, json::<JobView>(), &[p::LOCATION]), (200, json::<JobView>(), &[p::LOCATION])]).or(MISTAKES),
    Call::at("GET /v1/jobs").with(&[p::JOBS, p::PAGE]).answers(&[(200, json::<Page<JobView>>(), &[])]),
    Call::at("POST /v1/jobs:batch")
        .body::<Vec<SubmitJob>>(r#"[{"workflow": "run", "inputs": {"command": []}}]"#)
        .answers(&[(200, json::<BatchAnswer>(), &[])]),
    Call::at("GET /v1/jobs/{job}").answers(JOB),
    Call::at("POST /v1/jobs/{job}/cancel").answers(JOB).or(&[Conflict]),
    Call::at("POST /v1/jobs/{job}/retry").answers(JOB).or(&[Conflict]),
    Call::at("POST /v1/jobs/{job}/resume").answers(JOB).or(&[Conflict]),
    Call::at("POST /v1/jobs/{job}/salvage")
        .body::<SalvageAttempt>(r#"{"step": "run", "attempt": "01940000-0000-7000-8000-000000000001"}"#)
        .answers(JOB).or(&[Conflict]),
    Call::at("GET /v1/jobs/{job}/why").answers(&[(200, json::<Why>(), &[])]),
    Call::at("GET /v1/jobs/{job}/events").with(&[p::AFTER, p::LAST_EVENT]).answers(&[(200, STREAM, &[])]),
    Call::at("GET /v1/events").with(&[p::AFTER, p::LIMIT, p::LAST_EVENT])
        .answers(&[(200, json::<Page<Event>>(), &[]), (200, STREAM, &[])]),
    Call::at("GET /v1/jobs/{job}/steps/{step}/log").with(&[p::LOG]).answers(&[(200, TEXT, &[p::LOG_SIZE])]),
    Call::at("GET /v1/jobs/{job}/steps/{step}/approval")
        .answers(&[(200, json::<ApprovalDetail>(), &[p::ETAG])]).or(&[Conflict]),
    Call::at("POST /v1/jobs/{job}/steps/{step}/approve").with(&[p::IF_MATCH])
        .body::<DecideStep>(r#"{"reason": "the plan is sound"}"#).answers(JOB).or(&[Conflict, PreconditionFailed]),
    Call::at("POST /v1/jobs/{job}/steps/{step}/reject").with(&[p::IF_MATCH])
        .body::<DecideStep>(r#"{"reason": "it changes the wrong file"}"#).answers(JOB).or(&[Conflict, PreconditionFailed]),
    Call::at("GET /v1/jobs/{job}/artifacts").answers(&[(200, json::<Page<ArtifactView>>(), &[])]),
    Call::at("GET /v1/jobs/{job}/artifacts/{name}").with(&[p::RANGES]).answers(DOWNLOAD).or(&[RangeNotSatisfiable]),
    Call::at("HEAD /v1/blobs/{sha256}").answers(UPLOADED).or(&[InvalidField]),
    Call::at("PATCH /v1/blobs/{sha256}").with(&[p::UPLOAD]).bytes().answers(UPLOADED)
        .or(&[WrongOffset, WrongHash, Conflict]),
    Call::at("GET /v1/blobs/{sha256}").with(&[p::RANGES]).answers(DOWNLOAD).or(&[RangeNotSatisfiable, InvalidField]),
    Call::at("GET /v1/attempts/{attempt}/spec").answers(&[(200, json::<StepSpec>(), &[])]).or(&[Conflict]),
    Call::at("GET /v1/attempts/{attempt}/secrets")
        .answers(&[(200, json::<BTreeMap<String, String>>(), &[])]).or(&[Conflict, UnknownSecret]),
    Call::at("GET /v1/attempts/{attempt}/providers")
        .answers(&[(200, json::<Vec<ProviderDefinition>>(), &[])]).or(&[Conflict]),
    Call::at("PATCH /v1/attempts/{attempt}/log").with(&[p::UPLOAD_OFFSET]).bytes().answers(UPLOADED)
        .or(&[WrongOffset, Conflict]),
    Call::at("GET /v1/workers").answers(&[(200, json::<Page<WorkerView>>(), &[])]),
    Call::at("GET /v1/workers/{name}").answers(WORKER),
    Call::at("POST /v1/workers/{name}/pause").answers(WORKER).or(&[Conflict]),
    Call::at("POST /v1/workers/{name}/drain").answers(WORKER).or(&[Conflict]),
    Call::at("POST /v1/workers/{name}/resume").answers(WORKER).or(&[Conflict]),
    Call::at("DELETE /v1/workers/{name}").answers(DONE).or(&[Conflict]),
    Call::at("POST /v1/workers/join-tokens").body::<CreateJoinToken>("{}")
        .answers(&[(201, json::<JoinTokenCreated>(), &[])]),
    Call::at("POST /v1/workers/join")
        .body::<JoinWorker>(r#"{"token": "5d41402abc4b2a76", "name": "tower", "labels": {"os": ["linux"]}, "slots": 2}"#)
        .answers(&[(201, json::<WorkerCredential>(), &[])]).or(&[InvalidJoinToken, Conflict, Internal]),
    Call::at("POST /v1/workers/renew").body::<RenewWorker>(r#"{"public_key": "04"}"#)
        .answers(&[(200, json::<IssuedCertificate>(), &[])]).or(&[Conflict, Internal]),
    Call::at("GET /v1/workflows").answers(&[(200, json::<Page<WorkflowView>>(), &[])]),
    Call::at("GET /v1/workflows/{name}").answers(&[(200, json::<WorkflowView>(), &[])]),
    Call::at("PUT /v1/workflows/{name}").body::<ValidateWorkflow>(HELLO)
        .answers(&[(200, json::<WorkflowView>(), &[])]).or(&[InvalidWorkflow]),
    Call::at("POST /v1/workflows/validate").body::<ValidateWorkflow>(HELLO)
        .answers(&[(200, json::<WorkflowReport>(), &[])]),
    Call::at("GET /v1/tokens").answers(&[(200, json::<Page<TokenView>>(), &[])]),
    Call::at("POST /v1/tokens")
        .body::<CreateToken>(r#"{"name": "home-assistant", "scopes": ["read", "approve"], "expires_in_s": 2592000}"#)
        .answers(&[(201, json::<TokenCreated>(), &[])]).or(&[Conflict]),
    Call::at("DELETE /v1/tokens/{name}").answers(DONE),
    Call::at("POST /v1/login-links").answers(&[(201, json::<LoginLinkCreated>(), &[])]),
    Call::at("GET /v1/secrets").answers(&[(200, json::<Page<SecretView>>(), &[])]),
    Call::at("POST /v1/secrets").body::<SetSecret>(r#"{"name": "FORGE_TOKEN", "value": "a long secret"}"#)
        .answers(&[(200, json::<SecretView>(), &[])]),
    Call::at("DELETE /v1/secrets/{name}").answers(DONE).or(&[InvalidField]),
    Call::at("GET /v1/audit").with(&[p::AUDIT, p::PAGE]).answers(&[(200, json::<Page<AuditRow>>(), &[])]),
    Call::at("GET /v1/audit/verify").answers(&[(200, json::<AuditCheck>(), &[])]),
    Call::at("POST /v1/backup").answers(&[(200, TAR, &[])]).or(&[Conflict]),
];

/// A workflow that can be stored.
const HELLO: &str = r#"{"text": "api: agentd/v1\nname: hello\nsteps:\n  say: {run: [echo, hello]}\n"}"#;
