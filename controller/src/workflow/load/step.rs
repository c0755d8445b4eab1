//! One step of a workflow.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use protocol::{label::Requires, spec::ToolStep};
use serde_json::{Map, Value};

use super::{Defaults, approval, command, outputs, policy, read_steps, rounds, secrets};
use crate::workflow::{
    model::{CommandDef, READERS, StepDef, StepKind},
    read::{Field, Mistakes, Section},
};

/// Keys of the format that this version does not act upon.
pub(super) const LATER: &[&str] = &["webhook", "workflow", "external", "fan_out", "matrix", "attempts"];

/// The keys of which a step has exactly one.
pub(super) const KINDS: [&str; 5] = ["agent", "run", "use", "approval", "steps"];

/// Kinds of the format that this version lacks.
const LATER_KINDS: [&str; 3] = ["webhook", "workflow", "external"];

/// Keys that every step may have.
const COMMON: &[&str] = &["needs", "if", "allow_failure"];

/// Keys of steps that a worker executes.
const WORK: &[&str] = &[
    "requires", "place", "timeout", "retry", "effect", "sandbox", "network", "on_lost",
];

/// Keys that only some kinds of steps have.
const SPECIAL: &[&str] = &[
    "model",
    "outputs",
    "with",
    "shell",
    "env",
    "writes",
    "loop",
    "secrets",
    "allow_trifecta",
];

/// Words of `use`.
pub(super) const TOOLS: [(&str, ToolStep); 4] = [
    ("prepare", ToolStep::Prepare),
    ("check", ToolStep::Check),
    ("verify", ToolStep::Verify),
    ("deliver", ToolStep::Deliver),
];

/// All keys that some step may have.
pub(super) fn keys() -> Vec<&'static str> {
    let known = KINDS.iter().chain(COMMON).chain(WORK).chain(SPECIAL);
    known.copied().collect()
}

/// Deepest nesting of blocks; keeps step keys under 200 characters.
const MAX_DEPTH: usize = 3;

/// Reads a step; `None` when it is no map at all.
pub(super) fn read(
    field: &Field<'_>,
    depth: usize,
    defaults: &Defaults,
    mistakes: &mut Mistakes,
) -> Option<StepDef> {
    let section = field.section(
        "a step: a map with `agent`, `run`, `use`, `approval` or `steps`",
        mistakes,
    )?;
    let kind = read_kind(&section, depth, defaults, mistakes);
    allow_keys(&section, kind.as_ref(), mistakes);
    // A step of no known kind still has a name that others may need.
    let kind = kind.unwrap_or(StepKind::Run {
        command: CommandDef::Argv(vec![]),
    });
    let is_work = !matches!(kind, StepKind::Approval(_) | StepKind::Block { .. });
    Some(StepDef {
        needs: section
            .get("needs")
            .and_then(|field| field.texts("a list of steps", mistakes))
            .unwrap_or_default(),
        condition: section
            .get("if")
            .map(|field| rounds::read_condition(field, mistakes))
            .unwrap_or_default(),
        with: section
            .get("with")
            .map(|field| read_with(field, mistakes))
            .unwrap_or_default(),
        env: section
            .get("env")
            .map(|field| read_env(field, mistakes))
            .unwrap_or_default(),
        outputs: section
            .get("outputs")
            .map(|field| outputs::read(field, &kind, mistakes))
            .unwrap_or_default(),
        requires: if is_work {
            policy::merged_requires(&section, defaults, mistakes)
        } else {
            Requires::default()
        },
        not_with: section
            .get("place")
            .map(|field| policy::read_place(field, mistakes))
            .unwrap_or_default(),
        timeout: policy::read_timeout(&section, &kind, defaults, mistakes),
        retry: match section.get("retry") {
            Some(field) => policy::read_retry(field, defaults.retry.clone(), mistakes),
            None => defaults.retry.clone(),
        },
        allow_failure: truth(&section, "allow_failure", mistakes),
        writes: truth(&section, "writes", mistakes),
        external: policy::read_effect(&section, mistakes),
        on_lost: policy::read_on_lost(&section, &kind, mistakes),
        sandbox: section
            .get("sandbox")
            .and_then(|field| policy::read_sandbox(field, mistakes)),
        network: section
            .get("network")
            .map(|field| policy::read_network(field, mistakes)),
        secrets: section
            .get("secrets")
            .map(|field| secrets::read(field, mistakes))
            .unwrap_or_default(),
        trifecta: section
            .get("allow_trifecta")
            .and_then(|field| secrets::read_leave(field, mistakes)),
        kind,
    })
}

fn truth(section: &Section<'_>, name: &str, mistakes: &mut Mistakes) -> bool {
    section
        .get(name)
        .and_then(|field| field.truth(mistakes))
        .unwrap_or(false)
}

fn read_kind(
    section: &Section<'_>,
    depth: usize,
    defaults: &Defaults,
    mistakes: &mut Mistakes,
) -> Option<StepKind> {
    let found: Vec<&str> = KINDS.into_iter().filter(|name| section.has(name)).collect();
    if found.len() > 1 {
        let message = format!(
            "a step has exactly one of {}, not {}",
            KINDS.join(", "),
            found.join(" and ")
        );
        mistakes.add(&section.path, message, Some("make two steps of it".to_owned()));
    }
    let Some(name) = found.first() else {
        if !LATER_KINDS.iter().any(|name| section.has(name)) {
            let message = format!("a step needs one of {}", KINDS.join(", "));
            mistakes.add(&section.path, message, None);
        }
        return None;
    };
    let field = section.get(name)?;
    match *name {
        "agent" => read_agent(field, section, defaults, mistakes),
        "run" => Some(StepKind::Run {
            command: command::read(field, section, mistakes),
        }),
        "use" => read_use(field, mistakes),
        "approval" => Some(StepKind::Approval(approval::read(field, mistakes))),
        _ => Some(read_block(field, section, depth, defaults, mistakes)),
    }
}

fn read_agent(
    field: &Field<'_>,
    section: &Section<'_>,
    defaults: &Defaults,
    mistakes: &mut Mistakes,
) -> Option<StepKind> {
    let role = field.text(mistakes)?;
    if section.has("writes") && READERS.contains(&role.as_str()) {
        mistakes.add(
            &section.path_of("writes"),
            format!("the role {role} never changes files"),
            None,
        );
    }
    let model = section.get("model").and_then(|field| field.text(mistakes));
    Some(StepKind::Agent {
        role,
        model: model.or_else(|| defaults.model.clone()),
    })
}

fn read_use(field: &Field<'_>, mistakes: &mut Mistakes) -> Option<StepKind> {
    field.one_of(&TOOLS, mistakes).map(StepKind::Use)
}

fn read_block(
    field: &Field<'_>,
    section: &Section<'_>,
    depth: usize,
    defaults: &Defaults,
    mistakes: &mut Mistakes,
) -> StepKind {
    let rounds = section
        .get("loop")
        .and_then(|field| rounds::read(field, mistakes));
    if depth >= MAX_DEPTH {
        mistakes.add(
            &field.path,
            format!("blocks are nested deeper than {MAX_DEPTH}"),
            None,
        );
        return StepKind::Block {
            rounds,
            steps: IndexMap::new(),
        };
    }
    StepKind::Block {
        rounds,
        steps: read_steps(field, depth + 1, defaults, mistakes),
    }
}

fn read_with(field: &Field<'_>, mistakes: &mut Mistakes) -> Map<String, Value> {
    let section = field.section("a map", mistakes);
    let entries = section.iter().flat_map(Section::entries);
    entries
        .map(|(name, field)| (name.to_owned(), field.node.to_json()))
        .collect()
}

fn read_env(field: &Field<'_>, mistakes: &mut Mistakes) -> BTreeMap<String, String> {
    let Some(section) = field.section("a map of texts", mistakes) else {
        return BTreeMap::new();
    };
    let mut env = BTreeMap::new();
    for (name, field) in section.entries() {
        let valid = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !valid {
            mistakes.add(
                &field.path,
                format!("`{name}` cannot name an environment variable"),
                None,
            );
        }
        if let Some(text) = field.plain(mistakes) {
            env.insert(name.to_owned(), text);
        }
    }
    env
}

fn allow_keys(section: &Section<'_>, kind: Option<&StepKind>, mistakes: &mut Mistakes) {
    let own: &[&str] = match kind {
        Some(StepKind::Agent { .. }) => &["model", "outputs", "with", "writes"],
        Some(StepKind::Run { .. }) => &["shell", "env", "writes", "outputs", "secrets", "allow_trifecta"],
        Some(StepKind::Use(_)) => &["with"],
        Some(StepKind::Approval(_)) => &[],
        Some(StepKind::Block { .. }) => &["loop"],
        None => SPECIAL,
    };
    let work = match kind {
        Some(StepKind::Approval(_) | StepKind::Block { .. }) => &[],
        _ => WORK,
    };
    let allowed = |name: &str| work.contains(&name) || own.contains(&name);
    for (name, field) in section.entries() {
        let misplaced = (WORK.contains(&name) || SPECIAL.contains(&name)) && !allowed(name);
        if misplaced && let Some(kind) = kind {
            let hint = match (kind, name) {
                (StepKind::Run { .. }, "with") => Some("a command gets its data by `run` and `env`"),
                (StepKind::Approval(_), "timeout") => Some("write it inside: `approval: {timeout: 24h}`"),
                _ => None,
            };
            let message = format!("`{name}` has no meaning with `{}`", kind.name());
            mistakes.add(&field.path, message, hint.map(str::to_owned));
        }
    }
    section.allow(&keys(), LATER, mistakes);
}
