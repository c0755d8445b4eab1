//! The documents that steps hand to each other: [`Plan`], [`EditReport`],
//! [`CheckReport`] and [`Verdict`].
//!
//! A model writes two of them, so unknown fields are ignored and what a model
//! tends to leave out has a default; ids are text.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The version that this code writes into every document.
pub const DOCUMENT_VERSION: u32 = 1;

/// The version of a document; what does not say one is version 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DocumentVersion(pub u32);

impl Default for DocumentVersion {
    fn default() -> Self {
        Self(DOCUMENT_VERSION)
    }
}

/// What the architect intends: the answer of the role `architect`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Version of the document.
    #[serde(default)]
    pub v: DocumentVersion,
    /// One or two sentences for people.
    pub summary: String,
    /// What was taken for granted.
    #[serde(default)]
    pub assumptions: Vec<String>,
    /// The work, in order.
    pub items: Vec<PlanItem>,
    /// Tests that the coder may change, as paths.
    #[serde(default)]
    pub may_change_tests: Vec<String>,
    /// Checks that matter beyond the detected ones.
    #[serde(default)]
    pub checks: Vec<PlanCheck>,
    /// What may go wrong.
    #[serde(default)]
    pub risks: Vec<String>,
    /// What only a person can answer.
    #[serde(default)]
    pub questions: Vec<String>,
}

/// One piece of work of a [`Plan`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PlanItem {
    /// Short name, unique in the plan; numbers are accepted and read as text.
    #[serde(default, deserialize_with = "text_or_number")]
    pub id: String,
    /// One line.
    pub title: String,
    /// The files that it touches.
    #[serde(default)]
    pub files: Vec<PlanFile>,
    /// How.
    #[serde(default)]
    pub detail: String,
    /// Ids of items that come first.
    #[serde(default, deserialize_with = "texts_or_numbers")]
    pub depends_on: Vec<String>,
    /// How one sees that it is done.
    #[serde(default)]
    pub done_when: String,
}

/// A file of a [`PlanItem`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlanFile {
    /// Path within the repository.
    pub path: String,
    /// What happens to it.
    #[serde(default)]
    pub action: FileAction,
}

/// What happens to a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileAction {
    /// A new file.
    Add,
    /// A change.
    #[default]
    Modify,
    /// The file goes.
    Delete,
}

/// A check that the architect asks for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlanCheck {
    /// What it shows.
    pub name: String,
    /// How it could be run; advice, never executed as it is.
    #[serde(default)]
    pub command: Option<String>,
}

/// What codegen did to the files.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EditReport {
    /// Version of the document.
    #[serde(default)]
    pub v: DocumentVersion,
    /// The protocol in which the answer came.
    pub protocol: EditProtocol,
    /// One entry per edit of the last reply.
    pub ops: Vec<EditOpReport>,
    /// The commit that holds the change; `None` when nothing changed.
    #[serde(default)]
    pub commit: Option<String>,
    /// Size of the change.
    #[serde(default)]
    pub stat: DiffStat,
}

/// How a model writes its edits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EditProtocol {
    /// The whole file in a fence: small models.
    #[default]
    WholeFile,
    /// SEARCH/REPLACE text blocks: mid-size models.
    SearchReplace,
    /// The `*** Begin Patch` envelope: models of the GPT kind.
    ApplyPatch,
    /// A unified diff, matched again by its context.
    UnifiedDiff,
}

impl EditProtocol {
    /// The name that configurations use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::WholeFile => "whole_file",
            Self::SearchReplace => "search_replace",
            Self::ApplyPatch => "apply_patch",
            Self::UnifiedDiff => "unified_diff",
        }
    }
}

/// What became of one edit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EditOpReport {
    /// Path within the repository, as the model wrote it.
    pub path: String,
    /// `write`, `replace`, `delete` or `move`.
    pub kind: EditKind,
    /// What became of it.
    pub status: EditStatus,
    /// How the text was found: `exact`, `trailing_space`, `indentation`, …
    #[serde(default, rename = "match")]
    pub matched: Option<String>,
    /// Why it was refused or failed.
    #[serde(default)]
    pub reason: Option<String>,
    /// What would help the model.
    #[serde(default)]
    pub hint: Option<String>,
}

/// The kinds of edits that every protocol parses into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EditKind {
    /// The whole new text of a file.
    Write,
    /// A part of a file.
    Replace,
    /// The file goes.
    Delete,
    /// The file moves.
    Move,
}

/// What became of one edit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EditStatus {
    /// The file now has it.
    Applied,
    /// The file had it before.
    Already,
    /// Not allowed.
    Refused,
    /// Not possible.
    Failed,
}

/// Size of a change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiffStat {
    /// Files touched.
    pub files: u64,
    /// Lines added.
    pub insertions: u64,
    /// Lines removed.
    pub deletions: u64,
}

/// What checks measured on one commit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CheckReport {
    /// Version of the document.
    #[serde(default)]
    pub v: DocumentVersion,
    /// The commit that was checked.
    #[serde(default)]
    pub commit: String,
    /// Every command that ran, or was skipped with a note.
    pub checks: Vec<Check>,
    /// Ids of failures that the baseline does not have.
    #[serde(default)]
    pub new_failures: Vec<String>,
    /// Ids of the baseline's failures that are gone.
    #[serde(default)]
    pub fixed: Vec<String>,
    /// Test files that were changed without the plan's leave.
    #[serde(default)]
    pub protected_changed: Vec<String>,
    /// Hash of what failed, equal for equal failures.
    #[serde(default)]
    pub signature: String,
}

impl CheckReport {
    /// Whether every check that ran passed.
    pub fn all_passed(&self) -> bool {
        self.checks.iter().all(Check::passed)
    }
}

/// One command of a [`CheckReport`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// Such as `cargo test` or `ruff`.
    pub name: String,
    /// The argument vector; empty for a check that was skipped.
    #[serde(default)]
    pub command: Vec<String>,
    /// Exit code; `None` after a signal, a time-out, or for a skipped check.
    #[serde(default)]
    pub exit: Option<i32>,
    /// The signal that ended it.
    #[serde(default)]
    pub signal: Option<i32>,
    /// How long it took.
    #[serde(default)]
    pub ms: u64,
    /// Whether its limit ended it.
    #[serde(default)]
    pub timed_out: bool,
    /// Why it did not run, if it did not.
    #[serde(default)]
    pub skipped: Option<String>,
    /// Whether a failure counts: a linter's complaint informs, a test's decides.
    #[serde(default)]
    pub advisory: bool,
    /// What a known runner counted.
    #[serde(default)]
    pub counts: Option<Counts>,
    /// What failed.
    #[serde(default)]
    pub failures: Vec<CheckFailure>,
    /// The end of the output.
    #[serde(default)]
    pub tail: String,
}

impl Check {
    /// Whether this check stands in nobody's way.
    pub fn passed(&self) -> bool {
        self.advisory || self.skipped.is_some() || self.exit == Some(0) && !self.timed_out
    }
}

/// What a test runner counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Tests that passed.
    pub passed: u64,
    /// Tests that failed.
    pub failed: u64,
    /// Tests that could not run.
    pub errors: u64,
    /// Tests left out.
    pub skipped: u64,
}

/// One failing test or finding.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CheckFailure {
    /// Stable name, such as the test's path.
    pub id: String,
    /// Where, if the runner said so.
    #[serde(default)]
    pub file: Option<String>,
    /// Line in that file.
    #[serde(default)]
    pub line: Option<u64>,
    /// What the runner said.
    #[serde(default)]
    pub message: String,
}

/// What the reviewer thinks: the answer of the role `review`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// Version of the document.
    #[serde(default)]
    pub v: DocumentVersion,
    /// The decision.
    pub decision: Decision,
    /// What was found; none is a good answer.
    #[serde(default)]
    pub findings: Vec<Finding>,
    /// Which items of the plan are done.
    #[serde(default)]
    pub plan_items: Vec<PlanItemVerdict>,
}

/// The reviewer's decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Good as it is.
    Approve,
    /// Another round is wanted.
    RequestChanges,
    /// Only a person can go on.
    Blocked,
}

/// One finding of a [`Verdict`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// How bad.
    pub severity: Severity,
    /// Path within the repository.
    #[serde(default)]
    pub file: Option<String>,
    /// Line in that file.
    #[serde(default)]
    pub line: Option<u64>,
    /// What is wrong.
    pub claim: String,
    /// The quoted text that shows it.
    #[serde(default)]
    pub evidence: String,
    /// What would be better.
    #[serde(default)]
    pub suggestion: String,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// A matter of taste.
    Minor,
    /// Should be mended.
    Major,
    /// Must be mended.
    Blocker,
}

/// Whether an item of the plan is done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlanItemVerdict {
    /// Id of the item.
    #[serde(default, deserialize_with = "text_or_number")]
    pub id: String,
    /// Done or not.
    #[serde(default)]
    pub done: bool,
    /// What shows it.
    #[serde(default)]
    pub evidence: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum TextOrNumber {
    Text(String),
    Number(serde_json::Number),
}

impl From<TextOrNumber> for String {
    fn from(value: TextOrNumber) -> Self {
        match value {
            TextOrNumber::Text(text) => text,
            TextOrNumber::Number(number) => number.to_string(),
        }
    }
}

fn text_or_number<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    TextOrNumber::deserialize(deserializer).map(String::from)
}

fn texts_or_numbers<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let values = Vec::<TextOrNumber>::deserialize(deserializer)?;
    Ok(values.into_iter().map(String::from).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sparse_plan_with_numeric_ids_and_unknown_fields_is_read() {
        let plan: Plan = serde_json::from_str(
            r#"{"summary":"s","items":[{"id":1,"title":"t","depends_on":[0],"mood":"good"}]}"#,
        )
        .expect("readable");
        assert_eq!(plan.items[0].id, "1");
        assert_eq!(plan.items[0].depends_on, ["0"]);
        assert_eq!(plan.v, DocumentVersion::default());
    }

    #[test]
    fn a_time_out_is_no_pass_even_with_exit_zero() {
        let check = Check {
            exit: Some(0),
            timed_out: true,
            ..Check::default()
        };
        assert!(!check.passed());
    }
}
