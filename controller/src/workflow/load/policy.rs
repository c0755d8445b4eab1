//! Where, how long and how often a step runs.

use protocol::{
    duration::Millis,
    label::Requires,
    sandbox::{SandboxLevel, network_mistake},
    step::ErrorClass,
};

use super::{Defaults, MAX_TIME};
use crate::workflow::{
    model::{OnLost, RetryPolicy, StepKind},
    read::{Field, Mistakes, Section, parse_duration},
};

/// Limits of one attempt: an agent waits for models, a tool step for a whole test suite.
const AGENT_TIMEOUT: Millis = Millis::from_secs(30 * 60);
const RUN_TIMEOUT: Millis = Millis::from_secs(15 * 60);
const USE_TIMEOUT: Millis = Millis::from_secs(30 * 60);

/// Keys of `retry`.
pub(super) const RETRY_KEYS: &[&str] = &["max", "on", "backoff"];

/// Words of `retry.on`: what a person has refused is not tried again by itself.
pub(super) fn retry_classes() -> impl Iterator<Item = ErrorClass> {
    let all = ErrorClass::ALL.iter().copied();
    all.filter(|class| *class != ErrorClass::Rejected)
}

/// Keys of `place`.
pub(super) const PLACE_KEYS: &[&str] = &["not_with"];

/// Words of `on_lost`.
pub(super) const ON_LOST: [(&str, OnLost); 3] = [
    ("resume", OnLost::Resume),
    ("retry", OnLost::Retry),
    ("park", OnLost::Park),
];

/// Words of `sandbox`.
pub(super) const SANDBOX: [(&str, SandboxLevel); 3] = [
    ("none", SandboxLevel::None),
    ("basic", SandboxLevel::Basic),
    ("strong", SandboxLevel::Strong),
];

/// Words of `effect`.
pub(super) const EFFECT: [(&str, bool); 1] = [("external", true)];

/// The label pairs that a step requires of a worker.
pub(super) fn read_requires(field: &Field<'_>, mistakes: &mut Mistakes) -> Requires {
    let section = field.section("labels: {os: linux}", mistakes);
    let entries = section.iter().flat_map(Section::entries);
    Requires(
        entries
            .filter_map(|(key, field)| Some((key.to_owned(), field.plain(mistakes)?)))
            .collect(),
    )
}

pub(super) fn merged_requires(
    section: &Section<'_>,
    defaults: &Defaults,
    mistakes: &mut Mistakes,
) -> Requires {
    let mut requires = defaults.requires.clone();
    if let Some(field) = section.get("requires") {
        requires.0.extend(read_requires(field, mistakes).0);
    }
    requires
}

pub(super) fn read_place(field: &Field<'_>, mistakes: &mut Mistakes) -> Vec<String> {
    let Some(section) = field.section("a place: {not_with: [cycle.edit]}", mistakes) else {
        return vec![];
    };
    section.allow(PLACE_KEYS, &[], mistakes);
    let steps = section.required("not_with", mistakes);
    steps
        .and_then(|field| field.texts("a list of steps", mistakes))
        .unwrap_or_default()
}

pub(super) fn read_timeout(
    section: &Section<'_>,
    kind: &StepKind,
    defaults: &Defaults,
    mistakes: &mut Mistakes,
) -> Millis {
    let own = section
        .get("timeout")
        .and_then(|field| field.duration(MAX_TIME, mistakes));
    own.or(defaults.timeout).unwrap_or(match kind {
        StepKind::Agent { .. } => AGENT_TIMEOUT,
        StepKind::Run { .. } => RUN_TIMEOUT,
        StepKind::Use(_) => USE_TIMEOUT,
        // Only steps that a worker executes have a limit here; the job's own covers blocks.
        StepKind::Approval(_) | StepKind::Block { .. } => MAX_TIME,
    })
}

/// How failed work is tried again; what is not named stays as in `base`.
pub(super) fn read_retry(field: &Field<'_>, base: RetryPolicy, mistakes: &mut Mistakes) -> RetryPolicy {
    let mut retry = base;
    let Some(section) = field.section("{max: 2, on: [exit], backoff: 2s..5m}", mistakes) else {
        return retry;
    };
    section.allow(RETRY_KEYS, &[], mistakes);
    if let Some(max) = section.get("max").and_then(|field| field.int(0, 20, mistakes)) {
        retry.max = max as u32;
    }
    if let Some(items) = section
        .get("on")
        .and_then(|field| field.items("a list of error classes", mistakes))
    {
        let words: Vec<_> = retry_classes().map(|class| (class.as_str(), class)).collect();
        retry.on = items
            .iter()
            .filter_map(|item| item.one_of(&words, mistakes))
            .collect();
    }
    if let Some(field) = section.get("backoff")
        && let Some(text) = field.text(mistakes)
    {
        let (min, max) = text.split_once("..").unwrap_or((&text, &text));
        let min = parse_duration(&field.path, min.trim(), MAX_TIME, mistakes);
        let max = parse_duration(&field.path, max.trim(), MAX_TIME, mistakes);
        if let (Some(min), Some(max)) = (min, max) {
            if min > max {
                mistakes.add(&field.path, format!("{min} is longer than {max}"), None);
            }
            (retry.backoff_min, retry.backoff_max) = (min, max);
        }
    }
    retry
}

/// What becomes of the step when its worker is lost: only an agent has something to go on from.
pub(super) fn read_on_lost(section: &Section<'_>, kind: &StepKind, mistakes: &mut Mistakes) -> OnLost {
    let Some(field) = section.get("on_lost") else {
        return OnLost::default();
    };
    let Some(on_lost) = field.one_of(&ON_LOST, mistakes) else {
        return OnLost::default();
    };
    if on_lost == OnLost::Resume && !matches!(kind, StepKind::Agent { .. }) {
        mistakes.add(
            &field.path,
            format!("only an agent can be resumed, not `{}`", kind.name()),
            Some("a lost step of another kind is run again; `park` leaves it to a person".to_owned()),
        );
    }
    if section.has("effect") && on_lost != OnLost::Park {
        mistakes.add(
            &field.path,
            "a step with `effect: external` parks when it is lost".to_owned(),
            None,
        );
    }
    on_lost
}

pub(super) fn read_effect(section: &Section<'_>, mistakes: &mut Mistakes) -> bool {
    section
        .get("effect")
        .and_then(|field| field.one_of(&EFFECT, mistakes))
        .unwrap_or(false)
}

/// The least sandbox level that the step accepts.
pub(super) fn read_sandbox(field: &Field<'_>, mistakes: &mut Mistakes) -> Option<SandboxLevel> {
    field.one_of(&SANDBOX, mistakes)
}

/// The hosts that the step asks for.
pub(super) fn read_network(field: &Field<'_>, mistakes: &mut Mistakes) -> Vec<String> {
    let items = field.items("a list of hosts: [packages, crates.example.org]", mistakes);
    let mut hosts = vec![];
    for item in items.unwrap_or_default() {
        let Some(host) = item.text(mistakes) else { continue };
        match network_mistake(&host) {
            Some(mistake) => mistakes.add(&item.path, format!("`{host}` names no host: {mistake}"), None),
            None => hosts.push(host),
        }
    }
    hosts
}
