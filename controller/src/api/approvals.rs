//! Steps that wait for a person: what is asked, approve, reject.

use axum::{
    Extension, Json,
    extract::State,
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
};
use protocol::{
    approval::Answer,
    http::{
        approvals::{ApprovalDetail, ApprovalView, DecideStep, MAX_REASON, ShownStep},
        jobs::JobView,
        problem::{Code, Problem},
    },
    job::StepKey,
};

use crate::{
    engine::EngineError,
    orchestrator::{
        Event, Refusal,
        approval::{Decision, asked, shown, tag},
        scope,
        world::{Job, Step},
    },
    state::load,
};

use super::{
    Api,
    auth::Caller,
    extract::{Body, OfJob, OfStep},
    jobs,
    problem::{ApiError, ApiResult, not_found},
};

/// What a person is asked, with the ETag that a decision may name in `If-Match`.
pub(super) async fn show(State(api): State<Api>, job: OfJob, OfStep(key): OfStep) -> ApiResult<Response> {
    let now = api.engine.inspect(|world, now| (world.limits, now)).await?;
    let found = api
        .readers
        .query(move |connection| load::job(connection, job.id, &now.0, now.1))
        .await?;
    let found = found.ok_or_else(|| not_found("job", job.number, "it was removed a moment ago"))?;
    let step = found.step(&key).ok_or_else(|| no_step(&key))?;
    let detail = detail(&found, step).ok_or_else(|| {
        let refusal = Refusal::NotAwaiting {
            step: key.clone(),
            state: step.state,
        };
        ApiError::from(refusal)
    })?;
    let mut response = Json(&detail).into_response();
    if let Ok(etag) = HeaderValue::from_str(&detail.etag) {
        response.headers_mut().insert(header::ETAG, etag);
    }
    Ok(response)
}

/// What is asked, once a person was.
fn detail(job: &Job, step: &Step) -> Option<ApprovalDetail> {
    let (tag, approval) = (tag(job, step)?, asked(job, step)?);
    let shown = shown(&job.steps, step, &approval.show);
    Some(ApprovalDetail {
        job: job.link(),
        step: step.key.clone(),
        state: step.state,
        approval: ApprovalView {
            wait: step.approval.clone()?,
            on_timeout: approval.on_timeout,
            show: shown.iter().map(|step| step.key.clone()).collect(),
        },
        shown: shown
            .into_iter()
            .map(|step| ShownStep {
                step: step.key.clone(),
                state: step.state,
                outputs: step.outputs.clone(),
            })
            .collect(),
        commit: scope::workspace(job, step).and_then(|files| files.commit),
        etag: format!("\"{tag}\""),
    })
}

pub(super) async fn approve(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    job: OfJob,
    step: OfStep,
    headers: HeaderMap,
    Body(body): Body<DecideStep>,
) -> ApiResult<Json<JobView>> {
    let wish = wish(&headers, body)?;
    decide(&api, &caller, &job, step.0, Answer::Approve, wish)
        .await
        .map(Json)
}

pub(super) async fn reject(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    job: OfJob,
    step: OfStep,
    headers: HeaderMap,
    Body(body): Body<DecideStep>,
) -> ApiResult<Json<JobView>> {
    let wish = wish(&headers, body)?;
    decide(&api, &caller, &job, step.0, Answer::Reject, wish)
        .await
        .map(Json)
}

/// What comes with an answer.
pub(crate) struct Wish {
    /// Why, in words.
    pub(crate) reason: Option<String>,
    /// Tags of what was seen, one of which must still be true; `None` asks for nothing.
    pub(crate) seen: Option<Vec<String>>,
}

fn wish(headers: &HeaderMap, body: DecideStep) -> Result<Wish, Problem> {
    Ok(Wish {
        reason: body.reason,
        seen: tags(headers)?,
    })
}

/// A person's answer: decided, audited, and the job as it is then.
pub(crate) async fn decide(
    api: &Api,
    caller: &Caller,
    job: &OfJob,
    step: StepKey,
    answer: Answer,
    wish: Wish,
) -> ApiResult<JobView> {
    let decision = Decision {
        answer,
        by: caller.who(),
        reason: reason(wish.reason)?,
        seen: wish.seen,
    };
    let event = Event::DecideStep {
        job: job.id,
        step: step.clone(),
        decision,
    };
    let decided = api.engine.decide(event).await;
    let result = match &decided {
        Ok(()) => "ok".to_owned(),
        Err(error) => error.to_string(),
    };
    let object = format!("{}/{step}", job.number);
    jobs::note(api, caller, action(answer), &object, result).await?;
    decided.map_err(|error| match error {
        EngineError::Refused(Refusal::Unknown("step")) => no_step(&step),
        error => error.into(),
    })?;
    jobs::view(api, job).await.map(|Json(view)| view)
}

/// How the audit names a decision.
pub const fn action(answer: Answer) -> &'static str {
    match answer {
        Answer::Approve => "step.approve",
        Answer::Reject => "step.reject",
    }
}

fn no_step(key: &StepKey) -> ApiError {
    not_found("step", key, "agentctl show JOB lists the steps")
}

/// A reason as it is kept: trimmed, and none instead of an empty one.
pub fn reason(text: Option<String>) -> Result<Option<String>, Problem> {
    let Some(text) = text else { return Ok(None) };
    let text = text.trim();
    let length = text.chars().count();
    if length > MAX_REASON {
        let detail = format!("the reason has {length} characters, more than {MAX_REASON}");
        return Err(Problem::new(Code::InvalidField, detail).field("reason", text));
    }
    Ok((!text.is_empty()).then(|| text.to_owned()))
}

/// The tags of `If-Match`; `None` without it or with `*`. A weak tag never matches.
fn tags(headers: &HeaderMap) -> Result<Option<Vec<String>>, Problem> {
    let mut tags = None;
    for value in headers.get_all(header::IF_MATCH) {
        let text = value.to_str().unwrap_or_default();
        if text.trim() == "*" {
            return Ok(None);
        }
        let tags: &mut Vec<String> = tags.get_or_insert_default();
        for part in text.split(',') {
            let part = part.trim();
            let strong = part.strip_prefix('"').and_then(|part| part.strip_suffix('"'));
            match strong {
                Some(tag) => tags.push(tag.to_owned()),
                None if part.starts_with("W/\"") => {}
                None => {
                    let detail = format!("If-Match holds {part:?}, which is no ETag");
                    let hint = "send the ETag of GET …/approval as it came, quotes included";
                    return Err(Problem::new(Code::InvalidField, detail).hint(hint));
                }
            }
        }
    }
    Ok(tags)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[&str]) -> Result<Option<Vec<String>>, Problem> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::IF_MATCH, HeaderValue::from_str(value).expect("a header"));
        }
        tags(&headers)
    }

    #[test]
    fn if_match_holds_strong_tags() {
        let some = |tags: &[&str]| Ok(Some(tags.iter().map(|tag| (*tag).to_owned()).collect()));
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&["*"]), Ok(None));
        assert_eq!(read(&["\"a\""]), some(&["a"]));
        assert_eq!(read(&["\"a\", \"b\"", "\"c\""]), some(&["a", "b", "c"]));
        assert_eq!(read(&["W/\"a\""]), some(&[]));
        for bad in ["a", "\"a", ""] {
            let problem = read(&[bad]).expect_err(bad);
            assert_eq!(problem.code, Code::InvalidField);
        }
    }

    #[test]
    fn a_reason_is_short_and_not_empty() {
        assert_eq!(reason(Some("  fine ".into())), Ok(Some("fine".into())));
        assert_eq!(reason(Some(" ".into())), Ok(None));
        let long = reason(Some("x".repeat(MAX_REASON + 1))).expect_err("too long");
        assert_eq!(long.field.as_deref(), Some("reason"));
    }
}
