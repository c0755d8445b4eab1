//! What each worker lacks for a step that is ready.

use protocol::{
    guard::Guard,
    http::jobs::{WhyStep, WhyWorker},
    sandbox::SandboxLevel,
    worker::{Wanted, WorkerState},
};

use super::{
    super::{
        models::NoModel,
        place::{Lack, avoided, lacks},
        world::{Job, Step, Worker, World},
    },
    Unmet,
};

const BY_ITSELF: &str = "nothing has to be done";

/// Fills in what each worker lacks; what the step as a whole waits for is what the nearest one lacks.
pub(super) fn explain(world: &World, job: &Job, step: &Step, now_mono: u64, why: &mut WhyStep) -> Unmet {
    why.requires = job.def(step).requires.clone();
    let lack: Vec<(&Worker, Option<Lack>)> = world
        .workers
        .values()
        .filter(|worker| worker.wanted != Wanted::Removed)
        .map(|worker| (worker, lacks(world, job, step, worker, now_mono)))
        .collect();
    why.can_ever_run = lack.iter().any(|(_, lack)| capable(lack.as_ref()));
    let weak = lack
        .iter()
        .filter(|(_, lack)| matches!(lack, Some(Lack::Sandbox { .. })))
        .count();
    let nearest = with_avoided(job, step, lack)
        .into_iter()
        .map(|(worker, lack)| {
            let unmet = unmet(&worker.name, lack.as_ref());
            why.workers.push(WhyWorker {
                worker: worker.name.clone(),
                lacks: unmet.reason.clone(),
                guard: Some(unmet.guard),
                hint: Some(unmet.hint.clone()),
            });
            unmet
        })
        .max_by_key(|unmet| unmet.guard);
    let Some(nearest) = nearest else {
        return Unmet::new(
            Guard::NoWorker,
            "waits for a worker, and none has joined",
            "agentctl workers join-token",
        );
    };
    let reason = if why.can_ever_run {
        "waits for a worker".to_owned()
    } else {
        nobody(job.def(step).sandbox, weak)
    };
    Unmet { reason, ..nearest }
}

fn capable(lack: Option<&Lack>) -> bool {
    lack.is_none_or(Lack::passes)
}

/// A worker that the step avoids is left alone as long as another one can take it.
fn with_avoided<'a>(
    job: &Job,
    step: &Step,
    lack: Vec<(&'a Worker, Option<Lack>)>,
) -> Vec<(&'a Worker, Option<Lack>)> {
    let avoid = avoided(job, step);
    let ran_on = |worker: &Worker| avoid.iter().find(|(avoided, _)| *avoided == worker.id);
    let others = lack
        .iter()
        .any(|(worker, lack)| capable(lack.as_ref()) && ran_on(worker).is_none());
    lack.into_iter()
        .map(|(worker, lack)| match ran_on(worker) {
            Some((_, ran)) if others && capable(lack.as_ref()) => (worker, Some(Lack::NotWith(ran.clone()))),
            _ => (worker, lack),
        })
        .collect()
}

/// Why nobody who is online can take the step.
fn nobody(asked: Option<SandboxLevel>, weak: usize) -> String {
    match asked {
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
    }
}

/// What one worker lacks, and what would change it.
fn unmet(name: &str, lack: Option<&Lack>) -> Unmet {
    let Some(lack) = lack else {
        return Unmet::new(Guard::Nothing, "nothing: it is about to be offered", BY_ITSELF);
    };
    let (guard, hint) = match lack {
        Lack::NotOnline(WorkerState::Suspect | WorkerState::Online) => (
            Guard::WorkerSuspect,
            format!(
                "it is asked again with its next word; `agentctl workers show {name}` says when it was heard"
            ),
        ),
        Lack::NotOnline(WorkerState::Offline) => (
            Guard::WorkerOffline,
            format!(
                "start `agent-worker` on the machine of {name}, or forget it: `agentctl workers remove {name}`"
            ),
        ),
        Lack::NotWanted(Wanted::Draining) => (Guard::WorkerDraining, resume(name)),
        Lack::NotWanted(Wanted::Paused | Wanted::Active | Wanted::Removed) => {
            (Guard::WorkerPaused, resume(name))
        }
        Lack::Labels(missing) => (
            Guard::Labels,
            format!(
                "start a worker that has {missing}, or give it to {name}: install what a label `tool` names, set \
                 others under `labels:` in its configuration, and restart it"
            ),
        ),
        Lack::Sandbox { .. } => (
            Guard::Sandbox,
            format!(
                "install bubblewrap on the machine of {name} and restart agent-worker there; `agentctl doctor` says more"
            ),
        ),
        Lack::Model(NoModel::UnknownAlias(alias)) => (
            Guard::Model,
            format!(
                "add {alias:?} under `models:` in the controller's configuration; `agentctl status` lists what there is"
            ),
        ),
        Lack::Model(NoModel::None) => (
            Guard::Model,
            format!(
                "start Ollama on the machine of {name}, or add `providers:` and `models:` to the controller's \
                 configuration; `agentctl doctor` checks them"
            ),
        ),
        Lack::Model(NoModel::OutOfReach(alias)) => (
            Guard::Model,
            format!(
                "add the provider of {alias:?} under `providers:` in the configuration of the controller or of {name}"
            ),
        ),
        Lack::Excluded { for_ms } => (
            Guard::Excluded,
            format!(
                "{BY_ITSELF}: in {} s it may be asked again",
                for_ms.div_ceil(1000)
            ),
        ),
        Lack::NotWith(_) => (
            Guard::NotWith,
            format!("it goes to another worker; if none can take it any more, {name} is asked all the same"),
        ),
        Lack::Busy { .. } => (
            Guard::Slots,
            format!(
                "it is offered when an attempt on {name} ends; more `slots:` in its configuration let it take more at once"
            ),
        ),
    };
    Unmet::new(guard, lack.to_string(), hint)
}

fn resume(name: &str) -> String {
    format!("`agentctl workers resume {name}`")
}
