//! YAML text → checked [`Workflow`]. Reports every mistake that can be found,
//! each with its line, field and way out. Reads no files.

mod approval;
mod command;
mod inputs;
mod outputs;
mod policy;
mod rounds;
mod schema;
mod secrets;
mod step;

use indexmap::IndexMap;
use protocol::{
    duration::Millis,
    http::{jobs::Budget, workflows::WorkflowError},
    label::Requires,
};
use sha2::{Digest, Sha256};

use super::{
    check,
    graph::Steps,
    model::{BudgetRule, Concurrency, OnConflict, RetryPolicy, Workflow},
    prompts::Prompts,
    read::{Field, Mistakes, Section},
    yaml,
};

/// The version of the format that `api:` names.
pub const API: &str = "agentd/v1";

/// Most steps of a workflow, those in blocks included.
const MAX_STEPS: usize = 200;

/// Longest time that a workflow may name.
const MAX_TIME: Millis = Millis::from_secs(30 * 86_400);

const KEYS: &[&str] = &[
    "api",
    "name",
    "description",
    "inputs",
    "timeout",
    "priority",
    "budget",
    "concurrency",
    "defaults",
    "steps",
    "finally",
];

pub use schema::schema;

/// Keys of `defaults`.
const DEFAULTS_KEYS: &[&str] = &["requires", "retry", "timeout", "model"];

/// Keys of `budget`.
const BUDGET_KEYS: &[&str] = &["usd", "tokens", "on_exceed"];

/// Words of `on_exceed`: whether the job fails.
const ON_EXCEED: [(&str, bool); 2] = [("park", false), ("fail", true)];

/// Keys of `concurrency`.
const CONCURRENCY_KEYS: &[&str] = &["group", "max", "on_conflict"];

/// Words of `on_conflict`.
const ON_CONFLICT: [(&str, OnConflict); 3] = [
    ("queue", OnConflict::Queue),
    ("cancel_old", OnConflict::CancelOld),
    ("reject", OnConflict::Reject),
];

/// Loads and checks a workflow, and pins the prompts of its roles with it.
pub fn load(text: &str, prompts: &Prompts) -> Result<Workflow, Vec<WorkflowError>> {
    let mut mistakes = Mistakes::default();
    let node = yaml::parse(text).map_err(|error| vec![error])?;
    let workflow = read_workflow(&Field::root(&node, &mut mistakes), &mut mistakes);
    if let Some(workflow) = &workflow {
        check::check(workflow, prompts, &mut mistakes);
    }
    match workflow {
        Some(workflow) if mistakes.is_empty() => Ok(pinned(workflow, text, prompts)),
        _ => Err(mistakes.into_errors()),
    }
}

fn read_workflow(root: &Field<'_>, mistakes: &mut Mistakes) -> Option<Workflow> {
    let section = root.section("a workflow: a map with `name` and `steps`", mistakes)?;
    section.allow(KEYS, &[], mistakes);
    check_api(&section, mistakes);
    let defaults = Defaults::read(section.get("defaults"), mistakes);
    let name = section
        .required("name", mistakes)
        .and_then(|field| field.text(mistakes))
        .unwrap_or_default();
    if section.has("name") && !is_name(&name) {
        mistakes.add("name", invalid_name("a workflow", &name), None);
    }
    let steps = section
        .required("steps", mistakes)
        .map(|field| read_steps(field, 0, &defaults, mistakes));
    let finally = section
        .get("finally")
        .map(|field| read_steps(field, 0, &defaults, mistakes));
    let workflow = Workflow {
        name,
        description: section
            .get("description")
            .and_then(|field| field.text(mistakes))
            .unwrap_or_default(),
        inputs: section
            .get("inputs")
            .map(|field| inputs::read(field, mistakes))
            .unwrap_or_default(),
        timeout: section
            .get("timeout")
            .and_then(|field| field.duration(MAX_TIME, mistakes)),
        priority: section
            .get("priority")
            .and_then(|field| field.int(-100, 100, mistakes))
            .unwrap_or(0) as i32,
        budget: section
            .get("budget")
            .and_then(|field| read_budget(field, mistakes)),
        concurrency: section
            .get("concurrency")
            .and_then(|field| read_concurrency(field, mistakes)),
        steps: steps.unwrap_or_default(),
        finally: finally.unwrap_or_default(),
        sha256: String::new(),
        prompts: [].into(),
    };
    let count = workflow.step_keys().len();
    if count > MAX_STEPS {
        mistakes.add("steps", format!("{count} steps are more than {MAX_STEPS}"), None);
    }
    Some(workflow)
}

fn pinned(mut workflow: Workflow, text: &str, prompts: &Prompts) -> Workflow {
    let roles = workflow.roles().into_iter();
    workflow.prompts = roles
        .filter_map(|role| Some((role.to_owned(), prompts.get(role)?.to_owned())))
        .collect();
    let mut hash = Sha256::new();
    hash.update(Sha256::digest(text));
    for (role, prompt) in &workflow.prompts {
        hash.update(Sha256::digest(role));
        hash.update(Sha256::digest(prompt));
    }
    workflow.sha256 = hex::encode(hash.finalize());
    workflow
}

/// Text without `api` is taken as the only version that there is.
fn check_api(section: &Section<'_>, mistakes: &mut Mistakes) {
    let Some(api) = section.get("api").and_then(|field| field.text(mistakes)) else {
        return;
    };
    if api != API {
        mistakes.add(
            "api",
            format!("`{api}` is not known here"),
            Some(format!("write `api: {API}`")),
        );
    }
}

/// Whether a text may name a workflow, step, input or role.
pub(super) fn is_name(text: &str) -> bool {
    text.len() <= 40
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-')
}

fn invalid_name(what: &str, name: &str) -> String {
    format!(
        "`{name}` cannot name {what}: a small letter first, then at most 39 small letters, digits, _ and -"
    )
}

fn read_steps(field: &Field<'_>, depth: usize, defaults: &Defaults, mistakes: &mut Mistakes) -> Steps {
    let Some(section) = field.section("steps by name", mistakes) else {
        return IndexMap::new();
    };
    let mut steps = IndexMap::new();
    for (name, field) in section.entries() {
        if !is_name(name) {
            mistakes.add(&field.path, invalid_name("a step", name), None);
        }
        if let Some(step) = step::read(field, depth, defaults, mistakes) {
            steps.insert(name.to_owned(), step);
        }
    }
    if section.entries().next().is_none() {
        mistakes.add(&field.path, "there is no step", None);
    }
    steps
}

/// What steps get unless they say otherwise.
#[derive(Default)]
struct Defaults {
    requires: Requires,
    retry: RetryPolicy,
    timeout: Option<Millis>,
    model: Option<String>,
}

impl Defaults {
    fn read(field: Option<&Field<'_>>, mistakes: &mut Mistakes) -> Self {
        let mut defaults = Self::default();
        let Some(section) = field.and_then(|field| field.section("a map", mistakes)) else {
            return defaults;
        };
        section.allow(DEFAULTS_KEYS, step::LATER, mistakes);
        if let Some(field) = section.get("requires") {
            defaults.requires = policy::read_requires(field, mistakes);
        }
        if let Some(field) = section.get("retry") {
            defaults.retry = policy::read_retry(field, RetryPolicy::default(), mistakes);
        }
        defaults.timeout = section
            .get("timeout")
            .and_then(|field| field.duration(MAX_TIME, mistakes));
        defaults.model = section.get("model").and_then(|field| field.text(mistakes));
        defaults
    }
}

fn read_budget(field: &Field<'_>, mistakes: &mut Mistakes) -> Option<BudgetRule> {
    let section = field.section("caps: {usd: 2.50, tokens: 600k}", mistakes)?;
    section.allow(BUDGET_KEYS, &[], mistakes);
    let caps = Budget {
        usd: section.get("usd").and_then(|field| field.positive(mistakes)),
        tokens: section
            .get("tokens")
            .and_then(|field| read_count(field, mistakes)),
    };
    if !section.has("usd") && !section.has("tokens") {
        mistakes.add(&field.path, "a budget needs `usd`, `tokens` or both", None);
    }
    let fail = section
        .get("on_exceed")
        .and_then(|field| field.one_of(&ON_EXCEED, mistakes))
        .unwrap_or(false);
    Some(BudgetRule { caps, fail })
}

/// A whole number, perhaps with `k` or `M`.
fn read_count(field: &Field<'_>, mistakes: &mut Mistakes) -> Option<u64> {
    let text = field.plain(mistakes)?;
    let (digits, factor) = match text.strip_suffix(['k', 'M']) {
        Some(digits) if text.ends_with('k') => (digits, 1_000),
        Some(digits) => (digits, 1_000_000),
        None => (text.as_str(), 1),
    };
    let count = digits
        .parse::<u64>()
        .ok()
        .and_then(|count| count.checked_mul(factor));
    let count = count.filter(|count| *count > 0);
    if count.is_none() {
        mistakes.add(
            &field.path,
            format!("`{text}` is no number of tokens"),
            Some("such as 600k or 2M".to_owned()),
        );
    }
    count
}

fn read_concurrency(field: &Field<'_>, mistakes: &mut Mistakes) -> Option<Concurrency> {
    let section = field.section("a group: {group: NAME, max: 1}", mistakes)?;
    section.allow(CONCURRENCY_KEYS, &[], mistakes);
    let group = section
        .required("group", mistakes)
        .and_then(|field| field.text(mistakes))
        .unwrap_or_default();
    let max = section
        .get("max")
        .and_then(|field| field.int(1, 1000, mistakes))
        .unwrap_or(1) as u32;
    let on_conflict = section
        .get("on_conflict")
        .and_then(|field| field.one_of(&ON_CONFLICT, mistakes));
    Some(Concurrency {
        group,
        max,
        on_conflict: on_conflict.unwrap_or(OnConflict::Queue),
    })
}

#[cfg(test)]
mod tests;
