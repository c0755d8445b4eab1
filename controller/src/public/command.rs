//! `agentd/command`: what a program may ask for, answered on `agentd/events`.

use protocol::{
    approval::Answer,
    http::tokens::Scope,
    id::{JobId, JobRef},
    job::{JobLink, JobState, StepKey},
    public::{Command, Verb},
};
use serde_json::{Value, json};

use super::decision;
use crate::{
    api::Api,
    broker::CommandIn,
    orchestrator::Event,
    state::{
        audit::{self, AuditEntry},
        jobs,
    },
};

/// Longest `id` that is echoed, in bytes.
const LONGEST_ID: usize = 200;

/// Whether an `id` can be echoed: it becomes a part of an event, which many keep.
fn is_short(id: &Value) -> bool {
    match id {
        Value::Null | Value::Bool(_) | Value::Number(_) => true,
        Value::String(text) => text.len() <= LONGEST_ID,
        Value::Array(_) | Value::Object(_) => false,
    }
}

/// Carries it out and answers.
pub(super) async fn obey(api: &Api, command: &CommandIn) {
    let parsed: Result<Command, _> = serde_json::from_slice(&command.payload);
    let (id, verb, outcome) = match parsed {
        Ok(wish) if !is_short(&wish.id) => {
            let error = format!("`id` must be a number, or a text of at most {LONGEST_ID} bytes");
            (Value::Null, Value::Null, Err(error))
        }
        Ok(wish) => {
            let outcome = carry_out(api, command, &wish).await;
            note(api, command, &wish, outcome.as_ref().err()).await;
            (wish.id, json!(wish.verb), outcome)
        }
        Err(error) => (
            Value::Null,
            Value::Null,
            Err(format!("the command cannot be read: {error}")),
        ),
    };
    let mut answer = json!({"id": id, "do": verb, "ok": outcome.is_ok()});
    match outcome {
        Ok(None) => {}
        Ok(Some((job, step))) => {
            answer["job"] = json!(job);
            answer["step"] = json!(step);
        }
        Err(error) => answer["error"] = json!(error),
    }
    api.engine.tell(Event::CommandAnswered(answer)).await;
}

/// Writes down who asked for what; a decision about a step is written down where it is made.
async fn note(api: &Api, command: &CommandIn, wish: &Command, refusal: Option<&String>) {
    let action = match (wish.verb, &wish.job) {
        (Verb::Approve | Verb::Reject, _) => return,
        (Verb::Cancel, _) => "job.cancel",
        (Verb::Pause, Some(_)) => "job.pause",
        (Verb::Resume, Some(_)) => "job.resume",
        (Verb::Pause, None) => "dispatch.pause",
        (Verb::Resume, None) => "dispatch.resume",
    };
    let object = wish.job.as_ref().map_or_else(String::new, |job| {
        job.as_str().map_or_else(|| job.to_string(), str::to_owned)
    });
    let who = command.identity.to_string();
    if let Some(why) = refusal {
        api.denials.note(&who, command.peer, action, &object, why);
        return;
    }
    let entry = AuditEntry {
        who,
        origin: command.peer.to_string(),
        action: action.to_owned(),
        object,
        result: "ok".to_owned(),
    };
    let at = api.clock.wall();
    let written = api
        .engine
        .write(move |connection| audit::append(connection, &entry, at));
    if let Err(error) = written.await {
        tracing::warn!(%error, "a command is not in the audit log");
    }
}

/// What was decided about, if that is what was asked for.
async fn carry_out(
    api: &Api,
    command: &CommandIn,
    wish: &Command,
) -> Result<Option<(JobLink, StepKey)>, String> {
    let needed = if matches!(wish.verb, Verb::Approve | Verb::Reject) {
        Scope::Approve
    } else {
        Scope::Run
    };
    if !command.identity.reaches(needed) {
        return Err(format!("this needs a token with scope {needed}"));
    }
    let wanted = |answer| decision::Wish {
        answer,
        job: wish.job.as_ref(),
        step: wish.step.as_deref(),
        reason: wish.reason.as_deref(),
    };
    let event = match (wish.verb, &wish.job) {
        (Verb::Approve, _) => {
            return decision::decide(api, command, &wanted(Answer::Approve))
                .await
                .map(Some);
        }
        (Verb::Reject, _) => {
            return decision::decide(api, command, &wanted(Answer::Reject))
                .await
                .map(Some);
        }
        (Verb::Pause, None) => Event::PauseDispatch(true),
        (Verb::Resume, None) => Event::PauseDispatch(false),
        (Verb::Cancel, Some(job)) if job == "all" => return cancel_all(api).await.map(|()| None),
        (Verb::Cancel, Some(job)) => Event::CancelJob(find(api, job).await?),
        (Verb::Resume, Some(job)) => Event::ResumeJob(find(api, job).await?),
        (Verb::Pause, Some(_)) => return Err("a single job cannot be paused; leave `job` out".to_owned()),
        (Verb::Cancel, None) => return Err("`job` is missing: a number, a UUID or \"all\"".to_owned()),
    };
    let decided = api.engine.decide(event).await;
    decided.map(|()| None).map_err(|error| error.to_string())
}

/// The job that a payload names by number or UUID.
pub(super) async fn find(api: &Api, job: &Value) -> Result<JobId, String> {
    let text = job.as_str().map_or_else(|| job.to_string(), str::to_owned);
    let name: JobRef = text.parse().map_err(|_| format!("there is no job {text}"))?;
    let found = api
        .readers
        .query(move |connection| jobs::find(connection, name))
        .await;
    found
        .map_err(|error| error.to_string())?
        .ok_or_else(|| format!("there is no job {text}"))
}

async fn cancel_all(api: &Api) -> Result<(), String> {
    let open = api.engine.inspect(|world, _| -> Vec<JobId> {
        let goes_on = |state: JobState| !state.is_terminal() && state != JobState::Cancelling;
        world
            .jobs
            .values()
            .filter(|job| goes_on(job.state))
            .map(|job| job.id)
            .collect()
    });
    for job in open.await.map_err(|error| error.to_string())? {
        // one that ended meanwhile is as good as cancelled
        let _ = api.engine.decide(Event::CancelJob(job)).await;
    }
    Ok(())
}
