//! Every stuck thing explains itself: what each step of a job waits for, and
//! what would change that.

use protocol::{
    guard::Guard,
    http::jobs::{Why, WhyStep},
    job::JobState,
    label::Requires,
    step::{AttemptState, StepState},
};

use crate::queue::{Hold, held};

use super::{
    approval::asked,
    world::{Attempt, Job, Step, World},
};

mod worker;

/// What is not met, in words, and what would change it.
struct Unmet {
    guard: Guard,
    reason: String,
    hint: String,
}

impl Unmet {
    fn new(guard: Guard, reason: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            guard,
            reason: reason.into(),
            hint: hint.into(),
        }
    }
}

/// Explains an open job.
pub fn explain(world: &World, job: &Job, now_mono: u64) -> Why {
    let hold = held(world, job).map(|hold| explain_hold(world, job, hold));
    let steps: Vec<WhyStep> = job
        .steps
        .iter()
        .filter(|step| !step.state.is_terminal())
        .map(|step| explain_step(world, job, step, hold.as_ref(), now_mono))
        .collect();
    Why {
        state: job.state,
        summary: summary(job, hold.as_ref(), &steps),
        guard: hold.as_ref().map(|hold| hold.guard),
        hint: hold.map(|hold| hold.hint),
        steps,
    }
}

fn summary(job: &Job, hold: Option<&Unmet>, steps: &[WhyStep]) -> String {
    let number = job.number;
    if job.state == JobState::Parked {
        return format!("job {number} is parked: {}", parked_because(job));
    }
    if let Some(hold) = hold {
        return format!("job {number} waits: {}", hold.reason);
    }
    let stuck = steps.iter().find(|step| !step.can_ever_run);
    let in_state = |state| steps.iter().find(|step| step.state == state);
    let waiting = [StepState::Ready, StepState::Awaiting, StepState::RetryWait];
    match stuck.or_else(|| waiting.into_iter().find_map(in_state)) {
        Some(step) => format!("job {number} waits: step {} {}", step.step, step.reason),
        None => format!("job {number} is {}", job.state),
    }
}

fn parked_because(job: &Job) -> &str {
    job.reason.as_deref().unwrap_or("nobody said why")
}

fn explain_hold(world: &World, job: &Job, hold: Hold<'_>) -> Unmet {
    let number = job.number;
    match hold {
        Hold::Paused => Unmet::new(
            Guard::DispatchPaused,
            "dispatch as a whole is paused",
            r#"a person resumes it: publish {"do": "resume"} to the MQTT topic agentd/command"#,
        ),
        Hold::Parked => {
            let reason = format!("the job is parked: {}", parked_because(job));
            match job.budget.and_then(|budget| budget.spent(&job.usage)) {
                Some(what) => Unmet::new(
                    Guard::BudgetSpent,
                    reason,
                    format!("`agentctl resume {number}` gives its {what} budget as much again"),
                ),
                None => Unmet::new(
                    Guard::JobParked,
                    reason,
                    format!("`agentctl resume {number}` lets it go on, `agentctl cancel {number}` ends it"),
                ),
            }
        }
        Hold::GroupFull { group, max } => {
            let holders: Vec<String> = world
                .jobs
                .values()
                .filter(|other| other.id != job.id && other.group.as_deref() == Some(group))
                .filter(|other| other.started_at.is_some() && !other.state.is_terminal())
                .map(|other| other.number.to_string())
                .collect();
            Unmet::new(
                Guard::GroupFull,
                format!("concurrency group {group:?} has {max} running"),
                format!(
                    "it begins when one of these jobs has ended: {}; `agentctl cancel JOB` ends one",
                    holders.join(", ")
                ),
            )
        }
    }
}

fn explain_step(world: &World, job: &Job, step: &Step, hold: Option<&Unmet>, now_mono: u64) -> WhyStep {
    let mut why = WhyStep {
        step: step.key.clone(),
        state: step.state,
        reason: String::new(),
        guard: None,
        requires: Requires::default(),
        workers: vec![],
        can_ever_run: true,
        hint: None,
    };
    let unmet = match step.state {
        StepState::Ready => {
            let unmet = worker::explain(world, job, step, now_mono, &mut why);
            match hold {
                Some(hold) => Unmet::new(hold.guard, format!("waits: {}", hold.reason), &hold.hint),
                None => unmet,
            }
        }
        StepState::Blocked => blocked(job, step),
        StepState::RetryWait => retry_wait(job, step),
        StepState::Awaiting => awaits(job, step),
        StepState::Parked => parked(job, step),
        StepState::Running if step.attempts.is_empty() => Unmet::new(
            Guard::InnerSteps,
            format!("is in round {}", step.round),
            "it ends with the steps inside it; their own lines say what they wait for",
        ),
        StepState::Offered | StepState::Running | StepState::Cancelling => {
            on_worker(world, job, step, now_mono)
        }
        StepState::Succeeded | StepState::Failed | StepState::Skipped | StepState::Cancelled => {
            why.reason = format!("is {}", step.state);
            return why;
        }
    };
    why.reason = unmet.reason;
    why.guard = Some(unmet.guard);
    why.hint = Some(unmet.hint);
    why
}

fn blocked(job: &Job, step: &Step) -> Unmet {
    let open: Vec<String> = step
        .needs
        .iter()
        .filter(|need| job.step(need).is_some_and(|need| !need.state.is_terminal()))
        .map(ToString::to_string)
        .collect();
    if open.is_empty() {
        // a closing step of a job that was brought back
        return Unmet::new(
            Guard::OtherSteps,
            "waits until all other steps have ended",
            "it begins by itself; their own lines say what they wait for",
        );
    }
    Unmet::new(
        Guard::Needs,
        format!("waits for {}", open.join(", ")),
        "it begins by itself when these have ended; their own lines say what they wait for",
    )
}

fn retry_wait(job: &Job, step: &Step) -> Unmet {
    let error = step
        .error
        .as_ref()
        .map_or("it failed", |error| error.message.as_str());
    let until = step.not_before.map_or_else(String::new, |at| format!(" at {at}"));
    let mend = step.error.as_ref().and_then(|error| error.hint.as_deref());
    let mend = mend.map_or_else(String::new, |mend| format!("; before that: {mend}"));
    Unmet::new(
        Guard::RetryTime,
        format!("will be tried again{until}: {error}"),
        format!(
            "it goes on by itself{mend}; `agentctl cancel {}` stops it",
            job.number
        ),
    )
}

/// Who can decide, and what becomes of the step if nobody does.
fn awaits(job: &Job, step: &Step) -> Unmet {
    let who = "waits for a person's decision: whoever has a token with scope approve or admin";
    let reason = match (&step.approval, asked(job, step)) {
        (Some(wait), Some(approval)) => format!(
            "{who}; if nobody decides until {}, it is {}",
            wait.until,
            approval.on_timeout.participle()
        ),
        _ => who.to_owned(),
    };
    let (number, key) = (job.number, &step.key);
    Unmet::new(
        Guard::Decision,
        reason,
        format!("agentctl approve {number} '{key}', or agentctl reject {number} '{key}'"),
    )
}

fn parked(job: &Job, step: &Step) -> Unmet {
    let error = step
        .error
        .as_ref()
        .map_or("a person must decide", |error| error.message.as_str());
    Unmet::new(
        Guard::StepParked,
        format!("is parked: {error}"),
        format!("agentctl resume {}", job.number),
    )
}

/// A step with an open attempt.
fn on_worker(world: &World, job: &Job, step: &Step, now_mono: u64) -> Unmet {
    let (number, key) = (job.number, &step.key);
    let Some(attempt) = step.current() else {
        return Unmet::new(
            Guard::Result,
            "runs",
            format!("agentctl logs -f {number} '{key}'"),
        );
    };
    let name = &attempt.worker_name;
    let note = step
        .note
        .as_deref()
        .map_or_else(String::new, |note| format!(": {note}"));
    let seconds = seconds_left(attempt, now_mono);
    match attempt.state {
        AttemptState::Offered => Unmet::new(
            Guard::Acceptance,
            format!("was offered to {name}{note}"),
            format!(
                "it is said again in {seconds} s, {} times in all; then another attempt begins, and {name} is taken for suspect",
                super::attempt::OFFERS
            ),
        ),
        AttemptState::Suspect => Unmet::new(
            Guard::SilentWorker,
            format!("runs on {name}, which has fallen silent{note}"),
            format!(
                "it goes on with the next word of {name}; without one in {seconds} s another attempt begins; \
                 `agentctl workers show {name}` says what is known of it"
            ),
        ),
        AttemptState::Cancelling => Unmet::new(
            Guard::Stop,
            format!("is being stopped on {name}{note}"),
            format!("it ends when {name} says so, or in {seconds} s without a word of it"),
        ),
        _ => {
            let silent = world
                .workers
                .get(&attempt.worker)
                .is_none_or(|worker| !worker.live);
            let restarted = if silent {
                ", which has not come back yet"
            } else {
                ""
            };
            Unmet::new(
                Guard::Result,
                format!("runs on {name}{restarted}{note}"),
                format!("agentctl logs -f {number} '{key}'"),
            )
        }
    }
}

/// Until the attempt's next deadline.
fn seconds_left(attempt: &Attempt, now_mono: u64) -> u64 {
    attempt.due.saturating_sub(now_mono).div_ceil(1000)
}
