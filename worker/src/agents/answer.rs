//! Finds the JSON document in a model's answer and reads it kindly: thinking
//! and prose around it, fences, raw line ends inside texts, nulls and loose
//! spellings do not matter; what is missing or wrong does.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::thinking::without_thinking;

/// So many opening braces are tried: each may cost a look at the whole rest.
const MOST_BRACES: usize = 500;

/// What an answer is when it is no document that can be read.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Unreadable {
    /// There is no JSON object in it.
    #[error("the answer contains no complete JSON object")]
    NoObject,
    /// There is one, but it is not the document.
    #[error("the JSON object is not the document that was asked for: {0}")]
    WrongShape(String),
}

/// The first object of the answer that `read` accepts, else why the largest one was not accepted.
pub fn read<T>(
    reply: &str,
    read: impl Fn(&Map<String, Value>) -> Result<T, String>,
) -> Result<T, Unreadable> {
    let mut objects = objects(&without_thinking(reply));
    if objects.is_empty() {
        return Err(Unreadable::NoObject);
    }
    let mut complaints = Vec::new();
    for (size, object) in &mut objects {
        tidy(object);
        match read(object) {
            Ok(document) => return Ok(document),
            Err(complaint) => complaints.push((*size, complaint)),
        }
    }
    let largest = complaints.into_iter().max_by_key(|(size, _)| *size);
    Err(Unreadable::WrongShape(
        largest.map_or_else(String::new, |(_, complaint)| complaint),
    ))
}

/// Reads an object as a document.
pub fn document<T: DeserializeOwned>(object: &Map<String, Value>) -> Result<T, String> {
    serde_json::from_value(Value::Object(object.clone())).map_err(|error| error.to_string())
}

/// Every JSON object that is not inside another one, with its size in bytes.
fn objects(text: &str) -> Vec<(usize, Map<String, Value>)> {
    let mut found = Vec::new();
    let mut rest = text;
    for _ in 0..MOST_BRACES {
        let Some(start) = rest.find('{') else { break };
        rest = &rest[start..];
        let parsed = balanced(rest).and_then(|source| object(source).map(|object| (source.len(), object)));
        match parsed {
            Some((len, object)) => {
                found.push((len, object));
                rest = &rest[len..];
            }
            None => rest = &rest[1..],
        }
    }
    found
}

/// The text from the opening brace at its start to the matching closing one.
fn balanced(text: &str) -> Option<&str> {
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    for (i, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '{' if !quoted => depth += 1,
            '}' if !quoted => {
                depth -= 1;
                if depth == 0 {
                    return Some(&text[..=i]);
                }
            }
            _ => {}
        }
    }
    None
}

fn object(source: &str) -> Option<Map<String, Value>> {
    let value = serde_json::from_str(source).or_else(|_| serde_json::from_str(&mended(source)));
    match value {
        Ok(Value::Object(object)) => Some(object),
        _ => None,
    }
}

/// The same JSON with control characters inside texts escaped and trailing commas removed.
fn mended(source: &str) -> String {
    let mut out = String::with_capacity(source.len() + 16);
    let (mut quoted, mut escaped) = (false, false);
    for c in source.chars() {
        match c {
            '\n' if quoted => out.push_str("\\n"),
            '\r' if quoted => {}
            '\t' if quoted => out.push_str("\\t"),
            '}' | ']' if !quoted => {
                let end = out.trim_end().len();
                if out[..end].ends_with(',') {
                    out.truncate(end - 1);
                }
                out.push(c);
            }
            _ => out.push(c),
        }
        if c == '"' && !escaped {
            quoted = !quoted;
        }
        escaped = quoted && c == '\\' && !escaped;
    }
    out
}

/// Removes nulls, so that defaults count, and spells enumerations as we do.
fn tidy(object: &mut Map<String, Value>) {
    object.retain(|_, value| !value.is_null());
    for (key, value) in object {
        match value {
            Value::String(text) if matches!(key.as_str(), "decision" | "severity" | "action") => {
                *text = text.trim().to_lowercase().replace([' ', '-'], "_");
            }
            Value::String(text) if key == "line" => {
                let digits = text.trim_start_matches(|c: char| !c.is_ascii_digit());
                let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
                *value = digits[..end].parse::<u64>().map_or(Value::Null, Value::from);
            }
            _ => tidy_value(value),
        }
    }
}

fn tidy_value(value: &mut Value) {
    match value {
        Value::Object(object) => tidy(object),
        Value::Array(items) => items.iter_mut().for_each(tidy_value),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use protocol::documents::{Decision, Verdict};

    use super::*;

    fn verdict(reply: &str) -> Result<Verdict, Unreadable> {
        read(reply, document)
    }

    #[test]
    fn a_document_is_found_whatever_stands_around_it() {
        for reply in [
            r#"{"decision":"approve"}"#,
            "<think>maybe {\"decision\":\"blocked\"}</think>{\"decision\":\"approve\"}",
            "Here you go:\n```json\n{\"decision\": \"approve\"}\n```\nBye {not json}.",
            "I use {braces} and then {\"decision\":\"approve\",\"findings\":[],}",
            "{\"decision\":\"Approve\",\"findings\":null}",
            "{\"x\":{\"decision\":\"blocked\"}} {\"decision\":\"approve\"}",
        ] {
            assert_eq!(
                verdict(reply).map(|verdict| verdict.decision),
                Ok(Decision::Approve),
                "{reply}"
            );
        }
    }

    #[test]
    fn loose_spellings_are_understood() {
        let reply = "{\"decision\":\"Request changes\",\"findings\":[{\"severity\":\"MAJOR\",\"line\":\"12-15\",\"file\":null,\"claim\":\"two\nlines \\\"x\\\"\"}]}";
        let verdict = verdict(reply).expect("readable");
        assert_eq!(verdict.decision, Decision::RequestChanges);
        assert_eq!(verdict.findings[0].line, Some(12));
        assert_eq!(verdict.findings[0].claim, "two\nlines \"x\"");
    }

    #[test]
    fn what_is_missing_is_named() {
        assert_eq!(verdict("looks good to me"), Err(Unreadable::NoObject));
        assert_eq!(verdict("{\"decision\":\"approve\""), Err(Unreadable::NoObject));
        let wrong = verdict("{\"findings\":[]}").expect_err("no decision").to_string();
        assert!(wrong.contains("decision"), "{wrong}");
    }

    proptest! {
        #[test]
        fn no_answer_makes_the_reader_panic(reply in "[{}\\[\\]\",:\\\\\n a-z`é<>/]{0,200}") {
            let _ = verdict(&reply);
            let _ = mended(&reply);
        }
    }
}
