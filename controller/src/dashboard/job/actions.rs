//! What a person does about a job: the same calls as the API's, and back to the page.

use axum::{
    extract::State,
    response::{IntoResponse, Redirect, Response},
};
use protocol::{approval::Answer, job::StepKey};
use serde::Deserialize;

use crate::{
    api::{
        Api,
        approvals::{self, Wish},
        extract::OfJob,
        jobs::act,
        problem::ApiResult,
    },
    dashboard::session::{Nothing, Signed},
    orchestrator::Event,
};

fn back(job: &OfJob) -> Response {
    Redirect::to(&format!("/jobs/{}", job.number)).into_response()
}

/// One change of a job, and its page again.
async fn done(
    api: &Api,
    job: &OfJob,
    signed: Signed<Nothing>,
    action: &str,
    event: Event,
) -> ApiResult<Response> {
    let caller = &signed.visitor.caller;
    act(api, caller, job, action, event).await.map(|_| back(job))
}

pub(in crate::dashboard) async fn cancel(
    State(api): State<Api>,
    job: OfJob,
    signed: Signed<Nothing>,
) -> ApiResult<Response> {
    done(&api, &job, signed, "job.cancel", Event::CancelJob(job.id)).await
}

pub(in crate::dashboard) async fn retry(
    State(api): State<Api>,
    job: OfJob,
    signed: Signed<Nothing>,
) -> ApiResult<Response> {
    done(&api, &job, signed, "job.retry", Event::RetryJob(job.id)).await
}

pub(in crate::dashboard) async fn resume(
    State(api): State<Api>,
    job: OfJob,
    signed: Signed<Nothing>,
) -> ApiResult<Response> {
    done(&api, &job, signed, "job.resume", Event::ResumeJob(job.id)).await
}

#[derive(Deserialize)]
pub(in crate::dashboard) struct Decide {
    step: StepKey,
    #[serde(default)]
    reason: String,
    /// The tag of what the person saw.
    #[serde(default)]
    seen: String,
}

pub(in crate::dashboard) async fn approve(
    State(api): State<Api>,
    job: OfJob,
    signed: Signed<Decide>,
) -> ApiResult<Response> {
    decide(&api, &job, signed, Answer::Approve).await
}

pub(in crate::dashboard) async fn reject(
    State(api): State<Api>,
    job: OfJob,
    signed: Signed<Decide>,
) -> ApiResult<Response> {
    decide(&api, &job, signed, Answer::Reject).await
}

/// What has changed since the person saw it is not decided.
async fn decide(
    api: &Api,
    job: &OfJob,
    Signed { visitor, form }: Signed<Decide>,
    answer: Answer,
) -> ApiResult<Response> {
    let wish = Wish {
        reason: Some(form.reason),
        seen: Some(vec![form.seen]),
    };
    approvals::decide(api, &visitor.caller, job, form.step, answer, wish).await?;
    Ok(back(job))
}
