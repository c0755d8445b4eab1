//! Agents against scripted models: the real providers' replay, real work trees,
//! real commits.

use std::sync::Arc;

use futures::future::BoxFuture;
use protocol::{
    artifact::BlobRef,
    documents::EditProtocol,
    model::{Candidate, Price, ProviderDefinition, ProviderKind, Timeouts},
    spec::{AgentWork, OutputType, Work},
    step::{ErrorClass, Outcome, StepError},
};
use serde_json::{Map, Value, json};

use super::*;
use crate::{
    steps::{Blobs, ProviderSource},
    testing::{Bench, git},
};

mod resume;

const SOURCE: &str = "def area(w, h):\n    if w < 0:\n        raise ValueError('negative width')\n    return w + h\n\n\ndef perimeter(w, h):\n    total = w + h\n    return 2 * total\n\n\ndef describe(w, h):\n    total = w + h\n    return str(total)\n";
const FIXED: &str = "    return w * h\n";

/// Gives the one provider that plays the script.
struct Scripted(BlobRef);

impl ProviderSource for Scripted {
    fn providers(&self) -> BoxFuture<'_, Result<Vec<ProviderDefinition>, StepError>> {
        let definition = ProviderDefinition {
            name: "script".to_owned(),
            kind: ProviderKind::Replay,
            base_url: String::new(),
            api_key: None,
            recording: Some(self.0),
            timeouts: Timeouts::default(),
        };
        Box::pin(async move { Ok(vec![definition]) })
    }
}

/// A line of a script: the answer, what the request must contain, how it ends.
fn line(reply: &str, expect: &[&str]) -> Value {
    json!({"reply": reply, "expect": expect})
}

struct Stage {
    bench: Bench,
    repository: std::path::PathBuf,
    protocol: EditProtocol,
    window: u32,
}

impl Stage {
    async fn new(protocol: EditProtocol) -> Self {
        let bench = Bench::new();
        let repository = bench
            .repository("shapes", &[("shapes.py", SOURCE), ("README.md", "# Shapes\n")])
            .await;
        Self {
            bench,
            repository,
            protocol,
            window: 32_768,
        }
    }

    /// The context of a step whose model answers with `script`.
    async fn context(&self, role: &str, with: Value, script: Vec<Value>) -> (StepContext, AgentWork) {
        let mut recording = String::new();
        for (i, mut line) in script.into_iter().enumerate() {
            line["step"] = "step".into();
            line["call"] = (i + 1).into();
            recording.push_str(&format!("{line}\n"));
        }
        let file = self.bench.folder.path().join("recording.jsonl");
        std::fs::write(&file, recording).expect("a recording");
        let blob = self.bench.blobs.store(&file).await.expect("stored");
        let work = AgentWork {
            role: role.to_owned(),
            prompt: format!("You are the {role}.\n"),
            candidates: vec![Candidate {
                provider: "script".to_owned(),
                model: "m".to_owned(),
                window: self.window,
                answer_tokens: None,
                protocol: self.protocol,
                price: Price::default(),
            }],
            max_calls: 40,
        };
        let Value::Object(with) = with else {
            panic!("{with}")
        };
        let workspace = Bench::workspace(&self.repository, None);
        let mut cx = self
            .bench
            .context(Work::Agent(work.clone()), Some(workspace), with);
        cx.providers = Arc::new(Scripted(blob));
        (cx, work)
    }

    async fn run(&self, role: &str, with: Value, script: Vec<Value>) -> StepOutput {
        let (cx, work) = self.context(role, with, script).await;
        run(&cx, &work).await
    }

    /// Runs codegen on the plan to mend `area`.
    async fn edit(&self, script: Vec<Value>) -> StepOutput {
        let plan = json!({"summary": "Multiply.", "items": [
            {"id": "1", "title": "mend area", "files": [{"path": "shapes.py"}]}]});
        self.run(
            "codegen",
            json!({"task": "area adds instead of multiplying", "plan": plan}),
            script,
        )
        .await
    }

    /// A file as the step left it.
    async fn file(&self, output: &StepOutput, path: &str) -> String {
        let result = output.workspace.as_ref().expect("a workspace");
        let bundle = self
            .bench
            .blobs
            .fetch(result.bundle.expect("a bundle"))
            .await
            .expect("fetched");
        let bundle = bundle.to_str().expect("a path");
        git(&self.repository, &["fetch", "-q", bundle, "refs/heads/agentd/42"]).await;
        git(&self.repository, &["show", &format!("{}:{path}", result.commit)]).await + "\n"
    }
}

fn block(search: &str, replace: &str) -> String {
    format!("shapes.py\n<<<<<<< SEARCH\n{search}=======\n{replace}>>>>>>> REPLACE\n")
}

fn whole(text: &str) -> String {
    format!("shapes.py\n```python\n{text}```\n")
}

fn mended() -> String {
    SOURCE.replacen("return w + h\n", "return w * h\n", 1)
}

fn failure(output: &StepOutput) -> &StepError {
    assert_eq!(output.outcome, Outcome::Failed);
    assert!(output.workspace.is_none(), "a failed edit leaves no commit");
    output.error.as_ref().expect("an error")
}

fn names(output: &StepOutput) -> Vec<&str> {
    output
        .artifacts
        .iter()
        .map(|artifact| artifact.name.as_str())
        .collect()
}

#[tokio::test]
async fn the_architect_asks_for_a_file_and_plans() {
    let stage = Stage::new(EditProtocol::SearchReplace).await;
    let plan = r#"Here: {"summary":"Multiply.","items":[{"id":1,"title":"mend area","files":[{"path":"shapes.py","action":"modify"}]}]}"#;
    let script = vec![
        line(
            r#"{"need_files":["README.md"]}"#,
            &[
                "You are the architect",
                "## Repository map",
                "shapes.py (",
                "## Task area",
            ],
        ),
        line(plan, &["# Shapes"]),
    ];
    let output = stage
        .run("architect", json!({"task": "area of shapes is wrong"}), script)
        .await;
    assert_eq!(output.error, None);
    assert_eq!(
        output.outputs["plan"]["items"][0]["files"][0]["path"],
        "shapes.py"
    );
    assert_eq!(names(&output), ["plan.json", "transcript.jsonl"]);
    assert_eq!(
        (output.usage.calls, output.model.expect("a model").model),
        (2, "m".to_owned())
    );
    assert_eq!(output.workspace, None);
}

#[tokio::test]
async fn codegen_commits_what_it_changed() {
    let stage = Stage::new(EditProtocol::SearchReplace).await;
    let expect = [
        "## How to write your changes",
        "<<<<<<< SEARCH",
        "File `shapes.py`",
        "return w + h",
        "### 1. mend area",
    ];
    let output = stage
        .edit(vec![line(&block("    return w + h\n", FIXED), &expect)])
        .await;
    assert_eq!(output.error, None);
    assert_eq!(stage.file(&output, "shapes.py").await, mended());
    let report = &output.outputs["report"];
    assert_eq!(report["protocol"], "search_replace");
    assert_eq!(report["ops"][0]["status"], "applied");
    assert_eq!(
        report["stat"],
        json!({"files": 1, "insertions": 1, "deletions": 1})
    );
    assert_eq!(names(&output), ["edit-report.json", "transcript.jsonl"]);
    let result = output.workspace.expect("a workspace");
    let log = git(
        &stage.repository,
        &["log", "-1", "--format=%an <%ae>%n%B", &result.commit],
    )
    .await;
    assert_eq!(log, "agentd <agentd@localhost>\na title\n\nMultiply.");
}

/// Damaged answers, each with what makes it good in the end.
fn damaged() -> Vec<(&'static str, Vec<Value>)> {
    let good = block("    return w + h\n", FIXED);
    let tabs = block(
        "\tif w < 0:\n\t\traise ValueError('negative width')\n\treturn w + h\n",
        "\tif w < 0:\n\t\traise ValueError('negative width')\n\treturn w * h\n",
    );
    let quotes = block(
        "        raise ValueError(\u{2018}negative width\u{2019})\n    return w + h\n",
        "        raise ValueError(\u{2018}negative width\u{2019})\n    return w * h\n",
    );
    let slip = block(
        "        raise ValueError('negativ width')\n    return w + h\n",
        "        raise ValueError('negativ width')\n    return w * h\n",
    );
    let ambiguous = block("    total = w + h\n", "    total = w * h\n");
    vec![
        (
            "trailing space",
            vec![line(&block("    return w + h  \n", FIXED), &[])],
        ),
        ("tabs for spaces", vec![line(&tabs, &[])]),
        ("smart quotes", vec![line(&quotes, &[])]),
        (
            "a blank leading line",
            vec![line(&block("\n    return w + h\n", FIXED), &[])],
        ),
        ("one wrong character", vec![line(&slip, &[])]),
        (
            "prose around",
            vec![line(
                &format!("Sure! Here it is:\n\n{good}\nHope this helps."),
                &[],
            )],
        ),
        (
            "leaked thinking",
            vec![line(&format!("<think>\n{ambiguous}\n</think>\n{good}"), &[])],
        ),
        (
            "an ambiguous block",
            vec![
                line(&ambiguous, &[]),
                line(&good, &["stands 2 times", "8 | total = w + h"]),
            ],
        ),
        (
            "a path outside",
            vec![
                line(&good.replace("shapes.py", "../shapes.py"), &[]),
                line(&good, &["leaves the workspace"]),
            ],
        ),
        (
            "rest unchanged",
            vec![
                line(
                    &whole("def area(w, h):\n    return w * h\n\n# … rest unchanged\n"),
                    &[],
                ),
                line(&good, &["no edit"]),
            ],
        ),
    ]
}

/// Answers that were cut at the limit of their length.
fn cut() -> Vec<(&'static str, Vec<Value>)> {
    let good = block("    return w + h\n", FIXED);
    vec![
        (
            "a cut reply",
            vec![
                json!({"reply": "shapes.py\n<<<<<<< SEARCH\n    return w", "finish": "length"}),
                line(&good, &[]),
            ],
        ),
        (
            "cut twice",
            vec![
                json!({"reply": "shapes.py\n<<<<<<< SEARCH\n    return w", "finish": "length"}),
                json!({"reply": format!("{good}shapes.py\n<<<<<<< SEARCH\ndef des"), "finish": "length"}),
                line(
                    &block(
                        "    total = w + h\n    return str(total)\n",
                        "    total = w + h\n    return f'{total}'\n",
                    ),
                    &["The first 1 edits were complete"],
                ),
            ],
        ),
    ]
}

#[tokio::test]
async fn damaged_answers_are_understood_or_repaired() {
    for (name, script) in damaged().into_iter().chain(cut()) {
        let stage = Stage::new(EditProtocol::SearchReplace).await;
        let calls = script.len() as u64;
        let output = stage.edit(script).await;
        assert_eq!(output.error, None, "{name}");
        assert_eq!(output.usage.calls, calls, "{name}");
        let wanted = if name == "cut twice" {
            mended().replace("str(total)", "f'{total}'")
        } else {
            mended()
        };
        assert_eq!(stage.file(&output, "shapes.py").await, wanted, "{name}");
    }
}

#[tokio::test]
async fn whole_files_that_leave_something_out_are_asked_for_again() {
    let stage = Stage::new(EditProtocol::WholeFile).await;
    let output = stage
        .edit(vec![
            line(
                &whole("def area(w, h):\n    return w * h\n\n# ... rest unchanged\n"),
                &["the complete new file in a fence"],
            ),
            line(&whole("area = lambda w, h: w * h\n"), &["leaves code out"]),
            line(&whole(&mended()), &["shrink `shapes.py`"]),
        ])
        .await;
    assert_eq!(output.error, None);
    assert_eq!(stage.file(&output, "shapes.py").await, mended());
}

#[tokio::test]
async fn after_two_repairs_whole_files_are_the_last_resort() {
    let stage = Stage::new(EditProtocol::SearchReplace).await;
    let wrong = |text: &str| line(&block(&format!("{text}\n"), FIXED), &[]);
    let script = vec![
        wrong("    something else entirely"),
        wrong("    and yet another thing"),
        wrong("    never to be found"),
        line(&whole(&mended()), &["send each file of the failed edits whole"]),
    ];
    let output = stage.edit(script).await;
    assert_eq!(output.error, None);
    assert_eq!(stage.file(&output, "shapes.py").await, mended());
    assert_eq!(
        output.model.expect("a model").protocol,
        Some(EditProtocol::WholeFile)
    );
}

#[tokio::test]
async fn what_cannot_be_used_fails_with_the_reason_and_changes_nothing() {
    let stage = Stage::new(EditProtocol::SearchReplace).await;
    let lost = line(&block("    something else entirely\n", FIXED), &[]);
    let output = stage.edit(vec![lost.clone(), lost.clone(), lost]).await;
    let error = failure(&output);
    assert_eq!(error.class, ErrorClass::ModelOutput);
    assert!(error.message.contains("does not stand in `shapes.py`"), "{error}");
    assert_eq!(output.usage.calls, 3);

    let prose = line("I would multiply.", &[]);
    let output = stage.edit(vec![prose.clone(), prose.clone(), prose]).await;
    assert!(failure(&output).message.contains("no edit"), "{output:?}");

    let same = line(&block("    return w + h\n", "    return w + h\n"), &[]);
    let output = stage.edit(vec![same.clone(), same.clone(), same]).await;
    assert!(
        failure(&output).message.contains("the model changed nothing"),
        "{output:?}"
    );
    assert_eq!(names(&output), ["transcript.jsonl"]);
}

#[tokio::test]
async fn the_reviewer_sees_the_difference_and_decides() {
    let mut stage = Stage::new(EditProtocol::SearchReplace).await;
    let edited = stage
        .edit(vec![line(&block("    return w + h\n", FIXED), &[])])
        .await;
    let result = edited.workspace.expect("a workspace");
    let verdict = r#"<think>fine?</think>```json
{"decision":"request_changes","findings":[{"severity":"blocker","claim":"I do not like it"}]}
```"#;
    let expect = ["+ return w * h", "You are the review", "- pytest: passed"];
    let with =
        json!({"task": "mend area", "report": {"checks": [{"name": "pytest", "exit": 0}]}, "verdict": null});
    let (mut cx, work) = stage
        .context(
            "review",
            with,
            vec![
                line("no idea", &expect),
                line(verdict, &["no complete JSON object"]),
            ],
        )
        .await;
    let workspace = cx.spec.workspace.as_mut().expect("a workspace");
    (workspace.commit, workspace.bundle) = (Some(result.commit), result.bundle);
    let output = run(&cx, &work).await;
    assert_eq!(output.error, None);
    assert_eq!(output.outputs["decision"], "request_changes");
    assert_eq!(output.outputs["findings"][0]["severity"], "major");
    assert_eq!(output.outputs["verdict"]["findings"], output.outputs["findings"]);
    assert_eq!(names(&output), ["verdict.json", "transcript.jsonl"]);
    stage.window = 600;
    let output = stage
        .run("review", json!({"task": "word ".repeat(2000)}), vec![])
        .await;
    assert_eq!(failure(&output).class, ErrorClass::TooLong);
}

#[tokio::test]
async fn a_review_may_compare_with_an_earlier_commit() {
    let stage = Stage::new(EditProtocol::SearchReplace).await;
    crate::testing::write(&stage.repository.join("shapes.py"), &mended());
    let second = crate::testing::commit(&stage.repository, "second").await;
    let first = git(&stage.repository, &["rev-parse", "HEAD~1"]).await;
    git(&stage.repository, &["branch", "old", &first]).await;
    for against in ["HEAD~1", &first, "old"] {
        let approve = line(
            r#"{"decision":"approve"}"#,
            &["-    return w + h", "+    return w * h"],
        );
        let output = stage
            .run("review", json!({"task": "t", "against": against}), vec![approve])
            .await;
        assert_eq!(output.error, None, "{against}");
        assert_eq!(output.outputs["decision"], "approve");
    }
    let same = line(r#"{"decision":"approve"}"#, &["(nothing changed)"]);
    let output = stage
        .run("review", json!({"task": "t", "against": second}), vec![same])
        .await;
    assert_eq!(output.error, None);
    let output = stage
        .run("review", json!({"task": "t", "against": "HEAD or so"}), vec![])
        .await;
    assert_eq!(failure(&output).class, ErrorClass::Spec);
}

#[tokio::test]
async fn a_custom_role_gives_its_declared_outputs() {
    let stage = Stage::new(EditProtocol::WholeFile).await;
    let script = vec![
        line(r#"{"risk": "high"}"#, &["- `risk`: a number"]),
        line(r#"{"risk": 0.7}"#, &["`risk` is not a number"]),
    ];
    let (mut cx, work) = stage
        .context("assessor", json!({"task": "how risky is it?"}), script)
        .await;
    cx.spec.outputs.insert("risk".to_owned(), OutputType::Number);
    let output = run(&cx, &work).await;
    assert_eq!(output.error, None);
    assert_eq!(output.outputs, Map::from_iter([("risk".to_owned(), json!(0.7))]));
}

#[tokio::test]
async fn stops_missing_models_and_spent_calls_are_told_apart() {
    let stage = Stage::new(EditProtocol::WholeFile).await;
    let (cx, work) = stage
        .context("architect", json!({"task": "t"}), vec![line("x", &[])])
        .await;
    let none = AgentWork {
        candidates: vec![],
        ..work.clone()
    };
    assert_eq!(failure(&run(&cx, &none).await).class, ErrorClass::Missing);
    let once = AgentWork {
        max_calls: 1,
        ..work.clone()
    };
    assert_eq!(failure(&run(&cx, &once).await).class, ErrorClass::Budget);
    cx.stop
        .request(protocol::message::CancelReason::User, std::time::Duration::ZERO);
    assert_eq!(failure(&run(&cx, &work).await).class, ErrorClass::Killed);
}
