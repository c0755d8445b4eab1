//! The role that judges: task, plan, difference and check report in, Verdict
//! out. Its workspace is read-only.

use std::collections::BTreeMap;

use protocol::{
    documents::{Decision, Severity, Verdict},
    spec::OutputType,
};
use serde_json::{Map, Value};

use super::{
    answer,
    brief::Brief,
    context::{Section, Shrink},
    declared,
    document::{Contract, Reading},
    edit::repair::fenced,
    schemas,
};

/// Most findings of a verdict.
const MOST_FINDINGS: usize = 50;
/// Largest verdict as JSON, in bytes: outputs hold it and its findings.
const LARGEST_VERDICT: usize = 20 * 1024;
/// Outputs that are made from the verdict.
const KNOWN: [&str; 3] = ["verdict", "decision", "findings"];

/// The reviewer's contract.
pub struct Review {
    /// What the workflow gives.
    pub brief: Brief,
    /// The change as a unified diff.
    pub diff: String,
    /// What the step declares beyond the verdict.
    pub outputs: BTreeMap<String, OutputType>,
}

/// A verdict and the other outputs that were declared.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// The verdict, with unfounded blockers demoted.
    pub verdict: Verdict,
    /// Declared outputs other than those of the verdict.
    pub others: Map<String, Value>,
}

const INSTRUCTIONS: &str = r#"## How to answer

One JSON object and nothing else:

{"decision": "approve",
 "findings": [{"severity": "major", "file": "src/a.py", "line": 12, "claim": "what is wrong",
               "evidence": "the quoted line that shows it", "suggestion": "what would be better"}],
 "plan_items": [{"id": "1", "done": true, "evidence": "what shows it"}]}

`decision` is `approve`, `request_changes` or `blocked`; `severity` is `blocker`, `major` or `minor`. `findings` may be empty.
"#;

impl Contract for Review {
    type Document = Judgement;

    fn instructions(&self) -> String {
        let more = declared::describe(&self.outputs, &KNOWN);
        if more.is_empty() {
            return INSTRUCTIONS.to_owned();
        }
        format!("{INSTRUCTIONS}The object also has:\n{more}\n")
    }

    fn schema(&self, _files: bool) -> Option<(String, Value)> {
        let mut schema = schemas::verdict();
        declared::extend_schema(&mut schema, &self.outputs, &KNOWN);
        Some(("verdict".to_owned(), schema))
    }

    fn sections(&self, _room: usize) -> Vec<Section> {
        let diff = if self.diff.trim().is_empty() {
            "(nothing changed)\n".to_owned()
        } else {
            fenced(&self.diff)
        };
        let diff = Section::new("The change", diff, Shrink::Cut(6));
        diff.into_iter().chain(self.brief.sections()).collect()
    }

    fn read(&self, object: &Map<String, Value>) -> Result<Reading<Judgement>, String> {
        let inner = object.get("verdict").and_then(Value::as_object);
        let mut verdict: Verdict = answer::document(inner.unwrap_or(object))?;
        settle(&mut verdict)?;
        let others = declared::outputs(&self.outputs, &KNOWN, object)?;
        Ok(Reading::Document(Judgement { verdict, others }))
    }
}

/// Makes a verdict consistent: a blocker needs file, line and quoted evidence,
/// and the decision follows from what is left.
fn settle(verdict: &mut Verdict) -> Result<(), String> {
    if verdict.findings.len() > MOST_FINDINGS {
        return Err(format!(
            "there are more than {MOST_FINDINGS} findings: name the most important ones"
        ));
    }
    let size = serde_json::to_vec(&*verdict).map_or(usize::MAX, |json| json.len());
    if size > LARGEST_VERDICT {
        return Err(format!(
            "the verdict has {size} bytes, more than {LARGEST_VERDICT}: be brief"
        ));
    }
    for finding in &mut verdict.findings {
        let file = finding.file.as_ref().is_some_and(|file| !file.trim().is_empty());
        let founded = file && finding.line.is_some() && !finding.evidence.trim().is_empty();
        if finding.severity == Severity::Blocker && !founded {
            finding.severity = Severity::Major;
        }
    }
    let blocker = verdict
        .findings
        .iter()
        .any(|finding| finding.severity == Severity::Blocker);
    let open = verdict.plan_items.iter().any(|item| !item.done);
    verdict.decision = match verdict.decision {
        Decision::Approve if blocker => Decision::RequestChanges,
        Decision::Blocked if !blocker && !verdict.findings.is_empty() => Decision::RequestChanges,
        Decision::Blocked | Decision::RequestChanges if verdict.findings.is_empty() && !open => {
            return Err("the decision needs at least one finding that says why".to_owned());
        }
        decision => decision,
    };
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(verdict: Value) -> Result<Verdict, String> {
        let review = Review {
            brief: Brief::default(),
            diff: String::new(),
            outputs: BTreeMap::new(),
        };
        let Value::Object(object) = verdict else {
            panic!("{verdict}")
        };
        match review.read(&object)? {
            Reading::Document(judgement) => Ok(judgement.verdict),
            Reading::Files(paths) => panic!("{paths:?}"),
        }
    }

    #[test]
    fn an_unfounded_blocker_is_demoted() {
        let verdict = read(
            json!({"decision": "blocked", "findings": [{"severity": "blocker", "claim": "bad feeling"}]}),
        );
        let verdict = verdict.expect("a verdict");
        assert_eq!(verdict.findings[0].severity, Severity::Major);
        assert_eq!(verdict.decision, Decision::RequestChanges);
        let founded = json!({"decision": "approve", "findings": [
            {"severity": "blocker", "file": "a.py", "line": 2, "claim": "c", "evidence": "x = 1"}]});
        let verdict = read(founded).expect("a verdict");
        assert_eq!(verdict.findings[0].severity, Severity::Blocker);
        assert_eq!(verdict.decision, Decision::RequestChanges);
    }

    #[test]
    fn a_rejection_says_why_and_an_approval_need_not() {
        assert!(read(json!({"decision": "request_changes"})).is_err());
        let open = json!({"decision": "request_changes", "plan_items": [{"id": 1, "done": false}]});
        assert!(read(open).is_ok());
        assert_eq!(
            read(json!({"decision": "approve"})).map(|verdict| verdict.decision),
            Ok(Decision::Approve)
        );
    }
}
