//! Where a reviewed change starts.

use protocol::{
    spec::RepoSource,
    step::{ErrorClass, StepError},
};
use serde_json::Value;

use crate::{steps::StepContext, workspace::Workspace};

/// The commit that the reviewed change starts from: `against`, else the job's base.
pub(super) async fn commit(cx: &StepContext, workspace: &Workspace) -> Result<String, StepError> {
    let against = cx.spec.with.get("against").and_then(Value::as_str).map(str::trim);
    let Some(against) = against.filter(|against| !against.is_empty()) else {
        return Ok(workspace.base().to_owned());
    };
    let source = cx.spec.workspace.as_ref().map(|wanted| &wanted.source);
    if let Some(steps) = against.strip_prefix("HEAD") {
        if steps
            .chars()
            .all(|c| c.is_ascii_digit() || matches!(c, '~' | '^'))
        {
            return Ok(format!("{}{steps}", workspace.head()));
        }
    } else if against.len() == 40 && against.chars().all(|c| c.is_ascii_hexdigit()) {
        return Ok(against.to_owned());
    } else if let Some(RepoSource::Url { url, .. }) = source {
        let source = RepoSource::Url {
            url: url.clone(),
            reference: Some(against.to_owned()),
        };
        return Ok(cx.workspaces.resolve(&source, cx.caller()).await?.base);
    }
    Err(
        StepError::new(ErrorClass::Spec, format!("cannot compare against {against:?}"))
            .hint("name HEAD~1, HEAD~2 and so on, or a whole commit hash"),
    )
}
