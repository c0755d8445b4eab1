//! The secrets that a step names.

use protocol::secret::{SecretForm, SecretUse, check_secret_name};

use crate::workflow::{
    read::{Field, Mistakes},
    yaml::Yaml,
};

/// Longest reason of `allow_trifecta`.
const MAX_REASON: usize = 200;
/// Keys of a secret that is more than a name.
pub(super) const KEYS: &[&str] = &["name", "as"];
/// Words of `as`.
pub(super) const FORMS: [(&str, SecretForm); 2] = [("env", SecretForm::Env), ("file", SecretForm::File)];

pub(super) fn read(field: &Field<'_>, mistakes: &mut Mistakes) -> Vec<SecretUse> {
    let mut found: Vec<SecretUse> = vec![];
    for item in field
        .items("a list of secrets: [FORGE_TOKEN]", mistakes)
        .unwrap_or_default()
    {
        let Some(secret) = read_one(&item, mistakes) else {
            continue;
        };
        if found.iter().any(|other| other.name == secret.name) {
            mistakes.add(&item.path, format!("`{}` is named twice", secret.name), None);
        } else {
            found.push(secret);
        }
    }
    found
}

fn read_one(item: &Field<'_>, mistakes: &mut Mistakes) -> Option<SecretUse> {
    let (name, form) = if matches!(item.node.value, Yaml::Map(_)) {
        let section = item.section("a secret: {name: NAME, as: file}", mistakes)?;
        section.allow(KEYS, &[], mistakes);
        let name = section.required("name", mistakes)?.text(mistakes)?;
        let form = section.get("as").and_then(|field| field.one_of(&FORMS, mistakes));
        (name, form.unwrap_or_default())
    } else {
        (item.text(mistakes)?, SecretForm::Env)
    };
    if let Err(error) = check_secret_name(&name) {
        mistakes.add(&item.path, format!("`{name}` names no secret: {error}"), None);
        return None;
    }
    Some(SecretUse { name, form })
}

/// Why the step may have all three of untrusted input, secrets and open network.
pub(super) fn read_leave(field: &Field<'_>, mistakes: &mut Mistakes) -> Option<String> {
    let reason = field.text(mistakes)?;
    let is_reason = !reason.trim().is_empty() && reason.chars().count() <= MAX_REASON;
    if !is_reason || reason.chars().any(char::is_control) {
        let message =
            format!("a reason is one line of 1 to {MAX_REASON} characters, for whoever reads the audit log");
        mistakes.add(&field.path, message, None);
        return None;
    }
    Some(reason)
}
