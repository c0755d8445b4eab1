//! JUnit XML reports: test cases and what failed. A scanner of tags, not an XML
//! parser: no entities of their own, no document types, nothing is resolved.

use protocol::documents::{CheckFailure, Counts};

use super::Findings;

/// Reads a report; `None` for a text that is none.
pub fn parse(text: &str) -> Option<Findings> {
    if !text.contains("<testsuite") {
        return None;
    }
    let mut findings = Findings::default();
    let mut counts = Counts::default();
    let mut case: Option<Case> = None;
    let mut rest = text;
    while let Some(start) = rest.find('<') {
        rest = &rest[start..];
        if let Some(after) = skip_opaque(rest) {
            rest = after;
            continue;
        }
        let Some(end) = end_of_tag(rest) else { break };
        let tag = Tag::read(&rest[1..end]);
        rest = &rest[end + 1..];
        match tag.name {
            "testcase" => case = Some(Case::new(&tag)),
            "failure" | "error" | "skipped" => {
                if let Some(case) = &mut case {
                    let body = if tag.closed { "" } else { body_of(rest, tag.name) };
                    case.add(&tag, body);
                }
            }
            "/testcase" => {}
            _ => continue,
        }
        let ended = tag.name == "/testcase" || tag.name == "testcase" && tag.closed;
        if ended && let Some(case) = case.take() {
            case.count(&mut counts, &mut findings.failures);
        }
    }
    findings.counts = Some(counts);
    Some(findings.tidy())
}

/// One test case.
struct Case {
    failure: CheckFailure,
    failed: bool,
    error: bool,
    skipped: bool,
}

impl Case {
    fn new(tag: &Tag<'_>) -> Self {
        let class = tag.attribute("classname").unwrap_or_default();
        let name = tag.attribute("name").unwrap_or_default();
        let id = if class.is_empty() {
            name
        } else {
            format!("{class}::{name}")
        };
        Self {
            failure: CheckFailure {
                id,
                file: tag.attribute("file"),
                line: tag.attribute("line").and_then(|line| line.parse().ok()),
                message: String::new(),
            },
            failed: false,
            error: false,
            skipped: false,
        }
    }

    fn add(&mut self, tag: &Tag<'_>, body: &str) {
        match tag.name {
            "skipped" => self.skipped = true,
            "error" => self.error = true,
            _ => self.failed = true,
        }
        if tag.name != "skipped" {
            let message = tag.attribute("message").filter(|message| !message.is_empty());
            self.failure
                .message
                .push_str(&message.unwrap_or_else(|| decoded(body.trim())));
        }
    }

    fn count(self, counts: &mut Counts, failures: &mut Vec<CheckFailure>) {
        match (self.failed, self.error, self.skipped) {
            (true, ..) => counts.failed += 1,
            (_, true, _) => counts.errors += 1,
            (.., true) => counts.skipped += 1,
            _ => counts.passed += 1,
        }
        if self.failed || self.error {
            failures.push(self.failure);
        }
    }
}

/// A tag without its brackets.
struct Tag<'a> {
    name: &'a str,
    attributes: &'a str,
    closed: bool,
}

impl<'a> Tag<'a> {
    fn read(inside: &'a str) -> Self {
        let closed = inside.ends_with('/');
        let inside = inside.trim_end_matches('/');
        let (name, attributes) = inside.split_once(char::is_whitespace).unwrap_or((inside, ""));
        Self {
            name,
            attributes,
            closed,
        }
    }

    fn attribute(&self, wanted: &str) -> Option<String> {
        let mut rest = self.attributes;
        loop {
            let (name, after) = rest.split_once('=')?;
            let after = after.trim_start();
            let quote = after.chars().next().filter(|c| matches!(c, '"' | '\''))?;
            let (value, next) = after[1..].split_once(quote)?;
            if name.trim() == wanted {
                return Some(decoded(value));
            }
            rest = next;
        }
    }
}

/// The place of the `>` that ends a tag; one within quotes does not.
fn end_of_tag(text: &str) -> Option<usize> {
    let mut quote = None;
    for (at, byte) in text.bytes().enumerate() {
        match (quote, byte) {
            (None, b'>') => return Some(at),
            (None, b'"' | b'\'') => quote = Some(byte),
            (Some(open), _) if open == byte => quote = None,
            _ => {}
        }
    }
    None
}

/// Comments and character data may contain what looks like tags.
fn skip_opaque(text: &str) -> Option<&str> {
    [("<!--", "-->"), ("<![CDATA[", "]]>")]
        .into_iter()
        .find_map(|(open, close)| {
            let inside = text.strip_prefix(open)?;
            Some(inside.split_once(close).map_or("", |(_, after)| after))
        })
}

fn body_of<'a>(text: &'a str, name: &str) -> &'a str {
    text.split_once(&format!("</{name}>"))
        .map_or("", |(body, _)| body)
}

fn decoded(text: &str) -> String {
    let text = text
        .strip_prefix("<![CDATA[")
        .and_then(|text| text.strip_suffix("]]>"))
        .unwrap_or(text);
    let pairs = [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&apos;", "'"),
        ("&#10;", "\n"),
        ("&amp;", "&"),
    ];
    pairs.iter().fold(text.to_owned(), |text, (entity, plain)| {
        text.replace(entity, plain)
    })
}
