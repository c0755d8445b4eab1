//! The `loop` of a block, and the expressions of loops and conditions.

use super::is_name;
use crate::workflow::{
    model::{Condition, Loop, OnExhausted},
    read::{Field, Mistakes},
    template::single_expression,
    yaml::Yaml,
};

/// Keys of `loop`.
pub(super) const KEYS: &[&str] = &["as", "max", "until", "on_exhausted"];

/// Words of `on_exhausted`.
pub(super) const ON_EXHAUSTED: [(&str, OnExhausted); 3] = [
    ("fail", OnExhausted::Fail),
    ("park", OnExhausted::Park),
    ("succeed", OnExhausted::Succeed),
];

pub(super) fn read(field: &Field<'_>, mistakes: &mut Mistakes) -> Option<Loop> {
    let section = field.section("a loop: {as: round, max: 3, until: …}", mistakes)?;
    section.allow(KEYS, &[], mistakes);
    let name = section
        .get("as")
        .and_then(|field| field.text(mistakes))
        .unwrap_or_else(|| "round".to_owned());
    if !is_name(&name) || name.contains('-') || ["steps", "inputs", "job"].contains(&name.as_str()) {
        mistakes.add(
            &section.path_of("as"),
            format!("`{name}` cannot name a loop"),
            None,
        );
    }
    let max = section
        .required("max", mistakes)
        .and_then(|field| match &field.node.value {
            Yaml::Text(text) if single_expression(text).is_some() => Some(text.clone()),
            _ => field.int(1, 50, mistakes).map(|max| max.to_string()),
        });
    let until = section
        .required("until", mistakes)
        .and_then(|field| read_expression(field, mistakes));
    let on_exhausted = section
        .get("on_exhausted")
        .and_then(|field| field.one_of(&ON_EXHAUSTED, mistakes));
    Some(Loop {
        name,
        max: max.unwrap_or_else(|| "1".to_owned()),
        until: until.unwrap_or_else(|| "true".to_owned()),
        on_exhausted: on_exhausted.unwrap_or(OnExhausted::Fail),
    })
}

/// An expression; braces around the whole are no harm.
fn read_expression(field: &Field<'_>, mistakes: &mut Mistakes) -> Option<String> {
    let text = field.plain(mistakes)?;
    Some(single_expression(&text).unwrap_or(text.trim()).to_owned())
}

/// The `if` of a step.
pub(super) fn read_condition(field: &Field<'_>, mistakes: &mut Mistakes) -> Condition {
    match read_expression(field, mistakes) {
        Some(text) if text == "always()" => Condition::Always,
        Some(text) => Condition::If(text),
        None => Condition::NeedsOk,
    }
}
