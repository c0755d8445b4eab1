//! Approve and reject by `agentd/command`: of a named job, or of the one that
//! waits longest.

use protocol::{
    approval::Answer,
    id::JobId,
    job::{JobLink, StepKey},
    step::StepState,
};
use serde_json::Value;

use crate::{
    api::{Api, approvals},
    broker::CommandIn,
    orchestrator::{
        Event, World,
        approval::{Decision, oldest},
    },
    state::audit,
};

/// What the command names.
pub(super) struct Wish<'a> {
    /// Approve or reject.
    pub(super) answer: Answer,
    /// A number, a UUID or `oldest`.
    pub(super) job: Option<&'a Value>,
    /// The step; may be left out if only one waits.
    pub(super) step: Option<&'a str>,
    /// For the record.
    pub(super) reason: Option<&'a str>,
}

/// Decides, writes it down, and says about which step.
pub(super) async fn decide(
    api: &Api,
    command: &CommandIn,
    wish: &Wish<'_>,
) -> Result<(JobLink, StepKey), String> {
    let reason = approvals::reason(wish.reason.map(str::to_owned)).map_err(|problem| problem.detail)?;
    let (job, step) = target(api, wish).await?;
    let decision = Decision {
        answer: wish.answer,
        by: command.identity.to_string(),
        reason,
        seen: None,
    };
    let event = Event::DecideStep {
        job: job.id,
        step: step.clone(),
        decision,
    };
    let decided = api.engine.decide(event).await.map_err(|error| error.to_string());
    let entry = audit::AuditEntry {
        who: command.identity.to_string(),
        origin: command.peer.to_string(),
        action: approvals::action(wish.answer).to_owned(),
        object: format!("{}/{step}", job.number),
        result: decided.clone().err().unwrap_or_else(|| "ok".to_owned()),
    };
    let at = api.clock.wall();
    api.engine
        .write(move |connection| audit::append(connection, &entry, at))
        .await
        .map_err(|error| error.to_string())?;
    decided.map(|()| (job, step))
}

/// The job and step that are meant.
async fn target(api: &Api, wish: &Wish<'_>) -> Result<(JobLink, StepKey), String> {
    let step: Option<StepKey> = match wish.step {
        Some(step) => Some(step.parse().map_err(|error| format!("`step`: {error}"))?),
        None => None,
    };
    match wish.job {
        None => Err("`job` is missing: a number, a UUID or \"oldest\"".to_owned()),
        Some(job) if job == "oldest" => {
            if step.is_some() {
                return Err("`oldest` names its step itself; leave `step` out".to_owned());
            }
            let found = api
                .engine
                .inspect(|world, _| oldest(world).map(|(job, step)| (job.link(), step.key.clone())));
            let found = found.await.map_err(|error| error.to_string())?;
            found.ok_or_else(|| "no step waits for a decision".to_owned())
        }
        Some(job) => {
            let id = super::command::find(api, job).await?;
            let link = link(api, id).await?;
            match step {
                Some(step) => Ok((link, step)),
                None => {
                    let found = api.engine.inspect(move |world, _| only_awaiting(world, link));
                    found.await.map_err(|error| error.to_string())?
                }
            }
        }
    }
}

async fn link(api: &Api, id: JobId) -> Result<JobLink, String> {
    let number = api
        .readers
        .query(move |connection| crate::state::views::number(connection, id));
    let number = number.await.map_err(|error| error.to_string())?;
    let number = number.ok_or_else(|| format!("there is no job {id}"))?;
    Ok(JobLink { number, id })
}

/// The only step of the job that waits for a person.
fn only_awaiting(world: &World, link: JobLink) -> Result<(JobLink, StepKey), String> {
    let number = link.number;
    let steps = world.jobs.get(&link.id).map_or(&[][..], |job| &job.steps);
    let mut awaiting = steps.iter().filter(|step| step.state == StepState::Awaiting);
    match (awaiting.next(), awaiting.next()) {
        (Some(step), None) => Ok((link, step.key.clone())),
        (None, _) => Err(format!("no step of job {number} waits for a decision")),
        (Some(_), Some(_)) => Err(format!(
            "several steps of job {number} wait for a decision: name one with `step`"
        )),
    }
}
