//! What a model says: plans, verdicts, and edits in every protocol.

use protocol::documents::EditProtocol;
use serde_json::json;

use crate::fixture::{Change, Line};

/// Every protocol for edits.
pub const PROTOCOLS: [EditProtocol; 4] = [
    EditProtocol::WholeFile,
    EditProtocol::SearchReplace,
    EditProtocol::ApplyPatch,
    EditProtocol::UnifiedDiff,
];

/// A plan that names these changes.
pub fn plan(changes: &[Change]) -> String {
    let mut files = Vec::new();
    for change in changes {
        match (&change.old, &change.new) {
            (Some(old), Some(new)) if old == new => files.push(json!({"path": new, "action": "modify"})),
            (old, new) => {
                files.extend(new.iter().map(|path| json!({"path": path, "action": "add"})));
                files.extend(old.iter().map(|path| json!({"path": path, "action": "delete"})));
            }
        }
    }
    let item = json!({"id": "1", "title": "mend it", "files": files, "detail": "correct the mistake"});
    json!({"summary": "Correct the mistake that the tests show.", "items": [item]}).to_string()
}

/// A verdict without findings.
pub fn approval() -> String {
    let done = json!({"id": "1", "done": true, "evidence": "the diff"});
    json!({"decision": "approve", "findings": [], "plan_items": [done]}).to_string()
}

/// These changes as a model writes them.
pub fn edits(protocol: EditProtocol, changes: &[Change]) -> String {
    let parts: Vec<String> = changes
        .iter()
        .map(|change| match protocol {
            EditProtocol::WholeFile => whole_file(change),
            EditProtocol::SearchReplace => search_replace(change),
            EditProtocol::ApplyPatch => apply_patch(change),
            EditProtocol::UnifiedDiff => unified_diff(change),
        })
        .collect();
    let body = parts.concat();
    match protocol {
        EditProtocol::WholeFile | EditProtocol::SearchReplace => body,
        EditProtocol::ApplyPatch => format!("*** Begin Patch\n{body}*** End Patch\n"),
        EditProtocol::UnifiedDiff => format!("```diff\n{body}```\n"),
    }
}

/// The line that deletes or moves a file, and where its text goes.
fn directive(change: &Change) -> (String, Option<&str>) {
    match (&change.old, &change.new) {
        (Some(old), Some(new)) if old != new => (format!("MOVE FILE: {old} -> {new}\n"), Some(new)),
        (Some(old), None) => (format!("DELETE FILE: {old}\n"), None),
        (_, new) => (String::new(), new.as_deref()),
    }
}

fn whole_file(change: &Change) -> String {
    let (mut text, path) = directive(change);
    if let Some(path) = path {
        text.push_str(&format!("{path}\n```\n{}```\n\n", change.text));
    }
    text
}

fn search_replace(change: &Change) -> String {
    let (mut text, path) = directive(change);
    let Some(path) = path else { return text };
    for hunk in &change.hunks {
        let (mut search, mut replace) = (String::new(), String::new());
        for line in hunk {
            if let Line::Kept(line) | Line::Removed(line) = line {
                search.push_str(&format!("{line}\n"));
            }
            if let Line::Kept(line) | Line::Added(line) = line {
                replace.push_str(&format!("{line}\n"));
            }
        }
        text.push_str(&format!(
            "{path}\n<<<<<<< SEARCH\n{search}=======\n{replace}>>>>>>> REPLACE\n\n"
        ));
    }
    text
}

fn apply_patch(change: &Change) -> String {
    let mut text = match (&change.old, &change.new) {
        (None, new) => format!("*** Add File: {}\n", new.as_deref().unwrap_or_default()),
        (Some(old), None) => return format!("*** Delete File: {old}\n"),
        (Some(old), Some(new)) if old == new => format!("*** Update File: {old}\n"),
        (Some(old), Some(new)) => format!("*** Update File: {old}\n*** Move to: {new}\n"),
    };
    for hunk in &change.hunks {
        if change.old.is_some() {
            text.push_str("@@\n");
        }
        text.push_str(&marked(hunk));
    }
    text
}

fn unified_diff(change: &Change) -> String {
    let side = |path: &Option<String>, letter| match path {
        Some(path) => format!("{letter}/{path}"),
        None => "/dev/null".to_owned(),
    };
    let mut text = String::new();
    if let (Some(old), Some(new)) = (&change.old, &change.new)
        && old != new
    {
        text.push_str(&format!("rename from {old}\nrename to {new}\n"));
    }
    let (old, new) = (side(&change.old, 'a'), side(&change.new, 'b'));
    text.push_str(&format!("--- {old}\n+++ {new}\n"));
    for hunk in &change.hunks {
        // models do not count lines, and need not
        text.push_str("@@ @@\n");
        text.push_str(&marked(hunk));
    }
    text
}

fn marked(hunk: &[Line]) -> String {
    let lines = hunk.iter().map(|line| match line {
        Line::Kept(line) => format!(" {line}\n"),
        Line::Removed(line) => format!("-{line}\n"),
        Line::Added(line) => format!("+{line}\n"),
    });
    lines.collect()
}
