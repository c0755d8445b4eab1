//! The tool steps on real repositories, one after the other as the built-in workflow has them.

use std::{fs, path::PathBuf};

use protocol::{
    artifact::ArtifactRef,
    documents::CheckReport,
    spec::{Command, OutputType, WorkspaceRef},
    step::ErrorClass,
};
use serde_json::json;

use super::*;
use crate::testing::{Bench, git, write};

/// A repository with a shell suite: `a` fails, `b` passes.
const SUITE: &str = "#!/bin/sh\n# prints TAP\nfail=0\necho 1..2\n\
    if [ \"$(cat a)\" = good ]; then echo ok 1 - a; else echo not ok 1 - a; fail=1; fi\n\
    if [ \"$(cat b)\" = good ]; then echo ok 2 - b; else echo not ok 2 - b; fail=1; fi\nexit $fail\n";

fn map(value: Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}

fn argv(argv: &[&str]) -> Work {
    Work::Run(Command::Argv(argv.iter().map(|arg| (*arg).to_owned()).collect()))
}

fn report(output: &StepOutput) -> CheckReport {
    serde_json::from_value(output.outputs["report"].clone()).expect("a report")
}

/// A job on the suite with its baseline measured.
struct Job {
    bench: Bench,
    repository: PathBuf,
    wanted: WorkspaceRef,
    prepared: StepOutput,
}

impl Job {
    async fn new(files: &[(&str, &str)]) -> Self {
        let bench = Bench::new();
        let repository = bench.repository("repo", files).await;
        let wanted = Bench::workspace(&repository, None);
        let context = bench.context(Work::Use(ToolStep::Prepare), Some(wanted.clone()), Map::new());
        let prepared = run(&context).await;
        let mut job = Self {
            bench,
            repository,
            wanted,
            prepared,
        };
        job.wanted.base = job
            .prepared
            .workspace
            .as_ref()
            .map(|workspace| workspace.base.clone());
        job
    }

    /// What an editing step would leave behind.
    async fn edit(&mut self, files: &[(&str, &str)]) {
        let stop = Stop::default();
        let caller = self.bench.caller(&stop);
        let opened = self
            .bench
            .workspaces
            .open(&self.wanted, self.bench.job, caller)
            .await;
        let mut workspace = opened.expect("it opens");
        for (path, text) in files {
            write(&workspace.root().join(path), text);
        }
        workspace.commit_all("edit").await.unwrap().expect("a change");
        let result = workspace
            .result(&*self.bench.blobs, &self.bench.folder.path().join("r"))
            .await
            .unwrap();
        (self.wanted.commit, self.wanted.bundle) = (Some(result.commit), result.bundle);
    }

    async fn step(&self, step: ToolStep, mut with: Value) -> StepOutput {
        with["baseline"] = self.prepared.outputs["baseline"].clone();
        run(&self
            .bench
            .context(Work::Use(step), Some(self.wanted.clone()), map(with)))
        .await
    }
}

const FILES: [(&str, &str); 3] = [("test.sh", SUITE), ("a", "bad"), ("b", "good")];

#[tokio::test]
async fn a_task_becomes_a_verified_and_delivered_patch() {
    let mut job = Job::new(&FILES).await;
    let prepared = &job.prepared;
    assert_eq!(prepared.outcome, Outcome::Ok, "{:?}", prepared.error);
    assert_eq!(prepared.outputs["protected"], json!(["test.sh"]));
    assert_eq!(
        prepared.outputs["base"],
        json!(git(&job.repository, &["rev-parse", "HEAD"]).await)
    );
    assert_eq!(
        prepared.outputs["baseline"]["checks"][0]["failures"][0]["id"],
        json!("a")
    );
    assert!(
        prepared
            .notes
            .iter()
            .any(|note| note.contains("fails its own checks"))
    );

    let task = json!({"task": "make the failing test pass"});
    let unchanged = job.step(ToolStep::Check, task.clone()).await;
    assert_eq!(unchanged.error.expect("it fails").class, ErrorClass::Check);
    let tolerated = job.step(ToolStep::Check, json!({"task": "add a flag"})).await;
    assert_eq!(tolerated.outcome, Outcome::Ok);

    job.edit(&[("a", "good")]).await;
    let checked = job.step(ToolStep::Check, task.clone()).await;
    assert_eq!(checked.outcome, Outcome::Ok, "{:?}", checked.error);
    assert_eq!(
        (report(&checked).fixed, &checked.outputs["ok"]),
        (vec!["a".to_owned()], &json!(true))
    );
    let verified = job.step(ToolStep::Verify, task.clone()).await;
    assert_eq!(verified.outcome, Outcome::Ok, "{:?}", verified.error);

    let with = json!({"task": "make it pass", "report": verified.outputs["report"],
        "verdict": {"decision": "approve"}, "plan": {"summary": "s", "items": [{"title": "t"}]}, "usage": {"calls": 3}});
    let delivered = job.step(ToolStep::Deliver, with).await;
    assert_eq!(delivered.outcome, Outcome::Ok, "{:?}", delivered.error);
    let outputs = &delivered.outputs;
    assert_eq!(
        (&outputs["files"], &outputs["insertions"]),
        (&json!(1), &json!(1))
    );
    let names: Vec<&str> = delivered
        .artifacts
        .iter()
        .map(|artifact| artifact.name.as_str())
        .collect();
    assert_eq!(names, ["patch", "bundle", "report", "evidence.json"]);
    let file = |artifact: &ArtifactRef| job.bench.blobs.0.join(artifact.sha256.to_string());
    let markdown = fs::read_to_string(file(&delivered.artifacts[2])).unwrap();
    for word in [
        "# Job 42",
        "Checks before",
        "Checks after",
        "Review: approve",
        "\"calls\": 3",
        "- a",
    ] {
        assert!(markdown.contains(word), "{word} is missing in\n{markdown}");
    }
    let evidence: Value = serde_json::from_slice(&fs::read(file(&delivered.artifacts[3])).unwrap()).unwrap();
    assert_eq!(evidence["report"]["fixed"], json!(["a"]));
    // both forms of the result work in a plain clone
    git(
        &job.repository,
        &[
            "apply",
            "--index",
            file(&delivered.artifacts[0]).to_str().unwrap(),
        ],
    )
    .await;
    let bundle = file(&delivered.artifacts[1]);
    git(
        &job.repository,
        &["fetch", "-q", bundle.to_str().unwrap(), "agentd/42:result"],
    )
    .await;
    assert_eq!(git(&job.repository, &["diff", "--cached", "result"]).await, "");
}

#[tokio::test]
async fn a_weakened_test_is_flagged_and_verify_runs_the_original() {
    let mut job = Job::new(&FILES).await;
    job.edit(&[("test.sh", "echo 1..2; echo ok 1 - a; echo ok 2 - b\n")])
        .await;
    let task = json!({"task": "make the failing test pass"});
    let checked = job.step(ToolStep::Check, task.clone()).await;
    assert_eq!(report(&checked).protected_changed, ["test.sh"]);
    let verified = job.step(ToolStep::Verify, task).await;
    let error = verified.error.clone().expect("it fails");
    assert_eq!(error.class, ErrorClass::Check);
    assert!(error.message.contains("original tests"), "{error}");
    assert!(
        report(&verified)
            .checks
            .iter()
            .any(|check| check.name == "test.sh (original tests)")
    );
    let leave = json!({"task": "rewrite the suite", "plan": {"summary": "", "items": [], "may_change_tests": ["test.sh"]}});
    let verified = job.step(ToolStep::Verify, leave).await;
    assert_eq!(verified.outcome, Outcome::Ok, "{:?}", verified.error);
}

#[tokio::test]
async fn a_new_failure_fails_with_the_report_in_the_outputs() {
    let mut job = Job::new(&FILES).await;
    job.edit(&[("b", "bad")]).await;
    let checked = job.step(ToolStep::Check, json!({"task": "add a flag"})).await;
    assert_eq!(
        checked.error.as_ref().expect("it fails").message,
        "1 new failure: b"
    );
    assert_eq!(
        (report(&checked).new_failures, &checked.outputs["ok"]),
        (vec!["b".to_owned()], &json!(false))
    );
    assert_eq!(checked.artifacts[0].name, "checks.json");
}

#[tokio::test]
async fn a_hang_is_a_failure_in_the_baseline_too() {
    let bench = Bench::new();
    let repository = bench.repository("repo", &[("test.sh", "sleep 100\n")]).await;
    let wanted = Bench::workspace(&repository, None);
    let mut context = bench.context(Work::Use(ToolStep::Prepare), Some(wanted), Map::new());
    context.spec.check_limit = protocol::duration::Millis::from_secs(1);
    let prepared = run(&context).await;
    assert_eq!(prepared.outcome, Outcome::Ok, "{:?}", prepared.error);
    assert_eq!(
        prepared.outputs["baseline"]["checks"][0]["timed_out"],
        json!(true)
    );
}

#[tokio::test]
async fn a_missing_runner_and_a_missing_repository_are_said_clearly() {
    let bench = Bench::new();
    let repository = bench.repository("repo", &[("a", "x")]).await;
    let with = map(json!({"checks": [["no-such-runner"]]}));
    let wanted = Some(Bench::workspace(&repository, None));
    let error = run(&bench.context(Work::Use(ToolStep::Prepare), wanted, with))
        .await
        .error
        .expect("missing");
    assert_eq!(error.class, ErrorClass::Missing);
    assert!(
        error.message.contains("no-such-runner is not on this worker"),
        "{error}"
    );
    let error = run(&bench.context(Work::Use(ToolStep::Check), None, Map::new()))
        .await
        .error
        .expect("no repository");
    assert_eq!(error.class, ErrorClass::Spec);
    let with = map(json!({"baseline": 7}));
    let wanted = Some(Bench::workspace(&repository, None));
    let error = run(&bench.context(Work::Use(ToolStep::Check), wanted, with))
        .await
        .error
        .expect("not read");
    assert!(
        error.message.starts_with("`with.baseline` cannot be read"),
        "{error}"
    );
}

#[tokio::test]
async fn commands_run_with_and_without_a_repository() {
    let bench = Bench::new();
    let output = run(&bench.context(argv(&[]), None, Map::new())).await;
    assert_eq!((output.outcome, output.outputs.len()), (Outcome::Ok, 0));
    let output = run(&bench.context(argv(&["sh", "-c", "echo hi; exit 3"]), None, Map::new())).await;
    assert_eq!((output.outcome, output.exit), (Outcome::Failed, Some(3)));
    assert_eq!(output.outputs["stdout_tail"], json!("hi\n"));
    assert_eq!(output.error.unwrap().class, ErrorClass::Exit);
    let output = run(&bench.context(argv(&["no-such-program"]), None, Map::new())).await;
    assert_eq!(output.error.unwrap().class, ErrorClass::Missing);

    let repository = bench.repository("repo", &[("a", "x")]).await;
    let wanted = Bench::workspace(&repository, None);
    let script = Work::Run(Command::Script {
        shell: "sh".to_owned(),
        text: "echo \"$WHAT\" > a\ngit status --porcelain\n".to_owned(),
    });
    let mut context = bench.context(script, Some(wanted), Map::new());
    context
        .spec
        .env
        .insert("WHAT".to_owned(), "$(touch trap) `x`".to_owned());
    context.spec.writes = true;
    let output = run(&context).await;
    assert_eq!(output.outcome, Outcome::Ok, "{:?}", output.error);
    assert_eq!(output.outputs["stdout_tail"], json!(" M a\n"));
    let workspace = output.workspace.expect("a branch");
    assert_ne!(workspace.base, workspace.commit);
    assert!(workspace.bundle.is_some());
}

#[tokio::test]
async fn a_junit_report_becomes_an_output() {
    let bench = Bench::new();
    let text = "<testsuite><testcase name='x'><failure message='no'/></testcase></testsuite>";
    let mut context = bench.context(
        argv(&["sh", "-c", &format!("echo \"{text}\" > r.xml; exit 1")]),
        None,
        Map::new(),
    );
    context
        .spec
        .outputs
        .insert("failures".to_owned(), OutputType::Junit("r.xml".to_owned()));
    context.spec.outputs.insert(
        "outside".to_owned(),
        OutputType::Junit("../../../blobs".to_owned()),
    );
    let output = run(&context).await;
    assert_eq!(output.outputs["failures"][0]["id"], json!("x"));
    assert!(!output.outputs.contains_key("outside"));
    assert!(
        output.notes[0].contains("outside of the workspace"),
        "{:?}",
        output.notes
    );
}

#[tokio::test]
async fn texts_of_ours_hide_secrets_and_what_is_opaque_stays_as_it_is() {
    let bench = Bench::new();
    let cx = bench.context(argv(&["true"]), None, Map::new());
    cx.mask.add("hunter-22");
    for (name, kept) in [
        ("x.log", "a ••• 68\n"),
        ("transcript.jsonl", "a ••• 68\n"),
        ("x.patch", "a hunter-22 68\n"),
    ] {
        let file = cx.scratch.join(name);
        fs::write(&file, "a hunter-22 68\n").unwrap();
        let artifact = measure::store(&cx, name, &file).await.unwrap();
        let stored = bench.blobs.0.join(artifact.sha256.to_string());
        assert_eq!(fs::read_to_string(stored).unwrap(), kept, "{name}");
    }
}
