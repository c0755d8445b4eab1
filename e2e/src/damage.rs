//! What models do to a right answer.

use protocol::documents::EditProtocol;

use crate::{
    answers::edits,
    fixture::{Change, Line},
};

/// Lines of a hunk that repeat the file, each changed by `change`.
fn repeated(changes: &[Change], change: impl Fn(&str) -> String) -> Vec<Change> {
    each_line(changes, |line| match line {
        Line::Kept(text) => Line::Kept(change(&text)),
        Line::Removed(text) => Line::Removed(change(&text)),
        Line::Added(text) => Line::Added(text),
    })
}

fn each_line(changes: &[Change], change: impl Fn(Line) -> Line) -> Vec<Change> {
    let mut changes = changes.to_vec();
    for line in changes.iter_mut().flat_map(|change| &mut change.hunks).flatten() {
        *line = change(line.clone());
    }
    changes
}

/// Two spaces at the end of what repeats the file.
pub fn trailing_space(changes: &[Change]) -> Vec<Change> {
    repeated(changes, |text| format!("{text}  "))
}

/// Tabs in place of four spaces, in old and new lines.
pub fn tabs(changes: &[Change]) -> Vec<Change> {
    let tabbed = |text: String| {
        let body = text.trim_start_matches(' ');
        let indent = (text.len() - body.len()) / 4;
        format!("{}{body}", "\t".repeat(indent))
    };
    each_line(changes, |line| match line {
        Line::Kept(text) => Line::Kept(tabbed(text)),
        Line::Removed(text) => Line::Removed(tabbed(text)),
        Line::Added(text) => Line::Added(tabbed(text)),
    })
}

/// Typographic quotes in what repeats the file.
pub fn smart_quotes(changes: &[Change]) -> Vec<Change> {
    repeated(changes, |text| {
        let parts: Vec<&str> = text.split('"').collect();
        let mut quoted = String::new();
        for (i, part) in parts.iter().enumerate() {
            quoted.push_str(part);
            if i + 1 < parts.len() {
                quoted.push(if i % 2 == 0 { '\u{201c}' } else { '\u{201d}' });
            }
        }
        quoted
    })
}

/// A blank line in front that the file does not have.
pub fn blank_line_first(changes: &[Change]) -> Vec<Change> {
    let mut changes = changes.to_vec();
    for hunk in changes.iter_mut().flat_map(|change| &mut change.hunks) {
        hunk.insert(0, Line::Kept(String::new()));
    }
    changes
}

/// One character is missing in the longest line that stays.
pub fn one_wrong_character(changes: &[Change]) -> Vec<Change> {
    let mut changes = changes.to_vec();
    for hunk in changes.iter_mut().flat_map(|change| &mut change.hunks) {
        let kept = hunk.iter_mut().filter_map(|line| match line {
            Line::Kept(text) => Some(text),
            Line::Removed(_) | Line::Added(_) => None,
        });
        if let Some(text) = kept.max_by_key(|text| text.len()) {
            let middle = text.len() / 2;
            assert!(text.is_char_boundary(middle) && text.is_char_boundary(middle + 1));
            text.remove(middle);
        }
    }
    changes
}

/// Edits that also change a line which the file has more than once.
pub fn ambiguous(changes: &[Change], line: [&str; 2]) -> Vec<Change> {
    let mut changes = changes.to_vec();
    let hunk = vec![Line::Removed(line[0].to_owned()), Line::Added(line[1].to_owned())];
    let has_it = |change: &&mut Change| change.text.lines().any(|text| text == line[0]);
    if let Some(change) = changes.iter_mut().find(has_it) {
        change.hunks.insert(0, hunk);
    }
    changes
}

/// Every path is this one.
pub fn moved_to(changes: &[Change], path: &str) -> Vec<Change> {
    let mut changes = changes.to_vec();
    for change in &mut changes {
        (change.old, change.new) = (Some(path.to_owned()), Some(path.to_owned()));
    }
    changes
}

/// The end of each change is left out with a comment.
pub fn elided(changes: &[Change]) -> Vec<Change> {
    const REST: &str = "# \u{2026} rest unchanged";
    let mut changes = changes.to_vec();
    for change in &mut changes {
        let lines: Vec<&str> = change.text.lines().collect();
        change.text = format!("{}\n{REST}\n", lines[..lines.len() * 2 / 3].join("\n"));
        for hunk in &mut change.hunks {
            let last = hunk.iter().rposition(|line| matches!(line, Line::Added(_)));
            if let Some(last) = last {
                hunk.insert(last + 1, Line::Added(REST.to_owned()));
            }
        }
    }
    changes
}

/// Other new lines: edits that fit and would do harm.
pub fn harmful(changes: &[Change]) -> Vec<Change> {
    let mut changes = each_line(changes, |line| match line {
        Line::Added(_) => Line::Added("    raise SystemExit(1)".to_owned()),
        Line::Kept(_) | Line::Removed(_) => line,
    });
    for change in &mut changes {
        change.text.push_str("raise SystemExit(1)\n");
    }
    changes
}

/// Thinking that tries other edits; `opened`: whether its first tag is there, which many
/// chat templates swallow.
pub fn thinking(protocol: EditProtocol, changes: &[Change], opened: bool) -> String {
    let draft = edits(protocol, &harmful(changes));
    let tag = if opened { "<think>\n" } else { "" };
    format!(
        "{tag}Perhaps this?\n\n{draft}\nNo.\n</think>\n\n{}",
        edits(protocol, changes)
    )
}

/// The first part of an answer, which ends inside its last line of code.
pub fn first_part(answer: &str) -> String {
    let end = answer.len() * 2 / 3;
    let end = (0..=end).rev().find(|at| answer.is_char_boundary(*at));
    answer[..end.unwrap_or(0)].to_owned()
}
