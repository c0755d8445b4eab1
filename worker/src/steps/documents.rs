//! Reads the documents that a tool step was given in `with`.

use protocol::{
    documents::{CheckReport, Plan, Verdict},
    step::{ErrorClass, StepError},
};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::StepContext;
use crate::tools::checks::{
    detect::CheckPlan,
    judge::{Failing, Intent},
};

/// What the built-in workflows hand to check, verify and deliver; all of it may be absent.
pub(super) struct Documents {
    /// The task in a person's words.
    pub(super) task: String,
    /// The architect's plan.
    pub(super) plan: Option<Plan>,
    /// What the base commit said.
    pub(super) baseline: Option<CheckReport>,
    /// What the result said.
    pub(super) report: Option<CheckReport>,
    /// What the reviewer said.
    pub(super) verdict: Option<Verdict>,
    /// What becomes of failures that the baseline has.
    pub(super) failing: Failing,
    /// Checks that the workflow's owner configured, in place of the detected ones.
    pub(super) checks: Option<Vec<CheckPlan>>,
}

impl Documents {
    /// Reads them.
    pub(super) fn of(cx: &StepContext) -> Result<Self, StepError> {
        let checks: Option<Vec<Vec<String>>> = value(cx, "checks")?;
        Ok(Self {
            task: value(cx, "task")?.unwrap_or_else(|| cx.spec.title.clone()),
            plan: value(cx, "plan")?,
            baseline: value(cx, "baseline")?,
            report: value(cx, "report")?,
            verdict: value(cx, "verdict")?,
            failing: value(cx, "failing")?.unwrap_or_default(),
            checks: checks.map(|checks| checks.into_iter().map(CheckPlan::configured).collect()),
        })
    }

    /// What the job is about.
    pub(super) fn intent(&self) -> Intent<'_> {
        Intent {
            task: &self.task,
            plan: self.plan.as_ref(),
            failing: self.failing,
        }
    }
}

/// A value of `with`; absent and null are the same.
fn value<T: DeserializeOwned>(cx: &StepContext, key: &str) -> Result<Option<T>, StepError> {
    match cx.spec.with.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => serde_json::from_value(value.clone()).map(Some).map_err(|error| {
            StepError::new(ErrorClass::Spec, format!("`with.{key}` cannot be read: {error}"))
        }),
    }
}
