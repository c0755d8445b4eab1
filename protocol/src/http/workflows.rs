//! `/v1/workflows`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Endpoint, Method, Page, encode};

/// A workflow as the API shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WorkflowView {
    /// Its name.
    pub name: String,
    /// For people.
    #[serde(default)]
    pub description: String,
    /// `builtin`, `file` or `stored`.
    pub origin: String,
    /// SHA-256 of its text.
    pub sha256: String,
    /// Its inputs.
    pub inputs: Vec<InputView>,
    /// Whether it works on a repository.
    pub needs_repo: bool,
    /// The keys of its steps, in order.
    pub steps: Vec<String>,
    /// The YAML; `None` in lists.
    #[serde(default)]
    pub text: Option<String>,
}

/// An input as the API shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InputView {
    /// Its name.
    pub name: String,
    /// `text`, `int`, `number`, `bool`, `list`, `enum`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether it must be given.
    pub required: bool,
    /// For people.
    #[serde(default)]
    pub description: String,
}

/// `GET /v1/workflows`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ListWorkflows {}

impl Endpoint for ListWorkflows {
    const METHOD: Method = Method::Get;
    const ROUTE: &'static str = "/v1/workflows";
    type Response = Page<WorkflowView>;
    fn path(&self) -> String {
        Self::ROUTE.to_owned()
    }
}

/// `GET /v1/workflows/{name}`.
#[derive(Clone, Debug, Serialize)]
pub struct GetWorkflow {
    /// Its name.
    #[serde(skip)]
    pub name: String,
}

impl Endpoint for GetWorkflow {
    const METHOD: Method = Method::Get;
    const ROUTE: &'static str = "/v1/workflows/{name}";
    type Response = WorkflowView;
    fn path(&self) -> String {
        Self::ROUTE.replace("{name}", &encode(&self.name))
    }
}

/// `PUT /v1/workflows/{name}`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PutWorkflow {
    /// Its name; must be the one in the text.
    #[serde(skip)]
    pub name: String,
    /// The YAML.
    pub text: String,
}

impl Endpoint for PutWorkflow {
    const METHOD: Method = Method::Put;
    const ROUTE: &'static str = "/v1/workflows/{name}";
    const HAS_BODY: bool = true;
    type Response = WorkflowView;
    fn path(&self) -> String {
        Self::ROUTE.replace("{name}", &encode(&self.name))
    }
}

/// `POST /v1/workflows/validate`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ValidateWorkflow {
    /// The YAML.
    pub text: String,
}

impl Endpoint for ValidateWorkflow {
    const METHOD: Method = Method::Post;
    const ROUTE: &'static str = "/v1/workflows/validate";
    const HAS_BODY: bool = true;
    type Response = WorkflowReport;
    fn path(&self) -> String {
        Self::ROUTE.to_owned()
    }
}

/// `GET /workflow.schema.json`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct GetWorkflowSchema {}

impl Endpoint for GetWorkflowSchema {
    const METHOD: Method = Method::Get;
    const ROUTE: &'static str = "/workflow.schema.json";
    type Response = Value;
    fn path(&self) -> String {
        Self::ROUTE.to_owned()
    }
}

/// What is wrong with a workflow, or nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WorkflowReport {
    /// Whether it can be loaded.
    pub ok: bool,
    /// What is wrong.
    pub errors: Vec<WorkflowError>,
    /// What would be loaded.
    #[serde(default)]
    pub workflow: Option<WorkflowView>,
    /// What is right and may not work as things are: labels that no worker has.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// One mistake in a workflow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error, JsonSchema)]
#[error("{}{message}", self.place())]
pub struct WorkflowError {
    /// Line in the text, from 1.
    #[serde(default)]
    pub line: Option<u64>,
    /// Such as `steps.edit.needs`.
    #[serde(default)]
    pub field: Option<String>,
    /// One sentence.
    pub message: String,
    /// What would be right.
    #[serde(default)]
    pub hint: Option<String>,
}

impl WorkflowError {
    fn place(&self) -> String {
        match (self.line, &self.field) {
            (Some(line), Some(field)) => format!("line {line}, {field}: "),
            (Some(line), None) => format!("line {line}: "),
            (None, Some(field)) => format!("{field}: "),
            (None, None) => String::new(),
        }
    }
}
