//! The steps of a workflow as a tree of lines, from its YAML.

use serde_json::{Map, Value};

use crate::output::text::one_line;

/// What a step does, in the order in which the format names it.
const KINDS: [&str; 8] = [
    "agent", "run", "use", "approval", "webhook", "workflow", "external", "steps",
];

/// One line a step: its name, what it does, and after which steps.
pub(super) fn lines(yaml: &str) -> Vec<String> {
    let value: Value = serde_saphyr::from_str(yaml).unwrap_or_default();
    let mut lines = Vec::new();
    for part in ["steps", "finally"] {
        if let Some(Value::Object(steps)) = value.get(part) {
            if part == "finally" {
                lines.push("finally".to_owned());
            }
            add(steps, "", &mut lines);
        }
    }
    lines
}

fn add(steps: &Map<String, Value>, indent: &str, lines: &mut Vec<String>) {
    for (index, (name, step)) in steps.iter().enumerate() {
        let last = index + 1 == steps.len();
        let (branch, below) = if last {
            ("└─ ", "   ")
        } else {
            ("├─ ", "│  ")
        };
        lines.push(one_line_after(
            &format!("{indent}{branch}"),
            &describe(name, step),
        ));
        if let Some(Value::Object(inner)) = step.get("steps") {
            add(inner, &format!("{indent}{below}"), lines);
        }
    }
}

fn one_line_after(indent: &str, text: &str) -> String {
    format!("{indent}{}", one_line(text))
}

fn describe(name: &str, step: &Value) -> String {
    let mut text = name.to_owned();
    if let Some(kind) = KINDS.iter().find(|kind| step.get(**kind).is_some()) {
        match &step[*kind] {
            Value::String(value) => text.push_str(&format!(" ({kind}: {value})")),
            Value::Array(words) => {
                let words: Vec<String> = words.iter().map(plain).collect();
                text.push_str(&format!(" ({kind}: {})", words.join(" ")));
            }
            _ if *kind != "steps" => text.push_str(&format!(" ({kind})")),
            _ => {}
        }
    }
    if let Some(repeat) = step.get("loop") {
        let max = repeat.get("max").map(plain).unwrap_or_default();
        let until = repeat.get("until").map(plain).unwrap_or_default();
        text.push_str(&format!(", at most {max} rounds until {until}"));
    }
    if let Some(Value::Array(needs)) = step.get("needs") {
        let needs: Vec<String> = needs.iter().map(plain).collect();
        text.push_str(&format!(" ← {}", needs.join(", ")));
    }
    if let Some(condition) = step.get("if") {
        text.push_str(&format!(" if {}", plain(condition)));
    }
    text
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    #[test]
    fn blocks_indent_and_needs_are_named() {
        let yaml = "
steps:
  plan: {agent: architect}
  cycle:
    needs: [plan]
    loop: {max: 3, until: steps.check.ok}
    steps:
      edit: {agent: codegen}
      check: {needs: [edit], use: check}
  count: {needs: [cycle], run: [wc, -l], if: always()}
finally:
  notify: {webhook: {url: x}}
";
        insta::assert_snapshot!(super::lines(yaml).join("\n"), @r"
        ├─ plan (agent: architect)
        ├─ cycle, at most 3 rounds until steps.check.ok ← plan
        │  ├─ edit (agent: codegen)
        │  └─ check (use: check) ← edit
        └─ count (run: wc -l) ← cycle if always()
        finally
        └─ notify (webhook)
        ");
        assert!(super::lines("no: [yaml").is_empty());
    }
}
