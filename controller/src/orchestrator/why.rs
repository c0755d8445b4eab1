//! Every stuck thing explains itself: what each step of a job waits for.

use protocol::{
    http::jobs::{Why, WhyStep, WhyWorker},
    job::JobState,
    label::Requires,
    step::StepState,
    worker::Wanted,
};

use crate::queue::group_running;

use super::{
    approval::asked,
    place::{Lack, avoided, lacks},
    world::{Job, Step, World},
};

/// Explains an open job.
pub fn explain(world: &World, job: &Job, now_mono: u64) -> Why {
    let steps: Vec<WhyStep> = job
        .steps
        .iter()
        .filter(|step| !step.state.is_terminal())
        .map(|step| explain_step(world, job, step, now_mono))
        .collect();
    Why {
        state: job.state,
        summary: summary(world, job, &steps),
        steps,
    }
}

fn summary(world: &World, job: &Job, steps: &[WhyStep]) -> String {
    let number = job.number;
    if job.state == JobState::Parked {
        let reason = job.reason.as_deref().unwrap_or("nobody said why");
        return format!("job {number} is parked: {reason}");
    }
    if world.paused {
        return format!("job {number} waits: dispatch as a whole is paused");
    }
    if let (Some(group), Some(rule), None) = (&job.group, &job.workflow.concurrency, job.started_at)
        && group_running(world, group, job.id) >= rule.max
    {
        return format!(
            "job {number} waits: concurrency group {group:?} has {} running",
            rule.max
        );
    }
    let stuck = steps.iter().find(|step| !step.can_ever_run);
    let in_state = |state| steps.iter().find(|step| step.state == state);
    let waiting = in_state(StepState::Ready).or_else(|| in_state(StepState::Awaiting));
    match stuck.or(waiting) {
        Some(step) => format!("job {number} waits: step {} {}", step.step, step.reason),
        None => format!("job {number} is {}", job.state),
    }
}

fn explain_step(world: &World, job: &Job, step: &Step, now_mono: u64) -> WhyStep {
    let mut why = WhyStep {
        step: step.key.clone(),
        state: step.state,
        reason: reason(job, step),
        requires: Requires::default(),
        workers: vec![],
        can_ever_run: true,
        hint: None,
    };
    if step.state == StepState::Ready {
        explain_ready(world, job, step, now_mono, &mut why);
    }
    if step.state == StepState::Parked {
        why.hint = Some(format!("agentctl resume {}", job.number));
    }
    if step.state == StepState::Awaiting {
        let (number, key) = (job.number, &step.key);
        why.hint = Some(format!(
            "agentctl approve {number} '{key}', or agentctl reject {number} '{key}'"
        ));
    }
    why
}

/// Who can decide, and what becomes of the step if nobody does.
fn awaits(job: &Job, step: &Step) -> String {
    let who = "waits for a person's decision: whoever has a token with scope approve or admin";
    match (&step.approval, asked(job, step)) {
        (Some(wait), Some(approval)) => format!(
            "{who}; if nobody decides until {}, it is {}",
            wait.until,
            approval.on_timeout.participle()
        ),
        _ => who.to_owned(),
    }
}

fn reason(job: &Job, step: &Step) -> String {
    let on_worker = |verb: &str| {
        let worker = step
            .current()
            .map_or("a worker", |attempt| attempt.worker_name.as_str());
        let note = step
            .note
            .as_deref()
            .map_or_else(String::new, |note| format!(": {note}"));
        format!("{verb} {worker}{note}")
    };
    match step.state {
        StepState::Blocked => {
            let open: Vec<String> = step
                .needs
                .iter()
                .filter(|need| job.step(need).is_some_and(|need| !need.state.is_terminal()))
                .map(ToString::to_string)
                .collect();
            if open.is_empty() {
                // a closing step of a job that was brought back
                return "waits until all other steps have ended".to_owned();
            }
            format!("waits for {}", open.join(", "))
        }
        StepState::Ready => "waits for a worker".to_owned(),
        StepState::RetryWait => {
            let error = step
                .error
                .as_ref()
                .map_or("it failed", |error| error.message.as_str());
            let until = step.not_before.map_or_else(String::new, |at| format!(" at {at}"));
            format!("will be tried again{until}: {error}")
        }
        StepState::Awaiting => awaits(job, step),
        StepState::Offered => on_worker("was offered to"),
        StepState::Running if step.attempts.is_empty() => format!("is in round {}", step.round),
        StepState::Running => on_worker("runs on"),
        StepState::Cancelling => on_worker("is being stopped on"),
        StepState::Parked => {
            let error = step
                .error
                .as_ref()
                .map_or("a person must decide", |error| error.message.as_str());
            format!("is parked: {error}")
        }
        StepState::Succeeded | StepState::Failed | StepState::Skipped | StepState::Cancelled => {
            format!("is {}", step.state)
        }
    }
}

fn explain_ready(world: &World, job: &Job, step: &Step, now_mono: u64, why: &mut WhyStep) {
    why.requires = job.def(step).requires.clone();
    let avoid = avoided(job, step);
    let (mut someone, mut weak) = (false, 0);
    for worker in world
        .workers
        .values()
        .filter(|worker| worker.wanted != Wanted::Removed)
    {
        let mut lack = lacks(world, job, step, worker, now_mono);
        someone |= lack.as_ref().is_none_or(Lack::passes);
        if let Some((_, ran)) = avoid.iter().find(|(avoided, _)| *avoided == worker.id) {
            lack = lack.or_else(|| Some(Lack::NotWith(ran.clone())));
        }
        weak += usize::from(matches!(lack, Some(Lack::Sandbox { .. })));
        let lacks = lack.map_or_else(
            || "nothing: it is about to be offered".to_owned(),
            |lack| lack.to_string(),
        );
        why.workers.push(WhyWorker {
            worker: worker.name.clone(),
            lacks,
        });
    }
    why.can_ever_run = someone;
    if why.workers.is_empty() {
        why.reason = "waits for a worker, and none has joined".to_owned();
        why.hint = Some("agentctl workers join-token".to_owned());
    } else if !someone {
        why.reason = match job.def(step).sandbox {
            Some(level) if weak > 0 => format!(
                "waits for a worker with sandbox level {level}, and {weak} that could take it {} less",
                if weak == 1 { "has" } else { "have" }
            ),
            None if weak > 0 => {
                "waits for a worker that may run tools, and none that is online has a sandbox level \
                                 that its owner allows"
                    .to_owned()
            }
            _ => "waits for a worker, and no worker that is online can take it".to_owned(),
        };
        why.hint = Some(if weak > 0 {
            "install bubblewrap where the worker runs and restart it; `agentctl doctor` says more".to_owned()
        } else {
            "start a worker that has what is missing, or give an existing one the label".to_owned()
        });
    }
}
