//! TAP, nested as `node --test` writes it: leaves count, their parents only name them.

use std::sync::LazyLock;

use protocol::documents::{CheckFailure, Counts};
use regex::Regex;

use super::Findings;

static TEST: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^(\s*)(not )?ok\b(?: \d+)?(?:\s*-)?\s*(.*?)(?:\s+#\s*(?i:(SKIP|TODO))\b.*)?$")
        .expect("a valid pattern")
});
static PLAN: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"^\s*1\.\.\d+").expect("a valid pattern"));
static LOCATION: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r#"^\s+location: ['"]?(.+?):(\d+):\d+['"]?$"#).expect("a valid pattern"));
static ERROR: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r#"^\s+(?:error|message): ['"]?(.*?)['"]?$"#).expect("a valid pattern"));
static VALUE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^\s+(expected|actual):(?: (.*))?$").expect("a valid pattern"));

/// A test of which it is not known yet whether it stands within another.
struct Leaf {
    depth: usize,
    result: Result,
}

enum Result {
    Passed,
    Skipped,
    Failed(CheckFailure),
}

/// The YAML below a test.
struct Details {
    /// How deep its marks stand.
    depth: usize,
    /// The key whose text goes on in deeper lines: its depth, and whether the text is wanted.
    open: Option<(usize, bool)>,
    /// Whether the compared values are wanted, once the first of them was met.
    values: Option<bool>,
}

pub(super) fn parse(text: &str) -> Findings {
    let mut leaves: Vec<Leaf> = Vec::new();
    let mut planned = false;
    let mut below: Option<Details> = None;
    for line in text.lines() {
        planned |= PLAN.is_match(line) || line.starts_with("TAP version");
        match (&mut below, line.trim()) {
            (Some(details), "...") if depth(line) <= details.depth => below = None,
            (Some(details), _) => details.read(line, leaves.last_mut()),
            (None, "---") => {
                below = Some(Details {
                    depth: depth(line),
                    open: None,
                    values: None,
                });
            }
            (None, _) => {
                if let Some(found) = TEST.captures(line) {
                    let depth = found[1].len();
                    let result = match (found.get(4), found.get(2)) {
                        (Some(_), _) => Result::Skipped,
                        (None, None) => Result::Passed,
                        (None, Some(_)) => Result::Failed(CheckFailure {
                            id: found[3].to_owned(),
                            ..CheckFailure::default()
                        }),
                    };
                    add(&mut leaves, Leaf { depth, result }, &found[3]);
                }
            }
        }
    }
    if !planned || leaves.is_empty() {
        return Findings::default();
    }
    let mut findings = Findings::default();
    let mut counts = Counts::default();
    for leaf in leaves {
        match leaf.result {
            Result::Passed => counts.passed += 1,
            Result::Skipped => counts.skipped += 1,
            Result::Failed(failure) => {
                counts.failed += 1;
                findings.failures.push(failure);
            }
        }
    }
    findings.counts = Some(counts);
    findings
}

/// A test that comes after deeper ones is their parent.
fn add(leaves: &mut Vec<Leaf>, leaf: Leaf, name: &str) {
    let children = leaves
        .iter()
        .rev()
        .take_while(|before| before.depth > leaf.depth)
        .count();
    if children == 0 {
        leaves.push(leaf);
        return;
    }
    let from = leaves.len() - children;
    let mut child_failed = false;
    for child in &mut leaves[from..] {
        child.depth = leaf.depth;
        if let Result::Failed(failure) = &mut child.result {
            child_failed = true;
            failure.id = format!("{name} > {}", failure.id);
        }
    }
    // a parent that failed by itself, such as in its own hook
    if matches!(leaf.result, Result::Failed(_)) && !child_failed {
        leaves.push(leaf);
    }
}

fn depth(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

impl Details {
    /// Takes where a test failed, why, and the values that were compared.
    fn read(&mut self, line: &str, leaf: Option<&mut Leaf>) {
        let Some(Leaf {
            result: Result::Failed(failure),
            ..
        }) = leaf
        else {
            return;
        };
        let mut say = |text: &str| failure.message.extend([text.trim_end(), "\n"]);
        if let Some((key, wanted)) = self.open {
            if line.trim().is_empty() || depth(line) > key {
                if wanted {
                    say(line.get(key + 2..).unwrap_or_default());
                }
                return;
            }
            self.open = None;
        }
        if let Some(found) = LOCATION.captures(line) {
            failure.file = Some(found[1].to_owned());
            failure.line = found[2].parse().ok();
        } else if let Some(found) = ERROR.captures(line) {
            match &found[1] {
                "|-" | "|" | ">" | ">-" => self.open = Some((depth(line), true)),
                text => say(text),
            }
        } else if let Some(found) = VALUE.captures(line) {
            let value = found.get(2).map_or("", |value| value.as_str());
            if value.is_empty() {
                // a longer error shows both already, side by side
                let wanted = *self
                    .values
                    .get_or_insert_with(|| failure.message.lines().count() <= 1);
                self.open = Some((depth(line), wanted));
                if !wanted {
                    return;
                }
            }
            let said = format!("{}: {value}", &found[1]);
            failure.message.extend([said.trim_end(), "\n"]);
        } else if line.trim_start().starts_with(['+', '-']) || line.trim_start().starts_with("Expected") {
            say(line.trim_start());
        }
    }
}
