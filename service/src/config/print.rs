//! The merged settings as YAML for people: one comment a value says where it
//! comes from; secrets are masked.

use super::tree::{Node, Value};

/// What stands for a secret.
const MASK: &str = "•••";

/// Keys whose values are never shown, alone or as the end of a longer key (`smtp_password`).
const SECRET_KEYS: [&str; 6] = [
    "api_key",
    "token",
    "password",
    "passphrase",
    "secret",
    "credential",
];

/// Whether the value of this key is never shown.
pub(super) fn is_secret(key: &str) -> bool {
    let key = key.to_lowercase();
    SECRET_KEYS.iter().any(|secret| {
        key.strip_suffix(secret)
            .is_some_and(|start| start.is_empty() || start.ends_with('_'))
    })
}

pub(super) fn print(root: &Node) -> String {
    let mut out = String::new();
    print_entries(&mut out, root, 0);
    out
}

fn print_entries(out: &mut String, node: &Node, indent: usize) {
    let Value::Map(entries) = &node.value else { return };
    for (key, entry) in entries {
        let pad = " ".repeat(indent);
        let name = scalar_key(key);
        let origin = clean(&entry.origin.to_string());
        match &entry.value {
            Value::Map(inner) if !inner.is_empty() => {
                out.push_str(&format!("{pad}{name}:\n"));
                print_entries(out, entry, indent + 2);
            }
            Value::List(items) if items.iter().any(|item| matches!(item.value, Value::Map(_))) => {
                out.push_str(&format!("{pad}{name}: # {origin}\n"));
                for item in items {
                    out.push_str(&format!("{pad}  - {}\n", flow(item)));
                }
            }
            value if is_secret(key) && !matches!(value, Value::Null) => {
                out.push_str(&format!("{pad}{name}: \"{MASK}\" # {origin}\n"));
            }
            _ => out.push_str(&format!("{pad}{name}: {} # {origin}\n", flow(entry))),
        }
    }
}

/// A value on one line, valid YAML, secrets masked.
pub(super) fn flow(node: &Node) -> String {
    match &node.value {
        Value::Null => "~".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(value) => value.to_string(),
        Value::Text(text) => quoted(&without_password(text)),
        Value::List(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Value::Map(entries) => {
            let entry = |(key, entry): (&String, &Node)| {
                if is_secret(key) && !matches!(entry.value, Value::Null) {
                    format!("{}: \"{MASK}\"", scalar_key(key))
                } else {
                    format!("{}: {}", scalar_key(key), flow(entry))
                }
            };
            format!("{{{}}}", entries.iter().map(entry).collect::<Vec<_>>().join(", "))
        }
    }
}

/// `https://name:password@host` without the password.
fn without_password(text: &str) -> String {
    let masked = || {
        let (scheme, rest) = text.split_once("://")?;
        let (user, host) = rest.split('/').next()?.rsplit_once('@')?;
        let (name, _) = user.split_once(':')?;
        let path = &rest[user.len() + 1 + host.len()..];
        Some(format!("{scheme}://{name}:{MASK}@{host}{path}"))
    };
    masked().unwrap_or_else(|| text.to_owned())
}

/// A key without quotes where YAML needs none.
fn scalar_key(key: &str) -> String {
    let plain = key.starts_with(|c: char| c.is_ascii_alphabetic())
        && key
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
        && !matches!(
            key.to_lowercase().as_str(),
            "null" | "true" | "false" | "yes" | "no" | "on" | "off" | "y" | "n"
        );
    if plain { key.to_owned() } else { quoted(key) }
}

/// A double-quoted YAML text: JSON's quoting, and everything unprintable escaped.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if unprintable(c) && (c as u32) <= 0xffff => out.push_str(&format!("\\u{:04x}", c as u32)),
            c if unprintable(c) => out.push_str(&format!("\\U{:08x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Control and bidirectional characters, separators and what YAML does not allow as it is.
fn unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{61c}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

fn clean(text: &str) -> String {
    text.chars()
        .map(|c| if unprintable(c) { '?' } else { c })
        .collect()
}
