//! JSON Schemas of the documents that models write, for constrained decoding.
//! Hand-written and strict, so that they also tell a model what is expected.

use serde_json::{Value, json};

/// The schema of a Plan.
pub fn plan() -> Value {
    object(&json!({
        "summary": {"type": "string"},
        "assumptions": texts(),
        "items": {"type": "array", "items": object(&json!({
            "id": {"type": "string"},
            "title": {"type": "string"},
            "files": {"type": "array", "items": object(&json!({
                "path": {"type": "string"},
                "action": {"type": "string", "enum": ["add", "modify", "delete"]},
            }))},
            "detail": {"type": "string"},
            "depends_on": texts(),
            "done_when": {"type": "string"},
        }))},
        "may_change_tests": texts(),
        "checks": {"type": "array", "items": object(&json!({
            "name": {"type": "string"},
            "command": {"type": "string"},
        }))},
        "risks": texts(),
        "questions": texts(),
    }))
}

/// The schema of a Plan, or of a wish for files in its place.
pub fn plan_or_files() -> Value {
    let mut schema = plan();
    schema["properties"]["need_files"] = texts();
    if let Some(required) = schema["required"].as_array_mut() {
        required.push("need_files".into());
    }
    schema
}

/// The schema of a Verdict.
pub fn verdict() -> Value {
    object(&json!({
        "decision": {"type": "string", "enum": ["approve", "request_changes", "blocked"]},
        "findings": {"type": "array", "items": object(&json!({
            "severity": {"type": "string", "enum": ["blocker", "major", "minor"]},
            "file": {"type": "string"},
            "line": {"type": "integer"},
            "claim": {"type": "string"},
            "evidence": {"type": "string"},
            "suggestion": {"type": "string"},
        }))},
        "plan_items": {"type": "array", "items": object(&json!({
            "id": {"type": "string"},
            "done": {"type": "boolean"},
            "evidence": {"type": "string"},
        }))},
    }))
}

/// An object whose properties are all required and that has no others: what strict decoders ask for.
pub fn object(properties: &Value) -> Value {
    let names: Vec<&String> = properties
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, _)| name)
        .collect();
    json!({"type": "object", "properties": properties, "required": names, "additionalProperties": false})
}

fn texts() -> Value {
    json!({"type": "array", "items": {"type": "string"}})
}

#[cfg(test)]
mod tests {
    use protocol::documents::{Plan, PlanItem, Verdict};

    use super::*;

    /// Every field of the document, so that a new one cannot be forgotten here.
    fn names(value: &Value) -> Vec<&String> {
        value
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, _)| name)
            .filter(|name| *name != "v")
            .collect()
    }

    #[test]
    fn schemas_name_exactly_the_fields_of_the_documents() {
        let document = serde_json::to_value(Plan::default()).expect("json");
        assert_eq!(names(&document), names(&plan()["properties"]));
        let item = serde_json::to_value(PlanItem::default()).expect("json");
        assert_eq!(
            names(&item),
            names(&plan()["properties"]["items"]["items"]["properties"])
        );
        let document: Verdict = serde_json::from_value(json!({"decision": "approve"})).expect("a verdict");
        let document = serde_json::to_value(document).expect("json");
        assert_eq!(names(&document), names(&verdict()["properties"]));
    }
}
